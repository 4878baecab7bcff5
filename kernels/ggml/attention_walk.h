/* How a tier goes over the cells: included once by each, which defines what is declared here in its own vectors. */
#ifndef CGK_ATTENTION_WALK_H
#define CGK_ATTENTION_WALK_H

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "attention.h"
#include "half.h"

#define INLINE static inline __attribute__((always_inline))

enum { GROUP = ATTENTION_GROUP };

/* A group's keys or values of one head: in the cache itself, or a copy in float32 that all rows read. */
struct group {
    const char *first;
    size_t stride;
    int count;
    bool copied;
};

/* Of a group: the rows that see some of its cells, which cells each of them sees, those that any sees, and how many pairs
 * of a row and a cell that makes. */
struct seen_cells {
    int n_rows, index[ATTENTION_ROWS];
    uint32_t bits[ATTENTION_ROWS], any;
    int pairs;
};

/* Whether so few of the rows see a cell that each is best done alone. */
static inline bool is_sparse(const struct seen_cells *seen) {
    const int cells = __builtin_popcount(seen->any);
    return seen->pairs <= 2 * cells && 2 * seen->pairs <= seen->n_rows * cells;
}

static inline uint32_t all_of(int count) { return count < GROUP ? (UINT32_C(1) << count) - 1 : ~UINT32_C(0); }

/* Which of `count` cells a mask shows: bit i for the i-th. */
static uint32_t shown(const uint16_t *mask, int count);

/* Whether the mask of one of the cells of `bits` is not 0. */
static bool adds(const uint16_t *mask, int count, uint32_t bits);

/* Copies the cells of `any` into float32. */
static void copy_cells(const struct group *group, int64_t size, uint32_t any, float *copy);

/* The scores of each row's cells, one after the other from place[i] on, of one head. rows: those that see some, in order. */
static void score(const struct group *keys, const struct cells *cells, const struct attention_row *rows,
                  const struct seen_cells *seen, float *const *place);

/* Adds the values of each row's cells to its result, times the weights from place[i] on. */
static void add_values(const struct group *values, const struct cells *cells, const struct attention_row *rows,
                       const struct seen_cells *seen, float *const *place);

/* Makes weights of n scores, with room for ATTENTION_UNIT more behind them; returns 1 / their sum, 0 if there are none. */
static float weigh(float *scores, int64_t n);

/* From how many rows on a copy in float32 pays. */
static const int rows_to_copy;

static inline int count_at(const struct cells *cells, int64_t at) {
    return cells->count - at < GROUP ? (int)(cells->count - at) : GROUP;
}

INLINE struct seen_cells seen_by_rows(const struct cells *cells, const struct attention_row *rows, int n_rows, int64_t at) {
    struct seen_cells found = {0};
    for (int r = 0; at < cells->count && r < n_rows; r++) {
        const int count = count_at(cells, at);
        const uint32_t bits = rows[r].mask ? shown(rows[r].mask + at, count) : all_of(count);
        found.index[found.n_rows] = r;
        found.bits[found.n_rows] = bits;
        found.n_rows += bits != 0;
        found.any |= bits;
        found.pairs += __builtin_popcount(bits);
    }
    return found;
}

/* Fetches cells from memory, all their heads at once, into the second cache: the first one is too small for them. */
INLINE void fetch(const char *first, size_t stride, size_t bytes, uint64_t which) {
    for (; which; which &= which - 1) {
        const char *cell = first + (size_t)__builtin_ctzll(which) * stride;
        for (size_t j = 0; j < bytes; j += 64) {
            _mm_prefetch(cell + j, _MM_HINT_T1);
        }
    }
}

/* Adds masks that are finite and not 0, which are rare, to the scores of a group. */
static void add_masks(const uint16_t *mask, uint32_t bits, float *scores) {
    for (; bits; bits &= bits - 1) {
        *scores++ += float_of((const uint8_t *)(mask + __builtin_ctz(bits)));
    }
}

