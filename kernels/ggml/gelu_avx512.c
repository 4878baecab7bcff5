/* GELU in AVX-512, with the bits of gelu_ref.c. */
#include "exp2_avx512.h"
#include "gelu.h"

enum { LANES = 16 };

static void apply(const float *x, float *y, int64_t n) {
    const __m512 least = _mm512_set1_ps(EXP2_LEAST), zero = _mm512_set1_ps(GELU_ZERO);
    for (int64_t i = 0; i < n; i += LANES) {
        const __mmask16 lanes = n - i < LANES ? (__mmask16)((1u << (n - i)) - 1) : (__mmask16)0xffff;
        const __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
        const __m512 slope = _mm512_fmadd_ps(_mm512_mul_ps(v, v), _mm512_set1_ps(GELU_CUBE), _mm512_set1_ps(GELU_LINE));
        const __m512 t = _mm512_max_ps(least, _mm512_mul_ps(v, slope)); /* of a number and a NaN, the NaN */
        const __mmask16 other = _mm512_cmp_ps_mask(v, zero, _CMP_NLE_UQ);
        const __m512 whole = _mm512_add_ps(_mm512_set1_ps(1.0f), powers_of_two(t));
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_maskz_div_ps(other, v, whole));
    }
}

const struct gelu_tier gelu_avx512 = {apply};
