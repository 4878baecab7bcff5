/* Attention in AVX2, with the bits of attention_ref.c. The rows go over a group of cells one after the other; sums of
 * sixteen are two vectors. */
#include "attention_walk.h"
#include "exp2_avx2.h"

#define UNROLL _Pragma("GCC unroll 8")

enum { LANES = 8 };

static const int rows_to_copy = 9;

/* What few rows see is waited for: of many lines at once, the later ones hold up what is read meanwhile. */
static bool fetches_evenly(const struct seen_cells *seen) { return seen->n_rows == 1 || is_sparse(seen); }

/* Of up to 32 masks from `mask` on, those that are `value` in the bits of `which`. */
static uint32_t equal(const uint16_t *mask, int count, uint16_t which, uint16_t value) {
    uint32_t found = 0;
    if (count < GROUP) { /* beside the last one there may be no memory */
        for (int i = 0; i < count; i++) {
            found |= (uint32_t)((mask[i] & which) == value) << i;
        }
        return found;
    }
    const __m256i bits = _mm256_set1_epi16((int16_t)which), wanted = _mm256_set1_epi16((int16_t)value);
    const __m256i low = _mm256_loadu_si256((const __m256i *)mask), high = _mm256_loadu_si256((const __m256i *)mask + 1);
    const __m256i both = _mm256_packs_epi16(_mm256_cmpeq_epi16(_mm256_and_si256(low, bits), wanted),
                                            _mm256_cmpeq_epi16(_mm256_and_si256(high, bits), wanted));
    return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(both, 0xd8));
}

static uint32_t shown(const uint16_t *mask, int count) { return all_of(count) & ~equal(mask, count, 0xffff, HIDDEN); }

static bool adds(const uint16_t *mask, int count, uint32_t bits) { return bits & ~equal(mask, count, 0x7fff, 0); }

INLINE __m256 halves(const char *half) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)half)); }

INLINE __m256 elements(const char *from, bool copied, int64_t at) {
    return copied ? _mm256_loadu_ps((const float *)from + at) : halves(from + 2 * at);
}

static void copy_cells(const struct group *group, int64_t size, uint32_t any, float *copy) {
    for (; any; any &= any - 1) {
        const int i = __builtin_ctz(any);
        for (int64_t j = 0; j < size; j += LANES) {
            _mm256_storeu_ps(copy + i * size + j, halves(group->first + (size_t)i * group->stride + 2 * j));
        }
    }
}

/* The products of a query and four keys. */
INLINE __m128 products(const float *q, const char *const *keys, bool copied, int64_t size) {
    __m256 low[4], high[4];
    __m128 four[4];
    UNROLL for (int i = 0; i < 4; i++) { low[i] = high[i] = _mm256_setzero_ps(); }
    for (int64_t j = 0; j < size; j += 2 * LANES) {
        const __m256 q_low = _mm256_loadu_ps(q + j), q_high = _mm256_loadu_ps(q + j + LANES);
        UNROLL for (int i = 0; i < 4; i++) {
            low[i] = _mm256_fmadd_ps(q_low, elements(keys[i], copied, j), low[i]);
            high[i] = _mm256_fmadd_ps(q_high, elements(keys[i], copied, j + LANES), high[i]);
        }
    }
    UNROLL for (int i = 0; i < 4; i++) {
        const __m256 eight = _mm256_add_ps(low[i], high[i]);
        four[i] = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    }
    const __m128 two0 = _mm_add_ps(_mm_movelh_ps(four[0], four[1]), _mm_movehl_ps(four[1], four[0]));
    const __m128 two1 = _mm_add_ps(_mm_movelh_ps(four[2], four[3]), _mm_movehl_ps(four[3], four[2]));
    return _mm_add_ps(_mm_shuffle_ps(two0, two1, 0x88), _mm_shuffle_ps(two0, two1, 0xdd));
}

/* Where keys and values are: where others have read them, to be fetched, or in a copy. */
enum source { CACHED, FETCHING, COPIED };

INLINE enum source source_of(const struct group *group, const struct seen_cells *seen) {
    return group->copied ? COPIED : fetches_evenly(seen) ? FETCHING : CACHED;
}

INLINE void score_row(const struct group *keys, const struct cells *cells, const float *q, enum source source, uint32_t bits,
                      float *scores) {
    for (; bits; scores += 4) {
        const char *four[4];
        int pairs = 0;
        for (int i = 0; i < 4; i++) { /* if there are fewer, the last one again */
            four[i] = bits ? keys->first + (size_t)__builtin_ctz(bits) * keys->stride : four[i - 1];
            pairs += bits != 0;
            bits &= bits - 1;
        }
        if (source == FETCHING) {
            fetch(keys->ahead, pairs * keys->ahead->pace);
        }
        const __m128 s = products(q, four, source == COPIED, cells->k_size);
        _mm_storeu_ps(scores, _mm_mul_ps(s, _mm_set1_ps(cells->scale)));
    }
}

