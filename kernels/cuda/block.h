/* The building blocks of the CUDA tier: a block of threads that works in phases, and sums that have one value.
 *
 * Each thread runs the code inside `each_thread` on its own. Code outside it does the same in all threads, and reads
 * only what phases left in shared memory. Concurrent threads share sums only by atomic additions of integers. So the
 * same source runs on a CPU, phase by phase and thread by thread, in any order, if tests/cuda_on_host.h is included
 * first. No warp size is assumed. */
#ifndef CGK_CUDA_BLOCK_H
#define CGK_CUDA_BLOCK_H

#include "cgk.h"

#ifdef __CUDACC__
#define DEVICE static __device__
/* A barrier before it, so that no thread still reads what it writes, and one after it. No break, no return. */
#define each_thread(t) \
    for (uint32_t t = (__syncthreads(), threadIdx.x), more_ = 1; more_; more_ = 0, __syncthreads())
#endif

enum { THREADS = 1024, BINS = 1024, BIN_BITS = 10, GROUPS = 32, GROUP = BINS / GROUPS };

/* The shared memory of a block. */
struct block {
    uint64_t part[BINS];            /* a number of each thread, for block_sum and block_max, or of each bin */
    uint32_t low[BINS], high[BINS]; /* the sums of the bins, in halves; or a second number of each thread */
    uint64_t group[GROUPS];
    uint64_t before;
    uint32_t found;
};

/* The sum, or the greatest, of part[THREADS]. */
DEVICE uint64_t block_fold(struct block *b, bool greatest) {
    each_thread(t) {
        if (t < GROUPS) {
            uint64_t all = 0;
            for (uint32_t i = t; i < THREADS; i += GROUPS) {
                all = !greatest ? all + b->part[i] : b->part[i] > all ? b->part[i] : all;
            }
            b->group[t] = all;
        }
    }
    uint64_t all = 0;
    for (uint32_t i = 0; i < GROUPS; i++) {
        all = !greatest ? all + b->group[i] : b->group[i] > all ? b->group[i] : all;
    }
    return all;
}

DEVICE uint64_t block_sum(struct block *b) { return block_fold(b, false); }

DEVICE uint64_t block_max(struct block *b) { return block_fold(b, true); }

DEVICE void bins_clear(struct block *b) {
    each_thread(t) {
        for (uint32_t i = t; i < BINS; i += THREADS) {
            b->low[i] = b->high[i] = 0;
        }
    }
}

/* By one thread, in a phase. Shared memory adds 32 bits at a time: the thread that overflows the low half carries. */
DEVICE void bins_add(struct block *b, uint32_t bin, uint64_t amount) {
    const uint32_t low = (uint32_t)amount, old = atomicAdd(&b->low[bin], low);
    const uint32_t high = (uint32_t)(amount >> 32) + (old + low < old);
    if (high) {
        atomicAdd(&b->high[bin], high);
    }
}

struct place {
    uint32_t bin;
    uint64_t before; /* the sum of the bins that come before it */
};

/* The first bin at which the running sum exceeds target, which is less than the sum of all bins. */
DEVICE struct place bins_locate(struct block *b, uint64_t target, bool descending) {
    each_thread(t) {
        for (uint32_t i = t; i < BINS; i += THREADS) {
            b->part[descending ? BINS - 1 - i : i] = (uint64_t)b->high[i] << 32 | b->low[i];
        }
    }
    each_thread(t) {
        if (t < GROUPS) {
            uint64_t sum = 0;
            for (uint32_t i = 0; i < GROUP; i++) {
                sum += b->part[t * GROUP + (t + i) % GROUP]; /* each thread in a bank of its own */
            }
            b->group[t] = sum;
        }
    }
    each_thread(t) {
        if (t < GROUPS) {
            uint64_t before = 0;
            for (uint32_t i = 0; i < t; i++) {
                before += b->group[i];
            }
            if (before <= target && target < before + b->group[t]) {
                b->before = before;
                b->found = t * GROUP;
            }
        }
    }
    const uint64_t base = b->before;
    const uint32_t first = b->found;
    each_thread(t) {
        if (t < GROUP) {
            uint64_t before = base;
            for (uint32_t i = first; i < first + t; i++) {
                before += b->part[i];
            }
            if (before <= target && target < before + b->part[first + t]) {
                b->before = before;
                b->found = first + t;
            }
        }
    }
    struct place place;
    place.bin = descending ? BINS - 1 - b->found : b->found;
    place.before = b->before;
    return place;
}

#endif
