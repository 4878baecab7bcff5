/* cgk_sample in plain C: temperature, top-k, top-p, min-p and one draw, as include/cgk.h states it.
 *
 * Nothing is sorted. A kept set is a prefix of the order "greater weight first, then lower id", so two numbers describe
 * it: the weight at which it ends, and how many entries of exactly that weight belong to it. */
#include "../tier.h"
#include "weight.h"

struct kept {
    uint64_t floor; /* every greater weight is kept */
    uint32_t ties;  /* how many entries of weight `floor` are kept, the first ones */
};

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, TOP_SHIFT = 3 * DIGIT_BITS }; /* 4 digits hold 2^40 */

/* The shortest prefix whose measure, the sum of its weights or the number of its entries, is at least `need`.
 * need: 1 to the measure of all nonzero entries. A radix select: each pass finds one digit of the last weight. */
static struct kept shortest_prefix(const uint64_t *weights, uint32_t n_vocab, uint64_t need, bool by_sum) {
    uint64_t found = 0;
    for (int shift = TOP_SHIFT; shift >= 0; shift -= DIGIT_BITS) {
        uint64_t measure[DIGITS] = {0};
        for (uint32_t i = 0; i < n_vocab; i++) {
            if (weights[i] >> (shift + DIGIT_BITS) == found) {
                measure[(weights[i] >> shift) % DIGITS] += by_sum ? weights[i] : 1;
            }
        }
        uint32_t digit = DIGITS - 1;
        while (measure[digit] < need) {
            need -= measure[digit--];
        }
        found = found << DIGIT_BITS | digit;
    }
    const uint64_t each = by_sum ? found : 1;
    return (struct kept){found, (uint32_t)((need + each - 1) / each)};
}

static uint64_t total(const uint64_t *weights, uint32_t n_vocab, struct kept kept) {
    uint64_t sum = kept.ties * kept.floor;
    for (uint32_t i = 0; i < n_vocab; i++) {
        sum += weights[i] > kept.floor ? weights[i] : 0;
    }
    return sum;
}

static uint32_t count(const uint64_t *weights, uint32_t n_vocab, struct kept kept) {
    uint32_t greater = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        greater += weights[i] > kept.floor;
    }
    return greater + kept.ties;
}

static struct kept filter(const uint64_t *weights, uint32_t n_vocab, const cgk_sample_params *params) {
    struct kept kept = {0, 0};
    if (params->top_k > 0 && params->top_k < count(weights, n_vocab, kept)) {
        kept = shortest_prefix(weights, n_vocab, params->top_k, false);
    }
    if (params->top_p < 1.0) {
        const uint64_t need = nucleus_need(params->top_p, total(weights, n_vocab, kept));
        kept = shortest_prefix(weights, n_vocab, need, true);
    }
    const uint64_t least = least_weight(params->min_p);
    if (least > kept.floor) {
        kept = (struct kept){least - 1, 0};
    }
    return kept;
}

static uint32_t draw(const uint64_t *weights, uint32_t n_vocab, struct kept kept, const cgk_sample_params *params) {
    uint64_t target = draw_target(params, total(weights, n_vocab, kept));
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (weights[i] > kept.floor || (weights[i] == kept.floor && kept.ties > 0)) {
            if (target < weights[i]) {
                return i;
            }
            target -= weights[i];
            kept.ties -= weights[i] == kept.floor;
        }
    }
    return n_vocab; /* not reached: target is below the total */
}

size_t ref_sample_scratch(uint32_t n_vocab) { return n_vocab * sizeof(uint64_t); }

cgk_status ref_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab, const cgk_sample_params *params,
                      void *scratch, cgk_sample_result *result) {
    if (!usable(logits, n_vocab, params) || !scratch || !result) {
        return CGK_ERROR_PARAMETER;
    }
    float max = -INFINITY;
    uint32_t best = n_vocab;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (banned && banned[i]) {
            continue;
        }
        if (isnan(logits[i])) {
            return CGK_ERROR_NAN;
        }
        if (logits[i] > max) {
            max = logits[i];
            best = i;
        }
    }
    if (best == n_vocab) {
        return CGK_ERROR_NO_CANDIDATE;
    }
    uint32_t token = best, size = 1;
    if (params->temperature > 0) {
        uint64_t *weights = scratch;
        const float scale = weight_scale(params->temperature);
        for (uint32_t i = 0; i < n_vocab; i++) {
            weights[i] = banned && banned[i] ? 0 : weight(logits[i], max, scale);
        }
        const struct kept kept = filter(weights, n_vocab, params);
        size = count(weights, n_vocab, kept);
        token = draw(weights, n_vocab, kept, params);
    }
    const float logprob = partition_logprob(partition_of(logits, n_vocab), logits[token]);
    *result = (cgk_sample_result){(int32_t)token, logprob, size};
    return CGK_OK;
}
