/* GELU in plain C, as gelu.h states it. */
#include "exp2.h"
#include "gelu.h"

static void apply(const float *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float t = x[i] * fmaf(x[i] * x[i], GELU_CUBE, GELU_LINE);
        t = t < EXP2_LEAST ? EXP2_LEAST : t;
        y[i] = x[i] <= GELU_ZERO ? 0.0f : x[i] / (1.0f + power_of_two(t));
    }
}

const struct gelu_tier gelu_ref = {apply};
