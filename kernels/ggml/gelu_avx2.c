/* GELU in AVX2, with the bits of gelu_ref.c. */
#include "exp2_avx2.h"
#include "gelu.h"

enum { LANES = 8 };

static void apply(const float *x, float *y, int64_t n) {
    const __m256 least = _mm256_set1_ps(EXP2_LEAST), zero = _mm256_set1_ps(GELU_ZERO), one = _mm256_set1_ps(1.0f);
    const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (int64_t i = 0; i < n; i += LANES) {
        const int left = n - i < LANES ? (int)(n - i) : LANES;
        const __m256i lanes = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), place);
        const __m256 v = _mm256_maskload_ps(x + i, lanes);
        const __m256 slope = _mm256_fmadd_ps(_mm256_mul_ps(v, v), _mm256_set1_ps(GELU_CUBE), _mm256_set1_ps(GELU_LINE));
        const __m256 other = _mm256_cmp_ps(v, zero, _CMP_NLE_UQ);
        /* Of a number and a NaN, max returns the NaN. Up to GELU_ZERO t is too large. */
        const __m256 t = _mm256_and_ps(_mm256_max_ps(least, _mm256_mul_ps(v, slope)), other);
        const __m256 result = _mm256_div_ps(v, _mm256_add_ps(one, powers_of_two(t)));
        _mm256_maskstore_ps(y + i, lanes, _mm256_and_ps(result, other));
    }
}

const struct gelu_tier gelu_avx2 = {apply};
