/* The CUDA tier for the checker, on a GPU: host memory is copied there and back.
 *
 *   cd kernels
 *   cc -std=c11 -O2 -ffp-contract=off '-DTIERS=TIER(cuda)' -Iinclude \
 *      -c tests/checker.c dispatch.c philox.c ref/[a-z]*.c
 *   nvcc -arch=native -O2 -fmad=false -Iinclude tests/cuda_on_device.cu cuda/cgk_cuda.cu *.o -o checker && ./checker */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cgk_cuda.h"

namespace {

void check(cudaError_t error) {
    if (error != cudaSuccess) {
        printf("CUDA: %s\n", cudaGetErrorString(error));
        exit(2);
    }
}

/* Copies in device memory, freed with this object. NULL stays NULL. */
class Copies {
public:
    ~Copies() {
        for (void *each : owned) {
            cudaFree(each);
        }
    }

    template <typename T> T *of(const T *host, size_t n) {
        if (!host) {
            return nullptr;
        }
        void *device = nullptr;
        check(cudaMalloc(&device, (n + 1) * sizeof(T)));
        owned.push_back(device);
        check(cudaMemcpy(device, host, n * sizeof(T), cudaMemcpyHostToDevice));
        return static_cast<T *>(device);
    }

    template <typename T> void back(T *host, const T *device, size_t n) {
        if (host) {
            check(cudaMemcpy(host, device, n * sizeof(T), cudaMemcpyDeviceToHost));
        }
    }

private:
    std::vector<void *> owned;
};

/* How many entries of a row of n_vocab to copy: none if the call will be refused. */
size_t readable(uint32_t n_vocab) { return n_vocab <= CGK_VOCAB_MAX ? n_vocab : 0; }

void check_launch(cgk_status launched) {
    if (launched != CGK_OK) {
        printf("CUDA: a launch was refused\n");
        exit(2);
    }
}

/* The status of the first row that failed. */
cgk_status outcome(const cgk_status *device, uint32_t n_rows) {
    std::vector<cgk_status> status(n_rows);
    check(cudaMemcpy(status.data(), device, n_rows * sizeof(cgk_status), cudaMemcpyDeviceToHost));
    for (const cgk_status each : status) {
        if (each != CGK_OK) {
            return each;
        }
    }
    return CGK_OK;
}

} // namespace

extern "C" {

#include "../tier.h"

size_t cuda_sample_scratch(uint32_t n_vocab) { return n_vocab * sizeof(uint64_t); }

/* Samples the row alone, as the second of two rows, and so from the host's memory: the results must be equal. */
cgk_status cuda_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab, const cgk_sample_params *params,
                       void *scratch, cgk_sample_result *result) {
    if (!scratch || !params || !result) { /* no scratch is needed, but cgk.h refuses NULL */
        return CGK_ERROR_PARAMETER;
    }
    static cgk_cuda_scratch *const kept = cgk_cuda_scratch_new();
    Copies copies;
    const cgk_status none[3] = {};
    const cgk_sample_params params_of[2] = {*params, *params};
    cgk_sample_result results[3] = {}, from_host[2] = {};
    const float *row = copies.of(logits, readable(n_vocab)), *rows[2] = {row, row};
    const uint8_t *mask = copies.of(banned, readable(n_vocab)), *masks[2] = {mask, mask};
    const uint8_t *masks_on_host[2] = {banned, banned};
    const cgk_sample_params *device_params = copies.of(params_of, 2);
    cgk_sample_result *found = copies.of(results, 3);
    cgk_status *status = copies.of(none, 3);
    check_launch(cgk_cuda_sample(row, mask, n_vocab, device_params, found, status, NULL));
    check_launch(cgk_cuda_sample_rows(copies.of(rows, 2), copies.of(masks, 2), 2, n_vocab, device_params, found + 1,
                                      status + 1, NULL));
    copies.back(results, found, 3);
    const cgk_status ended =
        cgk_cuda_host_sample_rows(rows, masks_on_host, 2, n_vocab, params_of, kept, from_host);
    *result = results[0];
    if (outcome(status, 3) != ended || memcmp(&results[0], &results[2], sizeof *result) != 0) {
        return CGK_ERROR_DEVICE;
    }
    return ended != CGK_OK || memcmp(from_host, results + 1, sizeof from_host) == 0 ? ended : CGK_ERROR_DEVICE;
}

cgk_status cuda_logprob(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens, float *logprob,
                        uint32_t *rank, float *entropy) {
    Copies copies;
    const std::vector<cgk_status> none(n_rows);
    cgk_status *status = copies.of(none.data(), n_rows);
    float *logprobs = copies.of(logprob, n_rows), *entropies = copies.of(entropy, n_rows);
    uint32_t *ranks = copies.of(rank, n_rows);
    check_launch(cgk_cuda_logprob(copies.of(logits, n_rows * readable(n_vocab)), n_rows, n_vocab,
                                  copies.of(tokens, n_rows), logprobs, ranks, entropies, status, NULL));
    copies.back(logprob, logprobs, n_rows);
    copies.back(rank, ranks, n_rows);
    copies.back(entropy, entropies, n_rows);
    return outcome(status, n_rows);
}

cgk_status cuda_top(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob) {
    Copies copies;
    const size_t n = readable(n_vocab), n_top = k < n ? k : n;
    const cgk_status none = CGK_OK;
    cgk_status *status = copies.of(&none, 1);
    int32_t *found = copies.of(ids, n_top);
    float *logprobs = copies.of(logprob, n_top);
    check_launch(cgk_cuda_top(copies.of(logits, n), n_vocab, k, found, logprobs, status, NULL));
    copies.back(ids, found, n_top);
    copies.back(logprob, logprobs, n_top);
    return outcome(status, 1);
}
}
