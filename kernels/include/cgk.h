/* cgk: the token path after the logits. A plain C ABI, C11, for Linux and macOS.
 *
 * It knows nothing of Python, llama.cpp, text or models: rows of float32 logits go in, token ids and log-probabilities
 * come out. Every tier (plain C, SIMD, CUDA) returns the same bits: each number that a choice depends on is an integer,
 * so no sum depends on its order.
 *
 * Memory: the caller owns all of it. A call allocates nothing and keeps nothing. Logits are only read.
 * Errors: a function returns a cgk_status. Unless that is CGK_OK, the outputs are unspecified.
 * Threads: the interrupt flag and the chosen tier are the only global state. Calls with different outputs and scratch
 * may run concurrently.
 * Floating point: the default environment (round to nearest, no fast-math, products and sums never fused).
 *
 * Weights. Over logits l[i] with greatest value max, at temperature T > 0:
 *
 *     scale = (float)(log2(e) / T)                    a double rounded once; at most FLT_MAX
 *     y     = (l[i] == max ? 0 : l[i] - max) * scale  float32, like all that follows
 *     y     = y > -64 ? y : -64                       so -inf has weight 0
 *     t     = y + 12582912                            1.5 * 2^23: rounds y to a whole number
 *     n     = t - 12582912;  f = y - n                f in [-1/2, 1/2]
 *     p     = ((((c5*f + c4)*f + c3)*f + c2)*f + c1)*f + 1
 *             c1 = 0x1.62e42ap-1  c2 = 0x1.ebf9bcp-3  c3 = 0x1.c6b752p-5  c4 = 0x1.3cea88p-7  c5 = 0x1.5bba14p-10
 *     w[i]  = the whole part of p * 2^n * 2^40        an unsigned 64-bit integer
 *
 * The greatest logit weighs exactly 2^40. p * 2^n is within 2e-7 of 2^y, relatively, and monotone to one unit in its
 * last place (all floats tried). With 2^22 entries at most, a sum of weights is below 2^63.
 */
#ifndef CGK_H
#define CGK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGK_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

#define CGK_VOCAB_MAX (UINT32_C(1) << 22) /* entries */

typedef enum cgk_status {
    CGK_OK = 0,
    CGK_ERROR_PARAMETER = 1,    /* a null pointer, or a size or parameter out of range */
    CGK_ERROR_NAN = 2,          /* a logit that may be chosen is NaN */
    CGK_ERROR_NO_CANDIDATE = 3, /* every logit is banned or -inf */
} cgk_status;

/* The implementation that runs on this processor: "avx512", "avx2", "neon" or "ref" (plain C). Results are the same. */
CGK_API const char *cgk_tier(void);

/* ---- sample ----------------------------------------------------------------------------------------------- */

typedef struct cgk_sample_params {
    double temperature; /* finite, >= 0; 0 takes the greatest logit (ties: the lower id) and ignores the rest */
    double top_p;       /* >= 0; 1 or more is off */
    double min_p;       /* 0 (off) to 1 */
    uint64_t seed;
    uint32_t top_k;     /* 0 is off */
    uint32_t turn;      /* the draw depends on (seed, turn, candidate, index) alone */
    uint32_t candidate;
    uint32_t index;     /* of the token in its completion */
} cgk_sample_params;

typedef struct cgk_sample_result {
    int32_t token;
    float logprob; /* natural log of the probability at temperature 1 among all entries, banned ones included */
    uint32_t kept; /* number of tokens that could have been drawn, >= 1 */
} cgk_sample_result;

/* Bytes of scratch memory, aligned to 8, that cgk_sample needs for a row. */
CGK_API size_t cgk_sample_scratch(uint32_t n_vocab);

/* Choose one token.
 *
 * logits: float32 [n_vocab]. banned: uint8 [n_vocab], nonzero is never chosen; or NULL. n_vocab: 1 to CGK_VOCAB_MAX.
 *
 * -inf is never chosen. If there are +inf entries, they share all the probability. NaN is refused, except in a banned
 * entry, where it counts as -inf.
 *
 * Weights are taken over the entries that are not banned. The kept set is a prefix of the order "greater weight first,
 * then lower id", without entries of weight 0. Each filter narrows what the previous one left, in the order of
 * transformers' generate, which the paper sampled with:
 *   top-k  the first top_k entries
 *   top-p  the shortest prefix whose sum is at least ceil(top_p * (double)total), but one entry at least
 *   min-p  the entries with weight >= ceil(min_p * 2^40)
 * The draw: Philox4x32-10 with key = seed (low word first) and counter = (index, candidate, turn, 0) gives words x0,
 * x1; r = x0 + 2^32 * x1; target = floor(r * total / 2^64). The token is the first kept id, in order of ids, at which
 * the running sum of kept weights exceeds target.
 *
 * logprob = (l == max ? 0 : l - max) - ln(sum of weights / 2^40), with max and weights over all entries at T = 1: in
 * double, then float. */
