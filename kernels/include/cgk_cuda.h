/* cgk on a CUDA device: the functions of cgk.h for logits in device memory. They are in libcgk_cuda, which nvcc builds.
 *
 * cgk.h states what they compute. Tokens, kept sets and ranks have the same bits as in the other tiers. A
 * log-probability ends with the device's own log, which may be off by one unit in the last place of a double, so its
 * float may, rarely, round the other way.
 *
 * Every pointer is to memory that the device can reach, except `stream`, a cudaStream_t or NULL. A call returns when
 * the work is queued; when it is done, `status` holds a cgk_status for each row. Rows are independent: one that fails
 * leaves only its own outputs unspecified. A call returns CGK_OK, or CGK_ERROR_PARAMETER if status is NULL, or
 * CGK_ERROR_DEVICE if CUDA refuses the launch; then nothing is written. No scratch memory is needed: weights are not
 * stored. */
#ifndef CGK_CUDA_H
#define CGK_CUDA_H

#include "cgk.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CGK_ERROR_DEVICE ((cgk_status)4)

/* cgk_sample. result: one; status: one. */
CGK_API cgk_status cgk_cuda_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab,
                                   const cgk_sample_params *params, cgk_sample_result *result, cgk_status *status,
                                   void *stream);

/* cgk_sample_rows. logits: addresses of rows [n_rows]; banned: addresses [n_rows], each of a mask or NULL; or NULL.
 * params, results, status: [n_rows]. */
CGK_API cgk_status cgk_cuda_sample_rows(const float *const *logits, const uint8_t *const *banned, uint32_t n_rows,
                                        uint32_t n_vocab, const cgk_sample_params *params, cgk_sample_result *results,
                                        cgk_status *status, void *stream);

/* cgk_logprob. status: [n_rows]. */
CGK_API cgk_status cgk_cuda_logprob(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens,
                                    float *logprob, uint32_t *rank, float *entropy, cgk_status *status, void *stream);

/* cgk_top. status: one. */
CGK_API cgk_status cgk_cuda_top(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob,
                                cgk_status *status, void *stream);

#ifdef __cplusplus
}
#endif

#endif
