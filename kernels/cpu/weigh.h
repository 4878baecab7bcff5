/* A row's weights at a temperature, stored or listed, and their sum. Weights are stored as floats: see row.h. */
#ifndef CGK_CPU_WEIGH_H
#define CGK_CPU_WEIGH_H

#include "row.h"

enum {
    BLOCK = 1024,       /* entries whose kept weights are summed together, to find the drawn one */
    FEW = 2048,         /* entries that a split may list before a narrower range is looked for */
    WEIGHT_END = -41,   /* an entry weighs nothing where log2 of its share of the greatest weight is this or less */
};
_Static_assert(WEIGHT_ONE >> -WEIGHT_END == 0, "an entry at WEIGHT_END would weigh something");

struct work {
    uint64_t *blocks;  /* [n / BLOCK, rounded up]: sums of the weights above the split */
    float *weights;    /* [n + LANES], 0 past n */
    uint32_t *inside;  /* [n + LANES]: ids inside the split, ascending */
    uint32_t *listed;  /* [n + LANES]: other ids */
    uint32_t n;
    uint64_t total;    /* of all weights */
    /* The split: weights above `high` are counted, those above `low` and up to `high` are listed. */
    float low, high;
    uint64_t above_sum;
    uint32_t above, n_inside;
    bool listed_all; /* the split lists every nonzero weight; there are no blocks and no other weights */
};

INLINE ints banned_at(const uint8_t *banned, uint32_t n_vocab, uint32_t i) {
    bytes some = {0};
    if (i + LANES <= n_vocab) {
        memcpy(&some, banned + i, sizeof some);
    } else {
        memcpy(&some, banned + i, n_vocab - i);
    }
    return __builtin_convertvector(some, ints) != 0;
}

struct extremes {
    float all;  /* the greatest entry of the row */
    float open; /* the greatest that is not banned */
    bool nan;   /* whether an entry that is not banned is NaN */
};

INLINE struct extremes extremes_of(const float *logits, const uint8_t *banned, uint32_t n_vocab) {
    floats all = splat(-INFINITY), open = all;
    ints nan = {0};
    for (uint32_t i = 0; i < n_vocab; i += LANES) {
        const floats row = logits_at(logits, n_vocab, i);
        all = greater_of(row, all);
        if (banned) {
            const ints closed = banned_at(banned, n_vocab, i);
            nan |= (row != row) & ~closed;
            open = greater_of(either(closed, splat(-INFINITY), row), open);
        } else {
            nan |= row != row;
        }
    }
    const float greatest = greatest_lane(all);
    return (struct extremes){greatest, banned ? greatest_lane(open) : greatest, bits_of(nan) != 0};
}

/* Store and sum the weights of a tile of entries from `start` on, or of those that are left. At low temperatures most
 * are 0: all but the first loop skip vectors that are 0 in every lane. */
INLINE void weigh_tile(struct sum *sum, const struct work *work, const float *logits, const uint8_t *banned,
                       uint32_t start, float max, float scale) {
    struct power power[TILE];
    uint32_t at[TILE], n = 0;
    for (uint32_t i = start; i < work->n && i < start + TILE_ENTRIES; i += LANES) {
        const floats row = logits_at(logits, work->n, i);
        ints weighs = (row - max) * scale > (float)WEIGHT_END;
        if (banned) {
            weighs &= ~banned_at(banned, work->n, i);
        }
        power[n] = power_of(either(weighs, row, splat(-INFINITY)), max, scale);
        at[n] = i;
        n += bits_of(weighs) != 0;
        store(work->weights + i, (floats){0});
    }
    for (uint32_t k = 0; k < n; k++) {
        store(work->weights + at[k], weights_of(power[k]));
    }
    for (uint32_t k = 0; k < n; k++) {
        sum_add(sum, load(work->weights + at[k]));
    }
}

/* Store and sum the weights of a row at a temperature; also sum `partition`, unless it is NULL. */
INLINE void weigh(struct work *work, const float *logits, const uint8_t *banned, float max, float scale,
                  struct partition *partition) {
    struct sum sum = {0}, all = {0};
    for (uint32_t i = 0; i < work->n; i += TILE_ENTRIES) {
        weigh_tile(&sum, work, logits, banned, i, max, scale);
        if (partition) {
            sum_tile(&all, logits, work->n, i, partition->max, weight_scale(1.0));
        }
        if (sum.vectors > SUM_VECTORS_MAX - TILE || all.vectors > SUM_VECTORS_MAX - TILE) {
            sum_flush(&sum, &work->total);
            sum_flush(&all, partition ? &partition->sum : &(uint64_t){0});
        }
    }
    sum_flush(&sum, &work->total);
    if (partition) {
        sum_flush(&all, &partition->sum);
    }
}

/* List the entries that may weigh anything at a low temperature, and weigh only those: nothing is written for the rest
 * of the row. False if there are more than FEW; `work` is unchanged then. */
INLINE bool weigh_few(struct work *work, const float *logits, const uint8_t *banned, float max, float scale) {
    words ids = lane_numbers();
    uint32_t n = 0, heavy = 0;
    for (uint32_t i = 0; i < work->n; i += LANES, ids += (uint32_t)LANES) {
        ints may = (logits_at(logits, work->n, i) - max) * scale > (float)WEIGHT_END;
        if (banned) {
            may &= ~banned_at(banned, work->n, i);
        }
        const uint32_t lanes = bits_of(may);
        if (lanes) {
            n += pack(work->listed + n, ids, lanes);
            if (n > FEW) {
                return false;
            }
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t id = work->listed[i];
        const uint64_t own = weight(logits[id], max, scale);
        work->weights[id] = (float)own;
        work->total += own;
        work->inside[heavy] = id;
        heavy += own > 0;
    }
    work->low = 0.0f, work->high = INFINITY;
    work->above_sum = 0, work->above = 0;
    work->n_inside = heavy;
    work->listed_all = true;
    return true;
}

static uint32_t first_open(const float *logits, const uint8_t *banned, uint32_t n_vocab, float value) {
    for (uint32_t i = 0;; i += LANES) {
        ints found = logits_at(logits, n_vocab, i) == value;
        if (banned) {
            found &= ~banned_at(banned, n_vocab, i);
        }
        const uint32_t lanes = bits_of(found);
        if (lanes) {
            return i + (uint32_t)__builtin_ctz(lanes);
        }
    }
}

#endif
