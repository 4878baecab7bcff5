/* The product with AVX2, a lane for each column of half a panel; with AVX-VNNI where the compiler may use it.
 *
 * vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits, which saturate: nibbles are summed like that
 * over a whole block (8 x 2 x 15 x 127), weights of 5 and 6 bits over 8 k, and those of 8 bits with their signs moved to
 * the activations. A tile is up to four rows and both halves of a panel, which share what is read of the rows. */
#include <immintrin.h>
#include <math.h>

#include "product.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define PASTE(a, b) a##b
#define NAMED(a, b) PASTE(a, b)

#if defined(__AVXVNNI__)
#define TIER avxvnni
#define NAME_OF_avxvnni "avxvnni"
enum { VNNI = 1 };
#else
#define TIER avx2
#define NAME_OF_avx2 "avx2"
enum { VNNI = 0 };
#endif

enum { LANES = 8, HALVES = PANEL / LANES, TILE_ROWS = 4 };
enum { AHEAD = 1536 }; /* bytes between what is read and what is fetched, into the second cache */

static void quantize(const struct format *format, const float *x, int64_t k, int8_t *row) {
    struct block_sums *sums = (struct block_sums *)(row + k);
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    for (; k > 0; k -= BLOCK, x += BLOCK, row += BLOCK, sums++) {
        __m256i tops = _mm256_setzero_si256();
        for (int i = 0; i < 4; i++) {
            const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(x + 8 * i));
            tops = _mm256_max_epu32(tops, _mm256_and_si256(bits, magnitude));
        }
        __m128i top = _mm_max_epu32(_mm256_castsi256_si128(tops), _mm256_extracti128_si256(tops, 1));
        top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0x4E));
        top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0xB1));
        const float greatest = _mm_cvtss_f32(_mm_castsi128_ps(top)), s = 127.0f / greatest;
        int32_t half[2] = {0, 0};
        if (isfinite(s) && s != 0) { /* otherwise something is not finite, or all is 0 */
            const __m256 times = _mm256_set1_ps(s);
            __m256i q[4];
            for (int i = 0; i < 4; i++) {
                q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), times));
            }
            for (int h = 0; h < 2; h++) {
                const __m256i words = _mm256_packs_epi32(q[2 * h], q[2 * h + 1]); /* fours 0 2 1 3 */
                const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
                const __m128i low = _mm256_castsi256_si128(ordered), high = _mm256_extracti128_si256(ordered, 1);
                _mm_storeu_si128((__m128i *)(row + 16 * h), _mm_packs_epi16(low, high));
                __m128i pairs = _mm_madd_epi16(_mm_add_epi16(low, high), _mm_set1_epi16(1));
                pairs = _mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0x4E));
                half[h] = _mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0xB1)));
            }
        } else {
            _mm256_storeu_si256((__m256i *)row, _mm256_setzero_si256());
        }
        sums->scale = greatest / 127.0f;
        sums->sum = sums->scale * (float)(half[0] + half[1]);
        sums->less[0] = -format->zero * (format->layout == SUPER_6 ? half[0] : half[0] + half[1]);
        sums->less[1] = -format->zero * half[1];
    }
}

INLINE __m256i low_halves(__m256i bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }

INLINE __m256i high_halves(__m256i bytes) { return low_halves(_mm256_srli_epi16(bytes, 4)); }

INLINE __m256 unsigned_at(const uint8_t *at) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)at)));
}

INLINE __m256 signed_at(const uint8_t *at) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)at)));
}

INLINE __m256i four(const int8_t *q) {
    int32_t bits;
    __builtin_memcpy(&bits, q, sizeof bits);
    return _mm256_set1_epi32(bits);
}

/* How sums are kept: of nibbles in 16 bits, of bytes with their signs on the other side, or in 32 bits. */
enum way { WORDS, SIGNS, WHOLE };

INLINE enum way way_of(enum layout layout) {
    return VNNI ? WHOLE : layout == BYTES ? SIGNS : layout == SUPER_5 || layout == SUPER_6 ? WHOLE : WORDS;
}

/* Up to four rows over a panel: what is read, and the results so far. */
struct tile {
    int rows;
    bool prefetch; /* what is read next */
    const uint8_t *group;
    const int8_t *q[TILE_ROWS];
    const struct block_sums *sums[TILE_ROWS];
    __m256 y[HALVES][TILE_ROWS];
};

typedef __m256i tile_sums[HALVES][TILE_ROWS];

#define EACH_ROW UNROLL for (int r = 0; r < tile->rows; r++)
#define EACH_HALF UNROLL for (int h = 0; h < HALVES; h++)

