/* The kernels of the CUDA tier, one block per row, and the functions of include/cgk_cuda.h that launch them. */
#include "cgk_cuda.h"
#include "sample.h"
#include "score.h"

#include <cstdlib>
#include <cstring>

#define KERNEL static __global__ void __launch_bounds__(THREADS)

KERNEL sample_kernel(const float *logits, const uint8_t *banned, uint32_t n_vocab, const cgk_sample_params *params,
                     cgk_sample_result *result, cgk_status *status) {
    __shared__ struct block b;
    *status = sample_row(&b, logits, banned, n_vocab, params, result);
}

KERNEL sample_rows_kernel(const float *const *logits, const uint8_t *const *banned, uint32_t n_vocab,
                          const cgk_sample_params *params, cgk_sample_result *results, cgk_status *status) {
    __shared__ struct block b;
    const uint32_t row = blockIdx.x;
    const bool given = logits && params && results;
    status[row] = given ? sample_row(&b, logits[row], banned ? banned[row] : NULL, n_vocab, params + row, results + row)
                        : CGK_ERROR_PARAMETER;
}

KERNEL logprob_kernel(const float *logits, uint32_t n_vocab, const int32_t *tokens, float *logprob, uint32_t *rank,
                      float *entropy, cgk_status *status) {
    __shared__ struct block b;
    const uint32_t row = blockIdx.x;
    const bool given = logits && tokens && logprob;
    status[row] = given ? logprob_row(&b, logits + (size_t)row * n_vocab, n_vocab, tokens + row, logprob + row,
                                      rank ? rank + row : NULL, entropy ? entropy + row : NULL)
                        : CGK_ERROR_PARAMETER;
}

KERNEL top_kernel(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob,
                  cgk_status *status) {
    __shared__ struct block b;
    *status = top_row(&b, logits, n_vocab, k, ids, logprob);
}

template <typename... Parameters, typename... Arguments>
static cgk_status launch(void (*kernel)(Parameters...), uint32_t n_rows, void *stream, cgk_status *status,
                         Arguments... arguments) {
    if (!status) {
        return CGK_ERROR_PARAMETER;
    }
    if (n_rows == 0) {
        return CGK_OK;
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(n_rows);
    config.blockDim = dim3(THREADS);
    config.stream = (cudaStream_t)stream;
    return cudaLaunchKernelEx(&config, kernel, arguments..., status) == cudaSuccess ? CGK_OK : CGK_ERROR_DEVICE;
}

extern "C" {

CGK_API cgk_status cgk_cuda_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab,
                                   const cgk_sample_params *params, cgk_sample_result *result, cgk_status *status,
                                   void *stream) {
    return launch(sample_kernel, 1, stream, status, logits, banned, n_vocab, params, result);
}

CGK_API cgk_status cgk_cuda_sample_rows(const float *const *logits, const uint8_t *const *banned, uint32_t n_rows,
                                        uint32_t n_vocab, const cgk_sample_params *params, cgk_sample_result *results,
                                        cgk_status *status, void *stream) {
    return launch(sample_rows_kernel, n_rows, stream, status, logits, banned, n_vocab, params, results);
}

CGK_API cgk_status cgk_cuda_logprob(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens,
                                    float *logprob, uint32_t *rank, float *entropy, cgk_status *status, void *stream) {
    return launch(logprob_kernel, n_rows, stream, status, logits, n_vocab, tokens, logprob, rank, entropy);
}

CGK_API cgk_status cgk_cuda_top(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob,
                                cgk_status *status, void *stream) {
    return launch(top_kernel, 1, stream, status, logits, n_vocab, k, ids, logprob);
}
}

#include "host.h"
