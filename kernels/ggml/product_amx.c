/* The product with AMX, for passes of many rows, with the bits of product_avx512.c, which computes the others.
 *
 * A step is a block of 32 k, in Q6_K half of one: what one scale belongs to. One instruction adds the products of a step
 * for 16 rows and the 16 columns of a panel in integers; AVX-512 does the rest, as product.h says. The weights are
 * unpacked to signed bytes before, once for all rows of a call. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "panel_avx512.h"
#include "product.h"

#define UNROLL _Pragma("GCC unroll 16")

enum { ROWS = 16, FEWEST_ROWS = 32, GROUP_ROWS = 128, TOGETHER = 2 };
enum { SEGMENT = 512, STEPS_MAX = SEGMENT / 16, BLOCKS_MAX = SEGMENT / BLOCK };

/* The threads of a process share the permission. It is refused where an alternate stack of signals is too small for the
 * registers. */
bool cgk_may_use_amx(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}

/* Up to SEGMENT k of a panel. Weights: 4 k of each column, then the next 4. Scales of each step; minima of each block. */
struct unpacked {
    _Alignas(64) int8_t weights[SEGMENT * PANEL];
    float d[STEPS_MAX][PANEL], m[BLOCKS_MAX][PANEL];
};

/* The same k of 16 rows: what block_sums has of each block. */
struct row_sums {
    _Alignas(64) float scale[BLOCKS_MAX][ROWS], sum[BLOCKS_MAX][ROWS];
};

static void quantize(const struct format *format, const float *x, int64_t k, int8_t *row) {
    product_avx512.quantize(format, x, k, row);
}

/* high: of SUPER_5 the fifth bits, of SUPER_6 the pairs. */
INLINE void unpack_block(enum layout layout, int zero, const uint8_t *weights, const uint8_t *high, int8_t *to) {
    const __m512i less = _mm512_set1_epi8((char)zero);
    UNROLL for (int i = 0; i < 4; i++) {
        __m512i first, second;
        if (layout == BYTES) {
            first = _mm512_load_si512(weights + 128 * i);
            second = _mm512_load_si512(weights + 128 * i + 64);
        } else {
            const __m512i bytes = _mm512_load_si512(weights + 64 * i);
            first = low_halves(bytes);
            second = high_halves(bytes);
            if (layout == SUPER_5) {
                add_fifth_bits(i, _mm512_load_si512(high), &first, &second);
            } else if (layout == SUPER_6) {
                add_pairs(i % 2, _mm512_load_si512(high + 64 * (i / 2)), &first, &second);
            }
        }
        _mm512_store_si512(to + 128 * i, _mm512_sub_epi8(first, less));
        _mm512_store_si512(to + 128 * i + 64, _mm512_sub_epi8(second, less));
    }
}

INLINE void unpack_blocks_of_32(const struct format *format, enum layout layout, const uint8_t *group, int64_t k,
                                struct unpacked *to) {
    const int head = layout == NIBBLES_MIN ? 128 : 64, block_bytes = layout == BYTES ? 512 : 256;
    for (int b = 0; b < k / BLOCK; b++) {
        const int odd = b % 2;
        _mm512_store_ps(to->d[b], halves_at(group + 32 * odd));
        if (layout == NIBBLES_MIN) {
            _mm512_store_ps(to->m[b], halves_at(group + 64 + 32 * odd));
        }
        unpack_block(layout, format->zero, group + head + block_bytes * odd, NULL, to->weights + BLOCK * PANEL * b);
        group += odd ? head + 2 * block_bytes : 0;
    }
}

INLINE void unpack_super(const struct format *format, enum layout layout, const uint8_t *group, int64_t k,
                         struct unpacked *to) {
    const int high_bytes = layout == SUPER_6 ? 128 : layout == SUPER_5 ? 64 : 0;
    __m512 D = _mm512_setzero_ps(), M = _mm512_setzero_ps();
    const uint8_t *part = group;
    for (int b = 0; b < k / BLOCK; b++) {
        if (b % 8 == 0) {
            D = layout == SUPER_6 ? _mm512_load_ps(part) : halves_at(part);
            M = _mm512_xor_ps(halves_at(part + 32), _mm512_set1_ps(-0.0f)); /* -(M * e) has the bits of -M * e */
            part += 64;
        }
        const uint8_t *scales = part + 32 * (b % 2), *nibbles = part + 64 + 256 * (b % 2);
        if (layout == SUPER_6) {
            _mm512_store_ps(to->d[2 * b], _mm512_mul_ps(D, signed_at(scales)));
            _mm512_store_ps(to->d[2 * b + 1], _mm512_mul_ps(D, signed_at(scales + PANEL)));
        } else {
            _mm512_store_ps(to->d[b], _mm512_mul_ps(D, unsigned_at(scales)));
            _mm512_store_ps(to->m[b], _mm512_mul_ps(M, unsigned_at(scales + PANEL)));
        }
        unpack_block(layout, format->zero, nibbles, part + 64 + 512 + high_bytes * (b % 2),
                     to->weights + BLOCK * PANEL * b);
        part += b % 2 ? 64 + 512 + 2 * high_bytes : 0;
    }
}

