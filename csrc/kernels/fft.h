/* The transform of real signals of even length, FFT_LANES of them side by side.
 *
 * Lane l of every vector belongs to signal l: x[j * FFT_LANES + l] is sample j of signal l. So a vector
 * instruction does the same step of FFT_LANES transforms, nothing is shuffled, and a signal's result
 * does not depend on its neighbours. Products and sums are plain, in one order, and so the same
 * bits on every machine, with or without an FMA unit.
 *
 * A signal of n reals is a complex one of h = n / 2 (sample 2i + i * sample 2i+1), transformed by
 * Stockham's self-sorting algorithm in steps of radix 2, 3, 4 or 5 (Van Loan, 1992, section 1.7):
 *
 *     a step of radix r cuts transforms of length m * r, `stride` of them interleaved, into r times
 *     as many of length m, and leaves them in order:
 *         y[q + stride * (r p + k)] = w^(p k) * sum_j x[q + stride * (p + m j)] * e^(-2 pi i j k / r)
 *         w = e^(-2 pi i / (m r)),  p < m,  q < stride,  k < r
 *
 * Of Z, the transform of the h complex samples, E_k = (Z_k + conj Z_(h-k)) / 2 transforms the even
 * samples and O_k = (Z_k - conj Z_(h-k)) / 2i the odd ones (Z_h is Z_0), and
 *     X_k = E_k + e^(-2 pi i k / n) O_k      X_(h-k) = conj(E_k - e^(-2 pi i k / n) O_k)
 *
 * The engine's features and samples, and so all tokens, hang on every bit of this; log-mel spectra,
 * which do not, take rfft.h.
 */
#ifndef NAC_FFT_H
#define NAC_FFT_H

#include <stddef.h>
#include <stdint.h>

#include "common/isa.h"

/* 8 lanes: a vector of AVX2, and the 2 buffers of 400-point transforms fit a first-level cache. A GPU
 * has 1: there a thread does what a lane does here. */
#ifndef FFT_LANES
#define FFT_LANES 8
#endif

typedef struct {
    size_t n; /* real samples: 2 * product of the radices */
    size_t n_steps;
    const int32_t *radices; /* [n_steps], each 2, 3, 4 or 5 */
    const float *twiddles;  /* of each step in turn [m][radix - 1][2]: w^(p k), k >= 1, (re, im) */
    const float *unpack;    /* [n / 4 + 1][2]: e^(-2 pi i k / n) */
} nac_fft_plan;

/* Element i of an array of complex vectors [..][re, im][FFT_LANES]. */
#define FFT_RE(x, i) ((x) + (i) * (2 * FFT_LANES))
#define FFT_IM(x, i) ((x) + (i) * (2 * FFT_LANES) + FFT_LANES)

/* y[l] = w * (re + i im) */
#define STORE_TURNED(y, i, w, re, im)                    \
    do {                                                 \
        FFT_RE(y, i)[l] = (re) * (w)[0] - (im) * (w)[1]; \
        FFT_IM(y, i)[l] = (re) * (w)[1] + (im) * (w)[0]; \
    } while (0)

/* A step's part p, q: reads elements 0, hop, 2 hop, ... from a, where hop = stride * m, and writes
 * elements 0, stride, 2 stride, ... from out. w: the twiddles of p. */
ALWAYS_INLINE void butterfly2(const float *restrict a, size_t hop, const float *w,
                              float *restrict out, size_t stride)
{
    const float *b = FFT_RE(a, hop);
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float ar = FFT_RE(a, 0)[l], ai = FFT_IM(a, 0)[l], br = FFT_RE(b, 0)[l],
                    bi = FFT_IM(b, 0)[l];
        FFT_RE(out, 0)[l] = ar + br;
        FFT_IM(out, 0)[l] = ai + bi;
        STORE_TURNED(out, stride, w, ar - br, ai - bi);
    }
}

ALWAYS_INLINE void butterfly3(const float *restrict a, size_t hop, const float *w,
                              float *restrict out, size_t stride)
{
    const float sin60 = 0.866025403784438647f;
    const float *b = FFT_RE(a, hop), *c = FFT_RE(b, hop);
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float ar = FFT_RE(a, 0)[l], ai = FFT_IM(a, 0)[l];
        const float sr = FFT_RE(b, 0)[l] + FFT_RE(c, 0)[l],
                    si = FFT_IM(b, 0)[l] + FFT_IM(c, 0)[l];
        const float dr = sin60 * (FFT_RE(b, 0)[l] - FFT_RE(c, 0)[l]);
        const float di = sin60 * (FFT_IM(b, 0)[l] - FFT_IM(c, 0)[l]);
        const float mr = ar - 0.5f * sr, mi = ai - 0.5f * si;
        FFT_RE(out, 0)[l] = ar + sr;
        FFT_IM(out, 0)[l] = ai + si;
        STORE_TURNED(out, stride, w, mr + di, mi - dr);
        STORE_TURNED(out, 2 * stride, w + 2, mr - di, mi + dr);
    }
}

