/* The checker of attention and GELU (../ggml): compares every tier with double precision and with the plain C tier, whose
 * bits all have. Exit status 0 if all agree.
 *
 *   cd kernels
 *   cc -std=c11 -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all -ffp-contract=off -DTIERS=TIER(ref) \
 *      -Iggml tests/attention_checker.c ggml/attention_ref.c ggml/gelu_ref.c -lm -o checker && ./checker
 *
 * Hidden cells are NaN, so none may take part. Memory lies in blocks of its exact size, so that AddressSanitizer sees
 * any access outside it. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "gelu.h"
#include "half.h"

enum { FAULTS_MAX = 10, HALF_NAN = 0x7e00, HALF_OF_MINUS_1 = 0xbc00 };

#define TIER(name) {#name, &attention_##name, &gelu_##name}
static const struct {
    const char *name;
    const struct attention_tier *attention;
    const struct gelu_tier *gelu;
} tiers[] = {TIERS};
enum { N_TIERS = sizeof tiers / sizeof tiers[0] };

static int cases, faults;

static void fault(const char *what, const char *tier, int64_t a, int64_t b, double got, double want) {
    printf("%s, tier %s, %lld, %lld: got %.9g, want %.9g\n", what, tier, (long long)a, (long long)b, got, want);
    if (++faults == FAULTS_MAX) {
        exit(1);
    }
}

static uint32_t random_below(uint32_t bound) { /* the same in every run */
    static uint64_t state = 20231115;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % bound);
}

static float random_float(float bound) { return bound * ((float)random_below(1 << 16) / (1 << 15) - 1.0f); }

static uint16_t random_half(void) { /* a float16 of magnitude 2^-3 to 2, and sometimes 0 or a small one */
    const uint32_t kind = random_below(16);
    return (uint16_t)(kind == 0 ? 0 : random_below(2) << 15 | (kind == 1 ? 0 : 12 + random_below(4)) << 10 | random_below(1024));
}

static void *block(size_t bytes) {
    void *found = malloc(bytes + (bytes == 0));
    if (!found) {
        exit(2);
    }
    return found;
}

static float half(uint16_t value) { return float_of((const uint8_t *)&value); }

static bool same(float a, float b) { return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)); }

/* --- attention --- */

enum masks { NONE, CAUSAL, SPARSE, INTERLEAVED, FINITE, NOT_A_NUMBER, MASKS };

/* Rows and cells with everything of its exact size. */
struct problem {
    int64_t k_size, v_size, count;
    int n_rows, heads;
    size_t stride; /* of a cell, in elements: the keys of all heads, then the values, then two more */
    uint16_t *cells;
    struct attention_row rows[ATTENTION_ROWS];
};

static bool hidden(const struct problem *problem, int row, int64_t cell) {
    return problem->rows[row].mask && problem->rows[row].mask[cell] == HIDDEN;
}

/* Elements from a row of a head to that of the next: there is something between them. */
static size_t row_stride(int64_t size) { return (size_t)size + 3; }

static size_t row_elements(const struct problem *problem, int64_t size) {
    return (size_t)(problem->heads - 1) * row_stride(size) + (size_t)size;
}

static const uint16_t *key(const struct problem *problem, int head, int64_t cell) {
    return problem->cells + (size_t)cell * problem->stride + (size_t)(head * problem->k_size);
}

static const uint16_t *value(const struct problem *problem, int head, int64_t cell) {
    return problem->cells + (size_t)cell * problem->stride + (size_t)(problem->heads * problem->k_size + head * problem->v_size);
}

static uint16_t mask_of(enum masks masks, int row, int n_rows, int64_t cell, int64_t count) {
    switch (masks) {
    case CAUSAL: return cell <= count - n_rows + row ? 0 : HIDDEN;
    case SPARSE: return random_below(4) && row ? HIDDEN : row == 1 ? HIDDEN : 0;
    case INTERLEAVED: return cell < count / 3 || cell % n_rows == row ? 0x8000 * (cell & 1) : HIDDEN; /* 0 and -0 */
    case FINITE: return random_below(5) == 0 ? HIDDEN : random_below(40) ? 0 : HALF_OF_MINUS_1;
    default: return 0;
    }
}

