/* GGML_OP_MUL_MAT with a matrix in panels: divides the work among the threads of a pass. */
#include "product.h"

#include <string.h>

#include "operation.h"
#if defined(CGK_X86)
#include <cpuid.h>
#endif

enum { GROUP_ROWS = 128, FEW_ROWS = 2, CHUNKS_PER_THREAD = 4, CHUNK_PANELS = 4, TIERS_MAX = 5 };

#if defined(CGK_AVXVNNI)
static bool has_avxvnni(void) { /* older compilers have no name for it, nor for AMX */
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif

#if defined(CGK_AMX)
static bool has_amx(void) { /* tiles, and their products of int8 */
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 3) == 3 && cgk_may_use_amx();
}
#endif

/* The tiers of this processor, the best first. Returns how many. */
static int tiers_here(const struct product_tier *tiers[TIERS_MAX]) {
    int n = 0;
#if defined(CGK_X86)
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
#if defined(CGK_AMX)
        if (has_amx()) {
            tiers[n++] = &product_amx;
        }
#endif
        tiers[n++] = &product_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
#if defined(CGK_AVXVNNI)
        if (has_avxvnni()) {
            tiers[n++] = &product_avxvnni;
        }
#endif
        tiers[n++] = &product_avx2;
    }
#endif
    tiers[n++] = &product_ref;
    return n;
}

static _Atomic(const struct product_tier *) running; /* two threads may both look it up; they find the same */
static atomic_bool only_avx2;

const struct product_tier *product_tier(void) {
    const struct product_tier *tier = atomic_load_explicit(&running, memory_order_relaxed);
    if (!tier) {
        const struct product_tier *tiers[TIERS_MAX];
        tiers_here(tiers);
        tier = tiers[0];
        atomic_store_explicit(&running, tier, memory_order_relaxed);
    }
    return tier;
}

bool choose_product_tier(const char *name) {
    const struct product_tier *tiers[TIERS_MAX];
    for (int n = tiers_here(tiers), i = 0; i < n; i++) {
        if (strcmp(tiers[i]->name, name) == 0) {
            atomic_store_explicit(&running, tiers[i], memory_order_relaxed);
            atomic_store_explicit(&only_avx2, strcmp(name, "avx2") == 0 || strcmp(name, "avxvnni") == 0,
                                  memory_order_relaxed);
            return true;
        }
    }
    return false;
}

bool may_use_avx512(void) { return !atomic_load_explicit(&only_avx2, memory_order_relaxed); }

static int64_t rows_of(const struct ggml_tensor *x) { return x->ne[1] * x->ne[2] * x->ne[3]; }

/* Row `i` of a tensor of up to four dimensions. */
static char *row_at(const struct ggml_tensor *x, int64_t i) {
    const int64_t i1 = i % x->ne[1], i2 = i / x->ne[1] % x->ne[2], i3 = i / x->ne[1] / x->ne[2];
    return (char *)x->data + (size_t)i1 * x->nb[1] + (size_t)i2 * x->nb[2] + (size_t)i3 * x->nb[3];
}

static bool takes(const struct ggml_tensor *op) {
    const struct ggml_tensor *matrix = op->src[0], *x = op->src[1];
    const struct format *format = format_of(matrix->type);
    return format && matrix->ne[2] * matrix->ne[3] == 1 && matrix->ne[0] % format->group == 0 &&
           x->type == GGML_TYPE_F32 && x->nb[0] == sizeof(float) && op->type == GGML_TYPE_F32 &&
           op->nb[1] == (size_t)op->ne[0] * sizeof(float) && op->nb[2] == op->nb[1] * (size_t)op->ne[1] &&
           op->nb[3] == op->nb[2] * (size_t)op->ne[2];
}

/* For few rows each thread quantizes them itself, which saves a barrier. */
static size_t work_size(const struct ggml_tensor *op, int n_threads) {
    const int64_t rows = rows_of(op->src[1]);
    return (size_t)(rows <= FEW_ROWS ? n_threads * rows : rows) * row_bytes(op->src[0]->ne[0]);
}

static void compute(const struct ggml_compute_params *params, struct ggml_tensor *op) {
    const struct ggml_tensor *matrix = op->src[0], *x = op->src[1];
    const struct format *format = format_of(matrix->type);
    const struct product_tier *tier = product_tier();
    const int64_t k = matrix->ne[0], n_columns = matrix->ne[1], n_rows = rows_of(x);
    int8_t *rows = params->wdata;
    if (n_rows <= FEW_ROWS) {
        rows += (size_t)(params->ith * n_rows) * row_bytes(k);
        for (int64_t row = 0; row < n_rows; row++) {
            tier->quantize(format, (const float *)row_at(x, row), k, rows + (size_t)row * row_bytes(k));
        }
    } else {
        for (int64_t row = params->ith; row < n_rows; row += params->nth) {
            tier->quantize(format, (const float *)row_at(x, row), k, rows + (size_t)row * row_bytes(k));
        }
        cgk_barrier(params);
    }
    /* Chunks of whole tiles; of a large pass, for each group of rows. */
    const int64_t panels = (n_columns + PANEL - 1) / PANEL, groups = (n_rows + GROUP_ROWS - 1) / GROUP_ROWS;
    const int64_t wanted = panels * groups / (CHUNKS_PER_THREAD * params->nth);
    const int64_t size = wanted < CHUNK_PANELS ? CHUNK_PANELS : wanted / CHUNK_PANELS * CHUNK_PANELS;
    const int64_t chunks = (panels + size - 1) / size;
    for (int64_t chunk; (chunk = next_chunk(op, params, chunks * groups)) >= 0;) {
        const int64_t first = chunk % chunks * size, end = first + size < panels ? first + size : panels;
        const int64_t row = chunk / chunks * GROUP_ROWS, left = n_rows - row;
        tier->multiply(format, matrix->data, k, n_columns, first, end, rows + (size_t)row * row_bytes(k),
                       left < GROUP_ROWS ? left : GROUP_ROWS, (float *)op->data + row * n_columns, (size_t)n_columns);
    }
}

const struct operation product = {takes, work_size, compute};
