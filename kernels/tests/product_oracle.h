/* The products of ggml/product.h, written a second time, from ggml's blocks and without panels. */
#ifndef CGK_PRODUCT_ORACLE_H
#define CGK_PRODUCT_ORACLE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../ggml/product.h"

/* ggml's types. */
enum { Q4_0 = 2, Q4_1 = 3, Q8_0 = 8, Q4_K = 12, Q5_K = 13, Q6_K = 14 };

static float oracle_half(const uint8_t *at) {
    const int bits = at[0] | at[1] << 8, exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double value = exponent == 31 ? (fraction ? NAN : INFINITY)
                                        : ldexp(exponent ? 1024 + fraction : fraction, (exponent ? exponent : 1) - 25);
    return (float)(bits & 0x8000 ? -value : value);
}

/* Weight `i` of a column as its block stores it, and what stands for 0. */
static int oracle_weight(int type, const uint8_t *column, int64_t i) {
    const int in = (int)(type < Q4_K ? i % 32 : i % 256);
    const uint8_t *block = column + (type < Q4_K ? i / 32 * (type == Q4_0 ? 18 : type == Q4_1 ? 20 : 34)
                                                 : i / 256 * (type == Q4_K ? 144 : type == Q5_K ? 176 : 210));
    switch (type) {
    case Q4_0: return (in < 16 ? block[2 + in] & 15 : block[2 + in - 16] >> 4) - 8;
    case Q4_1: return in < 16 ? block[4 + in] & 15 : block[4 + in - 16] >> 4;
    case Q8_0: return (int8_t)block[2 + in];
    case Q4_K:
    case Q5_K: {
        const int chunk = in / 64, at = in % 32;
        const uint8_t *low = block + (type == Q4_K ? 16 : 48) + 32 * chunk;
        const int nibble = in % 64 < 32 ? low[at] & 15 : low[at] >> 4;
        return nibble + (type == Q5_K ? (block[16 + at] >> in / 32 & 1) * 16 : 0);
    }
    default: {
        const int part = in / 128, quarter = in % 128 / 32, at = in % 32;
        const uint8_t low = block[64 * part + at + quarter % 2 * 32];
        return ((quarter < 2 ? low & 15 : low >> 4) | (block[128 + 32 * part + at] >> 2 * quarter & 3) << 4) - 32;
    }
    }
}

/* The 6-bit scale and minimum of block `b` of 8, as ggml's get_scale_min_k4 reads them. */
static void oracle_six_bits(const uint8_t *packed, int b, int *scale, int *minimum) {
    *scale = b < 4 ? packed[b] & 63 : (packed[b + 4] & 15) | (packed[b - 4] >> 6) << 4;
    *minimum = b < 4 ? packed[b + 4] & 63 : packed[b + 4] >> 4 | (packed[b] >> 6) << 4;
}

/* One result: a column of weights and a row of float32. */
static float oracle_product(int type, const uint8_t *column, const float *x, int64_t k) {
    float y = 0;
    for (int64_t b = 0; b < k / 32; b++, x += 32) {
        float greatest = 0;
        for (int i = 0; i < 32; i++) {
            greatest = isnan(x[i]) || isnan(greatest) ? NAN : fmaxf(greatest, fabsf(x[i]));
        }
        const float s = isfinite(127.0f / greatest) ? 127.0f / greatest : 0.0f, scale = greatest / 127.0f;
        long half[2] = {0, 0}, all = 0;
        for (int i = 0; i < 32; i++) {
            const float scaled = x[i] * s;
            const long q = isfinite(scaled) ? lrintf(scaled) : 0;
            half[i / 16] += q * oracle_weight(type, column, 32 * b + i);
            all += q;
        }
        const float total = (float)(half[0] + half[1]), sum = scale * (float)all;
        const uint8_t *super = column + b / 8 * (type == Q4_K ? 144 : type == Q5_K ? 176 : 210);
        switch (type) {
        case Q4_0: y = fmaf(total, oracle_half(column + 18 * b) * scale, y); break;
        case Q8_0: y = fmaf(total, oracle_half(column + 34 * b) * scale, y); break;
        case Q4_1:
            y = fmaf(total, oracle_half(column + 20 * b) * scale, y);
            y = fmaf(oracle_half(column + 20 * b + 2), sum, y);
            break;
        case Q4_K:
        case Q5_K: {
            int c, e;
            oracle_six_bits(super + 4, (int)(b % 8), &c, &e);
            const float d = oracle_half(super) * (float)c, m = -(oracle_half(super + 2) * (float)e);
            y = fmaf(total, d * scale, y);
            y = fmaf(m, sum, y);
            break;
        }
        default: {
            const float d = oracle_half(super + 208);
            const int8_t *scales = (const int8_t *)(super + 192) + 2 * (b % 8);
            y = fmaf((float)half[0], d * (float)scales[0] * scale, y);
            y = fmaf((float)half[1], d * (float)scales[1] * scale, y);
        }
        }
    }
    return y;
}

#endif
