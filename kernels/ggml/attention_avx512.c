/* Attention in AVX-512, with the bits of attention_ref.c.
 *
 * Up to four rows go over the cells together. A step of the scores has 16 of them: 1 row x 16 cells, 2 x 8 or 4 x 4; a
 * step that no row sees is left out. Scores and weights of a row lie one after the other, hidden cells left out. */
#include <stdbool.h>
#include <string.h>

#include "attention.h"
#include "exp2_avx512.h"
#include "half.h"

#define INLINE static inline __attribute__((always_inline))

#define UNROLL _Pragma("GCC unroll 16")

enum { LANES = 16, GROUP = 32 }; /* cells that are handled together */

/* Keys of a step of the scores: 16 products, but with 3 rows, 12. */
INLINE int step_of(int rows) { return rows == 1 ? 16 : rows == 2 ? 8 : 4; }

INLINE __m512 halves(const char *half) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)half)); }

/* Which of the cells from `at` on a row sees, as bits. */
INLINE uint32_t seen(const struct cells *cells, const uint16_t *mask, int64_t at) {
    const int64_t left = cells->count - at;
    const uint32_t all = left < GROUP ? (UINT32_C(1) << left) - 1 : ~UINT32_C(0);
    if (!mask) {
        return all;
    }
    return _mm512_mask_cmpneq_epi16_mask(all, _mm512_maskz_loadu_epi16(all, mask + at), _mm512_set1_epi16((int16_t)0xfc00));
}

/* A group of cells, and which of them each row and any row sees. */
struct seen_cells {
    uint32_t any, bits[ATTENTION_ROWS];
};

INLINE struct seen_cells seen_by_rows(const struct cells *cells, const struct attention_row *rows, int n_rows, int64_t at) {
    struct seen_cells found = {0};
    for (int r = 0; at < cells->count && r < n_rows; r++) {
        found.any |= found.bits[r] = seen(cells, rows[r].mask, at);
    }
    return found;
}

/* Whether the mask of a cell that is seen is not 0. */
INLINE bool masked(const uint16_t *mask, uint32_t bits, int64_t at) {
    const __m512i magnitude = _mm512_set1_epi16(0x7fff);
    return mask && _mm512_mask_test_epi16_mask(bits, _mm512_maskz_loadu_epi16(bits, mask + at), magnitude);
}