static struct problem make(int64_t k_size, int64_t v_size, int64_t count, int n_rows, int heads, enum masks masks) {
    const size_t elements = (size_t)(heads * (k_size + v_size));
    struct problem problem = {k_size, v_size, count, n_rows, heads, elements + 2, NULL, {{0}}};
    problem.cells = block(((size_t)count * problem.stride - 2) * sizeof *problem.cells);
    for (size_t i = 0; i < (size_t)count * problem.stride - 2; i++) {
        problem.cells[i] = random_half();
    }
    for (int row = 0; row < n_rows; row++) {
        float *q = block(row_elements(&problem, k_size) * sizeof *q);
        for (size_t i = 0; i < row_elements(&problem, k_size); i++) {
            q[i] = random_float(4);
        }
        uint16_t *mask = masks == NONE || masks == NOT_A_NUMBER ? NULL : block((size_t)count * sizeof *mask);
        for (int64_t cell = 0; mask && cell < count; cell++) {
            mask[cell] = mask_of(masks, row, n_rows, cell, count);
        }
        problem.rows[row] = (struct attention_row){q, mask, block(row_elements(&problem, v_size) * sizeof(float))};
    }
    for (int64_t cell = 0; masks == NOT_A_NUMBER && cell < (count < 3 ? count : 3); cell++) {
        problem.cells[(size_t)cell * problem.stride] = HALF_NAN; /* of the first head */
    }
    for (int64_t cell = 0; cell < count; cell++) {
        bool seen = false;
        for (int row = 0; row < n_rows; row++) {
            seen |= !hidden(&problem, row, cell);
        }
        for (size_t i = 0; !seen && i < elements; i++) {
            problem.cells[(size_t)cell * problem.stride + i] = HALF_NAN;
        }
    }
    return problem;
}

static void destroy(struct problem *problem) {
    for (int row = 0; row < problem->n_rows; row++) {
        free((void *)problem->rows[row].q);
        free((void *)problem->rows[row].mask);
        free(problem->rows[row].out);
    }
    free(problem->cells);
}

static void attend(const struct attention_tier *tier, const struct problem *problem, int first, int n_rows) {
    const struct cells cells = {
        .k = (const char *)key(problem, 0, 0),
        .v = (const char *)value(problem, 0, 0),
        .k_stride = problem->stride * 2,
        .v_stride = problem->stride * 2,
        .k_size = problem->k_size,
        .v_size = problem->v_size,
        .count = problem->count,
        .heads = problem->heads,
        .q_stride = row_stride(problem->k_size),
        .out_stride = row_stride(problem->v_size),
        .scale = 0.3f,
    };
    float *scratch = block(attention_scratch(problem->count, problem->heads, n_rows) * sizeof *scratch);
    for (int row = first; row < first + n_rows; row++) {
        memset(problem->rows[row].out, 0xff, row_elements(problem, problem->v_size) * sizeof(float));
    }
    tier->attend(&cells, problem->rows + first, n_rows, scratch);
    free(scratch);
}

/* The cells that a row sees, one after the other, without a mask. */
static struct problem moved_together(const struct problem *problem, int row) {
    struct problem other = *problem;
    other.cells = block((size_t)problem->count * problem->stride * sizeof *other.cells);
    other.count = 0;
    for (int64_t cell = 0; cell < problem->count; cell++) {
        if (!hidden(problem, row, cell)) {
            memcpy(other.cells + (size_t)other.count++ * problem->stride, problem->cells + (size_t)cell * problem->stride,
                   (problem->stride - 2) * sizeof *other.cells);
        }
    }
    other.n_rows = 1;
    other.rows[0] = problem->rows[row];
    other.rows[0].mask = NULL;
    return other;
}

static void compare_with_doubles(const struct problem *problem, int row, int head, const char *tier) {
    const struct attention_row *one = &problem->rows[row];
    const float *q = one->q + (size_t)head * row_stride(problem->k_size);
    double *scores = block((size_t)problem->count * sizeof *scores), max = -INFINITY, all = 0;
    for (int64_t cell = 0; cell < problem->count; cell++) {
        scores[cell] = one->mask ? (double)half(one->mask[cell]) : 0.0;
        for (int64_t i = 0; i < problem->k_size && !hidden(problem, row, cell); i++) {
            scores[cell] += 0.3 * q[i] * half(key(problem, head, cell)[i]);
        }
        max = scores[cell] > max ? scores[cell] : max;
    }
    for (int64_t cell = 0; cell < problem->count; cell++) {
        all += scores[cell] > -INFINITY ? exp(scores[cell] - max) : 0.0;
    }
    for (int64_t j = 0; j < problem->v_size; j++) {
        const double got = one->out[(size_t)head * row_stride(problem->v_size) + (size_t)j];
        double want = 0;
        for (int64_t cell = 0; cell < problem->count; cell++) {
            want += hidden(problem, row, cell) ? 0.0 : exp(scores[cell] - max) / all * half(value(problem, head, cell)[j]);
        }
        if (!(fabs(got - want) < 2e-5)) {
            fault("attention", tier, row, j, got, want);
        }
    }
    free(scores);
}

