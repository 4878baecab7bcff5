/* The kept set, as in ref/: a floor and a number of ties.
 *
 * A split of the row finds the floor: one pass sums the weights above a range and lists those inside it, then a radix
 * select searches the few that are listed. The range comes from a bound, or is guessed from a sample of the row; the
 * split itself shows whether it contains the floor. */
#ifndef CGK_CPU_SELECT_H
#define CGK_CPU_SELECT_H

#include "weigh.h"

enum {
    SAMPLE = 3072,         /* entries that a range is guessed from, about */
    BINS = 1024,           /* of a histogram */
    BITS_ONE = 0x3F800000, /* the bits of 1.0f, the least weight */
    BITS_TOP = 0x53800000, /* and of 2^40, the greatest */
};

struct kept {
    float floor;   /* every greater weight is kept */
    uint32_t ties; /* how many entries of weight `floor` are kept, the first ones */
};

static uint32_t bits(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static float from_bits(uint32_t word) {
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static uint64_t integer(float weight) { return (uint64_t)(int64_t)weight; }

/* Split one block, entries `start` to `end`; returns how many are listed inside. */
INLINE uint32_t split_block(struct work *work, uint32_t start, uint32_t end, bool any_above, words *above_lanes,
                            uint32_t n_inside) {
    struct sum sum = {0};
    words ids = lane_numbers() + start;
    for (uint32_t i = start; i < end; i += LANES, ids += (uint32_t)LANES) {
        const floats weights = load(work->weights + i);
        ints inside = weights > work->low;
        if (any_above) {
            const ints above = weights > work->high;
            inside &= ~above;
            sum_add(&sum, only(above, weights));
            *above_lanes -= (words)above;
        }
        const uint32_t lanes = bits_of(inside);
        if (any_above || lanes) { /* without an upper end few are inside, and the branch is predicted well */
            n_inside += pack(work->inside + n_inside, ids, lanes);
        }
    }
    work->blocks[start / BLOCK] = sum_total(sum);
    return n_inside;
}

/* False if more than about `limit` entries are inside; the split is incomplete then. */
static bool split(struct work *work, float low, float high, uint32_t limit) {
    if (work->listed_all) {
        return true;
    }
    words above_lanes = {0};
    uint32_t n_inside = 0;
    work->low = low, work->high = high;
    work->above_sum = 0, work->above = 0;
    for (uint32_t start = 0; start < work->n && n_inside <= limit; start += BLOCK) {
        const uint32_t end = work->n - start < BLOCK ? work->n : start + BLOCK;
        n_inside = high == INFINITY ? split_block(work, start, end, false, &above_lanes, n_inside)
                                    : split_block(work, start, end, true, &above_lanes, n_inside);
        work->above_sum += work->blocks[start / BLOCK];
    }
    for (int lane = 0; lane < LANES; lane++) {
        work->above += above_lanes[lane];
    }
    work->n_inside = n_inside;
    return n_inside <= limit;
}

struct histogram {
    uint64_t sum[BINS];
    uint32_t count[BINS];
};

/* Bin 0 covers the weights whose bits are first to first + 2^shift - 1, and so on. Returns the number of bins. */
static uint32_t tally(struct histogram *bins, const float *weights, const uint32_t *ids, uint32_t n, uint32_t first,
                      uint32_t last, uint32_t *shift) {
    *shift = 0;
    while ((last - first) >> *shift >= BINS) {
        ++*shift;
    }
    memset(bins, 0, sizeof *bins);
    for (uint32_t i = 0; i < n; i++) {
        const float weight = weights[ids[i]];
        const uint32_t bin = (bits(weight) - first) >> *shift;
        bins->sum[bin] += integer(weight);
        bins->count[bin]++;
    }
    return ((last - first) >> *shift) + 1;
}

/* The shortest prefix of the entries inside the split whose measure is at least `need`: a radix select whose digits are
 * as fine as the range allows. */
static struct kept select_inside(const struct work *work, uint64_t need, bool by_sum) {
    struct histogram bins;
    uint32_t first = bits(work->low) < BITS_ONE ? BITS_ONE : bits(work->low) + 1;
    uint32_t last = work->high > 0x1p40f ? BITS_TOP : bits(work->high);
    const uint32_t *ids = work->inside;
    uint32_t n = work->n_inside;
    for (;;) {
        uint32_t shift, bin = tally(&bins, work->weights, ids, n, first, last, &shift) - 1;
        for (;; bin--) {
            const uint64_t measure = by_sum ? bins.sum[bin] : bins.count[bin];
            if (measure >= need) {
                break;
            }
            need -= measure;
        }
        if (bins.count[bin] == 1 || shift == 0) { /* one weight is left */
            const uint64_t weight = bins.sum[bin] / bins.count[bin], each = by_sum ? weight : 1;
            return (struct kept){(float)weight, (uint32_t)((need + each - 1) / each)};
        }
        first += bin << shift;
        last = last - first < (UINT32_C(1) << shift) ? last : first + (UINT32_C(1) << shift) - 1;
        uint32_t left = 0;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t id = ids[i];
            work->listed[left] = id;
            left += bits(work->weights[id]) - first <= last - first;
        }
        ids = work->listed;
        n = left;
    }
}

/* Guess a range that contains the floor of a prefix, if the rest of the row measures `excess`. Every step-th vector is
 * sampled; the ends are weights below which the row measures surely less, or surely more, by two standard deviations. */
static void guess_range(const struct work *work, double excess, bool by_sum, float *low, float *high) {
    const uint32_t step = work->n / SAMPLE > 1 ? work->n / SAMPLE : 1;
    words ids = lane_numbers();
    uint32_t n = 0;
    for (uint32_t i = 0; i < work->n; i += step * LANES, ids += step * LANES) {
        n += pack(work->listed + n, ids, bits_of(load(work->weights + i) > 0.0f));
    }
    struct histogram bins;
    uint32_t shift;
    const uint32_t n_bins = tally(&bins, work->weights, work->listed, n, BITS_ONE, BITS_TOP, &shift);
    double below = 0, variance = 0;
    for (uint32_t bin = 0; bin < n_bins; bin++) {
        const float edge = from_bits(BITS_ONE + ((bin + 1) << shift) - 1);
        const double each = by_sum ? (double)edge : 1.0;
        const double measure = by_sum ? (double)bins.sum[bin] : bins.count[bin];
        below += measure;
        variance += measure * each;
        const double distance = excess / step - below;
        if (distance * distance > 4 * (variance + each * each)) {
            if (distance < 0) {
                *high = edge;
                return;
            }
            *low = edge > *low ? edge : *low;
        }
    }
}

/* The measure of the entries inside the split whose weight is above `floor`. */
static uint64_t inside_above(const struct work *work, float floor, bool by_sum) {
    uint64_t measure = 0;
    for (uint32_t i = 0; i < work->n_inside; i++) {
        const float weight = work->weights[work->inside[i]];
        measure += (weight > floor) * (by_sum ? integer(weight) : 1);
    }
    return measure;
}

/* The shortest prefix of the row whose measure is at least `need`. total: the measure of all nonzero entries. */
static struct kept shortest_prefix(struct work *work, uint64_t need, uint64_t total, bool by_sum) {
    const double excess = (double)(total - need);
    /* n entries of this weight come to less than the excess, so none is needed; 0.999 allows for rounding. */
    const float least = by_sum ? (float)(excess / work->n * 0.999) : 0.0f;
    bool found = split(work, least, INFINITY, FEW);
    if (!found) {
        float low = least, high = INFINITY;
        guess_range(work, excess, by_sum, &low, &high);
        split(work, low, high, work->n);
        const uint64_t above = by_sum ? work->above_sum : work->above;
        found = above < need && need - above <= inside_above(work, 0.0f, by_sum);
    }
    if (!found) {
        split(work, least, INFINITY, work->n);
    }
    return select_inside(work, need - (by_sum ? work->above_sum : work->above), by_sum);
}

#endif