/* Adds the halves of two vectors; in sum4, quarters; and so on. Lane 4 l + i of the end is the sum of vector 4 l + i. */
INLINE __m512 sum2(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}
INLINE __m512 sum4(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}
INLINE __m512 sum8(__m512 a, __m512 b) {
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
INLINE __m512 sum16(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}
INLINE __m512 sums_of(const __m512 *v) {
    __m512 quarters[4];
    for (int i = 0; i < 4; i++) {
        quarters[i] = sum4(sum2(v[i], v[4 + i]), sum2(v[8 + i], v[12 + i]));
    }
    return sum16(sum8(quarters[0], quarters[1]), sum8(quarters[2], quarters[3]));
}

/* Where a group's keys or values are read from: the cache itself, or a copy in float32 that all rows read. */
struct group {
    const char *first;
    size_t stride;
    int count;
    bool copied;
};

INLINE __m512 elements(const struct group *group, bool copied, int i, int64_t at) {
    const char *from = group->first + (size_t)i * group->stride;
    return copied ? _mm512_loadu_ps((const float *)from + at) : halves(from + 2 * at);
}

/* The group of cells from `at` on, of which some row sees those of `any`: copied where many rows read it. Those of `next`,
 * in the group after it, are fetched from memory meanwhile. */
INLINE struct group group_of(const struct cells *cells, const char *from, size_t stride, int64_t size, int64_t at,
                             uint32_t any, uint32_t next, bool copied, float *copy) {
    const int64_t left = cells->count - at;
    struct group group = {from + (size_t)at * stride, stride, left < GROUP ? (int)left : GROUP, copied};
    for (; next; next &= next - 1) {
        const char *cell = group.first + (size_t)(GROUP + __builtin_ctz(next)) * stride;
        for (int64_t j = 0; j < size; j += 2 * LANES) {
            _mm_prefetch(cell + 2 * j, _MM_HINT_T0);
        }
    }
    if (copied) {
        for (; any; any &= any - 1) {
            const int i = __builtin_ctz(any);
            for (int64_t j = 0; j < size; j += LANES) {
                _mm512_storeu_ps(copy + i * size + j, elements(&group, false, i, j));
            }
        }
        group.first = (const char *)copy;
        group.stride = (size_t)size * sizeof *copy;
    }
    return group;
}

/* The products of the rows' queries and as many keys as make 16, from the i-th on, row by row. */
INLINE __m512 products(const struct group *keys, int64_t size, const struct attention_row *row, int rows, bool copied, int i) {
    const int step = step_of(rows);
    __m512 sums[LANES];
    UNROLL for (int s = 0; s < LANES; s++) { sums[s] = _mm512_setzero_ps(); }
    for (int64_t j = 0; j < size; j += LANES) {
        UNROLL for (int s = 0; s < step; s++) {
            /* Beside the last cell there may be no memory. */
            const __m512 k = elements(keys, copied, i + s < keys->count ? i + s : keys->count - 1, j);
            UNROLL for (int r = 0; r < rows; r++) {
                sums[r * step + s] = _mm512_fmadd_ps(_mm512_loadu_ps(row[r].q + j), k, sums[r * step + s]);
            }
        }
    }
    return sums_of(sums);
}

/* Adds masks that are finite and not 0, which are rare, to the scores of a group. */
static void add_masks(const uint16_t *mask, uint32_t bits, float *scores) {
    for (; bits; bits &= bits - 1) {
        *scores++ += float_of((const uint8_t *)(mask + __builtin_ctz(bits)));
    }
}

/* Puts the scores of a group's cells where each row's end. */
INLINE void score(const struct group *keys, const struct cells *cells, const struct attention_row *row, int rows,
                  bool copied, const uint32_t *bits, float **scores) {
    const int step = step_of(rows);
    const uint32_t steps = (UINT32_C(1) << step) - 1;
    const __m512 scale = _mm512_set1_ps(cells->scale);
    uint32_t any = 0;
    for (int r = 0; r < rows; r++) {
        any |= bits[r];
    }
    for (int i = 0; i < GROUP; i += step) {
        if (any >> i & steps) {
            const __m512 s = _mm512_mul_ps(products(keys, cells->k_size, row, rows, copied, i), scale);
            UNROLL for (int r = 0; r < rows; r++) {
                const uint32_t own = bits[r] >> i & steps;
                _mm512_storeu_ps(scores[r], _mm512_maskz_compress_ps((__mmask16)(own << r * step), s));
                scores[r] += __builtin_popcount(own);
            }
        }
    }
}

/* Makes weights of n scores; returns 1 / their sum, 0 if there are none. */
static float weigh(float *scores, int64_t n) {
    const __m512 nothing = _mm512_set1_ps(-INFINITY);
    _mm512_storeu_ps(scores + n, nothing);
    __m512 greatest = nothing;
    for (int64_t i = 0; i < n; i += LANES) {
        greatest = _mm512_max_ps(_mm512_loadu_ps(scores + i), greatest); /* of a NaN and a number, the second */
    }
    const __m512 max = _mm512_set1_ps(_mm512_reduce_max_ps(greatest)), one = _mm512_set1_ps(0x1p40f);
    __m512i all = _mm512_setzero_si512();
    for (int64_t i = 0; i < n; i += LANES) {
        const __m512 t = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(scores + i), max), _mm512_set1_ps(LOG2_E));
        const __mmask16 counts = _mm512_cmp_ps_mask(t, _mm512_set1_ps(EXP2_LEAST), _CMP_NLT_UQ);
        const __m512 p = _mm512_maskz_mov_ps(counts, powers_of_two(t)), whole = _mm512_mul_ps(p, one);
        _mm512_storeu_ps(scores + i, p);
        const __m512i low = _mm512_cvtps_epi64(_mm512_castps512_ps256(whole));
        all = _mm512_add_epi64(all, _mm512_add_epi64(low, _mm512_cvtps_epi64(_mm512_extractf32x8_ps(whole, 1))));
    }
    const int64_t sum = _mm512_reduce_add_epi64(all);
    return sum == 0 ? 0.0f : 1.0f / ((float)sum * 0x1p-40f);
}

