/* What is done to one bin, feature or row: the arithmetic that spectrum.h, layers.h and csrc/cuda
 * share, so that their bits are the same by construction. Bins are those of FFT_LANES spectra. */
#ifndef NAC_BINS_H
#define NAC_BINS_H

#include "elementary.h"
#include "fft.h"

#define POWER_FLOOR 1e-5f /* added to powers before the logarithm */

/* Bins k and h - k of a real signal's spectrum from elements k, `a`, and h - k, `b`, of the complex
 * transform; c + i s = e^(-2 pi i k / n). fft.h has the formulas. low and high may be one place: then
 * both are that bin, up to rounding, and `high` stands. */
ALWAYS_INLINE void unpack_bins(const float *a, const float *b, float c, float s, float *low,
                               float *high)
{
    float low_r[FFT_LANES], low_i[FFT_LANES], high_r[FFT_LANES], high_i[FFT_LANES];
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float er = 0.5f * (FFT_RE(a, 0)[l] + FFT_RE(b, 0)[l]);
        const float ei = 0.5f * (FFT_IM(a, 0)[l] - FFT_IM(b, 0)[l]);
        const float odr = 0.5f * (FFT_IM(a, 0)[l] + FFT_IM(b, 0)[l]);
        const float odi = 0.5f * (FFT_RE(b, 0)[l] - FFT_RE(a, 0)[l]);
        const float tr = odr * c - odi * s, ti = odr * s + odi * c;
        low_r[l] = er + tr;
        low_i[l] = ei + ti;
        high_r[l] = er - tr;
        high_i[l] = ti - ei;
    }
    memcpy(FFT_RE(low, 0), low_r, sizeof low_r);
    memcpy(FFT_IM(low, 0), low_i, sizeof low_i);
    memcpy(FFT_RE(high, 0), high_r, sizeof high_r);
    memcpy(FFT_IM(high, 0), high_i, sizeof high_i);
}

/* The inverse: elements k, `low`, and h - k, `high`, of the interleaved transform from bins k, `a`, and
 * h - k, `b`. spectrum.h's `signals` has the formulas. Where k is 0 there is no `high`. */
ALWAYS_INLINE void pack_bins(const float *a, const float *b, float c, float s, int is_end,
                             float *low, float *high)
{
    const float keep = is_end ? 0.0f : 1.0f; /* the ends of a real signal's spectrum are real */
    float low_r[FFT_LANES], low_i[FFT_LANES], high_r[FFT_LANES], high_i[FFT_LANES];
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float ai = keep * FFT_IM(a, 0)[l], bi = keep * FFT_IM(b, 0)[l];
        const float er = FFT_RE(a, 0)[l] + FFT_RE(b, 0)[l], ei = ai - bi;
        const float dr = FFT_RE(a, 0)[l] - FFT_RE(b, 0)[l], di = ai + bi;
        const float odr = dr * c + di * s, odi = di * c - dr * s;
        low_r[l] = er - odi;
        low_i[l] = ei + odr;
        high_r[l] = er + odi;
        high_i[l] = odr - ei;
    }
    memcpy(FFT_RE(low, 0), low_i, sizeof low_i);
    memcpy(FFT_IM(low, 0), low_r, sizeof low_r);
    if (is_end) return;
    memcpy(FFT_RE(high, 0), high_i, sizeof high_i);
    memcpy(FFT_IM(high, 0), high_r, sizeof high_r);
}

/* Power of a bin, plus the floor. */
ALWAYS_INLINE float power_at(float re, float im) { return re * re + im * im + POWER_FLOOR; }

/* 1 / |X|^0.5 of a bin, or of samples, whose power is `power`. */
ALWAYS_INLINE float compression(float power)
{
    return 1.0f / __builtin_sqrtf(__builtin_sqrtf(power));
}

/* A feature, or a layer norm's input, about its mean. */
ALWAYS_INLINE float centred(float x, float mean, float scale) { return (x - mean) * scale; }

/* What a row of n values with this sum of squares about the mean is multiplied by. */
ALWAYS_INLINE float norm_factor(float squares, size_t n)
{
    return 1.0f / __builtin_sqrtf(squares / (float)n + 1e-5f);
}

/* A band's gain from its logarithm. */
ALWAYS_INLINE float band_gain(float log_gain)
{
    return exp_clamped(log_gain < 8.0f ? log_gain : 8.0f);
}

/* The sign bit, 0 or 1 << 31, of bin k of a spectrum: the lowest bit of a hash in integers modulo
 * 2^32 (multiply-xorshift, with the constants of C. Wellons's "triple32"). */
ALWAYS_INLINE uint32_t sign_of(uint32_t seed, uint32_t k)
{
    uint32_t h = seed * 0x9e3779b1u + k;
    h = (h ^ (h >> 17)) * 0xed5ad4bbu;
    h = (h ^ (h >> 11)) * 0xac4c1b51u;
    h = (h ^ (h >> 15)) * 0x31848babu;
    return (h ^ (h >> 14)) << 31;
}

/* A bin's gain between those of its two bands, with its drawn sign. */
ALWAYS_INLINE float bin_gain(float lower, float upper, float lower_weight, float upper_weight,
                             uint32_t sign)
{
    const float size = __builtin_fmaf(upper, upper_weight, lower * lower_weight);
    return float_of((int32_t)((uint32_t)bits_of(size) ^ sign));
}

#endif
