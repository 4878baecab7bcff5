/* The checker of the products: compares every tier with the oracle, bit for bit. Exit status 0 if all agree.
 *
 *   cd kernels
 *   cc -std=c11 -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all -ffp-contract=off \
 *      -D_POSIX_C_SOURCE=200809L tests/product_checker.c ggml/pack.c ggml/product_ref.c -lm -o checker && ./checker
 *
 * -DTIERS='&product_ref, &product_avx512', with their objects, checks more of them; &product_amx needs -DAMX, too. Panels, rows and results lie in
 * blocks of their exact size, so that AddressSanitizer sees any access outside them. */
#include <stdio.h>
#include <stdlib.h>

#include "product_oracle.h"

#if !defined(TIERS)
#define TIERS &product_ref
#endif
static const struct product_tier *const tiers[] = {TIERS};

static const int types[] = {Q4_0, Q4_1, Q8_0, Q4_K, Q5_K, Q6_K};
static const int64_t columns_of[] = {1, 15, 16, 17, 40, 67};
static const int64_t rows_of[] = {1, 2, 3, 4, 5, 8, 11, 37};

enum kind { GAUSSIAN, FLAT, ZEROS, TIES, TINY, HUGE_VALUES, NOT_FINITE, KINDS };
static const char *const kind_names[] = {"gaussian", "flat", "zeros", "ties", "tiny", "huge", "not finite"};

static int cases, faults;

static uint32_t random_word(void) { /* xorshift: the same in every run */
    static uint32_t state = 20220325;
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

static float gaussian(void) {
    float sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += (float)(random_word() >> 8) * 0x1p-24f;
    }
    return sum;
}

static void fill(float *x, int64_t n, enum kind kind) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t word = random_word();
        x[i] = gaussian();
        switch (kind) {
        case FLAT: x[i] = 1; break; /* 127 each: the greatest sums */
        case ZEROS: x[i] = i / BLOCK % 3 ? x[i] : 0; break;
        case TIES: x[i] = i % BLOCK ? (float)(word % 254) / 2 - 63.5f : 127; break; /* half of a step */
        case TINY: x[i] *= 1e-38f; break;
        case HUGE_VALUES: x[i] *= 1e37f; break;
        case NOT_FINITE: x[i] = word % 97 == 0 ? NAN : word % 89 == 0 ? -INFINITY : x[i]; break;
        default: break;
        }
    }
}

/* Random blocks: every bit pattern of the weights, scales of a usual size. */
static void fill_blocks(const struct format *format, uint8_t *matrix, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        matrix[i] = (uint8_t)(random_word() >> 11);
    }
    for (size_t at = 0; at < bytes; at += format->source_bytes) {
        const int halves = format->type == Q4_0 || format->type == Q8_0 || format->type == Q6_K ? 1 : 2;
        for (int i = 0; i < halves; i++) { /* a float16: any sign and fraction, 2^-14 to 2^-3, sometimes denormal */
            const uint32_t word = random_word();
            const uint32_t half = (word & 0x83ff) | (word >> 16 & 15 ? 1 + (word >> 20) % 11 : 0) << 10;
            uint8_t *d = matrix + at + (format->type == Q6_K ? 208 : 2 * i);
            d[0] = (uint8_t)half;
            d[1] = (uint8_t)(half >> 8);
        }
    }
}

static void *aligned(size_t bytes) { /* to 64 bytes, and the last byte is the block's */
    void *block = NULL;
    if (posix_memalign(&block, 64, bytes)) {
        exit(2);
    }
    return block;
}

static bool same(float a, float b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0; }

static void check(const struct product_tier *tier, const struct format *format, int64_t k, int64_t n_columns,
                  int64_t n_rows, enum kind kind) {
    const size_t column_bytes = (size_t)k / format->source_block * format->source_bytes;
    uint8_t *matrix = malloc(column_bytes * (size_t)n_columns);
    uint8_t *panels = aligned(matrix_bytes(format, k, n_columns));
    float *x = malloc((size_t)(k * n_rows) * sizeof *x);
    int8_t *rows = malloc(row_bytes(k) * (size_t)n_rows);
    float *y = malloc((size_t)(n_columns * n_rows) * sizeof *y);
    fill_blocks(format, matrix, column_bytes * (size_t)n_columns);
    fill(x, k * n_rows, kind);
    memset(panels, 0xA5, matrix_bytes(format, k, n_columns));
    memset(rows, 0x5A, row_bytes(k) * (size_t)n_rows);
    const int64_t n_panels = (n_columns + PANEL - 1) / PANEL, middle = random_word() % (uint64_t)(n_panels + 1);
    pack_panels(format, matrix, k, n_columns, middle, n_panels, panels); /* two shares, as of two threads */
    pack_panels(format, matrix, k, n_columns, 0, middle, panels);
    for (int64_t row = 0; row < n_rows; row++) {
        tier->quantize(format, x + row * k, k, rows + (size_t)row * row_bytes(k));
    }
    tier->multiply(format, panels, k, n_columns, 0, middle, rows, n_rows, y, (size_t)n_columns);
    tier->multiply(format, panels, k, n_columns, middle, n_panels, rows, n_rows, y, (size_t)n_columns);
    for (int64_t i = 0; i < n_rows * n_columns; i++) {
        const int64_t row = i / n_columns, column = i % n_columns;
        const float want = oracle_product(format->type, matrix + (size_t)column * column_bytes, x + row * k, k);
        if (!same(y[i], want)) {
            printf("%s, type %d, %s, k %d: row %d of %d, column %d of %d: got %.9g, want %.9g\n", tier->name,
                   format->type, kind_names[kind], (int)k, (int)row, (int)n_rows, (int)column, (int)n_columns, y[i],
                   want);
            if (++faults == 10) {
                exit(1);
            }
            break;
        }
    }
    cases++;
    free(matrix), free(panels), free(x), free(rows), free(y);
}

int main(void) {
#if defined(AMX)
    if (!cgk_may_use_amx()) {
        puts("the kernel does not let this process use AMX");
        return 1;
    }
#endif
    for (size_t t = 0; t < sizeof tiers / sizeof tiers[0]; t++) {
        for (size_t f = 0; f < sizeof types / sizeof types[0]; f++) {
            const struct format *format = format_of(types[f]);
            if (!format || format_of(types[f] + 100)) {
                printf("type %d: wrong format\n", types[f]);
                return 1;
            }
            for (int64_t groups = 1; groups <= 3; groups++) {
                for (size_t c = 0; c < sizeof columns_of / sizeof columns_of[0]; c++) {
                    for (size_t r = 0; r < sizeof rows_of / sizeof rows_of[0]; r++) {
                        check(tiers[t], format, groups * format->group, columns_of[c], rows_of[r],
                              (enum kind)(random_word() % KINDS));
                    }
                }
            }
            /* More rows and more k than are handled at once: an uneven number beyond them. */
            check(tiers[t], format, 1280, 17, 165, GAUSSIAN);
        }
    }
    printf("%d cases, %d faults\n", cases, faults);
    return faults ? 1 : 0;
}
