/* The product in plain C, as product.h states it: one value at a time. */
#include <math.h>

#include "half.h"
#include "product.h"

static void quantize(const struct format *format, const float *x, int64_t k, int8_t *row) {
    struct block_sums *sums = (struct block_sums *)(row + k);
    for (; k > 0; k -= BLOCK, x += BLOCK, row += BLOCK, sums++) {
        uint32_t top = 0; /* as bits, magnitudes are ordered: a NaN is the greatest */
        for (int i = 0; i < BLOCK; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            bits &= UINT32_C(0x7fffffff);
            top = bits > top ? bits : top;
        }
        float greatest;
        memcpy(&greatest, &top, sizeof greatest);
        const float s = 127.0f / greatest, times = isfinite(s) ? s : 0.0f;
        int32_t half[2] = {0, 0};
        for (int i = 0; i < BLOCK; i++) {
            const float scaled = x[i] * times;
            row[i] = isfinite(scaled) ? (int8_t)nearbyintf(scaled) : 0;
            half[i / 16] += row[i];
        }
        sums->scale = greatest / 127.0f;
        sums->sum = sums->scale * (float)(half[0] + half[1]);
        const int32_t first = format->layout == SUPER_6 ? half[0] : half[0] + half[1];
        sums->less[0] = -format->zero * first;
        sums->less[1] = -format->zero * half[1];
    }
}

/* Stored weight i of a block, which has 4 x 64 bytes of nibbles (or 8 x 64 bytes): those of a column are 4 in each. */
static int nibble(const uint8_t *nibbles, int column, int i) {
    return nibbles[64 * (i / 8) + 4 * column + i % 4] >> (i / 4 % 2 * 4) & 15;
}

static int byte(const uint8_t *bytes, int column, int i) { return bytes[64 * (i / 4) + 4 * column + i % 4]; }

static int fifth_bit(const uint8_t *bits, int column, int i) { return bits[4 * column + i % 4] >> i / 4 & 1; }

static int pair(const uint8_t *pairs, int column, int i) { /* pairs of half a block */
    return pairs[64 * (i / 16) + 4 * column + i % 4] >> 2 * (i / 4 % 4) & 3;
}

static float blocks_of_32(const struct format *format, const uint8_t *group, int column, const int8_t *q,
                          const struct block_sums *sums, float y) {
    const bool bytes = format->layout == BYTES, minimum = format->layout == NIBBLES_MIN;
    const uint8_t *weights = group + (minimum ? 128 : 64);
    for (int b = 0; b < 2; b++, q += BLOCK, sums++) {
        int32_t sum = sums->less[0];
        for (int i = 0; i < BLOCK; i++) {
            sum += q[i] * (bytes ? byte(weights + 512 * b, column, i) : nibble(weights + 256 * b, column, i));
        }
        y = fmaf((float)sum, float_of(group + 32 * b + 2 * column) * sums->scale, y);
        if (minimum) {
            y = fmaf(float_of(group + 64 + 32 * b + 2 * column), sums->sum, y);
        }
    }
    return y;
}

static float super_4_or_5(const struct format *format, const uint8_t *group, int column, const int8_t *q,
                          const struct block_sums *sums, float y) {
    const bool five = format->layout == SUPER_5;
    const float d = float_of(group + 2 * column), m = float_of(group + 32 + 2 * column);
    for (int b = 0; b < 8; b++, q += BLOCK, sums++) {
        const uint8_t *part = group + 64 + b / 2 * (64 + 512 + (five ? 128 : 0));
        const uint8_t *scales = part + 32 * (b % 2), *fifth = part + 64 + 512 + 64 * (b % 2);
        int32_t sum = 0;
        for (int i = 0; i < BLOCK; i++) {
            const int high = five ? 16 * fifth_bit(fifth, column, i) : 0;
            sum += q[i] * (nibble(part + 64 + 256 * (b % 2), column, i) + high);
        }
        y = fmaf((float)sum, d * (float)scales[column] * sums->scale, y);
        y = fmaf(-(m * (float)scales[PANEL + column]), sums->sum, y);
    }
    return y;
}

static float super_6(const uint8_t *group, int column, const int8_t *q, const struct block_sums *sums, float y) {
    float d;
    memcpy(&d, group + 4 * column, sizeof d);
    for (int b = 0; b < 8; b++, q += BLOCK, sums++) {
        const uint8_t *part = group + 64 + b / 2 * (64 + 512 + 256);
        for (int h = 0; h < 2; h++) {
            int32_t sum = sums->less[h];
            for (int i = 16 * h; i < 16 * h + 16; i++) {
                sum += q[i] * (nibble(part + 64 + 256 * (b % 2), column, i) +
                               16 * pair(part + 64 + 512 + 128 * (b % 2), column, i));
            }
            const float scale = (float)(int8_t)part[PANEL * (2 * (b % 2) + h) + column];
            y = fmaf((float)sum, d * scale * sums->scale, y);
        }
    }
    return y;
}

static void multiply(const struct format *format, const uint8_t *panels, int64_t k, int64_t n_columns, int64_t first,
                     int64_t end, const int8_t *rows, int64_t n_rows, float *y, size_t stride) {
    for (int64_t row = 0; row < n_rows; row++, rows += row_bytes(k), y += stride) {
        for (int64_t at = first * PANEL; at < end * PANEL && at < n_columns; at++) {
            const uint8_t *group = panels + (size_t)(at / PANEL) * panel_bytes(format, k);
            const int column = (int)(at % PANEL);
            const struct block_sums *sums = sums_of(rows, k);
            float sum = 0;
            for (int64_t i = 0; i < k; i += format->group, group += format->group_bytes) {
                const int8_t *q = rows + i;
                switch (format->layout) {
                case NIBBLES:
                case NIBBLES_MIN:
                case BYTES: sum = blocks_of_32(format, group, column, q, sums + i / BLOCK, sum); break;
                case SUPER_4:
                case SUPER_5: sum = super_4_or_5(format, group, column, q, sums + i / BLOCK, sum); break;
                case SUPER_6: sum = super_6(group, column, q, sums + i / BLOCK, sum); break;
                }
            }
            y[at] = sum;
        }
    }
}

const struct product_tier product_ref = {"ref", quantize, multiply};
