/* The product with AVX-512 and VNNI: a lane for each column of a panel.
 *
 * vpdpbusd adds four products of an unsigned and a signed byte to each lane: the stored weights are the unsigned ones,
 * four activations, the same for all lanes, the signed ones. A tile is some rows, so that a weight is unpacked once for
 * all of them, and some panels, so that an activation's broadcast serves them all: up to eight rows and two panels, or for
 * few rows, which wait for memory, four panels, since four streams are read faster than two. */
#include <math.h>

#include "panel_avx512.h"
#include "product.h"

#define UNROLL _Pragma("GCC unroll 8")

enum { TILE_PANELS = 4, TILE_ROWS = 8, FEW_ROWS = 4, PANELS_OF_MANY = 2 };
enum { AHEAD = 2304 }; /* bytes between what is read and what is fetched */

/* Of 16 signed bytes: the sum of them plus 128 each, which is unsigned. */
INLINE int32_t sum_of(__m128i bytes) {
    const __m128i halves = _mm_sad_epu8(_mm_xor_si128(bytes, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(halves) + _mm_extract_epi32(halves, 2) - 16 * 128;
}

static void quantize(const struct format *format, const float *x, int64_t k, int8_t *row) {
    struct block_sums *sums = (struct block_sums *)(row + k);
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    for (; k > 0; k -= BLOCK, x += BLOCK, row += BLOCK, sums++) {
        const __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
        const __m512i tops = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude),
                                              _mm512_and_si512(_mm512_castps_si512(high), magnitude));
        const __m512i top = _mm512_set1_epi32((int)_mm512_reduce_max_epu32(tops));
        const float greatest = _mm512_cvtss_f32(_mm512_castsi512_ps(top));
        const float s = 127.0f / greatest;
        const __m512 times = _mm512_set1_ps(isfinite(s) ? s : 0.0f);
        /* what is not finite becomes INT_MIN, of which the lowest byte is 0 */
        const __m128i bytes0 = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(low, times)));
        const __m128i bytes1 = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(high, times)));
        _mm_storeu_si128((__m128i *)row, bytes0);
        _mm_storeu_si128((__m128i *)(row + 16), bytes1);
        const int32_t half0 = sum_of(bytes0), half1 = sum_of(bytes1);
        sums->scale = greatest / 127.0f;
        sums->sum = sums->scale * (float)(half0 + half1);
        sums->less[0] = -format->zero * (format->layout == SUPER_6 ? half0 : half0 + half1);
        sums->less[1] = -format->zero * half1;
    }
}

/* Fetches what lies so many bytes ahead, if that is not 0, into the second cache: the first one has no room for it. */
INLINE void fetch(const uint8_t *at, size_t ahead) {
    if (ahead) {
        _mm_prefetch((const char *)at + ahead, _MM_HINT_T1);
    }
}

INLINE __m512i load(const uint8_t *at, size_t ahead) {
    fetch(at, ahead);
    return _mm512_load_si512(at);
}

INLINE __m512i four(const int8_t *q) {
    int32_t bits;
    __builtin_memcpy(&bits, q, sizeof bits);
    return _mm512_set1_epi32(bits);
}

/* A tile: what it reads, and its results so far. */
struct tile {
    const uint8_t *group[TILE_PANELS]; /* where its panels are read */
    const int8_t *q[TILE_ROWS];
    const struct block_sums *sums[TILE_ROWS];
    __m512 y[TILE_PANELS][TILE_ROWS];
};

/* Adds 8 k to the sums: a pair of weight vectors of each panel, for 4 k each. */
INLINE void add8(const struct tile *tile, int panels, int rows, int k, const __m512i low[], const __m512i high[],
                 __m512i sums[TILE_PANELS][TILE_ROWS]) {
    UNROLL for (int r = 0; r < rows; r++) {
        const __m512i first = four(tile->q[r] + k), second = four(tile->q[r] + k + 4);
        UNROLL for (int p = 0; p < panels; p++) {
            sums[p][r] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sums[p][r], low[p], first), high[p], second);
        }
    }
}

INLINE void start_from(const struct tile *tile, int panels, int rows, int half, __m512i sums[TILE_PANELS][TILE_ROWS]) {
    UNROLL for (int r = 0; r < rows; r++) {
        const __m512i less = _mm512_set1_epi32(tile->sums[r]->less[half]);
        UNROLL for (int p = 0; p < panels; p++) {
            sums[p][r] = less;
        }
    }
}

