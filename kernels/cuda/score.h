/* The log-probability, rank and entropy of one row's token on the device, and a row's most probable entries. */
#ifndef CGK_CUDA_SCORE_H
#define CGK_CUDA_SCORE_H

#include "row.h"

/* A row's normalizer. Fails for a row that has none. */
DEVICE cgk_status normalize(struct block *b, const float *logits, uint32_t n_vocab, struct partition *all) {
    const cgk_status status = entry_status(greatest_entry(b, logits, NULL, n_vocab, UINT64_MAX));
    if (status == CGK_OK) {
        *all = partition_of(b, logits, n_vocab);
    }
    return status;
}

DEVICE uint32_t rank_of(struct block *b, const float *logits, uint32_t n_vocab, uint32_t token) {
    const uint64_t key = entry_key(logits[token], token);
    each_thread(t) {
        uint64_t before = 0;
        for (uint32_t i = t; i < n_vocab; i += THREADS) {
            before += entry_key(logits[i], i) > key;
        }
        b->part[t] = before;
    }
    return (uint32_t)block_sum(b);
}

/* ln(sum / 2^40) + sum of w * (max - l) / sum. The second sum adds whole numbers, in units of 2^-40: it has one value.
 * x * exp(-x) is at most 0.37, so 2^22 entries stay below 2^61. */
DEVICE float entropy_of(struct block *b, const float *logits, uint32_t n_vocab, struct partition all) {
    const float scale = scale_of(1.0);
    each_thread(t) {
        uint64_t sum = 0;
        for (uint32_t i = t; i < n_vocab; i += THREADS) {
            const uint64_t w = weight(logits[i], all.max, scale);
            if (w > 0 && logits[i] != all.max) {
                sum += (uint64_t)((double)w * ((double)all.max - (double)logits[i]));
            }
        }
        b->part[t] = sum;
    }
    const double distance = (double)block_sum(b);
    return (float)(log((double)all.sum / (double)WEIGHT_ONE) + distance / (double)all.sum);
}

/* By a whole block. The outputs are written by one thread; the status is the same in all. */
DEVICE cgk_status logprob_row(struct block *b, const float *logits, uint32_t n_vocab, const int32_t *token,
                              float *logprob, uint32_t *rank, float *entropy) {
    if (!logits || !token || !logprob || n_vocab < 1 || n_vocab > CGK_VOCAB_MAX || *token < 0 ||
        (uint32_t)*token >= n_vocab) {
        return CGK_ERROR_PARAMETER;
    }
    struct partition all;
    const cgk_status status = normalize(b, logits, n_vocab, &all);
    if (status != CGK_OK) {
        return status;
    }
    const uint32_t before = rank ? rank_of(b, logits, n_vocab, (uint32_t)*token) : 0;
    const float nats = entropy ? entropy_of(b, logits, n_vocab, all) : 0;
    each_thread(t) {
        if (t == 0) {
            *logprob = partition_logprob(all, logits[*token]);
            if (rank) {
                *rank = before;
            }
            if (entropy) {
                *entropy = nats;
            }
        }
    }
    return CGK_OK;
}

/* By a whole block, one pass an entry. */
DEVICE cgk_status top_row(struct block *b, const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids,
                          float *logprob) {
    if (!logits || !ids || !logprob || n_vocab < 1 || n_vocab > CGK_VOCAB_MAX || k < 1 || k > n_vocab) {
        return CGK_ERROR_PARAMETER;
    }
    struct partition all;
    const cgk_status status = normalize(b, logits, n_vocab, &all);
    if (status != CGK_OK) {
        return status;
    }
    uint64_t key = UINT64_MAX;
    for (uint32_t place = 0; place < k; place++) {
        key = greatest_entry(b, logits, NULL, n_vocab, key - 1);
        each_thread(t) {
            if (t == 0) {
                ids[place] = (int32_t)entry_id(key);
                logprob[place] = partition_logprob(all, logits[entry_id(key)]);
            }
        }
    }
    return CGK_OK;
}

#endif
