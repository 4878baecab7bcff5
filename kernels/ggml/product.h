/* The product of a quantized matrix and rows of activations, in tiers with the same bits.
 *
 * y[row][column] = sum over k of weight[column][k] * x[row][k], for a matrix of n_columns x k weights as ggml stores
 * them (a column of the product is a row of the matrix).
 *
 * Activations become int8 in blocks of 32: with a the greatest magnitude of a block and s = 127 / a (0 where that is not
 * finite), q = x * s rounded to the nearest integer, ties to even, and scale = a / 127. So a block with a NaN or an
 * infinity gives NaN or infinity. All arithmetic is float32; `fma` rounds once.
 *
 * Each result is one chain over the blocks of a row, in order, from y = 0. With q the activations, u the stored
 * weights, and the sums over a block in integers:
 *
 *   Q4_0, Q8_0     y = fma(sum((u - zero) * q), d * scale, y)                    zero: 8, 128
 *   Q4_1           y = fma(sum(u * q), d * scale, y), then y = fma(m, scale * sum(q), y)
 *   Q4_K, Q5_K     the same with d = D * c and m = -(M * e): c and e the 6-bit scale and minimum of the block
 *   Q6_K           y = fma(sum((u - zero) * q), D * c * scale, y)               for each half of 16; zero: 32
 *
 * So a row's bits do not depend on the other rows, on the number of threads, or on the tier. */
#ifndef CGK_PRODUCT_H
#define CGK_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PANEL = 16, BLOCK = 32 }; /* columns of a panel; activations of a block */

/* How the weights of a panel lie: groups of k, one after the other, every part of a multiple of 64 bytes. Where a part
 * has 32 bits for each column, those of column 0 come first. `d`, `m`, `D`, `M` are float16, in Q6_K float32.
 *
 *   NIBBLES      64 k: d of both blocks, nibbles of both blocks
 *   NIBBLES_MIN  64 k: d of both blocks, m of both blocks, nibbles of both blocks
 *   BYTES        64 k: d of both blocks, bytes of both blocks
 *   SUPER_4     256 k: D, M; then four times: c and e of two blocks, nibbles of both blocks
 *   SUPER_5     256 k: D, M; then four times: c and e of two blocks, nibbles of both, fifth bits of both
 *   SUPER_6     256 k: D; then four times: c of four halves, nibbles of two blocks, upper pairs of bits of both
 *
 * Nibbles of a block: 4 x 64 bytes; the i-th has, for each column, k = 8i to 8i + 3 in the low halves of its 4 bytes and
 * 8i + 4 to 8i + 7 in the high ones. Bytes: 8 x 64 with 4 k each. Fifth bits of a block: 64 bytes; bit t of a column's
 * byte j belongs to k = 4t + j. Pairs of bits of half a block: 64 bytes; pair t of byte j belongs to k = 4t + j. */
enum layout { NIBBLES, NIBBLES_MIN, BYTES, SUPER_4, SUPER_5, SUPER_6 };

struct format {
    int type; /* ggml's */
    enum layout layout;
    int zero;            /* the stored weight that stands for 0 */
    int group;           /* k of a group */
    size_t group_bytes;  /* of a panel */
    size_t source_block; /* k of a block of ggml's */
    size_t source_bytes; /* of such a block */
};

/* NULL for a type that is not computed here. */
const struct format *format_of(int type);

/* Bytes of a panel; of a whole matrix, its last panel filled up with copies of the last column. */
size_t panel_bytes(const struct format *format, int64_t k);
size_t matrix_bytes(const struct format *format, int64_t k, int64_t n_columns);

/* Repack panels first to end - 1 of a matrix of ggml's into `panels`, the start of the whole. */
void pack_panels(const struct format *format, const void *matrix, int64_t k, int64_t n_columns, int64_t first,
                 int64_t end, uint8_t *panels);

/* A quantized row: k int8, then one of these for each block. */
struct block_sums {
    float scale;
    float sum;      /* scale * sum(q) */
    int32_t less[2]; /* -zero * sum(q): of the block; in Q6_K of each half */
};

static inline size_t row_bytes(int64_t k) { return (size_t)k + (size_t)k / BLOCK * sizeof(struct block_sums); }

static inline const struct block_sums *sums_of(const int8_t *row, int64_t k) {
    return (const struct block_sums *)(row + k);
}

/* One way of computing it all. Rows of `x` and `y` are `stride` apart: bytes of quantized rows, floats of results. */
struct product_tier {
    const char *name;
    void (*quantize)(const struct format *format, const float *x, int64_t k, int8_t *row);
    /* The columns of panels first to end - 1. */
    void (*multiply)(const struct format *format, const uint8_t *panels, int64_t k, int64_t n_columns, int64_t first,
                     int64_t end, const int8_t *rows, int64_t n_rows, float *y, size_t stride);
};

extern const struct product_tier product_ref, product_avx2, product_avxvnni, product_avx512, product_amx;

/* Whether the kernel lets this process use AMX, which it is asked for. */
bool cgk_may_use_amx(void);

/* The one that runs: at first the best one of this processor. */
const struct product_tier *product_tier(void);

/* Let another one run from now on; false if this processor has none of this name. */
bool choose_product_tier(const char *name);

#endif
