/* The parts of CUDA that cuda/block.h needs, on a CPU. The threads of a block run one after the other, phase by phase,
 * each time in another order, so that a result that depends on the order rarely stays the same.
 * It does not detect two threads of one phase that write to one place. */
#ifndef CGK_TESTS_CUDA_ON_HOST_H
#define CGK_TESTS_CUDA_ON_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DEVICE static inline

/* An odd step visits all THREADS, a power of two. */
#define each_thread(t) \
    for (uint32_t turn_ = 0, order_ = host_phase++, t = order_ % THREADS; turn_ < THREADS; \
         turn_++, t = (t + 2 * order_ + 1) % THREADS)

static uint32_t host_phase __attribute__((unused)); /* in a file without kernels */

static inline uint32_t atomicAdd(uint32_t *sum, uint32_t amount) {
    const uint32_t old = *sum;
    *sum += amount;
    return old;
}

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }

static inline float __uint_as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t __float_as_uint(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

#endif
