/* Vectors of 16, 32 or 64 bytes (VECTOR_BYTES): the vector extensions of GCC and Clang, and operations that they lack.
 * Each of those has a plain form too, so that every width compiles, and can be checked, on any machine. */
#ifndef CGK_CPU_VECTOR_H
#define CGK_CPU_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512DQ__) && VECTOR_BYTES == 64
#define VECTOR_AVX512
#include <immintrin.h>
#elif defined(__AVX2__) && VECTOR_BYTES == 32
#define VECTOR_AVX2
#include <immintrin.h>
#elif defined(__aarch64__) && VECTOR_BYTES == 16
#define VECTOR_NEON
#include <arm_neon.h>
#endif

enum { LANES = VECTOR_BYTES / 4 };

typedef float floats __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES))); /* comparisons give these: -1 is true, 0 is false */
typedef uint32_t words __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES / 4)));

#define INLINE static inline __attribute__((always_inline))

/* The sources of this folder are compiled once per tier: NAME(sample) is avx2_sample if TIER_NAME is avx2. */
#define NAME(what) NAME_JOINED(TIER_NAME, what)
#define NAME_JOINED(tier, what) NAME_OF(tier, what)
#define NAME_OF(tier, what) tier##_##what

INLINE floats splat(float value) { return value - (floats){0}; }

/* 0, 1, 2, ... */
INLINE words lane_numbers(void) {
    words numbers;
    for (int lane = 0; lane < LANES; lane++) {
        numbers[lane] = (uint32_t)lane;
    }
    return numbers;
}

INLINE floats load(const float *from) {
    floats values;
    memcpy(&values, from, sizeof values);
    return values;
}

INLINE void store(float *to, floats values) { memcpy(to, &values, sizeof values); }

/* The first n values, then `rest`. n: 1 to LANES - 1. */
INLINE floats load_part(const float *from, uint32_t n, float rest) {
    floats values = splat(rest);
    memcpy(&values, from, n * sizeof *from);
    return values;
}

INLINE floats only(ints where, floats values) { return (floats)(where & (ints)values); }

INLINE floats either(ints where, floats values, floats others) {
    return (floats)((where & (ints)values) | (~where & (ints)others));
}

/* a > b ? a : b, which is b if a is NaN. */
INLINE floats greater_of(floats a, floats b) {
#if defined(VECTOR_AVX512)
    return (floats)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(VECTOR_AVX2)
    return (floats)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return either(a > b, a, b);
#endif
}

/* The whole part. values: 0 to 2^40. */
INLINE floats whole(floats values) {
#if defined(VECTOR_AVX512)
    return (floats)_mm512_roundscale_ps((__m512)values, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#elif defined(VECTOR_AVX2)
    return (floats)_mm256_round_ps((__m256)values, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#elif defined(VECTOR_NEON)
    return (floats)vrndq_f32((float32x4_t)values);
#else
    const ints fractional = values < 0x1p23f;
    const floats cut = __builtin_convertvector(__builtin_convertvector(only(fractional, values), ints), floats);
    return either(fractional, cut, values);
#endif
}

/* One bit per lane, the first lane lowest. */
INLINE uint32_t bits_of(ints where) {
#if defined(VECTOR_AVX512)
    return _mm512_movepi32_mask((__m512i)where);
#elif defined(VECTOR_AVX2)
    return (uint32_t)_mm256_movemask_ps((__m256)where);
#elif defined(VECTOR_NEON)
    const uint32x4_t powers = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32((uint32x4_t)where, powers));
#else
    uint32_t bits = 0;
    for (int lane = 0; lane < LANES; lane++) {
        bits |= (uint32_t)(where[lane] & 1) << lane;
    }
    return bits;
#endif
}

/* Write the lanes whose bit is set, without gaps; returns how many. It may write LANES entries of `to`. */
INLINE uint32_t pack(uint32_t *to, words values, uint32_t bits) {
#if defined(VECTOR_AVX512)
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)bits, (__m512i)values));
    return (uint32_t)__builtin_popcount(bits);
#elif defined(VECTOR_AVX2)
    static const int32_t order[16][4] = {{0},    {0},    {1},    {0, 1},    {2},    {0, 2},    {1, 2},    {0, 1, 2},
                                         {3},    {0, 3}, {1, 3}, {0, 1, 3}, {2, 3}, {0, 2, 3}, {1, 2, 3}, {0, 1, 2, 3}};
    uint32_t n = 0;
    for (int half = 0; half < 2; half++, bits >>= 4) {
        const __m128i four = half ? _mm256_extracti128_si256((__m256i)values, 1) : _mm256_castsi256_si128((__m256i)values);
        const __m128i lanes = _mm_loadu_si128((const __m128i *)order[bits & 15]);
        _mm_storeu_ps((float *)(to + n), _mm_permutevar_ps(_mm_castsi128_ps(four), lanes));
        n += (uint32_t)__builtin_popcount(bits & 15);
    }
    return n;
#else
    uint32_t n = 0;
    for (; bits; bits &= bits - 1) {
        to[n++] = values[__builtin_ctz(bits)];
    }
    return n;
#endif
}

#endif
