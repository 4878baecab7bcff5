/* include/cgk.h implemented a second time, as plainly as possible: sorts, long sums, no tricks.
 * It shares no code with the kernels, so it does not repeat their mistakes. */
#ifndef CGK_TESTS_ORACLE_H
#define CGK_TESTS_ORACLE_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "cgk.h"

struct oracle_entry {
    uint64_t weight;
    uint32_t id;
};

static uint64_t oracle_weight(float logit, float max, double temperature) {
    const double wide = 1.4426950408889634 / temperature;
    const float scale = wide > FLT_MAX ? FLT_MAX : (float)wide;
    float y = logit == max ? 0.0f * scale : (logit - max) * scale;
    if (!(y > -64.0f)) {
        y = -64.0f;
    }
    const float n = rintf(y), f = y - n;
    const float c[6] = {1.0f, 0x1.62e42ap-1f, 0x1.ebf9bcp-3f, 0x1.c6b752p-5f, 0x1.3cea88p-7f, 0x1.5bba14p-10f};
    float p = c[5];
    for (int k = 4; k >= 0; k--) {
        p *= f;
        p += c[k];
    }
    return (uint64_t)ldexp((double)p, (int)n + 40);
}

static int oracle_order(const void *a, const void *b) {
    const struct oracle_entry *x = a, *y = b;
    if (x->weight != y->weight) {
        return x->weight > y->weight ? -1 : 1;
    }
    return x->id < y->id ? -1 : 1;
}

static int oracle_by_id(const void *a, const void *b) {
    return ((const struct oracle_entry *)a)->id < ((const struct oracle_entry *)b)->id ? -1 : 1;
}

/* r * total / 2^64 by long multiplication, a bit at a time. */
static uint64_t oracle_scaled(uint64_t r, uint64_t total) {
    uint64_t high = 0, low = 0;
    for (int bit = 63; bit >= 0; bit--) {
        high = high << 1 | low >> 63;
        low <<= 1;
        if (r >> bit & 1) {
            high += low + total < low;
            low += total;
        }
    }
    return high;
}

/* ln of the probability of logits[token], by libm's exp in double: more accurate than the kernels. */
static double oracle_logprob(const float *logits, uint32_t n_vocab, uint32_t token) {
    double max = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        max = logits[i] > max ? logits[i] : max;
    }
    for (uint32_t i = 0; i < n_vocab; i++) {
        sum += logits[i] == max ? 1.0 : isnan(logits[i]) ? 0.0 : exp((double)logits[i] - max);
    }
    return (logits[token] == max ? 0.0 : (double)logits[token] - max) - log(sum);
}

/* cgk_sample, but for the log-probability. */
static cgk_status oracle_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab,
                                const cgk_sample_params *params, cgk_sample_result *result) {
    float max = -INFINITY;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (!(banned && banned[i])) {
            if (isnan(logits[i])) {
                return CGK_ERROR_NAN;
            }
            max = fmaxf(max, logits[i]);
        }
    }
    if (max == -INFINITY) {
        return CGK_ERROR_NO_CANDIDATE;
    }
    struct oracle_entry *entries = malloc(n_vocab * sizeof *entries);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (!(banned && banned[i])) {
            const bool greedy = params->temperature == 0;
            const uint64_t w = greedy ? logits[i] == max : oracle_weight(logits[i], max, params->temperature);
            if (w > 0) {
                entries[kept++] = (struct oracle_entry){w, i};
            }
        }
    }
    qsort(entries, kept, sizeof *entries, oracle_order);
    if (params->temperature == 0) {
        kept = 1;
    } else {
        if (params->top_k > 0 && params->top_k < kept) {
            kept = params->top_k;
        }
        if (params->top_p < 1) {
            uint64_t all = 0, sum = 0;
            for (uint32_t i = 0; i < kept; i++) {
                all += entries[i].weight;
            }
            const double need = ceil(params->top_p * (double)all);
            uint32_t prefix = 0;
            do {
                sum += entries[prefix++].weight;
            } while (prefix < kept && sum < (uint64_t)need);
            kept = prefix;
        }
        while (entries[kept - 1].weight < (uint64_t)ceil(params->min_p * 0x1p40)) {
            kept--;
        }
    }
    uint64_t all = 0, sum = 0;
    for (uint32_t i = 0; i < kept; i++) {
        all += entries[i].weight;
    }
    const uint32_t counter[4] = {params->index, params->candidate, params->turn, 0};
    const uint32_t key[2] = {(uint32_t)(params->seed & 0xFFFFFFFF), (uint32_t)(params->seed >> 32)};
    uint32_t word[4];
    cgk_philox4x32(counter, key, word);
    const uint64_t target = oracle_scaled(word[0] + word[1] * UINT64_C(0x100000000), all);
    qsort(entries, kept, sizeof *entries, oracle_by_id);
    uint32_t chosen = 0;
    while ((sum += entries[chosen].weight) <= target) {
        chosen++;
    }
    *result = (cgk_sample_result){(int32_t)entries[chosen].id, 0.0f, kept};
    free(entries);
    return CGK_OK;
}

#endif
