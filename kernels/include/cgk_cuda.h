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
 * stored. The functions at the end are for a caller that has nothing on the device but the logits. */
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

/* ---- for a caller whose memory is the host's ---------------------------------------------------------------- */

/* The name of the first device; NULL if none answers, or if it is older than what this was compiled for. */
CGK_API const char *cgk_cuda_device(void);

/* Memory of a device that calls of cgk_cuda_host_sample_rows reuse, one call at a time. It grows as they need it. */
typedef struct cgk_cuda_scratch cgk_cuda_scratch;

/* NULL if there is no memory. */
CGK_API cgk_cuda_scratch *cgk_cuda_scratch_new(void);
CGK_API void cgk_cuda_scratch_free(cgk_cuda_scratch *scratch);

/* cgk_sample_rows, with its errors: rows of logits in a device's memory, all other pointers to the host's. It runs on
 * the device that has the logits, which must be final, and returns when the results are there. Masks are copied to the
 * device, one for each address. CGK_ERROR_PARAMETER if the logits are not a device's, CGK_ERROR_DEVICE if CUDA fails. */
CGK_API cgk_status cgk_cuda_host_sample_rows(const float *const *logits, const uint8_t *const *banned, uint32_t n_rows,
                                             uint32_t n_vocab, const cgk_sample_params *params,
                                             cgk_cuda_scratch *scratch, cgk_sample_result *results);

/* Where a pass of llama.cpp left its logits. The functions are ggml's, found in the ggml that is loaded. */
typedef struct cgk_cuda_output {
    const char *(*ggml_get_name)(const void *tensor);
    void *(*ggml_get_data)(const void *tensor);
    int64_t (*ggml_nrows)(const void *tensor);
    uint32_t n_tensors; /* so many since it was last set to 0 */
    const float *logits; /* of the last one, float32 [n_rows, n_vocab] in a device's memory; NULL if they are elsewhere */
    int64_t n_rows;
} cgk_cuda_output;

/* A ggml_backend_sched_eval_callback, to be set in a context's cb_eval, with a cgk_cuda_output as its data. It waits for
 * the tensor `result_output` of each pass. Those logits stay there until the next pass. */
CGK_API bool cgk_cuda_note_output(void *tensor, bool ask, void *output);

#ifdef __cplusplus
}
#endif

#endif
