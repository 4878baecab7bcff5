/* cgk_philox4x32: the inline function of philox.h, exported. */
#include "cgk.h"
#include "philox.h"

CGK_API void cgk_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    philox4x32(counter, key, out);
}
