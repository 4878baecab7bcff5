/* GELU in its tanh form, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), in tiers with the same bits.
 *
 * As 1 + tanh(u) = 2 / (1 + exp(-2 u)), in float32 with `fma` rounding once:
 *
 *   t = x * fma(x * x, GELU_CUBE, GELU_LINE), at least EXP2_LEAST        y = x / (1 + exp2(t))
 *
 * and 0 up to -10, as in ggml. exp2: see exp2.h. Off by at most 1e-6 of the value, or by 1e-9; ggml's table of float16 is off by up to 2e-3. */
#ifndef CGK_GELU_H
#define CGK_GELU_H

#include <stdint.h>

#define GELU_LINE (-0x1.26aec2p+1f)  /* -2 log2(e) sqrt(2 / pi) */
#define GELU_CUBE (-0x1.a5a7dp-4f) /* the same times 0.044715 */

#define GELU_ZERO (-10.0f) /* x up to here gives 0; t is still below -EXP2_LEAST */

struct gelu_tier {
    void (*apply)(const float *x, float *y, int64_t n); /* y may be x */
};

extern const struct gelu_tier gelu_ref, gelu_avx2, gelu_avx512;

#endif