/* Adds a group's values times their weights to the columns from `first` on, 16 * vectors of them. */
INLINE void add_values(const struct group *values, const struct attention_row *row, int rows, bool copied,
                       const uint32_t *bits, float *const *weights, int64_t first, int vectors) {
    const float *weight[ATTENTION_TILE];
    __m512 sums[ATTENTION_TILE][4], v[4];
    uint32_t any = 0;
    UNROLL for (int r = 0; r < rows; r++) {
        any |= bits[r];
        weight[r] = weights[r];
        UNROLL for (int j = 0; j < vectors; j++) { sums[r][j] = _mm512_loadu_ps(row[r].out + first + LANES * j); }
    }
    for (; any; any &= any - 1) {
        const int i = __builtin_ctz(any);
        UNROLL for (int j = 0; j < vectors; j++) { v[j] = elements(values, copied, i, first + LANES * j); }
        UNROLL for (int r = 0; r < rows; r++) {
            if (bits[r] >> i & 1) {
                const __m512 p = _mm512_set1_ps(*weight[r]++);
                UNROLL for (int j = 0; j < vectors; j++) { sums[r][j] = _mm512_fmadd_ps(p, v[j], sums[r][j]); }
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int j = 0; j < vectors; j++) { _mm512_storeu_ps(row[r].out + first + LANES * j, sums[r][j]); }
    }
}

INLINE void add_all_values(const struct group *values, const struct cells *cells, const struct attention_row *row, int rows,
                           bool copied, const uint32_t *bits, float **weights) {
    int64_t first = 0;
    for (; first + 4 * LANES <= cells->v_size; first += 4 * LANES) {
        add_values(values, row, rows, copied, bits, weights, first, 4);
    }
    for (; first < cells->v_size; first += LANES) {
        add_values(values, row, rows, copied, bits, weights, first, 1);
    }
    for (int r = 0; r < rows; r++) {
        weights[r] += __builtin_popcount(bits[r]);
    }
}

/* Both for any number of rows, copied or not: in the compiler's eyes these are constants. */
#define FOR_ROWS(function, group, copied) \
    for (int r = 0; r < n_rows; r += ATTENTION_TILE) { \
        const struct attention_row *row = rows + r; \
        switch (n_rows - r) { \
        case 1: function(group, cells, row, 1, copied, now.bits + r, place + r); break; \
        case 2: function(group, cells, row, 2, copied, now.bits + r, place + r); break; \
        case 3: function(group, cells, row, 3, copied, now.bits + r, place + r); break; \
        default: function(group, cells, row, 4, copied, now.bits + r, place + r); \
        } \
    }

static void attend(const struct cells *cells, const struct attention_row *rows, int n_rows, float *scratch) {
    const int64_t size = cells->k_size > cells->v_size ? cells->k_size : cells->v_size;
    const size_t stride = (size_t)cells->count + LANES;
    float *const copy = scratch, *const first = scratch + GROUP * size, *place[ATTENTION_ROWS], inverse[ATTENTION_ROWS];
    struct seen_cells now, next = seen_by_rows(cells, rows, n_rows, 0);
    const bool copied = n_rows > ATTENTION_TILE;
    for (int r = 0; r < n_rows; r++) {
        place[r] = first + r * stride;
    }
    for (int64_t at = 0; at < cells->count; at += GROUP) {
        now = next;
        next = seen_by_rows(cells, rows, n_rows, at + GROUP);
        if (!now.any) {
            continue;
        }
        const struct group keys = group_of(cells, cells->k, cells->k_stride, cells->k_size, at, now.any, next.any, copied, copy);
        if (copied) {
            FOR_ROWS(score, &keys, true)
        } else {
            FOR_ROWS(score, &keys, false)
        }
        for (int r = 0; r < n_rows; r++) {
            if (masked(rows[r].mask, now.bits[r], at)) {
                add_masks(rows[r].mask + at, now.bits[r], place[r] - __builtin_popcount(now.bits[r]));
            }
        }
    }
    for (int r = 0; r < n_rows; r++) {
        inverse[r] = weigh(first + r * stride, place[r] - (first + r * stride));
        place[r] = first + r * stride;
        memset(rows[r].out, 0, (size_t)cells->v_size * sizeof *rows[r].out);
    }
    next = seen_by_rows(cells, rows, n_rows, 0);
    for (int64_t at = 0; at < cells->count; at += GROUP) {
        now = next;
        next = seen_by_rows(cells, rows, n_rows, at + GROUP);
        if (!now.any) {
            continue;
        }
        const struct group values = group_of(cells, cells->v, cells->v_stride, cells->v_size, at, now.any, next.any, copied, copy);
        if (copied) {
            FOR_ROWS(add_all_values, &values, true)
        } else {
            FOR_ROWS(add_all_values, &values, false)
        }
    }
    for (int r = 0; r < n_rows; r++) {
        for (int64_t j = 0; j < cells->v_size; j += LANES) {
            float *out = rows[r].out + j;
            _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_loadu_ps(out), _mm512_set1_ps(inverse[r])));
        }
    }
}

const struct attention_tier attention_avx512 = {attend};
