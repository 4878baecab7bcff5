/* The checker: compares every tier with the oracle (tests/oracle.h) on the same cases. Exit status 0 if all agree.
 *
 *   cd kernels
 *   cc -std=c11 -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all -ffp-contract=off -Iinclude \
 *      tests/checker.c dispatch.c philox.c ref/sample.c ref/logprob.c -lm -o checker && ./checker
 *
 * It checks the exported functions of whatever is linked; with -DTIERS='TIER(ref), TIER(avx2)' and the objects of those
 * tiers it checks each of them. Inputs lie in blocks of their exact size, so that AddressSanitizer sees any access
 * outside them. It stops after a row with faults. -DSIZES=1,17,4097 limits the row sizes, for an emulator. */
#include <stdio.h>
#include <string.h>

#include "../tier.h"
#include "oracle.h"

enum { FAULTS_MAX = 10 };

/* Error of a log-probability: weights are within 2e-7 of exp and cut off at 2^-40; then the float rounds. */
#define LOGPROB_ABSOLUTE 5e-7
#define LOGPROB_RELATIVE 1.2e-7
#define ENTROPY_ABSOLUTE 1e-5

#if !defined(TIERS)
#define TIERS {"library", cgk_sample, cgk_sample_scratch, cgk_logprob, cgk_top}
#endif
static const struct tier tiers[] = {TIERS};
enum { N_TIERS = sizeof tiers / sizeof tiers[0] };

#if !defined(SIZES)
#define SIZES 1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 255, 257, 1000, 1023, 4097, 51200
#define CHECK_LARGEST true
#else
#define CHECK_LARGEST false
#endif
static const uint32_t sizes[] = {SIZES};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };

static const cgk_sample_params settings[] = {
    /* temperature, top_p, min_p, seed, top_k */
    {.temperature = 0.0, .top_p = 0.95},
    {.temperature = 0.2, .top_p = 0.95, .seed = 1},
    {.temperature = 0.8, .top_p = 0.95, .seed = UINT64_C(0xFEDCBA9876543210)},
    {.temperature = 1.0, .top_p = 1.0, .seed = 3},
    {.temperature = 1.0, .top_p = 0.0, .seed = 4},
    {.temperature = 1.0, .top_p = 1e-300, .seed = 5},
    {.temperature = 1.0, .top_p = 0x1.fffffffffffffp-1, .seed = 6},
    {.temperature = 0.8, .top_p = 0.9, .min_p = 0.02, .seed = 7, .top_k = 40},
    {.temperature = 1.0, .top_p = 1.0, .min_p = 1.0, .seed = 8},
    {.temperature = 1.0, .top_p = 1.0, .seed = 9, .top_k = 1},
    {.temperature = 1.3, .top_p = 0.5, .seed = 10, .top_k = 7},
    {.temperature = 1.0, .top_p = 1.0, .min_p = 0.1, .seed = 11, .top_k = UINT32_MAX},
    {.temperature = 1e-6, .top_p = 0.95, .seed = 12},
    {.temperature = 1e-310, .top_p = 1.0, .seed = 13}, /* 1 / T overflows a float */
    {.temperature = DBL_MAX, .top_p = 0.95, .seed = 14},
    {.temperature = 100.0, .top_p = 0.999, .seed = 15},
    {.temperature = 1.0, .top_p = 0.5, .seed = 16}, /* of equal weights just half */
    {.temperature = 0.8, .top_p = 0.9, .min_p = 0.001, .seed = 17, .top_k = 9000},
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

enum shape { GAUSSIAN, TIES, HIGH_SPOTS, LOW_SPOTS, FLAT, WIDE, ONE_HOT, TOP_INF, BOTTOM_INF, FAR_APART, DENORMAL, MIXED, TWO_VALUES, SHAPES };
static const char *const shape_names[SHAPES] = {"gaussian", "ties", "high spots", "low spots", "flat",  "wide",      "one-hot",
                                                "+inf",     "-inf", "far apart",  "denormal",  "mixed", "two values"};

/* One row of logits and how it is sampled. */
struct row {
    const struct tier *tier;
    enum shape shape;
    uint32_t n_vocab;
    int setting; /* index in `settings`, or the number of a case */
    float *logits;
    uint8_t *banned;
};

static int cases, faults;

static void fault(const char *what, const struct row *row, double got, double want) {
    printf("%s %s: %s [%u], setting %d: got %.9g, want %.9g\n", row->tier->name, what, shape_names[row->shape],
           row->n_vocab, row->setting, got, want);
    if (++faults == FAULTS_MAX) {
        exit(1);
    }
}

static uint32_t random_word(void) { /* the same in every run */
    static uint32_t counter[4], words[4];
    const uint32_t key[2] = {20220325, 13474};
    if (counter[0]++ % 4 == 0) {
        cgk_philox4x32(counter, key, words);
    }
    return words[counter[0] % 4];
}

static float uniform(void) { return (float)(random_word() >> 8) * 0x1p-24f; }

static float gaussian(void) {
    float sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += uniform();
    }
    return sum;
}

