/* sample in vectors: the token, kept set and log-probability of ref/sample.c, to the bit.
 *
 * Weights are stored as floats. As in ref/, a kept set is a floor and a number of ties. The floor is sought with a split
 * of the row: one pass adds up what lies above a range of weights and lists what lies inside; a radix select among the
 * few that are listed finds the floor. The range comes from a bound, or from a sample of the row; the split itself shows
 * whether it holds the floor. Rows with +inf are left to ref/. */
#include "../ref/choice.h"
#include "../tier.h"
#include "row.h"

enum {
    BLOCK = 1024,       /* entries whose kept weights are added up together, to find the drawn one */
    FEW = 2048,         /* entries inside a split that are listed without looking for a narrower range */
    SAMPLE = 3072,      /* entries, about, that a range is guessed from */
    BINS = 1024,        /* of a histogram */
    BITS_ONE = 0x3F800000, /* the bits of 1.0f, the least weight */
    BITS_TOP = 0x53800000, /* and of 2^40, the greatest */
};

struct work {
    uint64_t *blocks;  /* [n / BLOCK, rounded up]: sums of the weights above the split */
    float *weights;    /* [n + LANES], 0 behind n */
    uint32_t *inside;  /* [n + LANES]: ids inside the split, ascending */
    uint32_t *listed;  /* [n + LANES]: other ids */
    uint32_t n;
    uint64_t total;    /* of all weights */
    /* The split: weights above `high` are counted, those above `low` and up to `high` are listed. */
    float low, high;
    uint64_t above_sum;
    uint32_t above, n_inside;
    bool listed_all; /* the split is all that weighs anything, and there are no blocks and no other weights */
};

