/* cgk_sample in plain C: temperature, top-k, top-p, min-p and one draw. What it computes is stated in include/cgk.h.
 *
 * Nothing is sorted. A kept set is a prefix of the order "greater weight first, then lower id", so two numbers describe
 * it: the weight at which it ends, and how many of the entries with just that weight belong to it. */
#include <math.h>

#include "cgk.h"
#include "weight.h"

struct kept {
    uint64_t floor; /* every greater weight is kept */
    uint32_t ties;  /* and of the entries that weigh `floor`, the first so many */
};

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, TOP_SHIFT = 3 * DIGIT_BITS }; /* 4 digits hold 2^40 */

/* The shortest prefix that measures at least `need`: by the sum of its weights, or by the number of its entries.
 * need: 1 to the measure of all entries that are not 0. A radix select: one digit of the last weight a pass. */
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
        const uint64_t all = total(weights, n_vocab, kept);
        uint64_t need = (uint64_t)ceil(params->top_p * (double)all);
        need = need < 1 ? 1 : need > all ? all : need;
        kept = shortest_prefix(weights, n_vocab, need, true);
    }
    const uint64_t least = (uint64_t)ceil(params->min_p * (double)WEIGHT_ONE);
    if (least > kept.floor) {
        kept = (struct kept){least - 1, 0};
    }
    return kept;
}

/* floor(a * b / 2^64), by halves: C11 has no wider integer. */
static uint64_t high_product(uint64_t a, uint64_t b) {
    const uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    const uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    return a1 * b1 + (middle >> 32) + ((a0 * b1 + (uint32_t)middle) >> 32);
}

static uint32_t draw(const uint64_t *weights, uint32_t n_vocab, struct kept kept, const cgk_sample_params *params) {
    const uint32_t counter[4] = {params->index, params->candidate, params->turn, 0};
    const uint32_t key[2] = {(uint32_t)params->seed, (uint32_t)(params->seed >> 32)};
    uint32_t word[4];
    cgk_philox4x32(counter, key, word);
    uint64_t target = high_product((uint64_t)word[1] << 32 | word[0], total(weights, n_vocab, kept));
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

static bool usable(const float *logits, uint32_t n_vocab, const cgk_sample_params *params, const void *scratch,
                   const cgk_sample_result *result) {
    return logits && params && scratch && result && n_vocab >= 1 && n_vocab <= CGK_VOCAB_MAX &&
           params->temperature >= 0 && params->temperature <= DBL_MAX && params->top_p >= 0 && params->min_p >= 0 &&
           params->min_p <= 1; /* each comparison is false for NaN */
}

CGK_API size_t cgk_sample_scratch(uint32_t n_vocab) { return n_vocab * sizeof(uint64_t); }

CGK_API cgk_status cgk_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab,
                              const cgk_sample_params *params, void *scratch, cgk_sample_result *result) {
    if (!usable(logits, n_vocab, params, scratch, result)) {
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

CGK_API cgk_status cgk_sample_rows(const float *const *logits, const uint8_t *const *banned, uint32_t n_rows,
                                   uint32_t n_vocab, const cgk_sample_params *params, void *scratch,
                                   cgk_sample_result *results) {
    if (!logits || !params || !results) {
        return CGK_ERROR_PARAMETER;
    }
    for (uint32_t row = 0; row < n_rows; row++) {
        const uint8_t *mask = banned ? banned[row] : NULL;
        const cgk_status status = cgk_sample(logits[row], mask, n_vocab, &params[row], scratch, &results[row]);
        if (status != CGK_OK) {
            return status;
        }
    }
    return CGK_OK;
}
