/* log10 of a float without libm, whose last bit differs between systems, and without a division.
 *
 * x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)): f is exact, and
 *     log10 x = e log10 2 + f (log10 e + f q(f))
 * where q is the polynomial of degree 8 whose weighted error |f dq| is least (a Lawson fit): the
 * sum in brackets is off by 4.3e-9 of log10 e at most, a fourteenth of half a unit in its last place.
 * log10 2 is in two parts that are added in FMAs. The error that the tests hold it to is
 * 2^-23 max(|log10 x|, 1/2): two units in the last place or less.
 */
#ifndef NAC_LOG10_H
#define NAC_LOG10_H

#include <stdint.h>
#include <string.h>

#include "common/isa.h"

/* x: positive, normal and finite. */
ALWAYS_INLINE float log10_positive(float x)
{
    const float LOG10_2_HIGH = 0x1.344136p-2f, LOG10_2_LOW = -0x1.ec10c0p-27f; /* sum: log10 2 */
    const float LOG10_E = 0.434294481903251828f;
    const int32_t sqrt_half = 0x3f3504f3;
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int32_t exponent = (bits - sqrt_half) >> 23;
    bits -= exponent * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);

    const float f = m - 1.0f, e = (float)exponent;
    float q = -0.0339764968f;
    q = __builtin_fmaf(q, f, 0.0564792672f);
    q = __builtin_fmaf(q, f, -0.0573650700f);
    q = __builtin_fmaf(q, f, 0.0615111653f);
    q = __builtin_fmaf(q, f, -0.0721413093f);
    q = __builtin_fmaf(q, f, 0.0868719929f);
    q = __builtin_fmaf(q, f, -0.1085802306f);
    q = __builtin_fmaf(q, f, 0.1447647186f);
    q = __builtin_fmaf(q, f, -0.2171471939f);
    const float log_m = f * __builtin_fmaf(q, f, LOG10_E);
    return __builtin_fmaf(e, LOG10_2_HIGH, __builtin_fmaf(e, LOG10_2_LOW, log_m));
}

#endif
