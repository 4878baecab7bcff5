/* What loading a model needs in C: see include/cgk.h. */
#include <stdatomic.h>
#include <string.h>

#include "cgk.h"

enum { LEVEL_ERROR = 4, LENGTH_BYTES = 8 }; /* GGML_LOG_LEVEL_ERROR */

CGK_API bool cgk_load_continues(float share, void *cancelled) {
    (void)share;
    return !atomic_load((atomic_bool *)cancelled);
}

CGK_API void cgk_load_log(int level, const char *text, void *error) {
    if (level == LEVEL_ERROR) {
        strncpy(error, text, CGK_ERROR_BYTES - 1);
        ((char *)error)[CGK_ERROR_BYTES - 1] = 0;
    }
}

static uint64_t length_at(const uint8_t *bytes) {
    uint64_t length = 0;
    for (int i = 0; i < LENGTH_BYTES; i++) {
        length |= (uint64_t)bytes[i] << 8 * i;
    }
    return length;
}

/* FNV-1a */
static uint64_t hash_of(const uint8_t *text, uint64_t length) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint64_t i = 0; i < length; i++) {
        hash = (hash ^ text[i]) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 32;
}

/* Whether the string at `at` is new. A slot has the place of a string, which is never 0: there is the first length. */
static bool add(const uint8_t *header, uint64_t at, uint64_t length, uint32_t *slots, uint64_t n_slots) {
    const uint8_t *text = header + at;
    uint64_t slot = hash_of(text, length) & (n_slots - 1);
    for (; slots[slot]; slot = (slot + 1) & (n_slots - 1)) {
        const uint8_t *other = header + slots[slot];
        if (length_at(other - LENGTH_BYTES) == length && memcmp(other, text, length) == 0) {
            return false;
        }
    }
    slots[slot] = (uint32_t)at;
    return true;
}

CGK_API cgk_status cgk_load_strings(const uint8_t *header, uint64_t size, uint64_t n, uint32_t *slots, uint64_t n_slots,
                                    cgk_strings *found) {
    *found = (cgk_strings){0};
    if (slots && (n_slots <= n || (n_slots & (n_slots - 1)) || size > UINT32_MAX)) {
        return CGK_ERROR_PARAMETER;
    }
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t length = size - at < LENGTH_BYTES ? UINT64_MAX : length_at(header + at);
        at += LENGTH_BYTES;
        if (length == UINT64_MAX || length > size - at) {
            found->bytes = size + 1;
            return CGK_OK;
        }
        found->with_nul += length && memchr(header + at, 0, length);
        if (slots && length) {
            found->repeated += !add(header, at, length, slots, n_slots);
        } else if (slots) {
            found->empty++;
        }
        at += length;
    }
    found->bytes = at;
    return CGK_OK;
}
