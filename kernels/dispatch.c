/* The exported functions: each calls the best tier for this processor, which is looked up once.
 * The build defines the tiers besides ref/: CGK_NEON, or CGK_X86 for AVX2 and AVX-512. */
#include "cgk.h"
#include "tier.h"

#if defined(CGK_X86)
#include <stdatomic.h>

static const struct tier *tier(void) {
    static const struct tier tiers[] = {TIER(avx512), TIER(avx2), TIER(ref)};
    static _Atomic(const struct tier *) found; /* two threads may both look it up; they find the same */
    const struct tier *best = atomic_load_explicit(&found, memory_order_relaxed);
    if (!best) {
        const bool avx2 = __builtin_cpu_supports("avx2");
        const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
        best = avx512 ? &tiers[0] : avx2 ? &tiers[1] : &tiers[2];
        atomic_store_explicit(&found, best, memory_order_relaxed);
    }
    return best;
}
#else
static const struct tier *tier(void) {
#if defined(CGK_NEON)
    static const struct tier only = TIER(neon);
#else
    static const struct tier only = TIER(ref);
#endif
    return &only;
}
#endif

CGK_API const char *cgk_tier(void) { return tier()->name; }

CGK_API size_t cgk_sample_scratch(uint32_t n_vocab) { return tier()->sample_scratch(n_vocab); }

CGK_API cgk_status cgk_sample(const float *logits, const uint8_t *banned, uint32_t n_vocab,
                              const cgk_sample_params *params, void *scratch, cgk_sample_result *result) {
    return tier()->sample(logits, banned, n_vocab, params, scratch, result);
}

CGK_API cgk_status cgk_sample_rows(const float *const *logits, const uint8_t *const *banned, uint32_t n_rows,
                                   uint32_t n_vocab, const cgk_sample_params *params, void *scratch,
                                   cgk_sample_result *results) {
    if (!logits || !params || !results) {
        return CGK_ERROR_PARAMETER;
    }
    for (uint32_t row = 0; row < n_rows; row++) {
        const uint8_t *mask = banned ? banned[row] : NULL;
        const cgk_status status = tier()->sample(logits[row], mask, n_vocab, &params[row], scratch, &results[row]);
        if (status != CGK_OK) {
            return status;
        }
    }
    return CGK_OK;
}

CGK_API cgk_status cgk_logprob(const float *logits, uint32_t n_rows, uint32_t n_vocab, const int32_t *tokens,
                               float *logprob, uint32_t *rank, float *entropy) {
    return tier()->logprob(logits, n_rows, n_vocab, tokens, logprob, rank, entropy);
}

CGK_API cgk_status cgk_top(const float *logits, uint32_t n_vocab, uint32_t k, int32_t *ids, float *logprob) {
    return tier()->top(logits, n_vocab, k, ids, logprob);
}
