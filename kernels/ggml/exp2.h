/* 2^t in float32, the same bits in every tier: with n the integer nearest to t, ties to even, and f = t - n,
 * a polynomial in f by fma, times 2^n. Coefficients: as in ../ref/weight.h. Off by at most 2e-7 of the value, for t
 * between EXP2_LEAST and -EXP2_LEAST. */
#ifndef CGK_EXP2_H
#define CGK_EXP2_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXP2_LEAST (-126.0f)
#define EXP2_5 0x1.5bba14p-10f
#define EXP2_4 0x1.3cea88p-7f
#define EXP2_3 0x1.c6b752p-5f
#define EXP2_2 0x1.ebf9bcp-3f
#define EXP2_1 0x1.62e42ap-1f
#define LOG2_E 0x1.715476p+0f

/* A NaN stays one. */
static inline float power_of_two(float t) {
    if (isnan(t)) {
        return t;
    }
    const float n = nearbyintf(t), f = t - n;
    const float p = fmaf(fmaf(fmaf(fmaf(fmaf(EXP2_5, f, EXP2_4), f, EXP2_3), f, EXP2_2), f, EXP2_1), f, 1.0f);
    const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

#endif
