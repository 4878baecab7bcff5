/* cgk_draft: an index of n-grams that grows and shrinks at its end, as include/cgk.h states it.
 *
 * A place in the sequence is the number of tokens before it: token p follows an n-gram that ends at place p. 0 means no
 * place. Each n has two arrays of places: `last`, a hash table (open addressing, linear probing) with the last place
 * of each n-gram, and `before`, with the previous place of the same n-gram for every place. An append writes one entry
 * of each. A truncation undoes appends, the latest first, which leaves the table as it was, without tombstones. A
 * proposal reads `before` and hashes nothing. */
#include <string.h>

#include "cgk.h"

struct cgk_draft {
    uint32_t capacity, length; /* tokens */
    uint32_t shortest, longest;
    uint32_t slot_bits; /* a table has 2^slot_bits slots, at most half of them used */
    uint32_t memory[];  /* tokens [capacity], then for each n: last [2^slot_bits], before [capacity] */
};

struct table {
    uint32_t *last;   /* [2^slot_bits] */
    uint32_t *before; /* [capacity], by place - 1 */
};

static size_t table_size(uint32_t capacity, uint32_t slot_bits) { return ((size_t)1 << slot_bits) + capacity; }

static struct table table_of(cgk_draft *draft, uint32_t n) {
    const size_t size = table_size(draft->capacity, draft->slot_bits);
    uint32_t *last = draft->memory + draft->capacity + (n - draft->shortest) * size;
    return (struct table){last, last + ((size_t)1 << draft->slot_bits)};
}

/* The slot of `last` that has the n-gram at the sequence's end, or the free slot where it belongs. */
static uint32_t *slot_of(cgk_draft *draft, uint32_t *last, uint32_t n) {
    const uint32_t *ngram = draft->memory + draft->length - n;
    uint64_t hash = 0;
    for (uint32_t i = 0; i < n; i++) {
        hash = (hash ^ ngram[i]) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / golden ratio: Knuth, vol. 3, 6.4 */
        hash ^= hash >> 32;
    }
    uint32_t slot = (uint32_t)hash >> (32 - draft->slot_bits);
    while (last[slot] && memcmp(draft->memory + last[slot] - n, ngram, n * sizeof *ngram) != 0) {
        slot = (slot + 1) & ((UINT32_C(1) << draft->slot_bits) - 1);
    }
    return last + slot;
}

static uint32_t slot_bits_of(uint32_t capacity) {
    uint32_t bits = 1;
    while (UINT32_C(1) << bits < 2 * capacity) {
        bits++;
    }
    return bits;
}

CGK_API size_t cgk_draft_bytes(uint32_t capacity, uint32_t shortest, uint32_t longest) {
    if (capacity < 1 || capacity > CGK_DRAFT_CAPACITY_MAX || shortest < 1 || shortest > longest ||
        longest > CGK_DRAFT_NGRAM_MAX) {
        return 0;
    }
    const size_t tables = (longest - shortest + 1) * table_size(capacity, slot_bits_of(capacity));
    return sizeof(cgk_draft) + sizeof(uint32_t) * (capacity + tables);
}

CGK_API cgk_status cgk_draft_init(cgk_draft *draft, uint32_t capacity, uint32_t shortest, uint32_t longest) {
    const size_t bytes = cgk_draft_bytes(capacity, shortest, longest);
    if (!draft || bytes == 0) {
        return CGK_ERROR_PARAMETER;
    }
    memset(draft, 0, bytes);
    draft->capacity = capacity;
    draft->shortest = shortest;
    draft->longest = longest;
    draft->slot_bits = slot_bits_of(capacity);
    return CGK_OK;
}

CGK_API cgk_status cgk_draft_append(cgk_draft *draft, const int32_t *tokens, uint32_t n_tokens) {
    if (!draft || (!tokens && n_tokens) || n_tokens > draft->capacity - draft->length) {
        return CGK_ERROR_PARAMETER;
    }
    for (uint32_t i = 0; i < n_tokens; i++) {
        draft->memory[draft->length++] = (uint32_t)tokens[i];
        for (uint32_t n = draft->shortest; n <= draft->longest && n <= draft->length; n++) {
            const struct table table = table_of(draft, n);
            uint32_t *slot = slot_of(draft, table.last, n);
            table.before[draft->length - 1] = *slot;
            *slot = draft->length;
        }
    }
    return CGK_OK;
}

CGK_API cgk_status cgk_draft_truncate(cgk_draft *draft, uint32_t length) {
    if (!draft || length > draft->length) {
        return CGK_ERROR_PARAMETER;
    }
    for (; draft->length > length; draft->length--) {
        for (uint32_t n = draft->shortest; n <= draft->longest && n <= draft->length; n++) {
            const struct table table = table_of(draft, n);
            *slot_of(draft, table.last, n) = table.before[draft->length - 1];
        }
    }
    return CGK_OK;
}

CGK_API cgk_status cgk_draft_propose(const cgk_draft *draft, uint32_t k, int32_t *tokens, uint32_t *matched) {
    if (!draft || !matched || (!tokens && k)) {
        return CGK_ERROR_PARAMETER;
    }
    const uint32_t length = draft->length;
    uint32_t place = 0;
    for (uint32_t n = draft->longest; n >= draft->shortest && place == 0; n--) {
        place = n <= length ? table_of((cgk_draft *)draft, n).before[length - 1] : 0;
    }
    *matched = 0;
    if (place == 0) {
        return CGK_OK;
    }
    while (*matched < place && *matched < CGK_DRAFT_MATCH_MAX &&
           draft->memory[place - 1 - *matched] == draft->memory[length - 1 - *matched]) {
        ++*matched;
    }
    for (uint32_t i = 0; i < k; i++) {
        tokens[i] = place + i < length ? (int32_t)draft->memory[place + i] : tokens[place + i - length];
    }
    return CGK_OK;
}

CGK_API cgk_status cgk_draft_step(cgk_draft *draft, const int32_t *added, uint32_t n, uint32_t k, int32_t *tokens,
                                  uint32_t *matched) {
    const cgk_status status = cgk_draft_append(draft, added, n);
    return status == CGK_OK ? cgk_draft_propose(draft, k, tokens, matched) : status;
}