/* After a block: y = fma(sums, d * scale, y), and with minima y = fma(m, sum, y). */
INLINE void finish(struct tile *tile, int panels, int rows, const __m512 d[], const __m512 *m,
                   __m512i sums[TILE_PANELS][TILE_ROWS]) {
    UNROLL for (int r = 0; r < rows; r++) {
        const __m512 scale = _mm512_set1_ps(tile->sums[r]->scale), sum = _mm512_set1_ps(tile->sums[r]->sum);
        UNROLL for (int p = 0; p < panels; p++) {
            __m512 *y = &tile->y[p][r];
            *y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[p][r]), _mm512_mul_ps(d[p], scale), *y);
            if (m) {
                *y = _mm512_fmadd_ps(m[p], sum, *y);
            }
        }
    }
}

INLINE void next_block(struct tile *tile, int rows) {
    UNROLL for (int r = 0; r < rows; r++) {
        tile->q[r] += BLOCK;
        tile->sums[r]++;
    }
}

/* A block of nibbles, with a fifth bit or not. */
INLINE void add_nibbles(struct tile *tile, int panels, int rows, size_t ahead, const uint8_t *const nibbles[],
                        const uint8_t *const fifth[], __m512i sums[TILE_PANELS][TILE_ROWS]) {
    __m512i bits[TILE_PANELS];
    if (fifth) {
        UNROLL for (int p = 0; p < panels; p++) {
            bits[p] = load(fifth[p], ahead);
        }
    }
    UNROLL for (int i = 0; i < 4; i++) {
        __m512i low[TILE_PANELS], high[TILE_PANELS];
        UNROLL for (int p = 0; p < panels; p++) {
            const __m512i bytes = load(nibbles[p] + 64 * i, ahead);
            low[p] = low_halves(bytes);
            high[p] = high_halves(bytes);
            if (fifth) {
                add_fifth_bits(i, bits[p], &low[p], &high[p]);
            }
        }
        add8(tile, panels, rows, 8 * i, low, high, sums);
    }
}

INLINE void group_of_64(enum layout layout, struct tile *tile, int panels, int rows, size_t ahead) {
    const bool minimum = layout == NIBBLES_MIN;
    const int head = minimum ? 128 : 64;
    UNROLL for (int b = 0; b < 2; b++) {
        __m512 d[TILE_PANELS], m[TILE_PANELS];
        __m512i sums[TILE_PANELS][TILE_ROWS];
        const uint8_t *weights[TILE_PANELS];
        UNROLL for (int p = 0; p < panels; p++) {
            fetch(tile->group[p], b == 0 ? ahead : 0);
            fetch(tile->group[p] + 64, b == 0 && minimum ? ahead : 0);
            d[p] = halves_at(tile->group[p] + 32 * b);
            m[p] = minimum ? halves_at(tile->group[p] + 64 + 32 * b) : _mm512_setzero_ps();
            weights[p] = tile->group[p] + head + (layout == BYTES ? 512 : 256) * b;
        }
        start_from(tile, panels, rows, 0, sums);
        if (layout == BYTES) {
            UNROLL for (int i = 0; i < 4; i++) {
                __m512i low[TILE_PANELS], high[TILE_PANELS];
                UNROLL for (int p = 0; p < panels; p++) {
                    low[p] = load(weights[p] + 128 * i, ahead);
                    high[p] = load(weights[p] + 128 * i + 64, ahead);
                }
                add8(tile, panels, rows, 8 * i, low, high, sums);
            }
        } else {
            add_nibbles(tile, panels, rows, ahead, weights, NULL, sums);
        }
        finish(tile, panels, rows, d, minimum ? m : NULL, sums);
        next_block(tile, rows);
    }
}

/* 64 of the 256 k of a group of Q4_K or Q5_K. */
INLINE void part_of_4_or_5(bool five, struct tile *tile, int panels, int rows, size_t ahead, const __m512 D[],
                           const __m512 M[], const uint8_t *const part[]) {
    UNROLL for (int b = 0; b < 2; b++) {
        __m512 d[TILE_PANELS], m[TILE_PANELS];
        __m512i sums[TILE_PANELS][TILE_ROWS];
        const uint8_t *weights[TILE_PANELS], *fifth[TILE_PANELS];
        UNROLL for (int p = 0; p < panels; p++) {
            const uint8_t *scales = part[p] + 32 * b;
            fetch(scales, b == 0 ? ahead : 0);
            d[p] = _mm512_mul_ps(D[p], unsigned_at(scales));
            m[p] = _mm512_mul_ps(M[p], unsigned_at(scales + PANEL));
            weights[p] = part[p] + 64 + 256 * b;
            fifth[p] = part[p] + 64 + 512 + 64 * b;
        }
        start_from(tile, panels, rows, 0, sums);
        add_nibbles(tile, panels, rows, ahead, weights, five ? fifth : NULL, sums);
        finish(tile, panels, rows, d, m, sums);
        next_block(tile, rows);
    }
}

