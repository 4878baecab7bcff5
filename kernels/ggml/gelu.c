/* GGML_UNARY_OP_GELU of float32: divides the rows among the threads of a pass. */
#include "gelu.h"

#include "operation.h"

static const struct gelu_tier *gelu_tier(void) {
#if defined(CGK_X86)
    if (may_use_avx512() && __builtin_cpu_supports("avx512f")) {
        return &gelu_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return &gelu_avx2;
    }
#endif
    return &gelu_ref;
}

static bool contiguous(const struct ggml_tensor *x) {
    size_t bytes = sizeof(float);
    for (int i = 0; i < 4; bytes *= (size_t)x->ne[i++]) {
        if (x->nb[i] != bytes) {
            return false;
        }
    }
    return x->type == GGML_TYPE_F32;
}

static bool takes(const struct ggml_tensor *op) { return gelu_tier() != &gelu_ref && contiguous(op) && contiguous(op->src[0]); }

static size_t work_size(const struct ggml_tensor *op, int n_threads) {
    (void)op, (void)n_threads;
    return 0;
}

static void compute(const struct ggml_compute_params *params, struct ggml_tensor *op) {
    const int64_t n = op->ne[0] * op->ne[1] * op->ne[2] * op->ne[3], unit = 16; /* a cache line of floats */
    const int64_t each = ((n + unit - 1) / unit + params->nth - 1) / params->nth * unit;
    const int64_t first = each * params->ith, end = first + each < n ? first + each : n;
    if (first < end) {
        gelu_tier()->apply((const float *)op->src[0]->data + first, (float *)op->data + first, end - first);
    }
}

const struct operation gelu = {takes, work_size, compute};