static void fill(const struct row *row) {
    for (uint32_t i = 0; i < row->n_vocab; i++) {
        const uint32_t word = random_word();
        float logit = 3 * gaussian();
        switch (row->shape) {
        case GAUSSIAN: break;
        case WIDE: logit = 4 * logit - 5; break;
        case FLAT: logit = 1.5f; break;
        case ONE_HOT: logit = i == row->n_vocab / 3 ? 60.0f : -60.0f; break;
        case TIES: logit = (float)(word % 4); break;
        case TOP_INF: logit = word % 8 == 0 || i == row->n_vocab / 2 ? INFINITY : logit; break;
        case BOTTOM_INF: logit = word % 2 && i != row->n_vocab - 1 ? -INFINITY : logit; break;
        case FAR_APART: logit = word % 2 ? FLT_MAX : -FLT_MAX; break;
        case TWO_VALUES: logit = word % 16 ? 0.0f : 2.0f; break;
        /* a few groups of entries differ from the rest: a range guessed from a sample of such a row is wrong */
        case HIGH_SPOTS: logit += i % 64 < 16 ? 4.0f : 0.0f; break;
        case LOW_SPOTS: logit -= i % 64 < 16 ? 4.0f : 0.0f; break;
        case DENORMAL: logit = (float)(word % 16) * 0x1p-149f; break;
        default: {
            const float few[] = {-INFINITY, -0.0f, 0.0f, -1e30f};
            logit = word % 8 < 4 ? few[word % 8] : logit;
        }
        }
        row->logits[i] = logit;
    }
}

static bool near_truth(float logprob, double truth) {
    return logprob == (float)truth || fabs(logprob - truth) <= LOGPROB_ABSOLUTE + LOGPROB_RELATIVE * fabs(truth);
}

static void check_sample(struct row *row, const uint8_t *banned, cgk_sample_params params) {
    params.turn = random_word();
    params.candidate = random_word() % 16;
    params.index = random_word() % 512;
    cgk_sample_result want = {0};
    const cgk_status expected = oracle_sample(row->logits, banned, row->n_vocab, &params, &want);
    const double truth =
        expected == CGK_OK ? oracle_logprob(row->logits, row->n_vocab, (uint32_t)want.token) : 0;
    for (row->tier = tiers; row->tier < tiers + N_TIERS; row->tier++) {
        cgk_sample_result got = {0};
        void *scratch = malloc(row->tier->sample_scratch(row->n_vocab));
        const cgk_status status = row->tier->sample(row->logits, banned, row->n_vocab, &params, scratch, &got);
        free(scratch);
        cases++;
        if (status != expected) {
            fault("status", row, status, expected);
        } else if (status == CGK_OK) {
            if (got.kept != want.kept) {
                fault("kept", row, got.kept, want.kept);
            }
            if (got.token != want.token) {
                fault("token", row, got.token, want.token);
                continue;
            }
            if (!near_truth(got.logprob, truth)) {
                fault("log-probability of the sample", row, got.logprob, truth);
            }
            if (row->tier > tiers && got.logprob != want.logprob) {
                fault("log-probability beside the first tier's", row, got.logprob, want.logprob);
            }
            want.logprob = got.logprob;
        }
    }
}