/* Half h of a line of 64 bytes. */
INLINE __m256i load(const struct tile *tile, const uint8_t *line, int h) {
    if (tile->prefetch && h == 0) {
        _mm_prefetch((const char *)line + AHEAD, _MM_HINT_T1);
    }
    return _mm256_load_si256((const __m256i *)line + h);
}

INLINE __m256 halves_at(const uint8_t *sixteen, int h) {
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)sixteen + h));
}

INLINE __m256i pairs_of(__m256i weights, __m256i q) { return _mm256_maddubs_epi16(weights, q); }

INLINE __m256i in_32(__m256i words) { return _mm256_madd_epi16(words, _mm256_set1_epi16(1)); }

INLINE __m256i ended(__m256i sum) {
    __asm__ volatile("" : "+x"(sum) : : "memory");
    return sum;
}

/* Adds 8 k to the sums: of each half two vectors of weights, for 4 k each. A sum ends before the next one begins:
 * otherwise GCC loads the activations of many first, more than there are registers, which takes half as long again. */
INLINE void add8(const struct tile *tile, enum way way, int k, const __m256i low[], const __m256i high[],
                 tile_sums sums) {
    EACH_ROW {
        const __m256i first = four(tile->q[r] + k), second = four(tile->q[r] + k + 4);
        EACH_HALF {
            __m256i sum = sums[h][r];
#if defined(__AVXVNNI__)
            (void)way;
            sum = _mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(sum, low[h], first), high[h], second);
#else
            if (way == WORDS) {
                sum = _mm256_add_epi16(_mm256_add_epi16(sum, pairs_of(low[h], first)), pairs_of(high[h], second));
            } else {
                const __m256i both = _mm256_add_epi16(pairs_of(low[h], first), pairs_of(high[h], second));
                sum = _mm256_add_epi32(sum, in_32(both));
            }
#endif
            sums[h][r] = ended(sum);
        }
    }
}

INLINE void clear(const struct tile *tile, tile_sums sums) {
    EACH_HALF {
        EACH_ROW { sums[h][r] = _mm256_setzero_si256(); }
    }
}

/* After a block or half of one: y = fma(sums, d * scale, y), and with minima y = fma(m, sum, y). */
INLINE void finish(struct tile *tile, enum way way, int less, const __m256 d[], const __m256 m[], tile_sums sums) {
    EACH_ROW {
        const struct block_sums *of = tile->sums[r];
        EACH_HALF {
            __m256i sum = way == WORDS ? in_32(sums[h][r]) : sums[h][r];
            if (way != SIGNS && !m) {
                sum = _mm256_add_epi32(sum, _mm256_set1_epi32(of->less[less]));
            }
            const __m256 scale = _mm256_mul_ps(d[h], _mm256_set1_ps(of->scale));
            tile->y[h][r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, tile->y[h][r]);
            if (m) {
                tile->y[h][r] = _mm256_fmadd_ps(m[h], _mm256_set1_ps(of->sum), tile->y[h][r]);
            }
        }
    }
}

INLINE void next_block(struct tile *tile) {
    EACH_ROW {
        tile->q[r] += BLOCK;
        tile->sums[r]++;
    }
}

/* A block of nibbles, with a fifth bit or not. */
INLINE void add_nibbles(const struct tile *tile, enum way way, const uint8_t *nibbles, const uint8_t *fifth,
                        tile_sums sums) {
    const __m256i bit = _mm256_set1_epi8(16);
    __m256i bits[HALVES], low[HALVES], high[HALVES];
    EACH_HALF { bits[h] = fifth ? load(tile, fifth, h) : bit; }
    UNROLL for (int i = 0; i < 4; i++) {
        EACH_HALF {
            const __m256i bytes = load(tile, nibbles + 64 * i, h);
            low[h] = low_halves(bytes), high[h] = high_halves(bytes);
            if (fifth) { /* bit 2i of a byte belongs to the low halves, bit 2i + 1 to the high ones: both to bit 4 */
                const int left = 4 - 2 * i;
                const __m256i two = left > 0 ? _mm256_slli_epi16(bits[h], left) : _mm256_srli_epi16(bits[h], -left);
                low[h] = _mm256_or_si256(low[h], _mm256_and_si256(two, bit));
                high[h] = _mm256_or_si256(high[h], _mm256_and_si256(_mm256_srli_epi16(two, 1), bit));
            }
        }
        add8(tile, way, 8 * i, low, high, sums);
    }
}

