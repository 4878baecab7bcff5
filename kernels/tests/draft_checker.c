/* The checker of cgk_draft: compares the index with a scan of the whole sequence. Appends, truncations and proposals
 * are random. Exit status 0 if all agree.
 *
 *   cd kernels
 *   cc -std=c11 -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude \
 *      tests/draft_checker.c draft.c philox.c -o draft_checker && ./draft_checker
 *
 * The index and the proposals lie in blocks of their exact size, so that AddressSanitizer sees any access outside them.
 * Small alphabets make matches of every length; large ones make none. */
#include <stdbool.h>
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

/* What follows `place` after i guesses, for the sequence itself; -1 if nothing does for another one. */
static int64_t following(const int32_t *sequence, uint32_t length, uint32_t place, uint32_t i, const cgk_guess *guesses,
                         bool own) {
    if (place + i < length) {
        return (int64_t)sequence[place + i] + INT64_C(0x100000000);
    }
    return own ? (int64_t)guesses[place + i - length].token + INT64_C(0x100000000) : -1;
}

/* cgk_draft_guess, by looking at every place. whole: the sequence of the index, with the end of another one behind
 * it, which is `end` tokens long; 0 for its own. */
static uint32_t propose_by_scan(const int32_t *whole, uint32_t length, uint32_t end, const uint32_t shape[3],
                                uint32_t k, cgk_guess *guesses) {
    uint32_t places[CGK_DRAFT_PLACES_MAX], matches[CGK_DRAFT_PLACES_MAX], alive = 0, matched = 0, count = 0;
    const int32_t *last = whole + length; /* behind the end of the sequence that is continued */
    const uint32_t known = end ? end : length;
    last += end;
    for (uint32_t n = shape[2]; n >= shape[1] && alive == 0; n--) {
        for (uint32_t place = length; n <= known && place-- > n && alive < CGK_DRAFT_PLACES_MAX;) {
            uint32_t same = 0;
            while (same < place && same < known && same < CGK_DRAFT_MATCH_MAX &&
                   whole[place - 1 - same] == *(last - 1 - same)) {
                same++;
            }
            if (same >= n) {
                places[alive] = place;
                matches[alive++] = same;
                matched = same > matched ? same : matched;
            }
        }
    }
    for (uint32_t i = 0; i < alive; i++) {
        places[i] = matches[i] == matched ? places[i] : 0;
    }
    for (; count < k; count++) {
        uint32_t of = 0, most = 0;
        int64_t best = -1;
        for (uint32_t i = 0; i < alive; i++) {
            const int64_t next = places[i] ? following(whole, length, places[i], count, guesses, !end) : -1;
            uint32_t same = 0;
            for (uint32_t j = 0; j < alive && next >= 0; j++) {
                same += places[j] && following(whole, length, places[j], count, guesses, !end) == next;
            }
            of += next >= 0;
            if (same > most) {
                most = same;
                best = next;
            }
        }
        if (most == 0) {
            break;
        }
        const uint32_t grown = matched + count;
        guesses[count] = (cgk_guess){(int32_t)(best - INT64_C(0x100000000)),
                                     grown < CGK_DRAFT_MATCH_MAX ? grown : CGK_DRAFT_MATCH_MAX, most, of};
        for (uint32_t i = 0; i < alive; i++) {
            if (places[i] && following(whole, length, places[i], count, guesses, !end) != best) {
                places[i] = 0;
            }
        }
    }
    return count;
}