CGK_API cgk_status cgk_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab,
                              const cgk_sample_params *params, void *scratch, cgk_sample_result *result);

/* cgk_sample for many rows, in order. Rows may share logits and banned ids.
 *
 * logits: addresses of rows [n_rows]. banned: addresses [n_rows], each of a mask or NULL; or NULL for no mask at all.
 * params: [n_rows]. scratch: as for one row. results: [n_rows]. Stops at the first row that fails. */
CGK_API cgk_status cgk_sample_rows(const float *const *logits, const uint8_t *const *banned, uint32_t n_rows,
                                   uint32_t n_vocab, const cgk_sample_params *params, void *scratch,
                                   cgk_sample_result *results);

/* Philox4x32-10, a counter-based generator: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
CGK_API void cgk_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* ---- logprob ---------------------------------------------------------------------------------------------- */

/* Score given tokens at temperature 1.
 *
 * logits: float32 [n_rows, n_vocab], rows one after the other. tokens: int32 [n_rows], each in [0, n_vocab).
 * logprob: float32 [n_rows], natural log, by the formula of cgk_sample (the same bits).
 * rank:    uint32 [n_rows] or NULL; number of entries before the token in the order (greater logit, lower id).
 * entropy: float32 [n_rows] or NULL; of the row's distribution, in nats, summed in double in order of ids.
 * NaN in a row: CGK_ERROR_NAN; nothing but -inf: CGK_ERROR_NO_CANDIDATE. */
CGK_API cgk_status cgk_logprob(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens,
                               float *logprob, uint32_t *rank, float *entropy);

/* The k most probable entries of a row, in the order (greater logit, lower id), at temperature 1.
 *
 * logits: float32 [n_vocab]. k: 1 to n_vocab; meant to be small. ids: int32 [k]. logprob: float32 [k], by the formula
 * of cgk_sample (the same bits). Errors: as for cgk_logprob. */
CGK_API cgk_status cgk_top(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob);

/* ---- draft ------------------------------------------------------------------------------------------------ */

#define CGK_DRAFT_CAPACITY_MAX (UINT32_C(1) << 24) /* tokens */
#define CGK_DRAFT_NGRAM_MAX 8                      /* tokens */
#define CGK_DRAFT_MATCH_MAX 32                     /* tokens */
#define CGK_DRAFT_PLACES_MAX 16

/* The tokens of one sequence, and for every n from `shortest` to `longest` the last place of each n-gram.
 * The caller provides its memory; only the functions below read or write it. */
typedef struct cgk_draft cgk_draft;

/* Bytes, aligned to 4, that an index of `capacity` tokens needs; 0 if a parameter is out of range:
 * capacity 1 to CGK_DRAFT_CAPACITY_MAX, 1 <= shortest <= longest <= CGK_DRAFT_NGRAM_MAX. */
CGK_API size_t cgk_draft_bytes(uint32_t capacity, uint32_t shortest, uint32_t longest);

/* Make an empty index in those bytes, which need not be initialized. */
CGK_API cgk_status cgk_draft_init(cgk_draft *draft, uint32_t capacity, uint32_t shortest, uint32_t longest);

/* Append tokens, int32 [n] of any value. CGK_ERROR_PARAMETER, and no change, if they exceed the capacity. */
CGK_API cgk_status cgk_draft_append(cgk_draft *draft, const int32_t *tokens, uint32_t n);

/* Keep the first `length` tokens: the index is what it was at that length. CGK_ERROR_PARAMETER if it has fewer. */
CGK_API cgk_status cgk_draft_truncate(cgk_draft *draft, uint32_t length);

/* CGK_OK if so many bytes, from a file for example, begin like an index of that size. What else they hold is not looked
 * at: of a damaged index only the guesses are wrong, as nothing is read outside it. Do not append to one. */