struct kept {
    float floor;   /* every greater weight is kept */
    uint32_t ties; /* and of the entries that weigh `floor`, the first so many */
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

/* ---- one pass over the logits ---- */

INLINE ints banned_at(const uint8_t *banned, uint32_t n_vocab, uint32_t i) {
    bytes some = {0};
    if (i + LANES <= n_vocab) {
        memcpy(&some, banned + i, sizeof some);
    } else {
        memcpy(&some, banned + i, n_vocab - i);
    }
    return __builtin_convertvector(some, ints) != 0;
}

/* What a row has: its greatest entry, the greatest that is not banned, and whether a NaN is not banned. */
struct extremes {
    float all, open;
    bool nan;
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

/* Store the weights of the entries from `start` on, a tile of them or what is left, and add them. At low temperatures
 * most are 0: a vector that is 0 in all lanes is left out of all but the first loop. */
INLINE void weigh_tile(struct sum *sum, const struct work *work, const float *logits, const uint8_t *banned,
                       uint32_t start, float max, float scale) {
    struct power power[TILE];
    uint32_t at[TILE], n = 0;
    for (uint32_t i = start; i < work->n && i < start + TILE_ENTRIES; i += LANES) {
        const floats row = logits_at(logits, work->n, i);
        ints weighs = (row - max) * scale > -41.0f; /* weights end at about -40 */
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

/* Store weights at a temperature and add them up; where `partition` is not NULL, sum that up as well. */
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

/* List the entries that may weigh anything at a low temperature, and weigh these alone: nothing is written for the rest
 * of the row. False where they are more than FEW; the work is as before then. */
INLINE bool weigh_few(struct work *work, const float *logits, const uint8_t *banned, float max, float scale) {
    words ids = lane_numbers();
    uint32_t n = 0, heavy = 0;
    for (uint32_t i = 0; i < work->n; i += LANES, ids += (uint32_t)LANES) {
        ints may = (logits_at(logits, work->n, i) - max) * scale > -41.0f; /* weights end at about -40 */
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

/* ---- the floor of a prefix ---- */

/* Split entries from `start` to `end`, a block; returns how many are listed inside. */
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
        if (any_above || lanes) { /* without an upper end few are inside: the branch is foreseen */
            n_inside += pack(work->inside + n_inside, ids, lanes);
        }
    }
    work->blocks[start / BLOCK] = sum_total(sum);
    return n_inside;
}

/* False where more than `limit` entries, a block more or less, are inside; the split is not complete then. */
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

/* Bin 0 has the weights whose bits are `first` to first + 2^shift - 1, and so on. Returns the number of bins. */
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

/* The floor of the shortest prefix of the entries inside the split that measures at least `need`: a radix select whose
 * digits are as fine as the range allows. */
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

/* Guess a range that holds the floor of a prefix, where all behind the prefix measures `excess`: from every so many-th
 * vector, as the weights below which the sample's measure is surely less, or surely more, by two standard deviations. */
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

/* The measure of the entries inside the split, of those with a weight above `floor`. */
static uint64_t inside_above(const struct work *work, float floor, bool by_sum) {
    uint64_t measure = 0;
    for (uint32_t i = 0; i < work->n_inside; i++) {
        const float weight = work->weights[work->inside[i]];
        measure += (weight > floor) * (by_sum ? integer(weight) : 1);
    }
    return measure;
}

/* Of all entries, the shortest prefix that measures at least `need`; all that are not 0 measure `total`. */
static struct kept shortest_prefix(struct work *work, uint64_t need, uint64_t total, bool by_sum) {
    const double excess = (double)(total - need);
    /* n entries of this weight are less than the excess: none is needed. 0.999: nothing that follows is rounded up. */
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

/* ---- the kept set ---- */

/* A split inside which `kept` ends: the last one, or another. */
static void split_for(struct work *work, struct kept kept) {
    if (!(work->low <= kept.floor && kept.floor <= work->high)) {
        split(work, kept.ties ? from_bits(bits(kept.floor) - 1) : kept.floor, kept.floor, work->n);
    }
}

static uint64_t kept_total(const struct work *work, struct kept kept) {
    return work->above_sum + inside_above(work, kept.floor, true) + kept.ties * integer(kept.floor);
}

static struct kept filter(struct work *work, const cgk_sample_params *params) {
    struct kept kept = {0.0f, 0};
    uint64_t total = work->total;
    if (params->top_k > 0) {
        split(work, 0.0f, 0.0f, 0);
        const uint32_t possible = work->listed_all ? work->n_inside : work->above;
        if (params->top_k < possible) {
            kept = shortest_prefix(work, params->top_k, possible, false);
            total = kept_total(work, kept);
        }
    }
    if (params->top_p < 1.0) {
        kept = shortest_prefix(work, nucleus_need(params->top_p, total), work->total, true);
    }
    const uint64_t least = least_weight(params->min_p);
    float least_float = (float)least;
    if (integer(least_float) < least) {
        least_float = from_bits(bits(least_float) + 1);
    }
    if (least_float > kept.floor) {
        kept = (struct kept){from_bits(bits(least_float) - 1), 0}; /* whole or not, what is greater is at least `least` */
    }
    return kept;
}

static uint32_t draw(struct work *work, struct kept kept, const cgk_sample_params *params) {
    uint64_t target = draw_target(params, kept_total(work, kept));
    for (uint32_t i = 0, ties = kept.ties; work->listed_all; i++) {
        const float weight = work->weights[work->inside[i]];
        const bool tie = weight == kept.floor && ties > 0;
        if (weight > kept.floor || tie) {
            if (target < integer(weight)) {
                return work->inside[i];
            }
            target -= integer(weight);
            ties -= tie;
        }
    }
    uint32_t ties_end = 0; /* the id behind the last kept tie */
    for (uint32_t i = 0, ties = kept.ties; ties > 0; i++) {
        if (work->weights[work->inside[i]] == kept.floor) {
            ties_end = work->inside[i] + 1;
            ties--;
        }
    }
    for (uint32_t i = 0; i < work->n_inside; i++) {
        const uint32_t id = work->inside[i];
        const float weight = work->weights[id];
        const bool chosen = (weight > kept.floor) | ((weight == kept.floor) & (id < ties_end));
        work->blocks[id / BLOCK] += chosen * integer(weight);
    }
    uint32_t block = 0;
    while (target >= work->blocks[block]) {
        target -= work->blocks[block++];
    }
    for (uint32_t id = block * BLOCK;; id++) {
        const float weight = work->weights[id];
        const bool chosen = (weight > kept.floor) | ((weight == kept.floor) & (id < ties_end));
        const uint64_t own = chosen * integer(weight);
        if (target < own) {
            return id;
        }
        target -= own;
    }
}

/* ---- cgk_sample ---- */

static size_t blocks_of(uint32_t n_vocab) { return n_vocab / BLOCK + 1; }

size_t NAME(sample_scratch)(uint32_t n_vocab) {
    const size_t own = blocks_of(n_vocab) * sizeof(uint64_t) + 3 * (n_vocab + (size_t)LANES) * sizeof(uint32_t);
    return own; /* more than ref/ needs */
}

static struct work work_in(void *scratch, uint32_t n_vocab) {
    const size_t row = n_vocab + (size_t)LANES;
    uint64_t *blocks = scratch;
    float *weights = (float *)(blocks + blocks_of(n_vocab));
    uint32_t *inside = (uint32_t *)(weights + row);
    return (struct work){.blocks = blocks, .weights = weights, .inside = inside, .listed = inside + row, .n = n_vocab,
                         .low = INFINITY};
}

cgk_status NAME(sample)(const float *logits, const uint8_t *banned, uint32_t n_vocab, const cgk_sample_params *params,
                        void *scratch, cgk_sample_result *result) {
    if (!usable(logits, n_vocab, params, scratch, result)) {
        return CGK_ERROR_PARAMETER;
    }
    const struct extremes max = banned ? extremes_of(logits, banned, n_vocab) : extremes_of(logits, NULL, n_vocab);
    if (max.nan) {
        return CGK_ERROR_NAN;
    }
    if (max.open == -INFINITY) {
        return CGK_ERROR_NO_CANDIDATE;
    }
    if (max.all == INFINITY) {
        return ref_sample(logits, banned, n_vocab, params, scratch, result);
    }
    struct partition all = {max.all, 0};
    uint32_t token, size = 1;
    if (params->temperature == 0) {
        token = first_open(logits, banned, n_vocab, max.open);
        all = partition_over(logits, n_vocab, max.all);
    } else {
        struct work work = work_in(scratch, n_vocab);
        const float scale = weight_scale(params->temperature);
        if (banned ? weigh_few(&work, logits, banned, max.open, scale)
                   : weigh_few(&work, logits, NULL, max.open, scale)) {
            all = partition_over(logits, n_vocab, max.all);
        } else if (banned) {
            weigh(&work, logits, banned, max.open, scale, &all);
        } else if (params->temperature == 1.0) { /* one sum serves both */
            weigh(&work, logits, NULL, max.open, scale, NULL);
            all.sum = work.total;
        } else {
            weigh(&work, logits, NULL, max.open, scale, &all);
        }
        const struct kept kept = filter(&work, params);
        split_for(&work, kept);
        size = work.above + (uint32_t)inside_above(&work, kept.floor, false) + kept.ties;
        token = draw(&work, kept, params);
    }
    *result = (cgk_sample_result){(int32_t)token, partition_logprob(all, logits[token]), size};
    return CGK_OK;
}