/* The same of Q6_K, which has a scale for each half of a block. */
INLINE void part_of_6(struct tile *tile, int panels, int rows, size_t ahead, const __m512 D[],
                      const uint8_t *const part[]) {
    UNROLL for (int h = 0; h < 4; h++) {
        __m512 d[TILE_PANELS];
        __m512i sums[TILE_PANELS][TILE_ROWS], pairs[TILE_PANELS];
        UNROLL for (int p = 0; p < panels; p++) {
            fetch(part[p], h == 0 ? ahead : 0);
            d[p] = _mm512_mul_ps(D[p], signed_at(part[p] + PANEL * h));
            pairs[p] = load(part[p] + 64 + 512 + 64 * h, ahead);
        }
        start_from(tile, panels, rows, h % 2, sums);
        UNROLL for (int i = 0; i < 2; i++) {
            __m512i low[TILE_PANELS], high[TILE_PANELS];
            UNROLL for (int p = 0; p < panels; p++) {
                const __m512i bytes = load(part[p] + 64 + 128 * h + 64 * i, ahead);
                low[p] = low_halves(bytes);
                high[p] = high_halves(bytes);
                add_pairs(i, pairs[p], &low[p], &high[p]);
            }
            add8(tile, panels, rows, 16 * (h % 2) + 8 * i, low, high, sums);
        }
        finish(tile, panels, rows, d, NULL, sums);
        if (h % 2) {
            next_block(tile, rows);
        }
    }
}

INLINE void group_of_256(enum layout layout, struct tile *tile, int panels, int rows, size_t ahead) {
    const int part_bytes = 64 + 512 + (layout == SUPER_6 ? 256 : layout == SUPER_5 ? 128 : 0);
    __m512 D[TILE_PANELS], M[TILE_PANELS];
    const uint8_t *part[TILE_PANELS];
    UNROLL for (int p = 0; p < panels; p++) {
        const uint8_t *group = tile->group[p];
        fetch(group, ahead);
        D[p] = layout == SUPER_6 ? _mm512_load_ps(group) : halves_at(group);
        if (layout != SUPER_6) { /* -(M * e) has the bits of -M * e */
            M[p] = _mm512_xor_ps(halves_at(group + 32), _mm512_set1_ps(-0.0f));
        }
        part[p] = group + 64;
    }
    for (int i = 0; i < 4; i++) {
        if (layout == SUPER_6) {
            part_of_6(tile, panels, rows, ahead, D, part);
        } else {
            part_of_4_or_5(layout == SUPER_5, tile, panels, rows, ahead, D, M, part);
        }
        UNROLL for (int p = 0; p < panels; p++) {
            part[p] += part_bytes;
        }
    }
}

INLINE void one_tile(enum layout layout, int panels, int rows, bool prefetch, size_t group_bytes, const uint8_t *start,
                     size_t bytes, int64_t k, const int8_t *q, float *y, size_t stride, const __mmask16 columns[]) {
    struct tile tile;
    const int group = layout <= BYTES ? 64 : 256;
    UNROLL for (int r = 0; r < rows; r++) {
        tile.q[r] = q + (size_t)r * row_bytes(k);
        tile.sums[r] = sums_of(tile.q[r], k);
        UNROLL for (int p = 0; p < panels; p++) {
            tile.y[p][r] = _mm512_setzero_ps();
        }
    }
    UNROLL for (int p = 0; p < panels; p++) {
        tile.group[p] = start + (size_t)p * bytes;
    }
    for (int64_t i = 0; i < k; i += group) {
        /* From AHEAD and a group before their end on, the beginning of the next panels. */
        const bool near_end = tile.group[0] + group_bytes + AHEAD > start + bytes;
        const size_t ahead = !prefetch ? 0 : near_end ? AHEAD + (size_t)(panels - 1) * bytes : AHEAD;
        if (layout <= BYTES) {
            group_of_64(layout, &tile, panels, rows, ahead);
        } else {
            group_of_256(layout, &tile, panels, rows, ahead);
        }
        UNROLL for (int p = 0; p < panels; p++) {
            tile.group[p] += group_bytes;
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int p = 0; p < panels; p++) {
            _mm512_mask_storeu_ps(y + (size_t)r * stride + PANEL * p, columns[p], tile.y[p][r]);
        }
    }
}