static void check_proposal(const cgk_draft *draft, const int32_t *sequence, uint32_t length, const uint32_t shape[3],
                           uint32_t step) {
    const uint32_t k = random_below(K_MAX + 1), end = random_below(2) ? 0 : 1 + random_below(12);
    int32_t *whole = malloc((length + end) * sizeof *whole + 1), *apart = malloc(end * sizeof *apart + 1);
    cgk_guess *got = malloc(k * sizeof *got + 1), *want = malloc(k * sizeof *want + 1);
    memcpy(whole, sequence, length * sizeof *whole);
    for (uint32_t i = 0; i < end; i++) { /* tokens of the sequence, most of them in a row */
        const uint32_t from = length ? random_below(length) : 0;
        const bool goes_on = i && random_below(4);
        whole[length + i] = goes_on && from ? whole[length + i - 1] + 0x10001 : length ? sequence[from] : 7;
    }
    memcpy(apart, whole + length, end * sizeof *apart);
    uint32_t n = ~0u;
    const uint32_t wanted = propose_by_scan(whole, length, end, shape, k, want);
    const cgk_status status = cgk_draft_guess(draft, end ? apart : NULL, end, k, got, &n);
    cases++;
    if (status != CGK_OK || n != wanted) {
        fault("guesses", shape[0], step, n, wanted);
    } else if (n && memcmp(got, want, n * sizeof *got) != 0) {
        fault("guess", shape[0], step, got[0].token, want[0].token);
    }
    free(want);
    free(got);
    free(apart);
    free(whole);
}

/* An index of random numbers behind a good header: what comes out does not matter, but nothing outside it is touched. */
static void check_damage(const uint32_t shape[3]) {
    const size_t bytes = cgk_draft_bytes(shape[0], shape[1], shape[2]);
    uint32_t *memory = malloc(bytes), n;
    cgk_draft *draft = (cgk_draft *)memory;
    const int32_t end[] = {1, 2, 3, 4, 5, 6, 7, 8};
    cgk_guess guesses[4];
    if (cgk_draft_init(draft, shape[0], shape[1], shape[2]) != CGK_OK) {
        fault("init", shape[0], 0, 1, 0);
    }
    for (uint32_t round = 0; round < 50; round++, cases++) {
        memory[1] = random_below(shape[0] + 1); /* length */
        for (size_t i = 5; i < bytes / sizeof *memory; i++) {
            memory[i] = round % 2 ? random_below(9) : random_below(2) * (1 + random_below(~0u - 1));
        }
        if (cgk_draft_check(draft, bytes) != CGK_OK || cgk_draft_check(draft, bytes - 4) != CGK_ERROR_PARAMETER ||
            cgk_draft_guess(draft, end, 8, 4, guesses, &n) != CGK_OK) {
            fault("damage", shape[0], round, 1, 0);
        }
    }
    memory[4]++; /* slot_bits */
    if (cgk_draft_check(draft, bytes) != CGK_ERROR_PARAMETER) {
        fault("check", shape[0], 0, 0, CGK_ERROR_PARAMETER);
    }
    free(memory);
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
            uint32_t n_guesses; /* cgk_draft_grow proposes 0 tokens */
            const cgk_status status = step % 2 ? cgk_draft_append(draft, sequence + length, n)
                                               : cgk_draft_grow(draft, sequence + length, n, 0, NULL, &n_guesses);
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
    uint32_t memory[64], n;
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
        cgk_draft_guess(NULL, NULL, 0, 0, NULL, &n),
        cgk_draft_guess(draft, NULL, 0, 0, NULL, NULL),
        cgk_draft_guess(draft, NULL, 0, 1, NULL, &n),
        cgk_draft_guess(draft, NULL, 1, 0, NULL, &n),
        cgk_draft_grow(draft, tokens, 3, 0, NULL, &n),
        cgk_draft_grow(draft, tokens, 0, 1, NULL, &n),
        cgk_draft_check(NULL, 64),
        cgk_draft_check(draft, 4),
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
        check_damage(shapes[shape]);
        for (size_t alphabet = 0; alphabet < sizeof alphabets / sizeof alphabets[0]; alphabet++) {
            check_walk(shapes[shape], alphabets[alphabet]);
        }
    }
    printf("%d cases, %d faults\n", cases, faults);
    return faults > 0;
}
