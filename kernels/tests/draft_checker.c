/* The checker of cgk_draft: compares the index with a scan of the whole sequence. Appends, truncations and proposals
 * are random. Exit status 0 if all agree.
 *
 *   cd kernels
 *   cc -std=c11 -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude \
 *      tests/draft_checker.c draft.c philox.c -o draft_checker && ./draft_checker
 *
 * The index and the proposals lie in blocks of their exact size, so that AddressSanitizer sees any access outside them.
 * Small alphabets make matches of every length; large ones make none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgk.h"

enum { FAULTS_MAX = 10, STEPS = 400, K_MAX = 40 };

static int cases, faults;

static void fault(const char *what, uint32_t capacity, uint32_t step, long got, long want) {
    printf("draft %s: capacity %u, step %u: got %ld, want %ld\n", what, capacity, step, got, want);
    if (++faults == FAULTS_MAX) {
        exit(1);
    }
}

static uint32_t random_below(uint32_t bound) { /* the same in every run */
    static uint32_t counter[4];
    const uint32_t key[2] = {2023, 15};
    uint32_t words[4];
    counter[0]++;
    cgk_philox4x32(counter, key, words);
    return words[0] % bound;
}

/* On how many tokens the sequence before `place` and before `length` agrees, backwards, up to `bound`. */
static uint32_t agreement(const int32_t *tokens, uint32_t place, uint32_t length, uint32_t bound) {
    uint32_t n = 0;
    while (n < bound && n < place && tokens[place - n - 1] == tokens[length - n - 1]) {
        n++;
    }
    return n;
}

/* The last place before `length` that ends with the same n tokens; 0 if none does. */
static uint32_t place_by_scan(const int32_t *tokens, uint32_t length, uint32_t n) {
    for (uint32_t place = length; place-- > n;) {
        if (agreement(tokens, place, length, n) == n) {
            return place;
        }
    }
    return 0;
}

static void check_proposal(const cgk_draft *draft, const int32_t *sequence, uint32_t length, const uint32_t shape[3],
                           uint32_t step) {
    const uint32_t k = random_below(K_MAX + 1);
    int32_t *got = malloc(k * sizeof *got + 1), *whole = malloc((length + k) * sizeof *whole + 1);
    memcpy(whole, sequence, length * sizeof *whole);
    uint32_t place = 0, matched = ~0u;
    for (uint32_t n = shape[2]; n >= shape[1] && place == 0; n--) {
        place = place_by_scan(sequence, length, n);
    }
    const uint32_t want = place ? agreement(sequence, place, length, CGK_DRAFT_MATCH_MAX) : 0;
    const cgk_status status = cgk_draft_propose(draft, k, got, &matched);
    cases++;
    if (status != CGK_OK || matched != want) {
        fault("match", shape[0], step, matched, want);
    }
    for (uint32_t i = 0; i < k && want; i++) {
        whole[length + i] = whole[place + i];
        if (got[i] != whole[length + i]) {
            fault("token", shape[0], step, got[i], whole[length + i]);
        }
    }
    free(got);
    free(whole);
}

/* shape: capacity, shortest, longest */
static void check_walk(const uint32_t shape[3], uint32_t alphabet) {
    const size_t bytes = cgk_draft_bytes(shape[0], shape[1], shape[2]);
    cgk_draft *draft = malloc(bytes);
    memset(draft, 0xA5, bytes);
    int32_t *sequence = malloc(shape[0] * sizeof *sequence);
    uint32_t length = 0;
    if (cgk_draft_init(draft, shape[0], shape[1], shape[2]) != CGK_OK) {
        fault("init", shape[0], 0, 1, 0);
    }
    for (uint32_t step = 0; step < STEPS; step++) {
        if (random_below(4) == 0) {
            length -= random_below(random_below(8) ? length / 8 + 1 : length + 1);
            if (cgk_draft_truncate(draft, length) != CGK_OK) {
                fault("truncate", shape[0], step, 1, 0);
            }
        } else {
            const uint32_t room = shape[0] - length, n = random_below((room < 20 ? room : 20) + 1);
            for (uint32_t i = 0; i < n; i++) {
                sequence[length + i] = (int32_t)(random_below(alphabet) * 0x10001u - 3u);
            }
            uint32_t matched; /* cgk_draft_step proposes 0 tokens */
            const cgk_status status = step % 2 ? cgk_draft_append(draft, sequence + length, n)
                                               : cgk_draft_step(draft, sequence + length, n, 0, NULL, &matched);
            if (status != CGK_OK) {
                fault("append", shape[0], step, status, CGK_OK);
            }
            length += n;
        }
        check_proposal(draft, sequence, length, shape, step);
    }
    free(sequence);
    free(draft);
}

static void check_refusals(void) {
    uint32_t memory[64], matched;
    const int32_t tokens[3] = {1, 2, 3};
    cgk_draft *draft = (cgk_draft *)memory;
    const bool good = cgk_draft_bytes(2, 1, 1) <= sizeof memory && cgk_draft_init(draft, 2, 1, 1) == CGK_OK;
    const size_t bytes[] = {
        cgk_draft_bytes(0, 1, 1), cgk_draft_bytes(CGK_DRAFT_CAPACITY_MAX + 1, 1, 1),
        cgk_draft_bytes(2, 0, 1), cgk_draft_bytes(2, 2, 1),
        cgk_draft_bytes(2, 1, CGK_DRAFT_NGRAM_MAX + 1),
    };
    const cgk_status status[] = {
        cgk_draft_init(NULL, 2, 1, 1),
        cgk_draft_init(draft, 0, 1, 1),
        cgk_draft_append(NULL, tokens, 1),
        cgk_draft_append(draft, NULL, 1),
        cgk_draft_append(draft, tokens, 3),
        cgk_draft_truncate(NULL, 0),
        cgk_draft_truncate(draft, 1),
        cgk_draft_propose(NULL, 0, NULL, &matched),
        cgk_draft_propose(draft, 0, NULL, NULL),
        cgk_draft_propose(draft, 1, NULL, &matched),
        cgk_draft_step(draft, tokens, 3, 0, NULL, &matched),
        cgk_draft_step(draft, tokens, 0, 1, NULL, &matched),
    };
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++, cases++) {
        if (!good || bytes[i] != 0) {
            fault("size refused", 2, (uint32_t)i, (long)bytes[i], 0);
        }
    }
    for (size_t i = 0; i < sizeof status / sizeof status[0]; i++, cases++) {
        if (status[i] != CGK_ERROR_PARAMETER) {
            fault("refusal", 2, (uint32_t)i, status[i], CGK_ERROR_PARAMETER);
        }
    }
}

int main(void) {
    static const uint32_t shapes[][3] = {{1, 1, 1},   {2, 1, 2},   {7, 2, 4},    {33, 1, 8},  {64, 8, 8},
                                         {100, 2, 4}, {100, 1, 1}, {1000, 2, 4}, {1000, 3, 8}};
    static const uint32_t alphabets[] = {1, 2, 3, 10, 50000};
    check_refusals();
    for (size_t shape = 0; shape < sizeof shapes / sizeof shapes[0]; shape++) {
        for (size_t alphabet = 0; alphabet < sizeof alphabets / sizeof alphabets[0]; alphabet++) {
            check_walk(shapes[shape], alphabets[alphabet]);
        }
    }
    printf("%d cases, %d faults\n", cases, faults);
    return faults > 0;
}
