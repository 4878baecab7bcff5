/* Repacks ggml's blocks into panels. Four values of 8 bits at a time, as a word: plain C is as fast as the memory. */
#include <string.h>

#include "half.h"
#include "product.h"

#define EACH UINT32_C(0x01010101)

enum { TYPE_Q4_0 = 2, TYPE_Q4_1 = 3, TYPE_Q8_0 = 8, TYPE_Q4_K = 12, TYPE_Q5_K = 13, TYPE_Q6_K = 14 };

static const struct format formats[] = {
    {TYPE_Q4_0, NIBBLES, 8, 64, 64 + 512, 32, 18},
    {TYPE_Q4_1, NIBBLES_MIN, 0, 64, 128 + 512, 32, 20},
    {TYPE_Q8_0, BYTES, 128, 64, 64 + 1024, 32, 34},
    {TYPE_Q4_K, SUPER_4, 0, 256, 64 + 4 * (64 + 512), 256, 144},
    {TYPE_Q5_K, SUPER_5, 0, 256, 64 + 4 * (64 + 512 + 128), 256, 176},
    {TYPE_Q6_K, SUPER_6, 32, 256, 64 + 4 * (64 + 512 + 256), 256, 210},
};

const struct format *format_of(int type) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i].type == type) {
            return &formats[i];
        }
    }
    return NULL;
}

size_t panel_bytes(const struct format *format, int64_t k) { return (size_t)(k / format->group) * format->group_bytes; }

size_t matrix_bytes(const struct format *format, int64_t k, int64_t n_columns) {
    return (size_t)((n_columns + PANEL - 1) / PANEL) * panel_bytes(format, k);
}

