/* Operations of our own inside the ggml that a process has loaded. A plain C ABI. */
#ifndef CGK_GGML_H
#define CGK_GGML_H

#include <stdbool.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* Put our buffer type in front of the extra ones of ggml's CPU back end, before the first model is loaded: from then on
 * models that are loaded keep matrices in it, repacked, and ggml asks it for every operation.
 *
 * inside: any address in the library of the CPU back end; device: its device; threads: how many repack a matrix.
 * Returns NULL, or why ggml does the work alone: another version, a symbol that is missing, a processor without a tier.
 * A second call changes nothing but the threads. */
__attribute__((visibility("default"))) const char *cgk_ggml_register(const void *inside, void *device, int threads);

/* Whether models that are loaded from now on keep their matrices here; at first they do. Their files must be mapped:
 * what has been repacked is taken out of this process's memory. */
__attribute__((visibility("default"))) void cgk_ggml_use(bool on);

/* Move 2 MB of what has been repacked to a huge page, which passes read faster; false once nothing is left. At first the
 * pages are small, since those load faster. Any thread may call it, also during a pass. */
__attribute__((visibility("default"))) bool cgk_ggml_settle(void);

/* The tier of the products that runs, at first the best one of this processor: "amx", "avx512", "avxvnni", "avx2", or
 * "ref", which does not register. */
__attribute__((visibility("default"))) const char *cgk_ggml_tier(void);

/* Let another tier run from now on, for tests and comparisons: they have the same bits. With "avxvnni" and "avx2" the
 * other operations do without AVX-512, too. Returns false, and changes nothing, if this processor has none of this name. */
__attribute__((visibility("default"))) bool cgk_ggml_choose(const char *tier);

#if defined(__cplusplus)
}
#endif
#endif
