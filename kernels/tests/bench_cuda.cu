/* Measures the CUDA tier: microseconds per call, and the share of the device's memory bandwidth that it reaches.
 *
 *   cd kernels
 *   nvcc -arch=native -O2 -fmad=false -Iinclude tests/bench_cuda.cu cuda/cgk_cuda.cu -o bench_cuda && ./bench_cuda
 *
 * Gaussian logits, 51,200 entries per row, top-p 0.95. Bytes are counted once per row, although a row is read several
 * times, after the first time from the L2 cache. Calls rotate through COPIES of the logits, so the first read is from
 * memory. The peak is the one that the device reports; next to it is the measured bandwidth of a plain copy (bytes read
 * and bytes written). Medians of RUNS after WARM_UP. The last line is JSON. */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "cgk_cuda.h"

namespace {

constexpr uint32_t N_VOCAB = 51200, ROWS_MAX = 512;
constexpr int COPIES = 4, RUNS = 50, WARM_UP = 5;

void check(bool good, const char *what) {
    if (!good) {
        fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(cudaGetLastError()));
        exit(1);
    }
}

template <typename T> T *device_memory(size_t n) {
    void *memory = nullptr;
    check(cudaMalloc(&memory, n * sizeof(T)) == cudaSuccess, "memory");
    return static_cast<T *>(memory);
}

template <typename T> T *on_device(const std::vector<T> &host) {
    T *memory = device_memory<T>(host.size());
    check(cudaMemcpy(memory, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess, "copy");
    return memory;
}

template <typename Call> double microseconds(Call call) {
    cudaEvent_t start, end;
    cudaEventCreate(&start);
    cudaEventCreate(&end);
    std::vector<float> times;
    for (int run = 0; run < RUNS + WARM_UP; run++) {
        float milliseconds = 0;
        cudaEventRecord(start);
        call(run % COPIES);
        cudaEventRecord(end);
        check(cudaEventSynchronize(end) == cudaSuccess, "run");
        cudaEventElapsedTime(&milliseconds, start, end);
        if (run >= WARM_UP) {
            times.push_back(milliseconds * 1e3f);
        }
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

} // namespace

int main() {
    cudaDeviceProp device;
    check(cudaGetDeviceProperties(&device, 0) == cudaSuccess, "no device");
    int kilohertz = 0, bits = 0;
    cudaDeviceGetAttribute(&kilohertz, cudaDevAttrMemoryClockRate, 0);
    cudaDeviceGetAttribute(&bits, cudaDevAttrGlobalMemoryBusWidth, 0);
    const double peak = 2.0 * kilohertz * 1e3 * bits / 8 / 1e9; /* GB/s; memory transfers twice a clock */

    std::mt19937 random(0);
    std::normal_distribution<float> gaussian(0.0f, 1.3f);
    std::vector<float> logits((size_t)ROWS_MAX * N_VOCAB);
    std::generate(logits.begin(), logits.end(), [&] { return gaussian(random); });
    float *copies[COPIES];
    const float **rows[COPIES];
    for (int copy = 0; copy < COPIES; copy++) {
        copies[copy] = on_device(logits);
        std::vector<const float *> addresses;
        for (uint32_t row = 0; row < ROWS_MAX; row++) {
            addresses.push_back(copies[copy] + (size_t)row * N_VOCAB);
        }
        rows[copy] = on_device(addresses);
    }
    const double bytes = (double)logits.size() * sizeof(float);
    const double copied = 2 * bytes / 1e3 / microseconds([&](int copy) {
                              cudaMemcpyAsync(copies[copy], copies[(copy + 1) % COPIES], (size_t)bytes,
                                              cudaMemcpyDeviceToDevice);
                          });
    printf("%s: peak %.0f GB/s, copy %.0f GB/s\n", device.name, peak, copied);
    printf("%-14s  rows       us  us a row   GB/s  of peak\n", "");

    const std::vector<int32_t> zeros(ROWS_MAX);
    const int32_t *tokens = on_device(zeros);
    cgk_sample_result *results = device_memory<cgk_sample_result>(ROWS_MAX);
    float *logprobs = device_memory<float>(ROWS_MAX);
    cgk_status *status = device_memory<cgk_status>(ROWS_MAX);
    std::string json;
    for (const double temperature : {0.2, 0.8, -1.0}) { /* -1: logprob */
        cgk_sample_params each = {};
        each.temperature = temperature;
        each.top_p = 0.95;
        const cgk_sample_params *params = on_device(std::vector<cgk_sample_params>(ROWS_MAX, each));
        for (const uint32_t n_rows : {1u, 16u, 128u, ROWS_MAX}) {
            const double us = microseconds([&](int copy) {
                const cgk_status launched =
                    temperature < 0 ? cgk_cuda_logprob(copies[copy], n_rows, N_VOCAB, tokens, logprobs, NULL, NULL,
                                                       status, NULL)
                                    : cgk_cuda_sample_rows(rows[copy], NULL, n_rows, N_VOCAB, params, results, status,
                                                           NULL);
                check(launched == CGK_OK, "launch");
            });
            const double rate = (double)n_rows * N_VOCAB * sizeof(float) / 1e3 / us;
            char name[32], line[256];
            snprintf(name, sizeof name, temperature < 0 ? "logprob" : "sample, T %.1f", temperature);
            printf("%-14s  %4u  %7.1f  %8.2f  %5.0f  %6.1f%%\n", name, n_rows, us, us / n_rows, rate,
                   100 * rate / peak);
            snprintf(line, sizeof line,
                     "%s{\"what\": \"%s\", \"rows\": %u, \"us\": %.1f, \"gb_s\": %.0f, \"of_peak\": %.3f}",
                     json.empty() ? "" : ", ", name, n_rows, us, rate, rate / peak);
            json += line;
        }
    }
    printf("{\"device\": \"%s\", \"n_vocab\": %u, \"peak_gb_s\": %.0f, \"copy_gb_s\": %.0f, \"rows\": [%s]}\n",
           device.name, N_VOCAB, peak, copied, json.c_str());
    return 0;
}
