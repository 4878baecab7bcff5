/* A row of logits on the device: weights, the greatest entry, the partition sum, as include/cgk.h states them. Each
 * float32 operation is rounded by itself (__fmul_rn, __fadd_rn: never fused). */
#ifndef CGK_CUDA_ROW_H
#define CGK_CUDA_ROW_H

#include "block.h"

#define SHARED DEVICE
#include "../choice.h"

struct row {
    const float *logits;   /* [n_vocab] */
    const uint8_t *banned; /* [n_vocab] or NULL */
    uint32_t n_vocab;
    float max, scale;
};

DEVICE float scale_of(double temperature) {
    const double scale = 1.4426950408889634 / temperature;
    return scale > FLT_MAX ? FLT_MAX : (float)scale;
}

DEVICE uint64_t weight(float logit, float max, float scale) {
    float y = __fmul_rn(logit == max ? 0.0f : __fsub_rn(logit, max), scale);
    y = y > -64.0f ? y : -64.0f; /* false for NaN too */
    const float n = __fsub_rn(__fadd_rn(y, 12582912.0f), 12582912.0f);
    const float f = __fsub_rn(y, n);
    float p = 0x1.5bba14p-10f;
    p = __fadd_rn(__fmul_rn(p, f), 0x1.3cea88p-7f);
    p = __fadd_rn(__fmul_rn(p, f), 0x1.c6b752p-5f);
    p = __fadd_rn(__fmul_rn(p, f), 0x1.ebf9bcp-3f);
    p = __fadd_rn(__fmul_rn(p, f), 0x1.62e42ap-1f);
    p = __fadd_rn(__fmul_rn(p, f), 1.0f);
    const float power = __uint_as_float((uint32_t)((int32_t)n + 40 + 127) << 23); /* 2^(n + 40) */
    return (uint64_t)(int64_t)__fmul_rn(p, power);
}

DEVICE uint64_t weight_at(const struct row *row, uint32_t i) {
    return row->banned && row->banned[i] ? 0 : weight(row->logits[i], row->max, row->scale);
}

/* A number that orders entries by (greater logit, lower id): the greatest is the first. NaN is above all, 0 below. */
DEVICE uint64_t entry_key(float logit, uint32_t id) {
    if (logit != logit) {
        return UINT64_MAX;
    }
    const uint32_t bits = __float_as_uint(__fadd_rn(logit, 0.0f)); /* -0 and 0 are equal */
    return (uint64_t)(bits >> 31 ? ~bits : bits | 0x80000000u) << 32 | (uint32_t)~id;
}

DEVICE uint32_t entry_id(uint64_t key) { return ~(uint32_t)key; }

DEVICE float entry_logit(uint64_t key) {
    const uint32_t bits = (uint32_t)(key >> 32);
    return __uint_as_float(bits >> 31 ? bits & 0x7FFFFFFFu : ~bits);
}

/* The greatest key up to `bound` among the entries that are not banned; 0 if there is none. */
DEVICE uint64_t greatest_entry(struct block *b, const float *logits, const uint8_t *banned, uint32_t n_vocab,
                               uint64_t bound) {
    each_thread(t) {
        uint64_t all = 0;
        for (uint32_t i = t; i < n_vocab; i += THREADS) {
            const uint64_t key = banned && banned[i] ? 0 : entry_key(logits[i], i);
            all = key > all && key <= bound ? key : all;
        }
        b->part[t] = all;
    }
    return block_max(b);
}

/* CGK_OK, or why a row's greatest entry cannot be chosen: it is NaN, or -inf. */
DEVICE cgk_status entry_status(uint64_t key) {
    return key == UINT64_MAX                            ? CGK_ERROR_NAN
           : key == 0 || entry_logit(key) == -INFINITY ? CGK_ERROR_NO_CANDIDATE
                                                        : CGK_OK;
}

/* A row's normalizer at temperature 1, over all entries, of which one at least is above -inf; NaN counts as -inf. */
struct partition {
    float max;
    uint64_t sum;
};

DEVICE struct partition partition_of(struct block *b, const float *logits, uint32_t n_vocab) {
    struct partition all;
    all.max = entry_logit(greatest_entry(b, logits, NULL, n_vocab, UINT64_MAX - 1));
    const float scale = scale_of(1.0);
    each_thread(t) {
        uint64_t sum = 0;
        for (uint32_t i = t; i < n_vocab; i += THREADS) {
            sum += weight(logits[i], all.max, scale);
        }
        b->part[t] = sum;
    }
    all.sum = block_sum(b);
    return all;
}

DEVICE float partition_logprob(struct partition all, float logit) {
    const double relative = logit == all.max ? 0.0 : (double)logit - (double)all.max;
    return (float)(relative - log((double)all.sum / (double)WEIGHT_ONE));
}

#endif