/* Between the heads of a row's result nothing is written. */
static void check_attention(int64_t k_size, int64_t v_size, int64_t count, int n_rows, int heads, enum masks masks) {
    struct problem problem = make(k_size, v_size, count, n_rows, heads, masks);
    const size_t elements = row_elements(&problem, v_size);
    float *want = block((size_t)n_rows * elements * sizeof *want);
    for (int i = 0; i < N_TIERS; i++) {
        attend(tiers[i].attention, &problem, 0, n_rows);
        for (int row = 0; row < n_rows; row++) {
            const float *out = problem.rows[row].out;
            for (size_t j = 0; j < elements; j++) {
                float *first = &want[(size_t)row * elements + j];
                if (i == 0) {
                    *first = out[j];
                } else if (!same(out[j], *first)) {
                    fault("attention beside the first tier", tiers[i].name, row, (int64_t)j, out[j], *first);
                }
            }
            for (int head = masks == NOT_A_NUMBER; i == 0 && head < heads; head++) {
                compare_with_doubles(&problem, row, head, tiers[i].name);
            }
        }
        const int some = (int)random_below((uint32_t)n_rows), row = some + (int)random_below((uint32_t)(n_rows - some));
        attend(tiers[i].attention, &problem, some, n_rows - some);
        struct problem alone = moved_together(&problem, row);
        for (int both = 0; both < 2; both++) {
            for (size_t j = 0; j < elements; j++) {
                const float got = problem.rows[row].out[j], expected = want[(size_t)row * elements + j];
                if (!same(got, expected)) {
                    fault(both ? "a row alone" : "a row beside others", tiers[i].name, row, (int64_t)j, got, expected);
                }
            }
            if (masks == FINITE) {
                break;
            }
            attend(tiers[i].attention, &alone, 0, 1);
        }
        free(alone.cells);
        cases++;
    }
    free(want);
    destroy(&problem);
}

/* --- GELU --- */

static void check_gelu(int64_t n) {
    static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e30f, -1e30f, -10.0f, -9.999999f, 1e-30f, 10.0f};
    const int64_t n_special = sizeof special / sizeof special[0];
    float *x = block((size_t)n * sizeof *x), *y = block((size_t)n * sizeof *y), *first = block((size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++) {
        x[i] = i < n_special ? special[i] : random_float(random_below(2) ? 12 : 1);
    }
    for (int i = 0; i < N_TIERS; i++) {
        memset(y, 0xff, (size_t)n * sizeof *y);
        tiers[i].gelu->apply(x, y, n);
        for (int64_t j = 0; j < n; j++) {
            const double line = x[j] + 0.044715 * x[j] * x[j] * x[j];
            const double want = x[j] <= -10 ? 0.0 : x[j] / (1 + exp(-2 * sqrt(2 / 3.14159265358979324) * line));
            if (isfinite(want) ? !(fabs(y[j] - want) <= 1e-6 * fabs(want) + 1e-9) : !same(y[j], (float)want)) {
                fault("GELU", tiers[i].name, n, j, y[j], want);
            }
            if (i > 0 && !same(y[j], first[j])) {
                fault("GELU beside the first tier", tiers[i].name, n, j, y[j], first[j]);
            }
        }
        memcpy(first, i == 0 ? y : first, (size_t)n * sizeof *first);
        cases++;
    }
    free(x);
    free(y);
    free(first);
}

int main(void) {
    static const int64_t sizes[][2] = {{16, 80}, {64, 64}, {80, 80}, {128, 128}, {256, 256}, {32, 144}, {192, 48}};
    static const int64_t counts[] = {1, 2, 15, 16, 17, 31, 32, 33, 40, 64, 100, 257};
    static const int64_t lengths[] = {0, 1, 15, 16, 17, 64, 1000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        check_gelu(lengths[i]);
    }
    for (int n_rows = 1; n_rows <= ATTENTION_ROWS; n_rows++) {
        check_attention(32, 16, 70, n_rows, 1, CAUSAL);
        check_attention(16, 16, 140, n_rows, 1 + n_rows % ATTENTION_HEADS, INTERLEAVED);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t j = i == 0 ? 0 : i % 4; j < sizeof counts / sizeof counts[0]; j += i == 0 ? 1 : 4) {
            for (int masks = 0; masks < MASKS; masks++) {
                const int n_rows = 1 + (int)random_below(ATTENTION_ROWS);
                const int heads = 1 + (int)random_below(sizes[i][0] > 64 ? 3 : ATTENTION_HEADS);
                check_attention(sizes[i][0], sizes[i][1], counts[j], n_rows, heads, (enum masks)masks);
            }
        }
    }
    printf("%d cases, %d faults\n", cases, faults);
    return faults != 0;
}
