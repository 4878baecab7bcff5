/* sample in vectors: the token, kept set and log-probability of ref/sample.c, bit for bit. weigh.h and select.h do the
 * work; rows with +inf are left to ref/. */
#include "../tier.h"
#include "select.h"

/* ---- the kept set ---- */

/* Ensure that the floor of `kept` lies inside the split. */
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
        split(work, 0.0f, 0.0f, 0); /* only counts: every weight lies above the empty range */
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
        kept = (struct kept){from_bits(bits(least_float) - 1), 0}; /* any greater weight is at least `least` */
    }
    return kept;
}

/* The drawn id where every entry that weighs anything is listed. The loop ends: target is below the kept total. */
static uint32_t draw_listed(const struct work *work, struct kept kept, uint64_t target) {
    for (uint32_t i = 0, ties = kept.ties;; i++) {
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
}

/* The drawn id of a whole row: first its block, by the sums of the blocks, then its entry. */
static uint32_t draw_in_blocks(struct work *work, struct kept kept, uint64_t target) {
    uint32_t ties_end = 0; /* one past the last kept tie */
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

static uint32_t draw(struct work *work, struct kept kept, const cgk_sample_params *params) {
    const uint64_t target = draw_target(params, kept_total(work, kept));
    return work->listed_all ? draw_listed(work, kept, target) : draw_in_blocks(work, kept, target);
}

/* ---- cgk_sample ---- */

static size_t blocks_of(uint32_t n_vocab) { return n_vocab / BLOCK + 1; }

size_t NAME(sample_scratch)(uint32_t n_vocab) {
    const size_t own = blocks_of(n_vocab) * sizeof(uint64_t) + 3 * (n_vocab + (size_t)LANES) * sizeof(uint32_t);
    return own; /* ref/ needs less */
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
    if (!usable(logits, n_vocab, params) || !scratch || !result) {
        return CGK_ERROR_PARAMETER;
    }
    /* Here and below a literal NULL lets the compiler drop the mask's code from the inlined copy without a mask. */
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