static uint32_t word(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static void put(uint8_t *part, int column, uint32_t value) { memcpy(part + 4 * column, &value, sizeof value); }

/* Four values from k = 4i of a block of 32 with its first half in low and its second in high nibbles (Q4_0, Q4_1). */
static uint32_t four_of_32(const uint8_t *nibbles, int i) {
    return word(nibbles + 4 * (i % 4)) >> 4 * (i / 4) & 15 * EACH;
}

/* The same of the k-quants' nibbles, where that holds for 64 values. */
static uint32_t four_of_64(const uint8_t *nibbles, int i) {
    return word(nibbles + i / 16 * 32 + 4 * (i % 8)) >> 4 * (i / 8 % 2) & 15 * EACH;
}

/* Scale c and minimum e of block b of Q4_K and Q5_K, 6 bits each, in 12 bytes. */
static void scale_and_minimum(const uint8_t *packed, int b, uint8_t *c, uint8_t *e) {
    if (b < 4) {
        *c = packed[b] & 63;
        *e = packed[b + 4] & 63;
    } else {
        *c = (uint8_t)((packed[b + 4] & 15) | packed[b - 4] >> 6 << 4);
        *e = (uint8_t)(packed[b + 4] >> 4 | packed[b] >> 6 << 4);
    }
}

/* One group of one column, from ggml's blocks of it. */
static void pack_blocks_of_32(enum layout layout, const uint8_t *source, size_t source_bytes, int column,
                              uint8_t *group) {
    const int heads = layout == NIBBLES_MIN ? 2 : 1; /* d, m */
    for (int b = 0; b < 2; b++, source += source_bytes) {
        for (int head = 0; head < heads; head++) {
            memcpy(group + 64 * head + 32 * b + 2 * column, source + 2 * head, 2);
        }
        const uint8_t *values = source + 2 * heads;
        uint8_t *to = group + 64 * heads + (layout == BYTES ? 512 : 256) * b;
        for (int i = 0; i < (layout == BYTES ? 8 : 4); i++) {
            put(to + 64 * i, column,
                layout == BYTES ? word(values + 4 * i) ^ 0x80 * EACH
                                : four_of_32(values, 2 * i) | four_of_32(values, 2 * i + 1) << 4);
        }
    }
}

static void pack_q4_q5(enum layout layout, const uint8_t *source, int column, uint8_t *group) {
    const uint8_t *fifth = source + 16, *nibbles = fifth + (layout == SUPER_5 ? 32 : 0);
    memcpy(group + 2 * column, source, 2);
    memcpy(group + 32 + 2 * column, source + 2, 2);
    group += 64;
    for (int b = 0; b < 8; b++) {
        uint8_t *half = group + 32 * (b % 2);
        scale_and_minimum(source + 4, b, half + column, half + PANEL + column);
        for (int i = 0; i < 4; i++) {
            const uint32_t low = four_of_64(nibbles, 8 * b + 2 * i), high = four_of_64(nibbles, 8 * b + 2 * i + 1);
            put(group + 64 + 256 * (b % 2) + 64 * i, column, low | high << 4);
        }
        if (layout == SUPER_5) {
            uint32_t bits = 0;
            for (int t = 0; t < 8; t++) {
                bits |= (word(fifth + 4 * t) >> b & EACH) << t;
            }
            put(group + 64 + 512 + 64 * (b % 2), column, bits);
        }
        group += b % 2 ? 64 + 512 + (layout == SUPER_5 ? 128 : 0) : 0;
    }
}

static void pack_q6(const uint8_t *source, int column, uint8_t *group) {
    const uint8_t *nibbles = source, *pairs = source + 128, *scales = source + 192;
    const float d = float_of(source + 208);
    memcpy(group + 4 * column, &d, sizeof d);
    group += 64;
    for (int h = 0; h < 16; h++) { /* halves of a block */
        uint32_t low[4], high = 0;
        for (int t = 0; t < 4; t++) {
            const int i = 4 * h + t, in = i % 32; /* the fours of 256, in two parts of 128 */
            low[t] = word(nibbles + i / 32 * 64 + in / 8 % 2 * 32 + 4 * (in % 8)) >> 4 * (in / 16) & 15 * EACH;
            high |= (word(pairs + i / 32 * 32 + 4 * (in % 8)) >> 2 * (in / 8) & 3 * EACH) << 2 * t;
        }
        group[PANEL * (h % 4) + column] = scales[h];
        put(group + 64 + 128 * (h % 4), column, low[0] | low[1] << 4);
        put(group + 64 + 128 * (h % 4) + 64, column, low[2] | low[3] << 4);
        put(group + 64 + 512 + 64 * (h % 4), column, high);
        group += h % 4 == 3 ? 64 + 512 + 256 : 0;
    }
}

void pack_panels(const struct format *format, const void *matrix, int64_t k, int64_t n_columns, int64_t first,
                 int64_t end, uint8_t *panels) {
    const size_t column_bytes = (size_t)k / format->source_block * format->source_bytes;
    const size_t per_group = (size_t)format->group / format->source_block * format->source_bytes;
    for (int64_t panel = first; panel < end; panel++) {
        uint8_t *group = panels + (size_t)panel * panel_bytes(format, k);
        const int64_t left = n_columns - panel * PANEL;
        const int columns = left < PANEL ? (int)left : PANEL;
        if (columns < PANEL) {
            memset(group, 0, panel_bytes(format, k));
        }
        const uint8_t *source = (const uint8_t *)matrix + (size_t)panel * PANEL * column_bytes;
        for (int64_t at = 0; at < k; at += format->group, source += per_group, group += format->group_bytes) {
            for (int column = 0; column < columns; column++) {
                const uint8_t *from = source + (size_t)column * column_bytes;
                switch (format->layout) {
                case NIBBLES:
                case NIBBLES_MIN:
                case BYTES: pack_blocks_of_32(format->layout, from, format->source_bytes, column, group); break;
                case SUPER_4:
                case SUPER_5: pack_q4_q5(format->layout, from, column, group); break;
                case SUPER_6: pack_q6(from, column, group); break;
                }
            }
        }
    }
}
