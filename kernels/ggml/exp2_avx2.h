/* exp2.h in AVX2. */
#ifndef CGK_EXP2_AVX2_H
#define CGK_EXP2_AVX2_H

#include <immintrin.h>

#include "exp2.h"

/* t: between EXP2_LEAST and -EXP2_LEAST, or a NaN. */
static inline __m256 powers_of_two(__m256 t) {
    const __m256 n = _mm256_round_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm256_sub_ps(t, n);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(EXP2_5), f, _mm256_set1_ps(EXP2_4));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(EXP2_3));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(EXP2_2));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(EXP2_1));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.0f));
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

#endif
