/* exp, log and GELU without libm, whose last bits differ between systems, and without branches. */
#ifndef NAC_ENGINE_ELEMENTARY_H
#define NAC_ENGINE_ELEMENTARY_H

#include <stdint.h>
#include <string.h>

#include "common/isa.h"

ALWAYS_INLINE float float_of(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ALWAYS_INLINE int32_t bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* e^x for x <= 88; below -87, e^-87. Error below 1.5 units in the last place.
 *
 * x = n log 2 + r with |r| <= log(2) / 2 and n an integer: adding 1.5 * 2^23 to x / log 2 leaves n
 * in the low bits of the sum. log 2 is in two parts, of which n * LOG_2_HIGH is exact (16 bits by
 * 8). The polynomial is the minimax one of degree 6 for e^r, within 1.9e-9 of it. */
ALWAYS_INLINE float exp_clamped(float x)
{
    const float SHIFT = 0x1.8p23f, LOG_2_HIGH = 0x1.62e4p-1f, LOG_2_LOW = 0x1.7f7d1cp-20f;
    x = x > -87.0f ? x : -87.0f;
    const float shifted = __builtin_fmaf(x, 1.44269504088896341f, SHIFT);
    const float n = shifted - SHIFT;
    const float r = __builtin_fmaf(-n, LOG_2_LOW, __builtin_fmaf(-n, LOG_2_HIGH, x));
    float p = 0x1.6ab96ep-10f;
    p = __builtin_fmaf(p, r, 0x1.126d1ep-7f);
    p = __builtin_fmaf(p, r, 0x1.55589ap-5f);
    p = __builtin_fmaf(p, r, 0x1.55540ap-3f);
    p = __builtin_fmaf(p, r, 0x1.fffffap-2f);
    p = __builtin_fmaf(p, r, 1.0f);
    p = __builtin_fmaf(p, r, 1.0f);
    return float_of((int32_t)((uint32_t)bits_of(p) + ((uint32_t)bits_of(shifted) << 23)));
}

/* log x for x positive, normal and finite. Error below 2^-23 max(|log x|, 1/2).
 *
 * x = 2^e m with m in [sqrt(1/2), sqrt(2)), and with s = (m - 1) / (m + 1), |s| <= 0.1716,
 *     log m = 2 artanh s = 2 s + s (2/3 s^2 + 2/5 s^4 + 2/7 s^6 + 2/9 s^8 + ...)
 * cut after s^8: what is dropped is below 2/11 |s|^11 (1 + 0.03 + ...) < 8e-10. */
ALWAYS_INLINE float log_positive(float x)
{
    const float LOG_2_HIGH = 0x1.62e4p-1f, LOG_2_LOW = 0x1.7f7d1cp-20f;
    const int32_t bits = bits_of(x);
    const int32_t exponent = (bits - 0x3f3504f3) >> 23; /* of sqrt(1/2) */
    const float m = float_of((int32_t)((uint32_t)bits - ((uint32_t)exponent << 23)));
    const float s = (m - 1.0f) / (m + 1.0f), z = s * s, e = (float)exponent;
    float tail = 0.2222222222f;
    tail = __builtin_fmaf(tail, z, 0.2857142857f);
    tail = __builtin_fmaf(tail, z, 0.4f);
    tail = __builtin_fmaf(tail, z, 0.6666666667f);
    const float log_m = __builtin_fmaf(s, tail * z, 2.0f * s);
    return __builtin_fmaf(e, LOG_2_HIGH, __builtin_fmaf(e, LOG_2_LOW, log_m));
}

/* Q(t) = 1 - Phi(t) for 0 <= t <= 6, Phi the normal distribution function. log Q is smooth, from
 * -log 2 to about -t^2 / 2: the polynomial of degree 9 is within 5.1e-8 / sqrt(2 Q(t)) of it. */
ALWAYS_INLINE float normal_tail(float t)
{
    float p = 1.4429664929593855e-07f;
    p = __builtin_fmaf(p, t, -3.3488674944237573e-06f);
    p = __builtin_fmaf(p, t, 3.1163861422101036e-05f);
    p = __builtin_fmaf(p, t, -0.00012730651360470802f);
    p = __builtin_fmaf(p, t, -0.0001231177302543074f);
    p = __builtin_fmaf(p, t, 0.004950826056301594f);
    p = __builtin_fmaf(p, t, -0.03643308952450752f);
    p = __builtin_fmaf(p, t, -0.31828224658966064f);
    p = __builtin_fmaf(p, t, -0.7978875041007996f);
    p = __builtin_fmaf(p, t, -0.6931471228599548f);
    return exp_clamped(p);
}

/* x Phi(x) (Hendrycks & Gimpel 2016, arXiv 1606.08415). Error below 5e-8 + 1e-7 |x|.
 *
 * With t = |x| it is max(x, 0) - t Q(t). At t = 6, t Q(t) is 6e-9, and t is clamped there. */
ALWAYS_INLINE float gelu_of(float x)
{
    float t = x < 0.0f ? -x : x;
    t = t < 6.0f ? t : 6.0f;
    return __builtin_fmaf(-t, normal_tail(t), x > 0.0f ? x : 0.0f);
}

/* The derivative of x Phi(x): Phi(x) + x phi(x), phi the normal density. Error below 1e-6. */
ALWAYS_INLINE float gelu_slope(float x)
{
    float t = x < 0.0f ? -x : x;
    t = t < 6.0f ? t : 6.0f;
    const float tail = normal_tail(t), density = 0.398942280401f * exp_clamped(-0.5f * t * t);
    return __builtin_fmaf(x < 0.0f ? -t : t, density, x > 0.0f ? 1.0f - tail : tail);
}

#endif