/* Some weights bit for bit: a min-p equal to an entry's weight keeps it, one unit more drops it. */
static void check_weights(struct row *row) {
    cgk_sample_params params = settings[row->setting];
    float max = -INFINITY;
    for (uint32_t i = 0; i < row->n_vocab; i++) {
        max = fmaxf(max, row->logits[i]);
    }
    if (params.temperature == 0 || max == -INFINITY) {
        return;
    }
    params.top_k = 0;
    params.top_p = 1;
    for (int pick = 0; pick < 4; pick++) {
        const float logit = row->logits[random_word() % row->n_vocab];
        const double exact = (double)oracle_weight(logit, max, params.temperature);
        for (int above = 0; above < 2; above++) {
            params.min_p = fmin((exact + above) * 0x1p-40, 1);
            check_sample(row, NULL, params);
        }
    }
}

static void check_logprob(const struct row *row) {
    const float *logits = row->logits;
    const uint32_t n_vocab = row->n_vocab, t = random_word() % n_vocab;
    const int32_t token = (int32_t)t;
    float logprob = 0, entropy = 0;
    uint32_t rank = 0, before = 0;
    const cgk_status status = row->tier->logprob(logits, 1, n_vocab, &token, &logprob, &rank, &entropy);
    cases++;
    if (status != CGK_OK) {
        fault("logprob status", row, status, CGK_OK);
        return;
    }
    const double truth = oracle_logprob(logits, n_vocab, t);
    if (!near_truth(logprob, truth)) {
        fault("logprob", row, logprob, truth);
    }
    for (uint32_t i = 0; i < n_vocab; i++) {
        before += logits[i] > logits[t] || (logits[i] == logits[t] && i < t);
    }
    if (rank != before) {
        fault("rank", row, rank, before);
    }
    if (n_vocab <= 1023) { /* the oracle takes quadratic time */
        double sum = 0;
        for (uint32_t i = 0; i < n_vocab; i++) {
            const double each = oracle_logprob(logits, n_vocab, i);
            sum -= each > -INFINITY ? exp(each) * each : 0;
        }
        if (!(fabs(entropy - sum) <= ENTROPY_ABSOLUTE)) {
            fault("entropy", row, entropy, sum);
        }
    }
}

/* The k best entries, against k searches for the next one. */
static void check_top(const struct row *row, uint32_t k) {
    int32_t *ids = malloc(k * sizeof *ids), last = -1;
    float *logprob = malloc(k * sizeof *logprob);
    const cgk_status status = row->tier->top(row->logits, row->n_vocab, k, ids, logprob);
    cases++;
    if (status != CGK_OK) {
        fault("top status", row, status, CGK_OK);
    }
    for (uint32_t place = 0; status == CGK_OK && place < k; place++) {
        int32_t best = -1;
        for (uint32_t i = 0; i < row->n_vocab; i++) {
            const float limit = last < 0 ? INFINITY : row->logits[last];
            const bool open = last < 0 || row->logits[i] < limit || (row->logits[i] == limit && (int32_t)i > last);
            if (open && (best < 0 || row->logits[i] > row->logits[best])) {
                best = (int32_t)i;
            }
        }
        if (ids[place] != best) {
            fault("top", row, ids[place], best);
            break;
        }
        const double truth = oracle_logprob(row->logits, row->n_vocab, (uint32_t)best);
        if (!near_truth(logprob[place], truth)) {
            fault("log-probability of the top", row, logprob[place], truth);
        }
        last = best;
    }
    free(ids);
    free(logprob);
}

