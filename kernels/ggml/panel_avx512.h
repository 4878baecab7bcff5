/* The parts of a panel, read in AVX-512: a lane for each column. */
#ifndef CGK_PANEL_AVX512_H
#define CGK_PANEL_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m512i low_halves(__m512i bytes) { return _mm512_and_si512(bytes, _mm512_set1_epi8(15)); }

INLINE __m512i high_halves(__m512i bytes) { return low_halves(_mm512_srli_epi16(bytes, 4)); }

/* Where `mask` has a bit, that of `a`, otherwise that of `b`. */
INLINE __m512i choose(__m512i a, __m512i b, __m512i mask) { return _mm512_ternarylogic_epi32(mask, a, b, 0xCA); }

/* Nibbles with their fifth bits, 8 k: vector i of a block's four. Bit 2i of a byte belongs to the low halves, bit 2i + 1
 * to the high ones; both go to bit 4. */
INLINE void add_fifth_bits(int i, __m512i bits, __m512i *low, __m512i *high) {
    const __m512i bit = _mm512_set1_epi8(16);
    const __m512i two = i == 0 ? _mm512_slli_epi16(bits, 4)
                        : i == 1 ? _mm512_slli_epi16(bits, 2)
                        : i == 2 ? bits
                                 : _mm512_srli_epi16(bits, 2);
    *low = choose(two, *low, bit);
    *high = choose(_mm512_srli_epi16(two, 1), *high, bit);
}

/* The same with pairs of bits, vector i of two of half a block: pairs 2i and 2i + 1 of a byte go to bits 4 and 5. */
INLINE void add_pairs(int i, __m512i pairs, __m512i *low, __m512i *high) {
    const __m512i mask = _mm512_set1_epi8(0x30);
    *low = choose(i ? pairs : _mm512_slli_epi16(pairs, 4), *low, mask);
    *high = choose(i ? _mm512_srli_epi16(pairs, 2) : _mm512_slli_epi16(pairs, 2), *high, mask);
}

INLINE __m512 halves_at(const uint8_t *at) { return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)at)); }

INLINE __m512 unsigned_at(const uint8_t *at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)at)));
}

INLINE __m512 signed_at(const uint8_t *at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128((const __m128i *)at)));
}

#endif
