/* Attention in AVX-512, with the bits of attention_ref.c.
 *
 * Up to four rows go over the cells together. A step of the scores has 1 row x 16 cells, 2 x 8, 3 x 4 or 4 x 4; one that
 * no row sees is left out. Where few rows see a cell, a step has 16 pairs of a row and a cell. */
#include "attention_walk.h"
#include "exp2_avx512.h"

#define UNROLL _Pragma("GCC unroll 16")

enum { LANES = 16 };

static const int rows_to_copy = 2 * ATTENTION_TILE + 1;

static bool fetches_evenly(const struct seen_cells *seen) {
    (void)seen; /* it was measured with AVX2 alone */
    return false;
}

/* Keys of a step of the scores: 16 products, but with 3 rows, 12. */
INLINE int step_of(int rows) { return rows == 1 ? 16 : rows == 2 ? 8 : 4; }

INLINE __m512 halves(const char *half) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)half)); }

INLINE uint32_t shown(const uint16_t *mask, int count) {
    const uint32_t all = all_of(count);
    return _mm512_mask_cmpneq_epi16_mask(all, _mm512_maskz_loadu_epi16(all, mask), _mm512_set1_epi16((int16_t)HIDDEN));
}

INLINE bool adds(const uint16_t *mask, int count, uint32_t bits) {
    (void)count;
    return _mm512_mask_test_epi16_mask(bits, _mm512_maskz_loadu_epi16(bits, mask), _mm512_set1_epi16(0x7fff));
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

INLINE __m512 elements(const struct group *group, bool copied, int i, int64_t at) {
    const char *from = group->first + (size_t)i * group->stride;
    return copied ? _mm512_loadu_ps((const float *)from + at) : halves(from + 2 * at);
}

INLINE void copy_cells(const struct group *group, int64_t size, uint32_t any, float *copy) {
    for (; any; any &= any - 1) {
        const int i = __builtin_ctz(any);
        for (int64_t j = 0; j < size; j += LANES) {
            _mm512_storeu_ps(copy + i * size + j, elements(group, false, i, j));
        }
    }
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

/* Scores where many rows see a cell. */
INLINE void score_tile(const struct group *keys, const struct cells *cells, const struct attention_row *row, int rows,
                       bool copied, const uint32_t *bits, float *const *scores) {
    const int step = step_of(rows);
    const uint32_t steps = (UINT32_C(1) << step) - 1;
    const __m512 scale = _mm512_set1_ps(cells->scale);
    float *place[ATTENTION_TILE];
    uint32_t any = 0;
    for (int r = 0; r < rows; r++) {
        any |= bits[r];
        place[r] = scores[r];
    }
    for (int i = 0; i < GROUP; i += step) {
        if (any >> i & steps) {
            const __m512 s = _mm512_mul_ps(products(keys, cells->k_size, row, rows, copied, i), scale);
            UNROLL for (int r = 0; r < rows; r++) {
                const uint32_t own = bits[r] >> i & steps;
                _mm512_storeu_ps(place[r], _mm512_maskz_compress_ps((__mmask16)(own << r * step), s));
                place[r] += __builtin_popcount(own);
            }
        }
    }
}

/* Scores where few rows see a cell. */
INLINE void score_pairs(const struct group *keys, const struct cells *cells, const struct attention_row *row, int n_rows,
                        const uint32_t *bits, float *const *scores) {
    __m512 sums[LANES];
    float sixteen[LANES], *place[LANES];
    int n = 0, r = 0;
    uint32_t left = bits[0];
    float *next = scores[0];
    UNROLL for (int s = 0; s < LANES; s++) { sums[s] = _mm512_setzero_ps(); }
    for (;;) {
        while (!left && ++r < n_rows) {
            left = bits[r];
            next = scores[r];
        }
        if (left) {
            const int i = __builtin_ctz(left);
            __m512 sum = _mm512_setzero_ps();
            for (int64_t j = 0; j < cells->k_size; j += LANES) {
                sum = _mm512_fmadd_ps(_mm512_loadu_ps(row[r].q + j), elements(keys, false, i, j), sum);
            }
            sums[n] = sum;
            place[n++] = next++;
            left &= left - 1;
        }
        if (n == LANES || r == n_rows) {
            _mm512_storeu_ps(sixteen, _mm512_mul_ps(sums_of(sums), _mm512_set1_ps(cells->scale)));
            for (int s = 0; s < n; s++) {
                *place[s] = sixteen[s];
            }
            n = 0;
        }
        if (r == n_rows) {
            return;
        }
    }
}

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
        const __m512 p = _mm512_maskz_mov_ps(counts, powers_of_two(t));
        const __m512 whole = _mm512_maskz_mul_ps(_mm512_cmp_ps_mask(p, p, _CMP_ORD_Q), p, one); /* a NaN counts 0 */
        _mm512_storeu_ps(scores + i, p);
        const __m512i low = _mm512_cvtps_epi64(_mm512_castps512_ps256(whole));
        all = _mm512_add_epi64(all, _mm512_add_epi64(low, _mm512_cvtps_epi64(_mm512_extractf32x8_ps(whole, 1))));
    }
    const int64_t sum = _mm512_reduce_add_epi64(all);
    return sum == 0 ? 0.0f : 1.0f / ((float)sum * 0x1p-40f);
}

/* Adds a group's values times their weights to the columns from `first` on, 16 * vectors of them. */
INLINE void add_columns(const struct group *values, const struct attention_row *row, int rows, bool copied,
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
                           bool copied, const uint32_t *bits, float *const *weights) {
    int64_t first = 0;
    for (; first + 4 * LANES <= cells->v_size; first += 4 * LANES) {
        add_columns(values, row, rows, copied, bits, weights, first, 4);
    }
    for (; first < cells->v_size; first += LANES) {
        add_columns(values, row, rows, copied, bits, weights, first, 1);
    }
}

/* Calls a function with the number of rows, and copied or not, as constants in the compiler's eyes. */
#define FOR_ROWS(function, group, copied) \
    for (int r = 0; r < seen->n_rows; r += ATTENTION_TILE) { \
        switch (seen->n_rows - r) { \
        case 1: function(group, cells, rows + r, 1, copied, seen->bits + r, place + r); break; \
        case 2: function(group, cells, rows + r, 2, copied, seen->bits + r, place + r); break; \
        case 3: function(group, cells, rows + r, 3, copied, seen->bits + r, place + r); break; \
        default: function(group, cells, rows + r, 4, copied, seen->bits + r, place + r); \
        } \
    }

static void score(const struct group *keys, const struct cells *cells, const struct attention_row *rows,
                  const struct seen_cells *seen, float *const *place) {
    if (keys->copied) {
        FOR_ROWS(score_tile, keys, true)
    } else if (is_sparse(seen)) {
        score_pairs(keys, cells, rows, seen->n_rows, seen->bits, place);
    } else {
        FOR_ROWS(score_tile, keys, false)
    }
}

static void add_values(const struct group *values, const struct cells *cells, const struct attention_row *rows,
                       const struct seen_cells *seen, float *const *place) {
    if (values->copied) {
        FOR_ROWS(add_all_values, values, true)
    } else if (is_sparse(seen)) {
        for (int r = 0; r < seen->n_rows; r++) {
            add_all_values(values, cells, rows + r, 1, false, seen->bits + r, place + r);
        }
    } else {
        FOR_ROWS(add_all_values, values, false)
    }
}

const struct attention_tier attention_avx512 = {attend};