CGK_API cgk_status cgk_draft_check(const cgk_draft *draft, size_t bytes);

/* A guessed token, and what speaks for it. */
typedef struct {
    int32_t token;
    uint32_t matched; /* tokens on which the sequence and those places agree, with the guesses before this one, at most
                         CGK_DRAFT_MATCH_MAX */
    uint32_t agree;   /* places that this token follows ... */
    uint32_t of;      /* ... of so many, at most CGK_DRAFT_PLACES_MAX */
} cgk_guess;

/* Guess how a sequence goes on that ends with `end`, int32 [n_end]; NULL and 0: the sequence in the index.
 *
 * It takes the greatest n of longest, ..., shortest for which the index has the last n tokens at a place that something
 * follows, and the last CGK_DRAFT_PLACES_MAX of those places; of these, the ones that agree with the end of the
 * sequence on the most tokens. Each guess is what most of these are followed by, of equally many the one after the
 * latest place; the others drop out. Beyond the end of the index its own sequence goes on with the guesses themselves
 * (so "abcabcab" continues as "cabcabcab..."), while for another sequence such a place drops out.
 * guesses: [k]. n: how many there are, 0 without such a place. */
CGK_API cgk_status cgk_draft_guess(const cgk_draft *draft, const int32_t *end, uint32_t n_end, uint32_t k,
                                     cgk_guess *guesses, uint32_t *n);

/* cgk_draft_append of added tokens, then cgk_draft_guess for the sequence in the index, in one call: for languages in
 * which calls are slow. */
CGK_API cgk_status cgk_draft_grow(cgk_draft *draft, const int32_t *added, uint32_t n_added, uint32_t k,
                                  cgk_guess *guesses, uint32_t *n);

/* ---- interrupt -------------------------------------------------------------------------------------------- */

/* Ctrl-C as a flag that C code can read (a KeyboardInterrupt raised inside a callback would be lost). One per process.
 *
 * install: clears the flag, and lets SIGINT set it. A second SIGINT while it is set ends the process as an uncaught one
 * would, unless the outermost install was patient. A SIGINT that was ignored stays ignored (nohup). Installs nest.
 * restore: undoes one install; the last one restores the former handler.
 * Both return 0, or -1 if the system refuses or nothing is installed. Call these two from one thread, the other three
 * from any; set also from a signal handler. */
CGK_API int cgk_interrupt_install(bool patient);
CGK_API int cgk_interrupt_restore(void);
CGK_API void cgk_interrupt_set(void);
CGK_API void cgk_interrupt_clear(void);
CGK_API bool cgk_interrupt_requested(void *unused); /* a ggml_abort_callback */

/* ---- loading ---------------------------------------------------------------------------------------------- */

/* What loading a model needs in C. The callbacks: llama.cpp calls them two thousand times, on a thread of its own, and
 * callbacks in Python would wait for the interpreter each time.
 *
 * continues: a llama_progress_callback. False once *cancelled, a bool, is true; another thread may set it.
 * log: a ggml_log_callback. Keeps the last error in `error`: a string of at most CGK_ERROR_BYTES - 1 bytes.
 *
 * strings: walks the n strings of an array of a GGUF header, each of which is its length in 8 bytes and its own bytes.
 * `size` bytes follow, of the header; `slots` is scratch of n_slots numbers, a power of two greater than n, all 0, or
 * NULL. Sets what it found. Returns CGK_ERROR_PARAMETER for a number of slots that does not fit. */
#define CGK_ERROR_BYTES 1024
typedef struct {
    uint64_t bytes;    /* that the strings take; more than `size` if they exceed it */
    uint64_t with_nul; /* how many have a NUL byte */
    uint64_t empty;    /* how many have no bytes; not counted with `slots` NULL, like what follows */
    uint64_t repeated; /* how many are not the first of their bytes; of those with bytes */
} cgk_strings;

CGK_API bool cgk_load_continues(float share, void *cancelled);
CGK_API void cgk_load_log(int level, const char *text, void *error);
CGK_API cgk_status cgk_load_strings(const uint8_t *header, uint64_t size, uint64_t n, uint32_t *slots, uint64_t n_slots,
                                    cgk_strings *found);

#ifdef __cplusplus
}
#endif

#endif
