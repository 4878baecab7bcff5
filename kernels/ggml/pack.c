/* Repacks ggml's blocks into panels. Four values of 8 bits are a word, and a vector has a word of each of four columns:
 * every processor has vectors of 16 bytes, and with them this is as fast as the memory. */
#include <string.h>

#include "half.h"
#include "product.h"

#define EACH UINT32_C(0x01010101)
#define INLINE static inline __attribute__((always_inline)) /* so that the layout is a constant */

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

typedef uint32_t words __attribute__((vector_size(16)));

enum { COLUMNS = sizeof(words) / sizeof(uint32_t), CACHE_LINE = 64 };

/* Where the group to be packed begins in each of four columns. */
struct four {
    const uint8_t *column[COLUMNS];
};

INLINE uint32_t word(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* `n` words of each column, from byte `at` on. */
INLINE void get(struct four from, size_t at, words *to, int n) {
    for (int i = 0; i < n; i++, at += 4) {
        to[i] = (words){word(from.column[0] + at), word(from.column[1] + at), word(from.column[2] + at),
                        word(from.column[3] + at)};
    }
}

INLINE void put(uint8_t *part, int column, words value) { memcpy(part + 4 * column, &value, sizeof value); }

/* The lower 16 bits of each word. */
INLINE void put_halves(uint8_t *part, int column, words value) {
    for (int i = 0; i < COLUMNS; i++) {
        const uint16_t half = (uint16_t)value[i];
        memcpy(part + 2 * (column + i), &half, sizeof half);
    }
}

/* Byte b of each word. */
INLINE void put_bytes(uint8_t *part, int column, words value, int b) {
    for (int i = 0; i < COLUMNS; i++) {
        part[column + i] = (uint8_t)(value[i] >> 8 * b);
    }
}

/* Nibbles of eight k: the low ones of two words, or the high ones. */
INLINE words eight(const words *two, int high) {
    return (two[0] >> 4 * high & 15 * EACH) | (two[1] >> 4 * high & 15 * EACH) << 4;
}

INLINE void pack_blocks_of_32(enum layout layout, size_t source_bytes, struct four from, int column, uint8_t *group) {
    const int heads = layout == NIBBLES_MIN ? 2 : 1; /* d, m */
    for (int b = 0; b < 2; b++) {
        const size_t block = (size_t)b * source_bytes;
        uint8_t *to = group + 64 * heads + (layout == BYTES ? 512 : 256) * b;
        words head, values[8];
        get(from, block, &head, 1);
        for (int i = 0; i < heads; i++) {
            put_halves(group + 64 * i + 32 * b, column, head >> 16 * i);
        }
        get(from, block + (size_t)(2 * heads), values, layout == BYTES ? 8 : 4);
        for (int i = 0; i < (layout == BYTES ? 8 : 4); i++) { /* the second half of a block is in high nibbles */
            put(to + 64 * i, column, layout == BYTES ? values[i] ^ 0x80 * EACH : eight(values + 2 * (i % 2), i / 2));
        }
    }
}

/* D and M; scales c and minima e of eight blocks, 6 bits each, in 12 bytes; fifth bits; nibbles, each 32 bytes the low
 * ones of a block and the high ones of the next. */
INLINE void pack_q4_q5(enum layout layout, struct four from, int column, uint8_t *group) {
    words head[4], fifth[8], nibbles[8];
    get(from, 0, head, 4);
    put_halves(group, column, head[0]);
    put_halves(group + 32, column, head[0] >> 16);
    group += 64;
    const words c[] = {head[1] & 63 * EACH, (head[3] & 15 * EACH) | (head[1] >> 6 & 3 * EACH) << 4};
    const words e[] = {head[2] & 63 * EACH, (head[3] >> 4 & 15 * EACH) | (head[2] >> 6 & 3 * EACH) << 4};
    if (layout == SUPER_5) {
        get(from, 16, fifth, 8);
    }
    for (int two = 0; two < 4; two++, group += 64 + 512 + (layout == SUPER_5 ? 128 : 0)) {
        get(from, (size_t)((layout == SUPER_5 ? 48 : 16) + 32 * two), nibbles, 8);
        for (int h = 0; h < 2; h++) {
            const int b = 2 * two + h;
            put_bytes(group + 32 * h, column, c[b / 4], b % 4);
            put_bytes(group + 32 * h + PANEL, column, e[b / 4], b % 4);
            for (int i = 0; i < 4; i++) {
                put(group + 64 + 256 * h + 64 * i, column, eight(nibbles + 2 * i, h));
            }
            if (layout == SUPER_5) {
                words bits = {0};
                for (int t = 0; t < 8; t++) {
                    bits |= (fifth[t] >> b & EACH) << t;
                }
                put(group + 64 + 512 + 64 * h, column, bits);
            }
        }
    }
}

/* Two parts of 128 k, each 64 bytes of nibbles; of each part 32 bytes of pairs; scales; D. A word of nibbles has those
 * of k = 4i and 4i + 64; one of pairs those of k = 4i, 4i + 32, 4i + 64 and 4i + 96. */
INLINE void pack_q6(struct four from, int column, uint8_t *group) {
    for (int i = 0; i < COLUMNS; i++) {
        const float d = float_of(from.column[i] + 208);
        memcpy(group + 4 * (column + i), &d, sizeof d);
    }
    group += 64;
    words scales[4], nibbles[16], pairs[8];
    get(from, 192, scales, 4);
    for (int two = 0; two < 4; two++, group += 64 + 512 + 256) { /* blocks */
        if (two % 2 == 0) {
            get(from, (size_t)(32 * two), nibbles, 16);
            get(from, (size_t)(128 + 16 * two), pairs, 8);
        }
        for (int h = 0; h < 4; h++) { /* halves of a block */
            const int b = 2 * (two % 2) + h / 2; /* of four blocks in a part */
            const words *low = nibbles + 8 * (b % 2) + 4 * (h % 2), *upper = pairs + 4 * (h % 2);
            words high = {0};
            for (int t = 0; t < 4; t++) {
                high |= (upper[t] >> 2 * b & 3 * EACH) << 2 * t;
            }
            put_bytes(group + PANEL * h, column, scales[two], h);
            put(group + 64 + 128 * h, column, eight(low, b / 2));
            put(group + 64 + 128 * h + 64, column, eight(low + 2, b / 2));
            put(group + 64 + 512 + 64 * h, column, high);
        }
    }
}

void pack_panels(const struct format *format, const void *matrix, int64_t k, int64_t n_columns, int64_t first,
                 int64_t end, uint8_t *panels) {
    const size_t column_bytes = (size_t)k / format->source_block * format->source_bytes;
    const size_t per_group = (size_t)format->group / format->source_block * format->source_bytes;
    const uint8_t *source = (const uint8_t *)matrix + (size_t)(first * PANEL) * column_bytes;
    uint8_t *group = panels + (size_t)first * panel_bytes(format, k);
    for (int64_t panel = first; panel < end; panel++, source += PANEL * column_bytes) {
        const int64_t left = n_columns - panel * PANEL;
        /* Columns are too short for a processor to foresee what is read; so ask for the next panel, if it is whole. */
        const uint8_t *next = left >= 2 * PANEL ? source + PANEL * column_bytes : source;
        for (size_t at = 0; at < column_bytes; at += per_group, group += format->group_bytes) {
            for (int column = 0; column < PANEL; column += COLUMNS) {
                struct four from;
                for (int i = 0; i < COLUMNS; i++) {
                    const int64_t nearest = column + i < left ? column + i : left - 1;
                    from.column[i] = source + (size_t)nearest * column_bytes + at;
                }
                for (size_t line = 0; line < COLUMNS * per_group; line += CACHE_LINE) {
                    __builtin_prefetch(next + line);
                }
                next += COLUMNS * per_group;
                switch (format->layout) {
                case NIBBLES: pack_blocks_of_32(NIBBLES, format->source_bytes, from, column, group); break;
                case NIBBLES_MIN: pack_blocks_of_32(NIBBLES_MIN, format->source_bytes, from, column, group); break;
                case BYTES: pack_blocks_of_32(BYTES, format->source_bytes, from, column, group); break;
                case SUPER_4: pack_q4_q5(SUPER_4, from, column, group); break;
                case SUPER_5: pack_q4_q5(SUPER_5, from, column, group); break;
                case SUPER_6: pack_q6(from, column, group); break;
                }
            }
        }
    }
}
