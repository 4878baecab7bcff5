/* A tier: one implementation of sample, logprob and top, as include/cgk.h states them and with the same bits.
 * dispatch.c chooses the one that runs; the checker calls them all. */
#ifndef CGK_TIER_H
#define CGK_TIER_H

#include "cgk.h"

typedef cgk_status sample_function(const float *logits, const uint8_t *banned, uint32_t n_vocab,
                                   const cgk_sample_params *params, void *scratch, cgk_sample_result *result);
typedef size_t sample_scratch_function(uint32_t n_vocab);
typedef cgk_status logprob_function(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens,
                                    float *logprob, uint32_t *rank, float *entropy);
typedef cgk_status top_function(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob);

struct tier {
    const char *name;
    sample_function *sample;
    sample_scratch_function *sample_scratch;
    logprob_function *logprob;
    top_function *top;
};

#define TIER_DECLARE(name)                                                                                             \
    sample_function name##_sample;                                                                                     \
    sample_scratch_function name##_sample_scratch;                                                                     \
    logprob_function name##_logprob;                                                                                   \
    top_function name##_top;
#define TIER(name) {#name, name##_sample, name##_sample_scratch, name##_logprob, name##_top}

TIER_DECLARE(ref)
TIER_DECLARE(neon)
TIER_DECLARE(avx2)
TIER_DECLARE(avx512)
TIER_DECLARE(cuda) /* in tests only: on a GPU, or the same source on a CPU */

#endif