static void unpack(const struct format *format, const uint8_t *group, int64_t k, struct unpacked *to) {
    switch (format->layout) {
    case NIBBLES: unpack_blocks_of_32(format, NIBBLES, group, k, to); break;
    case NIBBLES_MIN: unpack_blocks_of_32(format, NIBBLES_MIN, group, k, to); break;
    case BYTES: unpack_blocks_of_32(format, BYTES, group, k, to); break;
    case SUPER_4: unpack_super(format, SUPER_4, group, k, to); break;
    case SUPER_5: unpack_super(format, SUPER_5, group, k, to); break;
    case SUPER_6: unpack_super(format, SUPER_6, group, k, to); break;
    }
    __asm__ volatile("" ::: "memory"); /* to GCC 12, loading a tile reads no memory */
}

INLINE void gather(bool minimum, const int8_t *rows, int64_t k, int64_t first_block, int64_t blocks,
                   struct row_sums *to) {
    for (int r = 0; r < ROWS; r++) {
        const struct block_sums *sums = sums_of(rows + (size_t)r * row_bytes(k), k) + first_block;
        for (int b = 0; b < blocks; b++) {
            to->scale[b][r] = sums[b].scale;
            if (minimum) {
                to->sum[b][r] = sums[b].sum;
            }
        }
    }
}

/* Tiles: integer sums 0 and 1, activations 2 and 3, weights 4 and 5. */
static void configure(int step) {
    static const struct shapes {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shapes[] = {
        {.palette = 1, .row_bytes = {64, 64, 16, 16, 64, 64}, .rows = {16, 16, 16, 16, 4, 4}},
        {.palette = 1, .row_bytes = {64, 64, 32, 32, 64, 64}, .rows = {16, 16, 16, 16, 8, 8}},
    };
    _tile_loadconfig(&shapes[step == BLOCK]);
}

/* Starts the integer sums of step `s`. */
#define START(tile, q_tile, weights_tile, s)                                                                           \
    do {                                                                                                               \
        _tile_loadd(q_tile, q + (s) * step, q_stride);                                                                 \
        _tile_loadd(weights_tile, panel->weights + (s) * step * PANEL, 64);                                            \
        _tile_zero(tile);                                                                                              \
        _tile_dpbssd(tile, q_tile, weights_tile);                                                                      \
    } while (0)

INLINE void finish(bool minimum, int step, const struct unpacked *panel, const struct row_sums *rows, int s,
                   const int32_t *sums, __m512 y[ROWS]) {
    const int b = step == BLOCK ? s : s / 2;
    const __m512 d = _mm512_load_ps(panel->d[s]), m = minimum ? _mm512_load_ps(panel->m[b]) : _mm512_setzero_ps();
    UNROLL for (int r = 0; r < ROWS; r++) {
        const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(rows->scale[b][r]));
        y[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + r * PANEL)), scale, y[r]);
        if (minimum) {
            y[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(rows->sum[b][r]), y[r]);
        }
    }
}

/* What comes after a tile: the results of the next one, and a share of the next panel. Both are fetched meanwhile, line by
 * line: the stores of a tile cannot pass one that waits for memory. */
struct next {
    const float *y;
    const uint8_t *weights;
};

INLINE void fetch(struct next next, int64_t s, size_t stride) {
    if (s < ROWS) {
        __builtin_prefetch(next.y + (size_t)s * stride, 1);
    }
    _mm_prefetch((const char *)next.weights + 64 * s, _MM_HINT_T1);
}

/* The steps of a segment, an even number, for 16 rows and a panel. y: results so far; none if it is the first segment.
 * Rows before the `done`-th are not stored: another tile has them. */
