/* cgk_draft: an index of n-grams that grows and shrinks at its end, as include/cgk.h states it.
 *
 * A place in the sequence is the number of tokens before it: token p follows an n-gram that ends at place p. 0 means no
 * place. Each n has two arrays of places: `last`, a hash table (open addressing, linear probing) with the last place
 * of each n-gram, and `before`, with the previous place of the same n-gram for every place. An append writes one entry
 * of each. A truncation undoes appends, the latest first, which leaves the table as it was, without tombstones. A
 * proposal finds the last place of an n-gram in `last`, and the earlier ones through `before`. All of it is numbers that
 * count from the beginning of the memory, so an index can be written to a file and mapped. */
#include <stdbool.h>
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

static bool is_at(const cgk_draft *draft, uint32_t place, const uint32_t *ngram, uint32_t n) {
    return place >= n && place <= draft->length && /* always so, unless the memory was damaged */
           memcmp(draft->memory + place - n, ngram, n * sizeof *ngram) == 0;
}

/* The slot of `last` that has the n-gram, or the free slot where it belongs. */
static uint32_t *slot_of(const cgk_draft *draft, uint32_t *last, const uint32_t *ngram, uint32_t n) {
    const uint32_t mask = (UINT32_C(1) << draft->slot_bits) - 1;
    uint64_t hash = 0;
    for (uint32_t i = 0; i < n; i++) {
        hash = (hash ^ ngram[i]) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / golden ratio: Knuth, vol. 3, 6.4 */
        hash ^= hash >> 32;
    }
    uint32_t slot = (uint32_t)hash >> (32 - draft->slot_bits);
    for (uint32_t probes = 0; last[slot] && !is_at(draft, last[slot], ngram, n) && probes < mask; probes++) {
        slot = (slot + 1) & mask;
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
            uint32_t *slot = slot_of(draft, table.last, draft->memory + draft->length - n, n);
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
            const uint32_t *ngram = draft->memory + draft->length - n;
            *slot_of(draft, table.last, ngram, n) = table.before[draft->length - 1];
        }
    }
    return CGK_OK;
}

CGK_API cgk_status cgk_draft_check(const cgk_draft *draft, size_t bytes) {
    if (!draft || bytes < sizeof *draft) {
        return CGK_ERROR_PARAMETER;
    }
    const bool fits = bytes == cgk_draft_bytes(draft->capacity, draft->shortest, draft->longest);
    const bool sound = fits && draft->length <= draft->capacity && draft->slot_bits == slot_bits_of(draft->capacity);
    return sound ? CGK_OK : CGK_ERROR_PARAMETER;
}

/* The end of a sequence. */
struct end {
    const uint32_t *tokens; /* [length] */
    uint32_t length;
};

static uint32_t agreement(const cgk_draft *draft, uint32_t place, struct end end) {
    uint32_t n = 0;
    while (n < place && n < end.length && n < CGK_DRAFT_MATCH_MAX &&
           draft->memory[place - 1 - n] == end.tokens[end.length - 1 - n]) {
        n++;
    }
    return n;
}

/* The last places, latest first, that end with the greatest n-gram with which the sequence ends, and that something
 * follows. Only those stay that agree with the end on the most tokens; *matched: on how many. */
static uint32_t places_of(const cgk_draft *draft, struct end end, uint32_t *places, uint32_t *matched) {
    uint32_t seen = 0, kept = 0;
    *matched = 0;
    for (uint32_t n = draft->longest; n >= draft->shortest && seen == 0; n--) {
        if (n > end.length) {
            continue;
        }
        const struct table table = table_of((cgk_draft *)draft, n);
        uint32_t place = *slot_of(draft, table.last, end.tokens + end.length - n, n);
        /* Places only fall, so that a walk ends even where the memory was damaged. */
        for (uint32_t before = draft->length + 1; place && place < before && seen < CGK_DRAFT_PLACES_MAX;
             before = place, place = table.before[place - 1]) {
            if (place == draft->length) {
                continue;
            }
            seen++;
            const uint32_t agreed = agreement(draft, place, end);
            if (agreed > *matched) {
                *matched = agreed;
                kept = 0;
            }
            if (agreed == *matched) {
                places[kept++] = place;
            }
        }
    }
    return kept;
}

/* What follows a place after i guesses; beyond the end of the index, the guesses themselves do. */
static bool follows(const cgk_draft *draft, uint32_t place, uint32_t i, const cgk_guess *guesses, int32_t *token) {
    const bool inside = i < draft->length - place;
    *token = inside ? (int32_t)draft->memory[place + i] : guesses[i - (draft->length - place)].token;
    return inside;
}

CGK_API cgk_status cgk_draft_guess(const cgk_draft *draft, const int32_t *end, uint32_t n_end, uint32_t k,
                                     cgk_guess *guesses, uint32_t *n) {
    if (!draft || !n || (!end && n_end) || (!guesses && k)) {
        return CGK_ERROR_PARAMETER;
    }
    const struct end own = {draft->memory, draft->length}, other = {(const uint32_t *)end, n_end};
    uint32_t places[CGK_DRAFT_PLACES_MAX], matched;
    uint32_t alive = places_of(draft, end ? other : own, places, &matched);
    for (*n = 0; *n < k && alive; ++*n) {
        int32_t next[CGK_DRAFT_PLACES_MAX];
        uint32_t of = 0, most = 0;
        for (uint32_t i = 0; i < alive; i++) { /* another sequence does not go on where the index ends */
            if (follows(draft, places[i], *n, guesses, &next[of]) || !end) {
                places[of++] = places[i];
            }
        }
        cgk_guess *guess = guesses + *n;
        for (uint32_t i = 0; i < of; i++) {
            uint32_t same = 0;
            for (uint32_t j = i; j < of; j++) {
                same += next[j] == next[i];
            }
            if (same > most) {
                most = same;
                guess->token = next[i];
            }
        }
        if (of == 0) {
            break;
        }
        guess->matched = matched + *n < CGK_DRAFT_MATCH_MAX ? matched + *n : CGK_DRAFT_MATCH_MAX;
        guess->agree = most;
        guess->of = of;
        alive = 0;
        for (uint32_t i = 0; i < of; i++) {
            if (next[i] == guess->token) {
                places[alive++] = places[i];
            }
        }
    }
    return CGK_OK;
}

CGK_API cgk_status cgk_draft_grow(cgk_draft *draft, const int32_t *added, uint32_t n_added, uint32_t k,
                                  cgk_guess *guesses, uint32_t *n) {
    const cgk_status status = cgk_draft_append(draft, added, n_added);
    return status == CGK_OK ? cgk_draft_guess(draft, NULL, 0, k, guesses, n) : status;
}
