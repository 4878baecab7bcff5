/* The weight of a logit and the partition sum, as include/cgk.h states them, without bans and filters. */
#ifndef CGK_REF_WEIGHT_H
#define CGK_REF_WEIGHT_H

#include <string.h>

#include "../choice.h"

_Static_assert(FLT_EVAL_METHOD == 0, "float arithmetic must not be done in a wider type");

/* log2(e) / temperature as a float, for temperature > 0. */
static inline float weight_scale(double temperature) {
    const double scale = 1.4426950408889634 / temperature;
    return scale > FLT_MAX ? FLT_MAX : (float)scale;
}

static inline uint64_t weight(float logit, float max, float scale) {
    float y = (logit == max ? 0.0f : logit - max) * scale;
    y = y > -64.0f ? y : -64.0f; /* false for NaN too */
    const float t = y + 12582912.0f;
    const float n = t - 12582912.0f;
    const float f = y - n;
    float p = 0x1.5bba14p-10f;
    p = p * f + 0x1.3cea88p-7f;
    p = p * f + 0x1.c6b752p-5f;
    p = p * f + 0x1.ebf9bcp-3f;
    p = p * f + 0x1.62e42ap-1f;
    p = p * f + 1.0f;
    const uint32_t bits = (uint32_t)((int32_t)n + 40 + 127) << 23; /* 2^(n + 40) */
    float power;
    memcpy(&power, &bits, sizeof power);
    return (uint64_t)(int64_t)(p * power); /* at most 2^40; compilers convert to signed faster */
}

/* A row's normalizer at temperature 1. */
struct partition {
    float max;
    uint64_t sum; /* of weights; exp(l - max) * 2^40 / sum is the probability of l */
};

/* Over all entries; NaN counts as -inf. sum is 0 if every entry is -inf. */
static inline struct partition partition_of(const float *logits, uint32_t n_vocab) {
    struct partition all = {-INFINITY, 0};
    for (uint32_t i = 0; i < n_vocab; i++) {
        all.max = logits[i] > all.max ? logits[i] : all.max;
    }
    if (all.max > -INFINITY) {
        const float scale = weight_scale(1.0);
        for (uint32_t i = 0; i < n_vocab; i++) {
            all.sum += weight(logits[i], all.max, scale);
        }
    }
    return all;
}

static inline float partition_logprob(struct partition all, float logit) {
    const double relative = logit == all.max ? 0.0 : (double)logit - (double)all.max;
    return (float)(relative - log((double)all.sum / (double)WEIGHT_ONE));
}

#endif
