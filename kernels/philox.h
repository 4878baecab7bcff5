/* Philox4x32-10 (Salmon et al., SC 2011): ten rounds of two multiplications, with constants added to the key. */
#ifndef CGK_PHILOX_H
#define CGK_PHILOX_H

#include <stdint.h>

#ifndef SHARED
#define SHARED static inline /* the CUDA tier defines it as a device function */
#endif

SHARED void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t a = UINT64_C(0xD2511F53) * x0;
        const uint64_t b = UINT64_C(0xCD9E8D57) * x2;
        x0 = (uint32_t)(b >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)b;
        x2 = (uint32_t)(a >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)a;
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

#endif
