/* Callbacks of llama.cpp while it loads a model: see include/cgk.h. */
#include <stdatomic.h>
#include <string.h>

#include "cgk.h"

enum { LEVEL_ERROR = 4 }; /* GGML_LOG_LEVEL_ERROR */

CGK_API bool cgk_load_continues(float share, void *cancelled) {
    (void)share;
    return !atomic_load((atomic_bool *)cancelled);
}

CGK_API void cgk_load_log(int level, const char *text, void *error) {
    static atomic_flag busy = ATOMIC_FLAG_INIT; /* two loads may fail at once */
    if (level != LEVEL_ERROR) {
        return;
    }
    while (atomic_flag_test_and_set(&busy)) {
    }
    strncpy(error, text, CGK_ERROR_BYTES - 1); /* which fills the rest with zeros; the last byte stays one */
    atomic_flag_clear(&busy);
}
