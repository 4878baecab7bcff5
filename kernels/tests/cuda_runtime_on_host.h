/* The parts of CUDA's runtime that cuda/cgk_cuda.cu needs, on a CPU in C++: the library itself, without a GPU.
 *
 *   c++ -std=c++17 -O2 -ffp-contract=off -shared -fPIC -include tests/cuda_runtime_on_host.h -Iinclude \
 *       -x c++ cuda/cgk_cuda.cu -o libcgk_cuda.so
 *
 * Blocks run one after the other. All memory is the device's, unless the variable CGK_CUDA_ON_HOST says "none": then no
 * device answers, or "elsewhere": then all memory is the host's. */
#ifndef CGK_TESTS_CUDA_RUNTIME_ON_HOST_H
#define CGK_TESTS_CUDA_RUNTIME_ON_HOST_H

#include <cfloat>
#include <cmath>
#include <cstdlib>

#include "cuda_on_host.h"

#define __global__
#define __shared__ static
#define __launch_bounds__(threads)

typedef enum { cudaSuccess, cudaErrorMemoryAllocation, cudaErrorNoDevice } cudaError_t;
typedef enum { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost } cudaMemcpyKind;
typedef enum { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged } cudaMemoryType;
typedef void *cudaStream_t;
struct dim3 {
    uint32_t x;
    dim3(uint32_t x = 1) : x(x) {}
};
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    cudaStream_t stream;
};
struct cudaPointerAttributes {
    cudaMemoryType type;
    int device;
};
struct cudaDeviceProp {
    char name[256];
    int major;
};

static dim3 blockIdx;
static const cudaStream_t cudaStreamPerThread = NULL;

static inline bool host_is(const char *what) {
    const char *said = getenv("CGK_CUDA_ON_HOST");
    return said && strcmp(said, what) == 0;
}

static inline cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *about, int device) {
    strcpy(about->name, "a processor, as a GPU");
    about->major = 9;
    return device == 0 && !host_is("none") ? cudaSuccess : cudaErrorNoDevice;
}

static inline cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *about, const void *memory) {
    about->type = memory && !host_is("elsewhere") ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
    about->device = 0;
    return cudaSuccess;
}

static inline cudaError_t cudaMalloc(void **memory, size_t bytes) {
    *memory = malloc(bytes);
    return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

static inline cudaError_t cudaFree(void *memory) {
    free(memory);
    return cudaSuccess;
}

static inline cudaError_t cudaMallocHost(void **memory, size_t bytes) { return cudaMalloc(memory, bytes); }
static inline cudaError_t cudaFreeHost(void *memory) { return cudaFree(memory); }
static inline cudaError_t cudaGetLastError(void) { return cudaSuccess; }
static inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
static inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

static inline cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}

static inline cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
    if (bytes) {
        memcpy(to, from, bytes);
    }
    return cudaSuccess;
}

static inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    return cudaMemcpy(to, from, bytes, kind);
}

static inline const char *cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "none" : "an error"; }

template <typename... Parameters, typename... Arguments>
static cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Parameters...),
                                      Arguments... arguments) {
    for (blockIdx.x = 0; blockIdx.x < config->gridDim.x; blockIdx.x++) {
        kernel(arguments...);
    }
    return cudaSuccess;
}

#endif