static float weigh(float *scores, int64_t n) {
    const __m256 nothing = _mm256_set1_ps(-INFINITY);
    const __m256d magic = _mm256_set1_pd(0x1.8p52); /* to a number with that added, its integer is in the low bits */
    _mm256_storeu_ps(scores + n, nothing);
    __m256 greatest = nothing;
    for (int64_t i = 0; i < n; i += LANES) {
        greatest = _mm256_max_ps(_mm256_loadu_ps(scores + i), greatest); /* of a NaN and a number, the second */
    }
    float lanes[LANES], max = -INFINITY;
    _mm256_storeu_ps(lanes, greatest);
    for (int i = 0; i < LANES; i++) {
        max = lanes[i] > max ? lanes[i] : max;
    }
    __m256i all = _mm256_setzero_si256();
    for (int64_t i = 0; i < n; i += LANES) {
        const __m256 less = _mm256_sub_ps(_mm256_loadu_ps(scores + i), _mm256_set1_ps(max));
        const __m256 t = _mm256_mul_ps(less, _mm256_set1_ps(LOG2_E));
        const __m256 counts = _mm256_cmp_ps(t, _mm256_set1_ps(EXP2_LEAST), _CMP_NLT_UQ);
        const __m256 p = _mm256_and_ps(powers_of_two(_mm256_and_ps(t, counts)), counts);
        const __m256 number = _mm256_cmp_ps(p, p, _CMP_ORD_Q); /* a NaN counts 0 */
        const __m256 whole = _mm256_and_ps(_mm256_mul_ps(p, _mm256_set1_ps(0x1p40f)), number);
        _mm256_storeu_ps(scores + i, p);
        const __m256d low = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(whole)), magic);
        const __m256d high = _mm256_add_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(whole, 1)), magic);
        all = _mm256_add_epi64(all, _mm256_sub_epi64(_mm256_castpd_si256(low), _mm256_castpd_si256(magic)));
        all = _mm256_add_epi64(all, _mm256_sub_epi64(_mm256_castpd_si256(high), _mm256_castpd_si256(magic)));
    }
    int64_t sums[4];
    _mm256_storeu_si256((__m256i *)sums, all);
    const int64_t sum = sums[0] + sums[1] + sums[2] + sums[3];
    return sum == 0 ? 0.0f : 1.0f / ((float)sum * 0x1p-40f);
}

/* Adds a group's values times their weights to the columns from `first` on, 8 * vectors of them. */
INLINE void add_columns(const struct group *values, float *out, enum source source, uint32_t bits, const float *weight,
                        int64_t first, int vectors) {
    __m256 sums[8];
    UNROLL for (int j = 0; j < vectors; j++) { sums[j] = _mm256_loadu_ps(out + first + LANES * j); }
    for (; bits; bits &= bits - 1) {
        const char *value = values->first + (size_t)__builtin_ctz(bits) * values->stride;
        const __m256 p = _mm256_set1_ps(*weight++);
        if (source == FETCHING) {
            fetch(values->ahead, values->ahead->pace);
        }
        UNROLL for (int j = 0; j < vectors; j++) {
            sums[j] = _mm256_fmadd_ps(p, elements(value, source == COPIED, first + LANES * j), sums[j]);
        }
    }
    UNROLL for (int j = 0; j < vectors; j++) { _mm256_storeu_ps(out + first + LANES * j, sums[j]); }
}

INLINE void add_row(const struct group *values, const struct cells *cells, float *out, enum source source, uint32_t bits,
                    const float *weight) {
    int64_t first = 0;
    for (; first + 8 * LANES <= cells->v_size; first += 8 * LANES) {
        add_columns(values, out, source, bits, weight, first, 8);
    }
    for (; first < cells->v_size; first += 2 * LANES) {
        add_columns(values, out, source, bits, weight, first, 2);
    }
}

/* Calls a function for each row, with the source as a constant in the compiler's eyes. */
#define FOR_ROWS(function, group, operand) \
    const enum source source = source_of(group, seen); \
    for (int r = 0; r < seen->n_rows; r++) { \
        switch (source) { \
        case CACHED: function(group, cells, rows[r].operand, CACHED, seen->bits[r], place[r]); break; \
        case FETCHING: function(group, cells, rows[r].operand, FETCHING, seen->bits[r], place[r]); break; \
        case COPIED: function(group, cells, rows[r].operand, COPIED, seen->bits[r], place[r]); break; \
        } \
    }

static void score(const struct group *keys, const struct cells *cells, const struct attention_row *rows,
                  const struct seen_cells *seen, float *const *place) {
    FOR_ROWS(score_row, keys, q)
}

static void add_values(const struct group *values, const struct cells *cells, const struct attention_row *rows,
                       const struct seen_cells *seen, float *const *place) {
    FOR_ROWS(add_row, values, out)
}

const struct attention_tier attention_avx2 = {attend};
