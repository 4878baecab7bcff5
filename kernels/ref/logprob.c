/* cgk_logprob and cgk_top in plain C: log-probability, rank and entropy of given tokens, and the most probable ones. */
#include <math.h>

#include "../tier.h"
#include "top.h"
#include "weight.h"

static uint32_t rank_of(const float *logits, uint32_t n_vocab, uint32_t token) {
    uint32_t before = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        before += logits[i] > logits[token] || (logits[i] == logits[token] && i < token);
    }
    return before;
}

/* -sum p ln p, with p = w / sum and ln p = l - max - ln(sum / 2^40). */
static float entropy_of(const float *logits, uint32_t n_vocab, struct partition all) {
    const float scale = weight_scale(1.0);
    double mean = 0.0; /* of (l - max) * sum */
    for (uint32_t i = 0; i < n_vocab; i++) {
        const uint64_t w = weight(logits[i], all.max, scale);
        if (w > 0 && logits[i] != all.max) {
            mean += (double)w * ((double)logits[i] - (double)all.max);
        }
    }
    return (float)(log((double)all.sum / (double)WEIGHT_ONE) - mean / (double)all.sum);
}

/* A row's normalizer. Fails for a row that has none. */
static cgk_status normalize(const float *logits, uint32_t n_vocab, struct partition *all) {
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (isnan(logits[i])) {
            return CGK_ERROR_NAN;
        }
    }
    *all = partition_of(logits, n_vocab);
    return all->sum == 0 ? CGK_ERROR_NO_CANDIDATE : CGK_OK;
}

cgk_status ref_logprob(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens, float *logprob,
                       uint32_t *rank, float *entropy) {
    if (!logits || !tokens || !logprob || n_vocab < 1 || n_vocab > CGK_VOCAB_MAX) {
        return CGK_ERROR_PARAMETER;
    }
    for (uint32_t row = 0; row < n_rows; row++, logits += n_vocab) {
        if (tokens[row] < 0 || (uint32_t)tokens[row] >= n_vocab) {
            return CGK_ERROR_PARAMETER;
        }
        struct partition all;
        const cgk_status status = normalize(logits, n_vocab, &all);
        if (status != CGK_OK) {
            return status;
        }
        const uint32_t token = (uint32_t)tokens[row];
        logprob[row] = partition_logprob(all, logits[token]);
        if (rank) {
            rank[row] = rank_of(logits, n_vocab, token);
        }
        if (entropy) {
            entropy[row] = entropy_of(logits, n_vocab, all);
        }
    }
    return CGK_OK;
}

cgk_status ref_top(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob) {
    if (!logits || !ids || !logprob || n_vocab < 1 || n_vocab > CGK_VOCAB_MAX || k < 1 || k > n_vocab) {
        return CGK_ERROR_PARAMETER;
    }
    struct partition all;
    const cgk_status status = normalize(logits, n_vocab, &all);
    if (status != CGK_OK) {
        return status;
    }
    uint32_t found = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        found = top_insert(ids, found, k, logits, i);
    }
    for (uint32_t place = 0; place < k; place++) {
        logprob[place] = partition_logprob(all, logits[ids[place]]);
    }
    return CGK_OK;
}
