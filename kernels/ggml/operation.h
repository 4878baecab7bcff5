/* An operation of ggml's graph that is computed here, and what all of them share. hook.c lists them. */
#ifndef CGK_OPERATION_H
#define CGK_OPERATION_H

#include <stdatomic.h>

#include "abi.h"

struct operation {
    /* Whether it computes this node. It is asked often, also before there are data: types and shapes decide. */
    bool (*takes)(const struct ggml_tensor *op);
    /* Bytes of params->wdata, whose alignment is not promised. */
    size_t (*work_size)(const struct ggml_tensor *op, int n_threads);
    /* This thread's share. All threads of the pass call it; ggml puts a barrier after each node. */
    void (*compute)(const struct ggml_compute_params *params, struct ggml_tensor *op);
};

extern const struct operation product, attention, gelu;

/* Whether the tier of the products that was chosen leaves AVX-512 to the other operations. */
bool may_use_avx512(void);

/* Waits for all threads of the pass: ggml_barrier of the ggml that is loaded. */
void cgk_barrier(const struct ggml_compute_params *params);

/* The next of `n` chunks of an operation, or -1 if none is left. Every thread of the pass calls it until it gets -1:
 * then the last one sets the counter, which lies in the tensor itself, back to 0. So it needs no barrier. */
static inline int64_t next_chunk(struct ggml_tensor *op, const struct ggml_compute_params *params, int64_t n) {
    _Atomic int64_t *counter = (_Atomic int64_t *)op->padding;
    const int64_t chunk = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
    if (chunk < n) {
        return chunk;
    }
    if (chunk == n + params->nth - 1) {
        atomic_store_explicit(counter, 0, memory_order_relaxed);
    }
    return -1;
}

#endif
