/* GGML_OP_FLASH_ATTN_EXT over keys and values in float16: divides the work among the threads of a pass. */
#include "attention.h"

#include <string.h>

#include "operation.h"

enum { ALIGNMENT = 64, FEW_ROW_CHUNKS = 4 };

static const struct attention_tier *attention_tier(void) {
#if defined(CGK_X86)
    if (may_use_avx512() && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        return &attention_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
        return &attention_avx2;
    }
#endif
    return &attention_ref;
}

static float parameter(const struct ggml_tensor *op, int i) {
    float value;
    memcpy(&value, &op->op_params[i], sizeof value);
    return value;
}

static bool fits(const struct ggml_tensor *x) {
    return x->type == GGML_TYPE_F16 && x->nb[0] == 2 && x->ne[0] > 0 && x->ne[0] % ATTENTION_UNIT == 0 &&
           x->ne[0] <= ATTENTION_SIZE;
}

/* No bias by position (max_bias), no soft cap, no sinks; and plain C would be slower than ggml. */
static bool takes(const struct ggml_tensor *op) {
    const struct ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
    return attention_tier() != &attention_ref && q->type == GGML_TYPE_F32 && q->nb[0] == sizeof(float) && fits(k) &&
           fits(v) && !op->src[4] && k->ne[2] == v->ne[2] && k->ne[3] == v->ne[3] && q->ne[2] % k->ne[2] == 0 &&
           q->ne[3] % k->ne[3] == 0 && (!mask || (mask->type == GGML_TYPE_F16 && mask->nb[0] == 2)) &&
           parameter(op, 1) == 0 && parameter(op, 2) == 0;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Query heads that share a head of keys and values. */
static int64_t shared_by(const struct ggml_tensor *op) { return op->src[0]->ne[2] / op->src[1]->ne[2]; }

static int64_t rows_of(const struct ggml_tensor *op) { return op->src[0]->ne[1] * shared_by(op); }

static int64_t row_chunks_of(const struct ggml_tensor *op) { return (rows_of(op) + ATTENTION_ROWS - 1) / ATTENTION_ROWS; }

/* Heads of keys and values that are computed together, at most. They lie beside each other, and memory is fastest read in
 * long pieces; but with many rows memory is no limit, and the cells of one head stay in a processor's cache. */
static int64_t most_heads(const struct ggml_tensor *op) {
    const struct ggml_tensor *k = op->src[1], *v = op->src[2], *mask = op->src[3];
    const bool beside = k->nb[2] == (size_t)k->ne[0] * 2 && v->nb[2] == (size_t)v->ne[0] * 2;
    const bool few = row_chunks_of(op) <= FEW_ROW_CHUNKS;
    return beside && few && (!mask || mask->ne[2] == 1) ? least(k->ne[2], ATTENTION_HEADS) : 1;
}

static size_t scratch_bytes(const struct ggml_tensor *op) {
    const size_t floats = attention_scratch(op->src[1]->ne[1], most_heads(op), least(rows_of(op), ATTENTION_ROWS));
    return (floats * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t work_size(const struct ggml_tensor *op, int n_threads) {
    return (size_t)n_threads * scratch_bytes(op) + ALIGNMENT;
}

/* Where a row of a tensor lies: of one head and one stream. */
static char *row_at(const struct ggml_tensor *x, int64_t row, int64_t head, int64_t stream) {
    return (char *)x->data + (size_t)row * x->nb[1] + (size_t)head * x->nb[2] + (size_t)stream * x->nb[3];
}

/* A chunk is a few rows, in whole tiles, of the heads that share a head of keys and values, for a few of these: so few that
 * each thread has two chunks. */
static void compute(const struct ggml_compute_params *params, struct ggml_tensor *op) {
    const struct ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
    const struct attention_tier *tier = attention_tier();
    const int64_t shared = shared_by(op), rows = rows_of(op), per_stream = q->ne[3] / k->ne[3];
    const int64_t row_chunks = row_chunks_of(op), tiles = (rows + ATTENTION_TILE - 1) / ATTENTION_TILE;
    const int64_t wanted = row_chunks * q->ne[3] * k->ne[2] / (2 * params->nth);
    const int64_t together = wanted < 1 ? 1 : least(wanted, most_heads(op)), head_chunks = (k->ne[2] + together - 1) / together;
    const uintptr_t work = (uintptr_t)params->wdata + (size_t)params->ith * scratch_bytes(op);
    float *scratch = (float *)((work + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    for (int64_t chunk; (chunk = next_chunk(op, params, row_chunks * head_chunks * q->ne[3])) >= 0;) {
        const int64_t row_chunk = chunk % row_chunks, kv_head = chunk / row_chunks % head_chunks * together;
        const int64_t first = row_chunk * tiles / row_chunks * ATTENTION_TILE, stream = chunk / row_chunks / head_chunks;
        const int64_t end = least((row_chunk + 1) * tiles / row_chunks * ATTENTION_TILE, rows);
        const struct cells cells = {
            .k = row_at(k, 0, kv_head, stream / per_stream),
            .v = row_at(v, 0, kv_head, stream / per_stream),
            .k_stride = k->nb[1],
            .v_stride = v->nb[1],
            .k_size = k->ne[0],
            .v_size = v->ne[0],
            .count = k->ne[1],
            .heads = (int)least(together, k->ne[2] - kv_head),
            .q_stride = (size_t)shared * q->nb[2] / sizeof(float),
            .out_stride = (size_t)shared * op->nb[1] / sizeof(float),
            .scale = parameter(op, 0),
        };
        struct attention_row part[ATTENTION_ROWS];
        const int n = (int)(end - first);
        for (int i = 0; i < n; i++) {
            const int64_t row = (first + i) / shared, head = kv_head * shared + (first + i) % shared;
            part[i] = (struct attention_row){
                .q = (const float *)row_at(q, row, head, stream),
                .mask = mask ? (const uint16_t *)row_at(mask, row, head % mask->ne[2], stream % mask->ne[3]) : NULL,
                .out = (float *)row_at(op, head, row, stream),
            };
        }
        tier->attend(&cells, part, n, scratch);
    }
}

const struct operation attention = {takes, work_size, compute};
