/* One row's token on the device: banned ids, temperature, top-k, top-p, min-p and one draw.
 *
 * As in ref/sample.c, two numbers describe a kept set and nothing is sorted. Weights are not stored: each pass over the
 * row computes them again, and all but the first should read it from the L2 cache. */
#ifndef CGK_CUDA_SAMPLE_H
#define CGK_CUDA_SAMPLE_H

#include "row.h"

struct kept {
    uint64_t floor; /* every greater weight is kept */
    uint32_t ties;  /* how many entries of weight `floor` are kept, the first ones */
};

/* A weight is the whole part of a float, so it is a float too, and ordered by its bits: 6 of the exponent, then 23. */
enum { KEY_DIGITS = 3, EXPONENT_OF_ONE = 127 << 23 };

DEVICE uint32_t weight_key(uint64_t weight) { return __float_as_uint((float)weight) - EXPONENT_OF_ONE; }

DEVICE uint64_t key_weight(uint32_t key) { return (uint64_t)__uint_as_float(key + EXPONENT_OF_ONE); }

/* The shortest prefix whose measure, the sum of its weights or the number of its entries, is at least `need`.
 * need: 1 to the measure of all nonzero entries. A radix select: each pass finds one digit of the last weight. */
DEVICE struct kept shortest_prefix(struct block *b, const struct row *row, uint64_t need, bool by_sum) {
    uint32_t found = 0;
    for (int shift = (KEY_DIGITS - 1) * BIN_BITS; shift >= 0; shift -= BIN_BITS) {
        bins_clear(b);
        each_thread(t) {
            for (uint32_t i = t; i < row->n_vocab; i += THREADS) {
                const uint64_t w = weight_at(row, i);
                const uint32_t key = weight_key(w);
                if (w > 0 && key >> (shift + BIN_BITS) == found) {
                    bins_add(b, (key >> shift) % BINS, by_sum ? w : 1);
                }
            }
        }
        const struct place last = bins_locate(b, need - 1, true);
        need -= last.before;
        found = found << BIN_BITS | last.bin;
    }
    struct kept kept;
    kept.floor = key_weight(found);
    const uint64_t each = by_sum ? kept.floor : 1;
    kept.ties = (uint32_t)((need + each - 1) / each);
    return kept;
}

struct measure {
    uint64_t sum; /* of weights */
    uint32_t count;
};

DEVICE struct measure measure_of(struct block *b, const struct row *row, struct kept kept) {
    each_thread(t) {
        uint64_t sum = 0;
        uint32_t count = 0;
        for (uint32_t i = t; i < row->n_vocab; i += THREADS) {
            const uint64_t w = weight_at(row, i);
            sum += w > kept.floor ? w : 0;
            count += w > kept.floor;
        }
        b->part[t] = sum;
        b->low[t] = count;
    }
    struct measure all;
    all.sum = kept.ties * kept.floor + block_sum(b);
    each_thread(t) { b->part[t] = b->low[t]; }
    all.count = kept.ties + (uint32_t)block_sum(b);
    return all;
}

DEVICE struct kept filter(struct block *b, const struct row *row, const cgk_sample_params *params) {
    struct kept kept;
    kept.floor = 0;
    kept.ties = 0;
    if (params->top_k > 0 && params->top_k < measure_of(b, row, kept).count) {
        kept = shortest_prefix(b, row, params->top_k, false);
    }
    if (params->top_p < 1.0) {
        const uint64_t need = nucleus_need(params->top_p, measure_of(b, row, kept).sum);
        kept = shortest_prefix(b, row, need, true);
    }
    const uint64_t least = least_weight(params->min_p);
    if (least > kept.floor) {
        kept.floor = least - 1;
        kept.ties = 0;
    }
    return kept;
}

/* The first id at which a running sum exceeds target: with `ties`, the number of entries of weight `floor`; otherwise
 * the weights of the kept entries, where entries of weight `floor` are kept below id `tie_end`. The bins are stretches
 * of ids: first of the whole row, then of the stretch that was found. */
DEVICE uint32_t find_id(struct block *b, const struct row *row, uint64_t floor, uint32_t tie_end, bool ties,
                        uint64_t target) {
    uint32_t first = 0, end = row->n_vocab, stretch;
    do {
        stretch = (end - first + BINS - 1) / BINS;
        bins_clear(b);
        each_thread(t) {
            for (uint32_t i = first + t; i < end; i += THREADS) {
                const uint64_t w = weight_at(row, i);
                const bool kept = w > floor || (w == floor && i < tie_end);
                const uint64_t amount = ties ? w == floor : kept ? w : 0;
                if (amount > 0) {
                    bins_add(b, (i - first) / stretch, amount);
                }
            }
        }
        const struct place place = bins_locate(b, target, false);
        target -= place.before;
        first += place.bin * stretch;
        end = first + stretch < end ? first + stretch : end;
    } while (stretch > 1);
    return first;
}

/* By a whole block. The result is written by one thread; the status is the same in all. */
DEVICE cgk_status sample_row(struct block *b, const float *logits, const uint8_t *banned, uint32_t n_vocab,
                             const cgk_sample_params *params, cgk_sample_result *result) {
    if (!usable(logits, n_vocab, params) || !result) {
        return CGK_ERROR_PARAMETER;
    }
    const uint64_t best = greatest_entry(b, logits, banned, n_vocab, UINT64_MAX);
    const cgk_status status = entry_status(best);
    if (status != CGK_OK) {
        return status;
    }
    uint32_t token = entry_id(best), size = 1;
    if (params->temperature > 0) {
        const struct row row = {logits, banned, n_vocab, entry_logit(best), scale_of(params->temperature)};
        const struct kept kept = filter(b, &row, params);
        const struct measure all = measure_of(b, &row, kept);
        const uint32_t tie_end = kept.ties ? find_id(b, &row, kept.floor, 0, true, kept.ties - 1) + 1 : 0;
        size = all.count;
        token = find_id(b, &row, kept.floor, tie_end, false, draw_target(params, all.sum));
    }
    const struct partition all = partition_of(b, logits, n_vocab);
    each_thread(t) {
        if (t == 0) {
            result->token = (int32_t)token;
            result->logprob = partition_logprob(all, logits[token]);
            result->kept = size;
        }
    }
    return CGK_OK;
}

#endif
