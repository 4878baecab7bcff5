/* The CUDA tier for the checker, its source compiled for this CPU, so that it can be checked without a GPU.
 * tests/native/test_cuda.py has the commands. */
#include "cuda_on_host.h"

#include <stdlib.h>

#include "../cuda/sample.h"
#include "../cuda/score.h"
#include "../tier.h"

/* Shared memory starts with arbitrary contents. */
static struct block *dirty(void) {
    struct block *block = malloc(sizeof *block);
    memset(block, 0xA5, sizeof *block);
    return block;
}

size_t cuda_sample_scratch(uint32_t n_vocab) { return n_vocab * sizeof(uint64_t); }

cgk_status cuda_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab, const cgk_sample_params *params,
                       void *scratch, cgk_sample_result *result) {
    struct block *block = dirty();
    cgk_status status = CGK_ERROR_PARAMETER;
    if (scratch) { /* none is needed, but cgk.h refuses NULL */
        status = sample_row(block, logits, banned, n_vocab, params, result);
    }
    free(block);
    return status;
}

cgk_status cuda_logprob(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens, float *logprob,
                        uint32_t *rank, float *entropy) {
    struct block *block = dirty();
    cgk_status status = logits && tokens && logprob ? CGK_OK : CGK_ERROR_PARAMETER;
    for (uint32_t row = 0; row < n_rows && status == CGK_OK; row++) {
        status = logprob_row(block, logits + (size_t)row * n_vocab, n_vocab, tokens + row, logprob + row,
                             rank ? rank + row : NULL, entropy ? entropy + row : NULL);
    }
    free(block);
    return status;
}

cgk_status cuda_top(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob) {
    struct block *block = dirty();
    const cgk_status status = top_row(block, logits, n_vocab, k, ids, logprob);
    free(block);
    return status;
}