/* A block of bytes, which are stored as w + 128. */
INLINE void add_bytes(const struct tile *tile, enum way way, const uint8_t *bytes, tile_sums sums) {
    if (way == WHOLE) {
        __m256i low[HALVES], high[HALVES];
        UNROLL for (int i = 0; i < 4; i++) {
            EACH_HALF {
                low[h] = load(tile, bytes + 128 * i, h);
                high[h] = load(tile, bytes + 128 * i + 64, h);
            }
            add8(tile, way, 8 * i, low, high, sums);
        }
        return;
    }
    UNROLL for (int i = 0; i < 8; i++) {
        __m256i w[HALVES], magnitude[HALVES];
        EACH_HALF {
            w[h] = _mm256_xor_si256(load(tile, bytes + 64 * i, h), _mm256_set1_epi8(-128));
            magnitude[h] = _mm256_abs_epi8(w[h]);
        }
        EACH_ROW {
            const __m256i q = four(tile->q[r] + 4 * i);
            EACH_HALF {
                const __m256i pairs = pairs_of(magnitude[h], _mm256_sign_epi8(q, w[h]));
                sums[h][r] = ended(_mm256_add_epi32(sums[h][r], in_32(pairs)));
            }
        }
    }
}

INLINE void group_of_64(enum layout layout, struct tile *tile) {
    const bool minimum = layout == NIBBLES_MIN;
    const enum way way = way_of(layout);
    for (int b = 0; b < 2; b++) {
        const uint8_t *scales = tile->group + 32 * b;
        const uint8_t *weights = tile->group + (minimum ? 128 : 64) + (layout == BYTES ? 512 : 256) * b;
        __m256 d[HALVES], m[HALVES];
        tile_sums sums;
        EACH_HALF {
            d[h] = halves_at(scales, h);
            m[h] = minimum ? halves_at(scales + 64, h) : d[h];
        }
        clear(tile, sums);
        if (layout == BYTES) {
            add_bytes(tile, way, weights, sums);
        } else {
            add_nibbles(tile, way, weights, NULL, sums);
        }
        finish(tile, way, 0, d, minimum ? m : NULL, sums);
        next_block(tile);
    }
}

/* A group of Q4_K or Q5_K. */
INLINE void group_of_4_or_5(enum layout layout, struct tile *tile) {
    const enum way way = way_of(layout);
    const uint8_t *part = tile->group + 64;
    __m256 D[HALVES], M[HALVES], d[HALVES], m[HALVES];
    EACH_HALF {
        D[h] = halves_at(tile->group, h);
        M[h] = _mm256_xor_ps(halves_at(tile->group + 32, h), _mm256_set1_ps(-0.0f));
    }
    for (int b = 0; b < 8; b++) {
        const uint8_t *scales = part + 32 * (b % 2);
        tile_sums sums;
        EACH_HALF {
            d[h] = _mm256_mul_ps(D[h], unsigned_at(scales + LANES * h));
            m[h] = _mm256_mul_ps(M[h], unsigned_at(scales + PANEL + LANES * h));
        }
        clear(tile, sums);
        const uint8_t *fifth = layout == SUPER_5 ? part + 64 + 512 + 64 * (b % 2) : NULL;
        add_nibbles(tile, way, part + 64 + 256 * (b % 2), fifth, sums);
        finish(tile, way, 0, d, m, sums);
        next_block(tile);
        part += b % 2 ? 64 + 512 + (layout == SUPER_5 ? 128 : 0) : 0;
    }
}

/* A group of Q6_K, in halves of blocks. */
INLINE void group_of_6(struct tile *tile) {
    const __m256i mask = _mm256_set1_epi8(0x30);
    const uint8_t *part = tile->group + 64;
    __m256 D[HALVES], d[HALVES];
    __m256i pairs[HALVES], low[HALVES], high[HALVES];
    EACH_HALF { D[h] = _mm256_load_ps((const float *)(const void *)tile->group + LANES * h); }
    for (int at = 0; at < 16; at++) {
        tile_sums sums;
        EACH_HALF {
            d[h] = _mm256_mul_ps(D[h], signed_at(part + PANEL * (at % 4) + LANES * h));
            pairs[h] = load(tile, part + 64 + 512 + 64 * (at % 4), h);
        }
        clear(tile, sums);
        UNROLL for (int i = 0; i < 2; i++) { /* pairs 2i and 2i + 1 of a byte to bits 4 and 5 */
            EACH_HALF {
                const __m256i bytes = load(tile, part + 64 + 128 * (at % 4) + 64 * i, h);
                const __m256i first = i ? pairs[h] : _mm256_slli_epi16(pairs[h], 4);
                const __m256i second = i ? _mm256_srli_epi16(pairs[h], 2) : _mm256_slli_epi16(pairs[h], 2);
                low[h] = _mm256_or_si256(low_halves(bytes), _mm256_and_si256(first, mask));
                high[h] = _mm256_or_si256(high_halves(bytes), _mm256_and_si256(second, mask));
            }
            add8(tile, WHOLE, 16 * (at % 2) + 8 * i, low, high, sums);
        }
        finish(tile, WHOLE, at % 2, d, NULL, sums);
        if (at % 2) {
            next_block(tile);
        }
        part += at % 4 == 3 ? 64 + 512 + 256 : 0;
    }
}

