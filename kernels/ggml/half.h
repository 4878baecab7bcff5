/* A float16 as a float, exactly. */
#ifndef CGK_HALF_H
#define CGK_HALF_H

#include <stdint.h>
#include <string.h>

static inline float float_of(const uint8_t *half) {
    uint16_t bits;
    memcpy(&bits, half, sizeof bits);
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 0) {
        const float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    const uint32_t whole = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &whole, sizeof value);
    return value;
}

#endif