static void check_rows(enum shape shape, uint32_t n_vocab) {
    struct row row = {tiers, shape, n_vocab, 0, malloc(n_vocab * sizeof(float)), malloc(n_vocab)};
    const int rounds = n_vocab < 100 ? 2 : 1;
    /* The oracle sorts: on the longest rows each shape is checked with a third of the settings. */
    for (row.setting = n_vocab > 5000 ? shape % 3 : 0; row.setting < SETTINGS; row.setting += n_vocab > 5000 ? 3 : 1) {
        for (int round = 0; round < rounds; round++) {
            fill(&row);
            for (uint32_t i = 0; i < n_vocab; i++) {
                row.banned[i] = random_word() % 3 == 0 ? (uint8_t)(1 + random_word() % 255) : 0;
            }
            check_sample(&row, NULL, settings[row.setting]);
            check_sample(&row, row.banned, settings[row.setting]);
            if (n_vocab < 2000) {
                check_weights(&row);
            }
            row.logits[random_word() % n_vocab] = NAN; /* refused, unless it is banned */
            check_sample(&row, row.banned, settings[row.setting]);
            memset(row.banned, 1, n_vocab);
            check_sample(&row, row.banned, settings[row.setting]);
        }
    }
    fill(&row);
    row.logits[0] = row.logits[0] > -INFINITY ? row.logits[0] : 0; /* a row of -inf alone is in check_refusals */
    for (row.tier = tiers; row.tier < tiers + N_TIERS; row.tier++) {
        check_logprob(&row);
        check_top(&row, 1);
        check_top(&row, n_vocab < 20 ? n_vocab : 20);
    }
    free(row.logits);
    free(row.banned);
}

/* One call that must end with the status `want`; row->setting counts them. */
static void expect(struct row *row, cgk_status want, cgk_status got) {
    cases++;
    if (got != want) {
        fault("refusal", row, got, want);
    }
    row->setting++;
}

static void check_refusals(const struct tier *tier) {
    float flat[2] = {0, 0}, none[2] = {-INFINITY, -INFINITY}, nan_row[2] = {0, NAN}, logprob;
    const int32_t token = 0, beyond = 2, negative = -1;
    int32_t best;
    void *scratch = malloc(tier->sample_scratch(2));
    cgk_sample_result result;
    const cgk_sample_params good = {.temperature = 1, .top_p = 1};
    const cgk_sample_params bad[] = {
        {.temperature = -1, .top_p = 1},
        {.temperature = NAN, .top_p = 1},
        {.temperature = INFINITY, .top_p = 1},
        {.temperature = 1, .top_p = -0.1},
        {.temperature = 1, .top_p = NAN},
        {.temperature = 1, .top_p = 1, .min_p = 1.1},
        {.temperature = 1, .top_p = 1, .min_p = -0.1},
        {.temperature = 1, .top_p = 1, .min_p = NAN},
    };
    struct row row = {tier, FLAT, 2, 0, flat, NULL};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect(&row, CGK_ERROR_PARAMETER, tier->sample(flat, NULL, 2, &bad[i], scratch, &result));
    }
    expect(&row, CGK_ERROR_PARAMETER, tier->sample(flat, NULL, 0, &good, scratch, &result));
    expect(&row, CGK_ERROR_PARAMETER, tier->sample(flat, NULL, CGK_VOCAB_MAX + 1, &good, scratch, &result));
    expect(&row, CGK_ERROR_PARAMETER, tier->sample(NULL, NULL, 2, &good, scratch, &result));
    expect(&row, CGK_ERROR_PARAMETER, tier->sample(flat, NULL, 2, &good, NULL, &result));
    expect(&row, CGK_ERROR_PARAMETER, tier->logprob(flat, 1, 2, &beyond, &logprob, NULL, NULL));
    expect(&row, CGK_ERROR_PARAMETER, tier->logprob(flat, 1, 2, &negative, &logprob, NULL, NULL));
    expect(&row, CGK_ERROR_PARAMETER, tier->top(flat, 2, 0, &best, &logprob));
    expect(&row, CGK_ERROR_PARAMETER, tier->top(flat, 2, 3, &best, &logprob));
    expect(&row, CGK_ERROR_NO_CANDIDATE, tier->sample(none, NULL, 2, &good, scratch, &result));
    expect(&row, CGK_ERROR_NO_CANDIDATE, tier->logprob(none, 1, 2, &token, &logprob, NULL, NULL));
    expect(&row, CGK_ERROR_NO_CANDIDATE, tier->top(none, 2, 1, &best, &logprob));
    expect(&row, CGK_ERROR_NAN, tier->sample(nan_row, NULL, 2, &good, scratch, &result));
    expect(&row, CGK_ERROR_NAN, tier->logprob(nan_row, 1, 2, &token, &logprob, NULL, NULL));
    expect(&row, CGK_ERROR_NAN, tier->top(nan_row, 2, 1, &best, &logprob));
    free(scratch);
}

