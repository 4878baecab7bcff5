/* A row of logits in vectors: its greatest entry, its weights, and exact sums of them. Weights are floats here, which
 * hold them exactly: they are whole numbers up to 2^40 with 24 significant bits (include/cgk.h). */
#ifndef CGK_CPU_ROW_H
#define CGK_CPU_ROW_H

#include "../ref/weight.h"
#include "vector.h"

/* LANES logits from entry i on; -inf past the end. */
INLINE floats logits_at(const float *logits, uint32_t n_vocab, uint32_t i) {
    return i + LANES <= n_vocab ? load(logits + i) : load_part(logits + i, n_vocab - i, -INFINITY);
}

INLINE float greatest_lane(floats values) {
    float greatest = values[0];
    for (int lane = 1; lane < LANES; lane++) {
        greatest = values[lane] > greatest ? values[lane] : greatest;
    }
    return greatest;
}

/* A weight that is half computed: 2^f times 2^n. As weight() in ref/weight.h, for a finite max. */
struct power {
    floats f;
    words n; /* in the bits of a float's exponent */
};

INLINE struct power power_of(floats logits, float max, float scale) {
    const floats y = greater_of((logits - max) * scale, splat(-64.0f));
    const floats t = y + 12582912.0f;
    return (struct power){y - (t - 12582912.0f), (words)t << 23}; /* the low bits of t are n */
}

INLINE floats weights_of(struct power power) {
    const floats f = power.f;
    floats p = splat(0x1.5bba14p30f); /* the coefficients times 2^40 */
    p = p * f + 0x1.3cea88p33f;
    p = p * f + 0x1.c6b752p35f;
    p = p * f + 0x1.ebf9bcp37f;
    p = p * f + 0x1.62e42ap39f;
    p = p * f + 0x1p40f;
    return whole((floats)((words)p + power.n)); /* times 2^n */
}

/* An exact sum of weights. Each is split into two whole numbers, a multiple of 2^20 and a rest of at most 2^19 either
 * way. Adding a large power of two puts each into the low bits of a float, and those are added as integers. */
struct sum {
    words high, low; /* they include the constants of sum_total once for each vector added */
    uint32_t vectors;
};
enum { SUM_VECTORS_MAX = 2048 }; /* beyond that, a lane of `high` could exceed 2^31 */

INLINE void sum_add(struct sum *sum, floats weights) {
    const floats high = weights + 0x1.8p43f;
    const floats low = (weights - (high - 0x1.8p43f)) + 0x1.8p23f;
    sum->high += (words)high;
    sum->low += (words)low;
    sum->vectors++;
}

INLINE uint64_t sum_total(struct sum sum) {
    const words high = sum.high - sum.vectors * UINT32_C(0x55400000); /* the bits of 0x1.8p43 */
    const words low = sum.low - sum.vectors * UINT32_C(0x4B400000);   /* and of 0x1.8p23 */
    uint64_t total = 0;
    for (int lane = 0; lane < LANES; lane++) {
        total += ((uint64_t)high[lane] << 20) + (uint64_t)(int64_t)(int32_t)low[lane];
    }
    return total;
}

INLINE void sum_flush(struct sum *sum, uint64_t *total) {
    *total += sum_total(*sum);
    *sum = (struct sum){0};
}

/* A row is processed in tiles, and a tile in short loops. A single loop would be a long chain of dependent operations,
 * and a processor holds too few of those at once to keep its units busy: it takes 1.4 times as long. */
enum { TILE = 64 /* vectors */, TILE_ENTRIES = TILE * LANES };

/* Add the weights of a tile of entries from `start` on, or of those that are left. */
INLINE void sum_tile(struct sum *sum, const float *logits, uint32_t n_vocab, uint32_t start, float max, float scale) {
    struct power power[TILE];
    floats weights[TILE];
    uint32_t n = 0;
    for (uint32_t i = start; i < n_vocab && n < TILE; i += LANES) {
        power[n++] = power_of(logits_at(logits, n_vocab, i), max, scale);
    }
    for (uint32_t k = 0; k < n; k++) {
        weights[k] = weights_of(power[k]);
    }
    for (uint32_t k = 0; k < n; k++) {
        sum_add(sum, weights[k]);
    }
}

/* The normalizer at temperature 1, for a finite max. */
static inline struct partition partition_over(const float *logits, uint32_t n_vocab, float max) {
    struct partition all = {max, 0};
    struct sum sum = {0};
    for (uint32_t i = 0; i < n_vocab; i += TILE_ENTRIES) {
        sum_tile(&sum, logits, n_vocab, i, max, weight_scale(1.0));
        if (sum.vectors > SUM_VECTORS_MAX - TILE) {
            sum_flush(&sum, &all.sum);
        }
    }
    sum_flush(&sum, &all.sum);
    return all;
}

#endif