INLINE void one_tile(bool minimum, int step, int64_t steps, bool first, const struct unpacked *panel,
                     const struct row_sums *rows, const int8_t *q, size_t q_stride, int64_t done, float *y,
                     size_t stride, __mmask16 columns, struct next next) {
    _Alignas(64) int32_t sums[2][ROWS * PANEL];
    __m512 results[ROWS];
    START(0, 2, 4, 0);
    UNROLL for (int r = 0; r < ROWS; r++) {
        results[r] = first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(columns, y + (size_t)r * stride);
    }
    for (int s = 0; s < steps; s += 2) {
        fetch(next, s, stride);
        fetch(next, s + 1, stride);
        _tile_stored(0, sums[0], 64);
        START(1, 3, 5, s + 1);
        finish(minimum, step, panel, rows, s, sums[0], results);
        _tile_stored(1, sums[1], 64);
        if (s + 2 < steps) {
            START(0, 2, 4, s + 2);
        }
        finish(minimum, step, panel, rows, s + 1, sums[1], results);
    }
    UNROLL for (int r = 0; r < ROWS; r++) {
        if (r >= done) {
            _mm512_mask_storeu_ps(y + (size_t)r * stride, columns, results[r]);
        }
    }
}

/* Up to GROUP_ROWS rows, one tile at least. The last tile begins 16 rows before their end. Two panels take turns, so that
 * their weights and a tile's activations stay in the first cache. */
INLINE void group_of_rows(bool minimum, int step, const struct format *format, const uint8_t *panels, int64_t k,
                          int64_t n_columns, int64_t first, int64_t end, const int8_t *rows, int64_t n_rows, float *y,
                          size_t stride) {
    struct row_sums sums[GROUP_ROWS / ROWS];
    struct unpacked unpacked[TOGETHER];
    const size_t bytes = row_bytes(k);
    configure(step);
    for (int64_t at = 0; at < k; at += SEGMENT) {
        const int64_t length = k - at < SEGMENT ? k - at : SEGMENT;
        const size_t before = (size_t)(at / format->group) * format->group_bytes; /* of each panel */
        for (int64_t r = 0; r < n_rows; r += ROWS) {
            const int64_t row = r + ROWS < n_rows ? r : n_rows - ROWS;
            gather(minimum, rows + (size_t)row * bytes, k, at / BLOCK, length / BLOCK, &sums[r / ROWS]);
        }
        for (int64_t p = first; p < end; p += TOGETHER) {
            const int64_t count = end - p < TOGETHER ? end - p : TOGETHER;
            const uint8_t *start = panels + (size_t)p * panel_bytes(format, k) + before;
            for (int64_t i = 0; i < count; i++) {
                unpack(format, start + (size_t)i * panel_bytes(format, k), length, &unpacked[i]);
            }
            const uint8_t *later = start + TOGETHER * panel_bytes(format, k);
            for (int64_t r = 0, row = 0, then; r < n_rows; r += ROWS, row = then, later += length / step * 64) {
                then = r + 2 * ROWS < n_rows ? r + ROWS : n_rows - ROWS;
                float *const here = y + (size_t)row * stride + p * PANEL, *const below = y + (size_t)then * stride;
                for (int64_t i = 0; i < count; i++) {
                    const int64_t left = n_columns - (p + i) * PANEL;
                    const __mmask16 columns = left < PANEL ? (__mmask16)((1 << left) - 1) : 0xFFFF;
                    const struct next next = {
                        .y = i + 1 < count     ? here + (i + 1) * PANEL
                             : r + ROWS < n_rows ? below + p * PANEL
                                                 : y + (p + count) * PANEL,
                        .weights = later + (size_t)i * panel_bytes(format, k),
                    };
                    one_tile(minimum, step, length / step, at == 0, &unpacked[i], &sums[r / ROWS],
                             rows + (size_t)row * bytes + at, bytes, r - row, here + i * PANEL, stride, columns, next);
                }
            }
        }
    }
    _tile_release();
}

static void multiply(const struct format *format, const uint8_t *panels, int64_t k, int64_t n_columns, int64_t first,
                     int64_t end, const int8_t *rows, int64_t n_rows, float *y, size_t stride) {
    for (int64_t n; n_rows >= FEWEST_ROWS; n_rows -= n, rows += (size_t)n * row_bytes(k), y += (size_t)n * stride) {
        n = n_rows < GROUP_ROWS ? n_rows : GROUP_ROWS;
#define GROUP(minimum, step)                                                                                           \
    group_of_rows(minimum, step, format, panels, k, n_columns, first, end, rows, n, y, stride)
        switch (format->layout) {
        case NIBBLES:
        case BYTES: GROUP(false, BLOCK); break;
        case NIBBLES_MIN:
        case SUPER_4:
        case SUPER_5: GROUP(true, BLOCK); break;
        case SUPER_6: GROUP(false, BLOCK / 2); break;
        }
#undef GROUP
    }
    if (n_rows > 0) {
        product_avx512.multiply(format, panels, k, n_columns, first, end, rows, n_rows, y, stride);
    }
}

const struct product_tier product_amx = {"amx", quantize, multiply};