/* The published vectors: Random123 1.14, tests/kat_vectors, "philox4x32 10". Counter, key, output. */
static void check_philox(void) {
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        const struct row row = {&tiers[0], FLAT, 4, i, NULL, NULL};
        uint32_t out[4];
        cgk_philox4x32(known[i], known[i] + 4, out);
        cases++;
        if (memcmp(out, known[i] + 6, sizeof out) != 0) {
            fault("philox", &row, out[0], known[i][6]);
        }
    }
}

/* Rows together, some of the same logits, are drawn as rows one by one; the first that fails ends the call. */
static void check_batch(void) {
    enum { ROWS = 9, N = 777 };
    struct row row = {tiers, GAUSSIAN, N, 0, malloc(N * sizeof(float)), calloc(N, 1)};
    float *other = malloc(N * sizeof(float));
    fill(&row);
    memcpy(other, row.logits, N * sizeof(float));
    fill(&row);
    row.banned[3] = row.banned[N - 1] = 1;
    const float *logits[ROWS];
    const uint8_t *banned[ROWS];
    cgk_sample_params params[ROWS];
    cgk_sample_result results[ROWS], alone;
    for (uint32_t i = 0; i < ROWS; i++) {
        logits[i] = i % 3 ? row.logits : other;
        banned[i] = i % 2 ? row.banned : NULL;
        params[i] = settings[(i + 1) % SETTINGS];
        params[i].candidate = i;
    }
    void *scratch = malloc(cgk_sample_scratch(N));
    for (int masks = 0; masks < 2; masks++) {
        const cgk_status status = cgk_sample_rows(logits, masks ? banned : NULL, ROWS, N, params, scratch, results);
        for (int i = 0; i < ROWS; i++, cases++) {
            cgk_sample(logits[i], masks ? banned[i] : NULL, N, &params[i], scratch, &alone);
            if (status != CGK_OK || memcmp(&alone, &results[i], sizeof alone) != 0) {
                fault("a row of many", &row, results[i].token, alone.token);
            }
        }
    }
    other[5] = NAN;
    expect(&row, CGK_ERROR_NAN, cgk_sample_rows(logits, NULL, ROWS, N, params, scratch, results));
    free(scratch);
    free(other);
    free(row.logits);
    free(row.banned);
}

/* The largest vocabulary, once: sums and counts at their greatest. */
static void check_largest(void) {
    struct row row = {tiers, GAUSSIAN, CGK_VOCAB_MAX, 2, malloc(CGK_VOCAB_MAX * sizeof(float)), NULL};
    fill(&row);
    check_sample(&row, NULL, settings[row.setting]);
    free(row.logits);
}

int main(void) {
    check_philox(); /* the oracle draws with it too */
    for (int tier = 0; tier < N_TIERS; tier++) {
        check_refusals(&tiers[tier]);
    }
    check_batch();
    for (int shape = 0; shape < SHAPES; shape++) {
        for (int size = 0; size < N_SIZES && faults == 0; size++) {
            check_rows((enum shape)shape, sizes[size]);
        }
    }
    if (CHECK_LARGEST && faults == 0) {
        check_largest();
    }
    printf("%d cases, %d faults\n", cases, faults);
    return faults > 0;
}
