/* logprob and top in vectors. Rows with NaN or +inf, and rows of nothing but -inf, are left to ref/. */
#include "../ref/top.h"
#include "../tier.h"
#include "row.h"

/* Finds the greatest entry; false for a row that is left to ref/. */
static bool ordinary(const float *logits, uint32_t n_vocab, float *max) {
    floats greatest = splat(-INFINITY);
    ints nan = {0};
    for (uint32_t i = 0; i < n_vocab; i += LANES) {
        const floats row = logits_at(logits, n_vocab, i);
        nan |= row != row;
        greatest = greater_of(row, greatest);
    }
    *max = greatest_lane(greatest);
    return bits_of(nan) == 0 && *max > -INFINITY && *max < INFINITY;
}

static uint32_t rank_of(const float *logits, uint32_t n_vocab, uint32_t token) {
    const float own = logits[token];
    words before = {0}, ids = lane_numbers();
    for (uint32_t i = 0; i < n_vocab; i += LANES, ids += (uint32_t)LANES) {
        const floats row = logits_at(logits, n_vocab, i);
        before -= (words)((row > own) | ((row == own) & (ids < token)));
    }
    uint32_t rank = 0;
    for (int lane = 0; lane < LANES; lane++) {
        rank += before[lane];
    }
    return rank;
}

/* As in ref/: ln(sum) - mean of (l - max), here with (l - max) / scale = y from -64 on and sums of few in float. */
static float entropy_of(const float *logits, uint32_t n_vocab, struct partition all) {
    enum { FEW = 32 }; /* vectors */
    const float scale = weight_scale(1.0);
    double mean = 0.0; /* of y * sum */
    for (uint32_t i = 0; i < n_vocab;) {
        floats few = {0};
        for (uint32_t end = i + FEW * LANES; i < n_vocab && i < end; i += LANES) {
            const floats row = logits_at(logits, n_vocab, i);
            few += weights_of(power_of(row, all.max, scale)) * greater_of((row - all.max) * scale, splat(-64.0f));
        }
        for (int lane = 0; lane < LANES; lane++) {
            mean += (double)few[lane];
        }
    }
    return (float)(log((double)all.sum / (double)WEIGHT_ONE) - mean / (double)scale / (double)all.sum);
}

cgk_status NAME(logprob)(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens, float *logprob,
                         uint32_t *rank, float *entropy) {
    if (!logits || !tokens || !logprob || n_vocab < 1 || n_vocab > CGK_VOCAB_MAX) {
        return CGK_ERROR_PARAMETER;
    }
    for (uint32_t row = 0; row < n_rows; row++, logits += n_vocab) {
        float max;
        if (tokens[row] < 0 || (uint32_t)tokens[row] >= n_vocab || !ordinary(logits, n_vocab, &max)) {
            const cgk_status status = ref_logprob(logits, 1, n_vocab, &tokens[row], &logprob[row],
                                                  rank ? &rank[row] : NULL, entropy ? &entropy[row] : NULL);
            if (status != CGK_OK) {
                return status;
            }
            continue;
        }
        const uint32_t token = (uint32_t)tokens[row];
        const struct partition all = partition_over(logits, n_vocab, max);
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

cgk_status NAME(top)(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob) {
    float max;
    if (!logits || !ids || !logprob || n_vocab < 1 || n_vocab > CGK_VOCAB_MAX || k < 1 || k > n_vocab ||
        !ordinary(logits, n_vocab, &max)) {
        return ref_top(logits, n_vocab, k, ids, logprob);
    }
    /* As in ref/, but skips whole vectors in which nothing is greater than the least of the k found. */
    uint32_t found = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        while (found == k && i + LANES <= n_vocab && bits_of(load(logits + i) > logits[ids[k - 1]]) == 0) {
            i += LANES;
        }
        if (i < n_vocab) {
            found = top_insert(ids, found, k, logits, i);
        }
    }
    const struct partition all = partition_over(logits, n_vocab, max);
    for (uint32_t place = 0; place < k; place++) {
        logprob[place] = partition_logprob(all, logits[ids[place]]);
    }
    return CGK_OK;
}
