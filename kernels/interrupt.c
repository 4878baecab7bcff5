/* Ctrl-C as a flag: see include/cgk.h. */
#define _XOPEN_SOURCE 700 /* sigaction under -std=c11 */

#include <signal.h>
#include <stdatomic.h>

#include "cgk.h"

static atomic_bool requested; /* lock-free, so a handler may set it; llama.cpp reads it from its own threads */
static struct sigaction former;
static int depth; /* installs not yet restored */
static atomic_bool is_patient;

static void on_interrupt(int signal_number) {
    if (atomic_exchange(&requested, true) && !is_patient) {
        signal(signal_number, SIG_DFL);
        raise(signal_number); /* delivered when this handler returns */
    }
}

CGK_API int cgk_interrupt_install(bool patient) {
    if (depth == 0) {
        is_patient = patient;
        struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
        sigemptyset(&action.sa_mask);
        if (sigaction(SIGINT, NULL, &former) != 0) {
            return -1;
        }
        requested = false;
        if (former.sa_handler != SIG_IGN && sigaction(SIGINT, &action, NULL) != 0) {
            return -1;
        }
    }
    depth++;
    return 0;
}

CGK_API int cgk_interrupt_restore(void) {
    if (depth == 0) {
        return -1;
    }
    return --depth > 0 ? 0 : sigaction(SIGINT, &former, NULL);
}

CGK_API void cgk_interrupt_set(void) { requested = true; }
CGK_API void cgk_interrupt_clear(void) { requested = false; }
CGK_API bool cgk_interrupt_requested(void *unused) {
    (void)unused;
    return requested;
}
