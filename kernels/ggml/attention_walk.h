/* How a tier goes over the cells: included once by each, which defines what is declared here in its own vectors. */
#ifndef CGK_ATTENTION_WALK_H
#define CGK_ATTENTION_WALK_H

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "attention.h"
#include "half.h"

#define INLINE static inline __attribute__((always_inline))

enum { GROUP = ATTENTION_GROUP, LINE = 64 };

/* What is to be fetched from memory: lines of cells, of all their heads, in the order of their addresses. */
struct ahead {
    const char *line, *end; /* the next line, and where its cell ends */
    const char *first;      /* the group's first cell */
    size_t stride, bytes;   /* from a cell to the next; of a cell */
    uint32_t which;         /* of the group's cells: those that are not fetched yet */
    int pace;               /* lines to a pair of a row and a cell */
};

/* A group's keys or values of one head: in the cache itself, or a copy in float32 that all rows read. */
struct group {
    const char *first;
    size_t stride;
    int count;
    bool copied;
    struct ahead *ahead; /* of the next group */
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

/* Whether score and add_values fetch what is ahead, some lines to each pair; otherwise a head's share is fetched at once. */
static bool fetches_evenly(const struct seen_cells *seen);

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

INLINE void next_cell(struct ahead *ahead) {
    ahead->line = ahead->first + (ahead->which ? (size_t)__builtin_ctz(ahead->which) * ahead->stride : 0);
    ahead->end = ahead->line + ahead->bytes;
}

/* Fetches lines into the second cache: the first one is too small for a group. */
INLINE void fetch(struct ahead *ahead, int lines) {
    for (; ahead->which && lines > 0; lines--) {
        _mm_prefetch(ahead->line, _MM_HINT_T1);
        ahead->line += LINE;
        if (ahead->line >= ahead->end) {
            ahead->which &= ahead->which - 1;
            next_cell(ahead);
        }
    }
}

/* A group's cells, to be fetched in the time of `pairs` pairs of a row and a cell. */
INLINE struct ahead to_fetch(const char *first, size_t stride, size_t bytes, uint32_t which, int pairs) {
    struct ahead ahead = {.first = first, .stride = stride, .bytes = bytes, .which = which};
    const int lines = __builtin_popcount(which) * (int)((bytes + LINE - 1) / LINE);
    ahead.pace = pairs ? (lines + pairs - 1) / pairs : lines;
    next_cell(&ahead);
    return ahead;
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
 * pieces: meanwhile the next group is fetched. Sets how many cells each row sees. */
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
        uint32_t added = 0; /* rows with masks that add something */
        for (int i = 0; !values && i < now.n_rows; i++) {
            const uint16_t *mask = rows[now.index[i]].mask;
            added |= (uint32_t)(mask && adds(mask + at, count_at(cells, at), now.bits[i])) << i;
        }
        const size_t bytes = 2 * (size_t)(size * cells->heads);
        struct ahead ahead = to_fetch(from + GROUP * stride, stride, bytes, next.any, now.pairs * cells->heads);
        for (int head = 0; head < cells->heads; head++) {
            if (!now.any || !fetches_evenly(&now)) {
                const int lines = GROUP * (int)((bytes + LINE - 1) / LINE);
                fetch(&ahead, (lines + cells->heads - 1) / cells->heads);
            }
            if (!now.any) {
                continue;
            }
            struct group group = {from + (size_t)(2 * size * head), stride, count_at(cells, at), false, &ahead};
            if (now.n_rows >= rows_to_copy && !is_sparse(&now)) {
                copy_cells(&group, size, now.any, scratch);
                group = (struct group){(const char *)scratch, (size_t)size * sizeof *scratch, group.count, true, &ahead};
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
            for (uint32_t left = added; left; left &= left - 1) {
                const int i = __builtin_ctz(left);
                add_masks(own[i].mask + at, now.bits[i], place[i]);
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
