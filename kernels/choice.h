/* The parts that all tiers of cgk_sample share, on the CPU and in CUDA: argument checks, the filters' needs, the draw. */
#ifndef CGK_CHOICE_H
#define CGK_CHOICE_H

#include <float.h>
#include <math.h>

#include "cgk.h"
#include "philox.h" /* defines SHARED */

#define WEIGHT_ONE (UINT64_C(1) << 40) /* the weight of the greatest logit */

/* Whether cgk_sample accepts these; result and scratch are the caller's to check. */
SHARED bool usable(const float *logits, uint32_t n_vocab, const cgk_sample_params *params) {
    return logits && params && n_vocab >= 1 && n_vocab <= CGK_VOCAB_MAX && params->temperature >= 0 &&
           params->temperature <= DBL_MAX && params->top_p >= 0 && params->min_p >= 0 &&
           params->min_p <= 1; /* each comparison is false for NaN */
}

/* The sum that top-p's prefix must reach, of a total `all`. */
SHARED uint64_t nucleus_need(double top_p, uint64_t all) {
    const uint64_t need = (uint64_t)ceil(top_p * (double)all);
    return need < 1 ? 1 : need > all ? all : need;
}

/* The least weight that min-p keeps. */
SHARED uint64_t least_weight(double min_p) { return (uint64_t)ceil(min_p * (double)WEIGHT_ONE); }

/* floor(a * b / 2^64), by halves: C11 has no wider integer. */
SHARED uint64_t high_product(uint64_t a, uint64_t b) {
    const uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    const uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    return a1 * b1 + (middle >> 32) + ((a0 * b1 + (uint32_t)middle) >> 32);
}

/* The draw, 0 to total - 1: the token is where the running sum of kept weights exceeds it. */
SHARED uint64_t draw_target(const cgk_sample_params *params, uint64_t total) {
    const uint32_t counter[4] = {params->index, params->candidate, params->turn, 0};
    const uint32_t key[2] = {(uint32_t)params->seed, (uint32_t)(params->seed >> 32)};
    uint32_t word[4];
    philox4x32(counter, key, word);
    return high_product((uint64_t)word[1] << 32 | word[0], total);
}

#endif