ALWAYS_INLINE void butterfly4(const float *restrict a, size_t hop, const float *w,
                              float *restrict out, size_t stride)
{
    const float *b = FFT_RE(a, hop), *c = FFT_RE(b, hop), *d = FFT_RE(c, hop);
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float s0r = FFT_RE(a, 0)[l] + FFT_RE(c, 0)[l],
                    s0i = FFT_IM(a, 0)[l] + FFT_IM(c, 0)[l];
        const float d0r = FFT_RE(a, 0)[l] - FFT_RE(c, 0)[l],
                    d0i = FFT_IM(a, 0)[l] - FFT_IM(c, 0)[l];
        const float s1r = FFT_RE(b, 0)[l] + FFT_RE(d, 0)[l],
                    s1i = FFT_IM(b, 0)[l] + FFT_IM(d, 0)[l];
        const float d1r = FFT_RE(b, 0)[l] - FFT_RE(d, 0)[l],
                    d1i = FFT_IM(b, 0)[l] - FFT_IM(d, 0)[l];
        FFT_RE(out, 0)[l] = s0r + s1r;
        FFT_IM(out, 0)[l] = s0i + s1i;
        STORE_TURNED(out, stride, w, d0r + d1i, d0i - d1r);
        STORE_TURNED(out, 2 * stride, w + 2, s0r - s1r, s0i - s1i);
        STORE_TURNED(out, 3 * stride, w + 4, d0r - d1i, d0i + d1r);
    }
}

ALWAYS_INLINE void butterfly5(const float *restrict a, size_t hop, const float *w,
                              float *restrict out, size_t stride)
{
    const float cos72 = 0.309016994374947424f, sin72 = 0.951056516295153572f;
    const float cos144 = -0.809016994374947424f, sin144 = 0.587785252292473129f;
    const float *b = FFT_RE(a, hop), *c = FFT_RE(b, hop), *d = FFT_RE(c, hop),
                *e = FFT_RE(d, hop);
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float ar = FFT_RE(a, 0)[l], ai = FFT_IM(a, 0)[l];
        const float s1r = FFT_RE(b, 0)[l] + FFT_RE(e, 0)[l],
                    s1i = FFT_IM(b, 0)[l] + FFT_IM(e, 0)[l];
        const float d1r = FFT_RE(b, 0)[l] - FFT_RE(e, 0)[l],
                    d1i = FFT_IM(b, 0)[l] - FFT_IM(e, 0)[l];
        const float s2r = FFT_RE(c, 0)[l] + FFT_RE(d, 0)[l],
                    s2i = FFT_IM(c, 0)[l] + FFT_IM(d, 0)[l];
        const float d2r = FFT_RE(c, 0)[l] - FFT_RE(d, 0)[l],
                    d2i = FFT_IM(c, 0)[l] - FFT_IM(d, 0)[l];
        const float m1r = ar + (cos72 * s1r + cos144 * s2r);
        const float m1i = ai + (cos72 * s1i + cos144 * s2i);
        const float m2r = ar + (cos144 * s1r + cos72 * s2r);
        const float m2i = ai + (cos144 * s1i + cos72 * s2i);
        const float v1r = sin72 * d1r + sin144 * d2r, v1i = sin72 * d1i + sin144 * d2i;
        const float v2r = sin144 * d1r - sin72 * d2r, v2i = sin144 * d1i - sin72 * d2i;
        FFT_RE(out, 0)[l] = ar + (s1r + s2r);
        FFT_IM(out, 0)[l] = ai + (s1i + s2i);
        STORE_TURNED(out, stride, w, m1r + v1i, m1i - v1r);
        STORE_TURNED(out, 2 * stride, w + 2, m2r + v2i, m2i - v2r);
        STORE_TURNED(out, 3 * stride, w + 4, m2r - v2i, m2i + v2r);
        STORE_TURNED(out, 4 * stride, w + 6, m1r - v1i, m1i + v1r);
    }
}

/* All parts of a step of radix R, from x to work. */
#define EACH_PART(butterfly, R)                                                     \
    for (size_t p = 0; p < m; p++)                                                  \
        for (size_t q = 0; q < stride; q++)                                         \
            butterfly(FFT_RE(x, q + stride * p), stride * m, w + 2 * ((R) - 1) * p, \
                      FFT_RE(work, q + stride * (R) * p), stride)

/* The transform of FFT_LANES complex signals x [n / 2][re, im][FFT_LANES], in x or in work: returns which. */
ALWAYS_INLINE float *fft_complex(const nac_fft_plan *plan, float *x, float *work)
{
    const float *w = plan->twiddles;
    size_t length = plan->n / 2, stride = 1;

    for (size_t i = 0; i < plan->n_steps; i++) {
        const size_t radix = (size_t)plan->radices[i], m = length / radix;
        if (radix == 2)
            EACH_PART(butterfly2, 2);
        else if (radix == 3)
            EACH_PART(butterfly3, 3);
        else if (radix == 4)
            EACH_PART(butterfly4, 4);
        else
            EACH_PART(butterfly5, 5);
        w += m * (radix - 1) * 2;
        length = m;
        stride *= radix;
        float *swap = x;
        x = work;
        work = swap;
    }
    return x;
}

#endif