/* Where a row's scores and weights lie, of one head; cells that it does not see are left out. */
static inline float *scores_of(const struct cells *cells, int n_rows, float *scratch, int head, int row) {
    const size_t each = (size_t)cells->count + ATTENTION_UNIT;
    return scratch + GROUP * ATTENTION_SIZE + (size_t)(head * n_rows + row) * each;
}

static inline float *out_of(const struct cells *cells, const struct attention_row *row, int head) {
    return row->out + (size_t)head * cells->out_stride;
}

/* Goes over the keys or the values, group by group and in each over the heads, since memory is fastest read in long
 * pieces: while a head is at work, its part of the next group is fetched. Sets how many cells each row sees. */
INLINE void walk(const struct cells *cells, const struct attention_row *rows, int n_rows, bool values, float *scratch,
                 int64_t *n_seen) {
    const char *from = values ? cells->v : cells->k;
    const size_t stride = values ? cells->v_stride : cells->k_stride;
    const int64_t size = values ? cells->v_size : cells->k_size;
    struct seen_cells now, next = seen_by_rows(cells, rows, n_rows, 0);
    memset(n_seen, 0, (size_t)n_rows * sizeof *n_seen);
    for (int64_t at = 0; at < cells->count; at += GROUP, from += GROUP * stride) {
        now = next;
        next = seen_by_rows(cells, rows, n_rows, at + GROUP);
        for (int head = 0; head < cells->heads; head++) {
            const int begin = GROUP * head / cells->heads, end = GROUP * (head + 1) / cells->heads;
            const uint64_t part = (UINT64_C(1) << end) - (UINT64_C(1) << begin);
            fetch(from + GROUP * stride, stride, 2 * (size_t)(size * cells->heads), next.any & part);
            if (!now.any) {
                continue;
            }
            struct group group = {from + (size_t)(2 * size * head), stride, count_at(cells, at), false};
            if (now.n_rows >= rows_to_copy && !is_sparse(&now)) {
                copy_cells(&group, size, now.any, scratch);
                group = (struct group){(const char *)scratch, (size_t)size * sizeof *scratch, group.count, true};
            }
            struct attention_row own[ATTENTION_ROWS];
            float *place[ATTENTION_ROWS];
            for (int i = 0; i < now.n_rows; i++) {
                const int r = now.index[i];
                own[i] = (struct attention_row){rows[r].q + (size_t)head * cells->q_stride, rows[r].mask,
                                                out_of(cells, &rows[r], head)};
                place[i] = scores_of(cells, n_rows, scratch, head, r) + n_seen[r];
            }
            if (values) {
                add_values(&group, cells, own, &now, place);
                continue;
            }
            score(&group, cells, own, &now, place);
            for (int i = 0; i < now.n_rows; i++) {
                if (own[i].mask && adds(own[i].mask + at, group.count, now.bits[i])) {
                    add_masks(own[i].mask + at, now.bits[i], place[i]);
                }
            }
        }
        for (int i = 0; i < now.n_rows; i++) {
            n_seen[now.index[i]] += __builtin_popcount(now.bits[i]);
        }
    }
}

static void attend(const struct cells *cells, const struct attention_row *rows, int n_rows, float *scratch) {
    int64_t n_seen[ATTENTION_ROWS];
    float inverse[ATTENTION_HEADS][ATTENTION_ROWS];
    walk(cells, rows, n_rows, false, scratch, n_seen);
    for (int head = 0; head < cells->heads; head++) {
        for (int r = 0; r < n_rows; r++) {
            inverse[head][r] = weigh(scores_of(cells, n_rows, scratch, head, r), n_seen[r]);
            memset(out_of(cells, &rows[r], head), 0, (size_t)cells->v_size * sizeof(float));
        }
    }
    walk(cells, rows, n_rows, true, scratch, n_seen);
    for (int head = 0; head < cells->heads; head++) {
        for (int r = 0; r < n_rows; r++) {
            float *out = out_of(cells, &rows[r], head);
            for (int64_t j = 0; j < cells->v_size; j++) {
                out[j] *= inverse[head][r];
            }
        }
    }
}

#endif