INLINE void one_tile(enum layout layout, int rows, bool prefetch, const struct format *format, const uint8_t *panel,
                     int64_t k, const int8_t *q, float *y, size_t stride, int64_t n_columns) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    struct tile its = {.rows = rows, .prefetch = prefetch, .group = panel}, *tile = &its;
    EACH_ROW {
        tile->q[r] = q + (size_t)r * row_bytes(k);
        tile->sums[r] = sums_of(tile->q[r], k);
        EACH_HALF { tile->y[h][r] = _mm256_setzero_ps(); }
    }
    for (int64_t i = 0; i < k; i += format->group, tile->group += format->group_bytes) {
        switch (layout) {
        case NIBBLES:
        case NIBBLES_MIN:
        case BYTES: group_of_64(layout, tile); break;
        case SUPER_4:
        case SUPER_5: group_of_4_or_5(layout, tile); break;
        case SUPER_6: group_of_6(tile); break;
        }
    }
    EACH_HALF {
        const int64_t at = LANES * h, left = n_columns - at;
        const __m256i columns = _mm256_cmpgt_epi32(_mm256_set1_epi32(left < LANES ? (int)left : LANES), lanes);
        EACH_ROW { _mm256_maskstore_ps(y + (size_t)r * stride + at, columns, tile->y[h][r]); }
    }
}

/* All rows over a panel. The first tile fetches the panel; for the others it is in the cache. */
INLINE void all_rows(enum layout layout, const struct format *format, const uint8_t *panel, int64_t k, const int8_t *q,
                     int64_t rows, float *y, size_t stride, int64_t n_columns) {
    bool fetch = true;
    for (; rows > 0; rows -= TILE_ROWS, q += TILE_ROWS * row_bytes(k), y += TILE_ROWS * stride, fetch = false) {
#define TILE(n, prefetch) one_tile(layout, n, prefetch, format, panel, k, q, y, stride, n_columns)
        switch (rows) {
        case 1: TILE(1, true); break;
        case 2: TILE(2, true); break;
        case 3: TILE(3, true); break;
        default:
            if (fetch) {
                TILE(4, true);
            } else {
                TILE(4, false);
            }
        }
#undef TILE
    }
}

#define MULTIPLY(layout)                                                                                               \
    static __attribute__((noinline)) void multiply_##layout(                                                           \
        const struct format *format, const uint8_t *panel, int64_t k, const int8_t *q, int64_t rows, float *y,         \
        size_t stride, int64_t n_columns) {                                                                            \
        all_rows(layout, format, panel, k, q, rows, y, stride, n_columns);                                             \
    }
MULTIPLY(NIBBLES)
MULTIPLY(NIBBLES_MIN)
MULTIPLY(BYTES)
MULTIPLY(SUPER_4)
MULTIPLY(SUPER_5)
MULTIPLY(SUPER_6)

static void multiply(const struct format *format, const uint8_t *panels, int64_t k, int64_t n_columns, int64_t first,
                     int64_t end, const int8_t *rows, int64_t n_rows, float *y, size_t stride) {
    static void (*const of_layout[])(const struct format *, const uint8_t *, int64_t, const int8_t *, int64_t, float *,
                                     size_t, int64_t) = {
        [NIBBLES] = multiply_NIBBLES, [NIBBLES_MIN] = multiply_NIBBLES_MIN, [BYTES] = multiply_BYTES,
        [SUPER_4] = multiply_SUPER_4, [SUPER_5] = multiply_SUPER_5,         [SUPER_6] = multiply_SUPER_6};
    for (int64_t panel = first; panel < end; panel++) {
        of_layout[format->layout](format, panels + (size_t)panel * panel_bytes(format, k), k, rows, n_rows,
                                  y + panel * PANEL, stride, n_columns - panel * PANEL);
    }
}

const struct product_tier NAMED(product_, TIER) = {NAMED(NAME_OF_, TIER), quantize, multiply};
