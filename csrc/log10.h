/* log10 of a float without libm, whose last bit differs between systems.
 *
 * x = 2^e m with m in [sqrt(1/2), sqrt(2)), and with s = (m - 1) / (m + 1), |s| <= 0.1716,
 *     log m = 2 artanh s = 2 s + s (2/3 s^2 + 2/5 s^4 + 2/7 s^6 + 2/9 s^8 + ...)
 * cut after s^8: what is dropped is below 2/11 |s|^11 (1 + 0.03 + ...) < 8e-10, a hundredth of half
 * a unit in the last place of the largest log m. log10 x = e log10 2 + log10(e) log m, with log10 2
 * in two parts, of which e * LOG10_2_HIGH is exact (13 bits by 8). The error that the tests
 * hold it to is 2^-23 max(|log10 x|, 1/2): two units in the last place or less.
 */
#ifndef CODEC_LOG10_H
#define CODEC_LOG10_H

#include <stdint.h>
#include <string.h>

#include "isa.h"

/* x: positive, normal and finite. */
ALWAYS_INLINE float log10_positive(float x)
{
    const float LOG10_2_HIGH = 0x1.3440p-2f, LOG10_2_LOW = 0x1.3509f8p-18f; /* sum: log10 2 */
    const float LOG10_E = 0.434294481903251828f;
    const int32_t sqrt_half = 0x3f3504f3;
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int32_t exponent = (bits - sqrt_half) >> 23;
    bits -= exponent * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);

    const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
    const float tail = z * (0.6666666667f + z * (0.4f + z * (0.2857142857f + z * 0.2222222222f)));
    const float log_m = 2.0f * s + s * tail;
    const float e = (float)exponent;
    return e * LOG10_2_HIGH + (e * LOG10_2_LOW + LOG10_E * log_m);
}

#endif
