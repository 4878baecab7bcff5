/* Attention in plain C, as attention.h states it: one cell at a time. */
#include <string.h>

#include "attention.h"
#include "exp2.h"
#include "half.h"

static float dot(const float *q, const uint8_t *k, int64_t n) {
    float sums[16] = {0};
    for (int64_t i = 0; i < n; i++) {
        sums[i % 16] = fmaf(q[i], float_of(k + 2 * i), sums[i % 16]);
    }
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            sums[i] += sums[i + half];
        }
    }
    return sums[0];
}

static void attend_one(const struct cells *cells, const struct attention_row *row, float *p) {
    float max = -INFINITY;
    for (int64_t i = 0; i < cells->count; i++) {
        if (row->mask && row->mask[i] == HIDDEN) {
            continue;
        }
        p[i] = dot(row->q, (const uint8_t *)cells->k + (size_t)i * cells->k_stride, cells->k_size) * cells->scale;
        p[i] += row->mask ? float_of((const uint8_t *)&row->mask[i]) : 0.0f;
        max = p[i] > max ? p[i] : max;
    }
    memset(row->out, 0, (size_t)cells->v_size * sizeof *row->out);
    int64_t all = 0;
    for (int64_t i = 0; i < cells->count; i++) {
        if (row->mask && row->mask[i] == HIDDEN) {
            continue;
        }
        const float t = (p[i] - max) * LOG2_E, each = t < EXP2_LEAST ? 0.0f : power_of_two(t);
        all += isnan(each) ? 0 : llrintf(each * 0x1p40f);
        const uint8_t *v = (const uint8_t *)cells->v + (size_t)i * cells->v_stride;
        for (int64_t j = 0; j < cells->v_size; j++) {
            row->out[j] = fmaf(each, float_of(v + 2 * j), row->out[j]);
        }
    }
    const float inverse = all == 0 ? 0.0f : 1.0f / ((float)all * 0x1p-40f);
    for (int64_t j = 0; j < cells->v_size; j++) {
        row->out[j] *= inverse;
    }
}

static void attend(const struct cells *cells, const struct attention_row *rows, int n_rows, float *scratch) {
    struct cells one = *cells;
    for (size_t head = 0; head < (size_t)cells->heads; head++) {
        for (int i = 0; i < n_rows; i++) {
            const struct attention_row row = {rows[i].q + head * cells->q_stride, rows[i].mask,
                                              rows[i].out + head * cells->out_stride};
            attend_one(&one, &row, scratch);
        }
        one.k += 2 * cells->k_size;
        one.v += 2 * cells->v_size;
    }
}

const struct attention_tier attention_ref = {attend};
