/* Attention over a cache of float16 keys and values, in tiers with the same bits.
 *
 * A row is one head of one token. With s the scores of the cells that its mask shows, in the order of the cells:
 *
 *   s = dot(q, k) * scale + mask            p = exp2((s - max(s)) * log2(e))            out = sum(p * v) / sum(p)
 *
 * All arithmetic is float32; `fma` rounds once. dot: sixteen sums, the i-th over elements i, i + 16, ... by fma from 0;
 * then sum i + sum (i + 8) for i < 8, of these i + (i + 4), and so on. sum(p * v): fma in the order of the cells, from 0.
 * sum(p): of p * 2^40, rounded to integers. exp2: see exp2.h. A row that sees no cell gives 0.
 *
 * A hidden cell, whose mask is -infinity, has no part in it, not even by a product with 0. So a row's bits depend on the
 * cells that it sees and their order alone: not on where they lie, on the other rows, on the threads, or on the tier. */
#ifndef CGK_ATTENTION_H
#define CGK_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

enum {
    ATTENTION_ROWS = 16,  /* of a call, at most */
    ATTENTION_TILE = 4,   /* that are computed together */
    ATTENTION_UNIT = 16,  /* sizes of keys and values are multiples of it */
    ATTENTION_SIZE = 256, /* and at most this */
    ATTENTION_HEADS = 8,  /* of keys and values, of a call, at most */
    ATTENTION_GROUP = 32, /* cells that the fast tiers handle together */
    HIDDEN = 0xfc00       /* a mask of -infinity */
};

/* The cells of some heads of keys and values. A cell has its keys one after the other, without a gap, and its values;
 * `k_stride` and `v_stride` are the bytes from a cell to the next. */
struct cells {
    const char *k, *v;
    size_t k_stride, v_stride;
    int64_t k_size, v_size; /* elements of a key and of a value */
    int64_t count;
    int heads;
    size_t q_stride, out_stride; /* floats from a row of one head to that of the next */
    float scale;
};

/* A row of the first head. The same mask serves every head. */
struct attention_row {
    const float *q;
    const uint16_t *mask; /* a float16 for each cell; NULL shows them all */
    float *out;
};

/* Floats that a call needs to work with. */
static inline size_t attention_scratch(int64_t n_cells, int64_t heads, int64_t n_rows) {
    return ATTENTION_GROUP * ATTENTION_SIZE + (size_t)(heads * n_rows) * ((size_t)n_cells + ATTENTION_UNIT);
}

/* One way of computing it. rows: 1 to ATTENTION_ROWS. */
struct attention_tier {
    void (*attend)(const struct cells *cells, const struct attention_row *rows, int n_rows, float *scratch);
};

extern const struct attention_tier attention_ref, attention_avx2, attention_avx512;

#endif