#define TILE(n, prefetch) one_tile(layout, panels, n, prefetch, group_bytes, start, bytes, k, q, y, stride, columns)

/* All rows over one or two panels. The first tile fetches the panels; for the others they are in the cache. */
INLINE void all_rows(enum layout layout, int panels, size_t group_bytes, const uint8_t *start, size_t bytes, int64_t k,
                     const int8_t *q, int64_t rows, float *y, size_t stride, const __mmask16 columns[]) {
    bool first = true;
    for (; rows > 0; rows -= TILE_ROWS, q += TILE_ROWS * row_bytes(k), y += TILE_ROWS * stride, first = false) {
        switch (rows) {
        case 1: TILE(1, true); break;
        case 2: TILE(2, true); break;
        case 3: TILE(3, true); break;
        case 4: TILE(4, true); break;
        case 5: TILE(5, true); break;
        case 6: TILE(6, true); break;
        case 7: TILE(7, true); break;
        default:
            if (first) {
                TILE(8, true);
            } else {
                TILE(8, false);
            }
        }
    }
}

/* Up to FEW_ROWS rows over four panels. */
INLINE void few_rows(enum layout layout, int panels, size_t group_bytes, const uint8_t *start, size_t bytes, int64_t k,
                     const int8_t *q, int64_t rows, float *y, size_t stride, const __mmask16 columns[]) {
    switch (rows) {
    case 1: TILE(1, true); break;
    case 2: TILE(2, true); break;
    case 3: TILE(3, true); break;
    default: TILE(4, true);
    }
}
#undef TILE

#define MULTIPLY(layout)                                                                                               \
    static __attribute__((noinline)) void multiply_##layout(int panels, size_t group_bytes, const uint8_t *start,      \
                                                            size_t bytes, int64_t k, const int8_t *q, int64_t rows,    \
                                                            float *y, size_t stride, const __mmask16 columns[]) {      \
        switch (panels) {                                                                                              \
        case 1: all_rows(layout, 1, group_bytes, start, bytes, k, q, rows, y, stride, columns); break;                 \
        case 2: all_rows(layout, 2, group_bytes, start, bytes, k, q, rows, y, stride, columns); break;                 \
        default: few_rows(layout, 4, group_bytes, start, bytes, k, q, rows, y, stride, columns);                       \
        }                                                                                                              \
    }
MULTIPLY(NIBBLES)
MULTIPLY(NIBBLES_MIN)
MULTIPLY(BYTES)
MULTIPLY(SUPER_4)
MULTIPLY(SUPER_5)
MULTIPLY(SUPER_6)

static void multiply(const struct format *format, const uint8_t *panels, int64_t k, int64_t n_columns, int64_t first,
                     int64_t end, const int8_t *rows, int64_t n_rows, float *y, size_t stride) {
    static void (*const of_layout[])(int, size_t, const uint8_t *, size_t, int64_t, const int8_t *, int64_t, float *,
                                     size_t, const __mmask16[]) = {
        [NIBBLES] = multiply_NIBBLES, [NIBBLES_MIN] = multiply_NIBBLES_MIN, [BYTES] = multiply_BYTES,
        [SUPER_4] = multiply_SUPER_4, [SUPER_5] = multiply_SUPER_5,         [SUPER_6] = multiply_SUPER_6};
    const size_t bytes = panel_bytes(format, k);
    for (int64_t panel = first, count; panel < end; panel += count) {
        const int64_t left = end - panel;
        count = n_rows <= FEW_ROWS && left >= TILE_PANELS ? TILE_PANELS : left < PANELS_OF_MANY ? left : PANELS_OF_MANY;
        __mmask16 columns[TILE_PANELS];
        for (int p = 0; p < count; p++) {
            const int64_t wide = n_columns - (panel + p) * PANEL;
            columns[p] = wide < PANEL ? (__mmask16)((1 << wide) - 1) : 0xFFFF;
        }
        of_layout[format->layout]((int)count, format->group_bytes, panels + (size_t)panel * bytes, bytes, k, rows, n_rows,
                                  y + panel * PANEL, stride, columns);
    }
}

const struct product_tier product_avx512 = {"avx512", quantize, multiply};
