/* The power spectrum of real signals of any length 2^a 3^b 5^c >= 3, MEL_LANES of them side by side.
 *
 * Lane l of every vector belongs to signal l: a vector instruction does the same step of MEL_LANES
 * transforms, nothing is shuffled, and a signal's result depends neither on its neighbours nor on
 * MEL_LANES, which the includer defines. The code below is the definition: every product and sum is
 * rounded alone, in the order that is written, but for those in FMA; so all machines give the same
 * bits.
 *
 * n = split * h, where split is the largest of 16, 8, 4, 2, 1 that divides n and leaves h > 1.
 *
 * 1. For r < h a real transform of `split` windowed samples x[order[r][m]], m < split, with
 *        order[r][m] = (split r + h m) mod n   if h is odd: then it is coprime to split, and this
 *                                              order (Good, 1958) needs no twiddles;
 *                      r + h m                 else: result k is turned by e^(-2 pi i r k / n).
 *    With half = split / 2, results k = 1 .. half - 1 become element r of column k. Results 0 and
 *    half are a sum and a difference of two reals that are kept instead: a of the even m, and b of
 *    the odd, elements order[r][0] and order[r][1] mod 2h of column 0. So this column is the real
 *    signal y[i] = sum_j x[i + 2h j] of 2h samples, whose transform is bins 0, half, 2 half, ... of X.
 * 2. Every column is transformed as h complex numbers, column 0 as y[2i] + i y[2i+1], by
 *    Stockham's self-sorting algorithm (Van Loan, 1992, section 1.7): a step of radix R cuts
 *    transforms of length m R, `stride` of them interleaved, into R times as many of length m,
 *        v[q + stride (R p + k)] = w^(p k) sum_j u[q + stride (p + m j)] e^(-2 pi i j k / R)
 *        w = e^(-2 pi i / (m R)),  p < m,  q < stride,  k < R        (for p = 0 nothing is turned)
 * 3. Column k >= 1 is bins that are k modulo split: element j, or its conjugate, is bins[k - 1][j].
 *    Column 0 is unpacked: of Z, its transform, E_k = (Z_k + conj Z_(h-k)) / 2 transforms the even
 *    samples of y and O_k = (Z_k - conj Z_(h-k)) / 2i the odd ones (Z_h is Z_0), and
 *        Y_k = E_k + e^(-pi i k / h) O_k      Y_(h-k) = conj(E_k - e^(-pi i k / h) O_k)
 *    The halves are left to the end, a quarter of the power.
 *
 * An odd n (split = 1) is one column of n complex numbers with zero imaginary parts, which is not
 * unpacked; of its bins above n / 2 nothing is kept.
 */
#ifndef NAC_RFFT_H
#define NAC_RFFT_H

#include <stddef.h>
#include <stdint.h>

#include "common/isa.h"
#include "mel.h"

#define FMA __builtin_fmaf

/* Floats of a column: h complex vectors, and one vector lest columns of 2^k vectors, which step 1
 * writes side by side, all fall into the same set of the cache. */
#define COLUMN_SIZE(plan) ((2 * (plan)->h + 1) * MEL_LANES)

/* Scratch that rfft_power needs: floats. */
#define RFFT_SIZE(plan) (((plan)->split > 2 ? (plan)->split / 2 + 1 : 2) * COLUMN_SIZE(plan))

/* Lane l of element i of complex vectors [..][re, im][MEL_LANES]. */
#define RFFT_RE(x, i) ((x) + (i) * (2 * MEL_LANES))[l]
#define RFFT_IM(x, i) ((x) + (i) * (2 * MEL_LANES) + MEL_LANES)[l]

/* s, d = x[m] +- x[m + half], each times its window. */
#define PAIR(m, half, s, d)                                  \
    const float s##_low = (x + at[m])[l] * w[m];             \
    const float s##_high = (x + at[(m) + (half)])[l];        \
    const float s = FMA(s##_high, w[(m) + (half)], s##_low); \
    const float d = FMA(-s##_high, w[(m) + (half)], s##_low)

/* x = (re + i im) (t[0] + i t[1]), to the place of lane l at `to`. */
#define PUT_TURNED(to, re, im, t)                             \
    do {                                                      \
        const float re_ = (re), im_ = (im);                   \
        (to)[l] = FMA(re_, (t)[0], -(im_ * (t)[1]));          \
        (to)[MEL_LANES + l] = FMA(re_, (t)[1], im_ * (t)[0]); \
    } while (0)

#define PUT(to, re, im) ((to)[l] = (re), (to)[MEL_LANES + l] = (im))

/* Result k of a real transform. */
#define PUT_COLUMN(k, re, im)                                          \
    do {                                                               \
        if (turned)                                                    \
            PUT_TURNED(out + (k) * column, re, im, t + 2 * ((k) - 1)); \
        else                                                           \
            PUT(out + (k) * column, re, im);                           \
    } while (0)

/* Step 1 for r = first, first + step, ... */
ALWAYS_INLINE void rfft_rows2(const nac_rfft_plan *plan, size_t first, size_t step, const float *x,
                              const int32_t *at, float *restrict columns)
{
    const float *w = plan->window + first * 2;
    at += first * 2;
    for (size_t r = first; r < plan->h; r += step, at += step * 2, w += step * 2) {
        float *even = columns + (size_t)plan->places[2 * r] * MEL_LANES;
        float *odd = columns + (size_t)plan->places[2 * r + 1] * MEL_LANES;
        VECTORISE
        for (int l = 0; l < MEL_LANES; l++) {
            even[l] = (x + at[0])[l] * w[0];
            odd[l] = (x + at[1])[l] * w[1];
        }
    }
}

ALWAYS_INLINE void rfft_rows4(const nac_rfft_plan *plan, size_t first, size_t step, int turned,
                              const float *x, const int32_t *at, float *restrict columns)
{
    const float *w = plan->window + first * 4;
    const float *t = turned ? plan->turns + first * 2 : NULL;
    const size_t column = COLUMN_SIZE(plan);
    at += first * 4;
    for (size_t r = first; r < plan->h;
         r += step, at += step * 4, w += step * 4, t += turned ? step * 2 : 0) {
        float *even = columns + (size_t)plan->places[2 * r] * MEL_LANES;
        float *odd = columns + (size_t)plan->places[2 * r + 1] * MEL_LANES;
        float *out = columns + r * (2 * MEL_LANES);
        VECTORISE
        for (int l = 0; l < MEL_LANES; l++) {
            PAIR(0, 2, s0, d0);
            PAIR(1, 2, s1, d1);
            even[l] = s0;
            odd[l] = s1;
            PUT_COLUMN(1, d0, -d1);
        }
    }
}

ALWAYS_INLINE void rfft_rows8(const nac_rfft_plan *plan, size_t first, size_t step, int turned,
                              const float *x, const int32_t *at, float *restrict columns)
{
    const float cos45 = 0.707106781186547524f;
    const float *w = plan->window + first * 8;
    const float *t = turned ? plan->turns + first * 6 : NULL;
    const size_t column = COLUMN_SIZE(plan);
    at += first * 8;
    for (size_t r = first; r < plan->h;
         r += step, at += step * 8, w += step * 8, t += turned ? step * 6 : 0) {
        float *even = columns + (size_t)plan->places[2 * r] * MEL_LANES;
        float *odd = columns + (size_t)plan->places[2 * r + 1] * MEL_LANES;
        float *out = columns + r * (2 * MEL_LANES);
        VECTORISE
        for (int l = 0; l < MEL_LANES; l++) {
            PAIR(0, 4, s0, d0);
            PAIR(1, 4, s1, d1);
            PAIR(2, 4, s2, d2);
            PAIR(3, 4, s3, d3);
            even[l] = s0 + s2;
            odd[l] = s1 + s3;
            PUT_COLUMN(2, s0 - s2, s3 - s1);
            const float dr = d1 - d3, di = d1 + d3;
            PUT_COLUMN(1, FMA(cos45, dr, d0), -FMA(cos45, di, d2));
            PUT_COLUMN(3, FMA(-cos45, dr, d0), FMA(-cos45, di, d2));
        }
    }
}

ALWAYS_INLINE void rfft_rows16(const nac_rfft_plan *plan, size_t first, size_t step, int turned,
                               const float *x, const int32_t *at, float *restrict columns)
{
    const float cos45 = 0.707106781186547524f;
    const float cos22 = 0.923879532511286756f, sin22 = 0.382683432365089772f; /* of 22.5 degrees */
    const float *w = plan->window + first * 16;
    const float *t = turned ? plan->turns + first * 14 : NULL;
    const size_t column = COLUMN_SIZE(plan);
    at += first * 16;
    for (size_t r = first; r < plan->h;
         r += step, at += step * 16, w += step * 16, t += turned ? step * 14 : 0) {
        float *even = columns + (size_t)plan->places[2 * r] * MEL_LANES;
        float *odd = columns + (size_t)plan->places[2 * r + 1] * MEL_LANES;
        float *out = columns + r * (2 * MEL_LANES);
        VECTORISE
        for (int l = 0; l < MEL_LANES; l++) {
            PAIR(0, 8, s0, d0);
            PAIR(4, 8, s4, d4);
            PAIR(2, 8, s2, d2);
            PAIR(6, 8, s6, d6);
            PAIR(1, 8, s1, d1);
            PAIR(5, 8, s5, d5);
            PAIR(3, 8, s3, d3);
            PAIR(7, 8, s7, d7);

            /* Results 0, 4, 8: of sums of sums. */
            const float e0 = s0 + s4, e1 = s1 + s5, e2 = s2 + s6, e3 = s3 + s7;
            even[l] = e0 + e2;
            odd[l] = e1 + e3;
            PUT_COLUMN(4, e0 - e2, e3 - e1);

            /* Results 2, 6: of their differences. */
            const float f0 = s0 - s4, f1 = s1 - s5, f2 = s2 - s6, f3 = s3 - s7;
            const float fr = f1 - f3, fi = f1 + f3;
            PUT_COLUMN(2, FMA(cos45, fr, f0), -FMA(cos45, fi, f2));
            PUT_COLUMN(6, FMA(-cos45, fr, f0), FMA(-cos45, fi, f2));

            /* Results 1, 3, 5, 7: of the differences d, by e^(-2 pi i j / 16) (d_j - i d_(j+4)). */
            const float gr = d2 - d6, gi = d2 + d6;
            const float ar = FMA(cos45, gr, d0), ai = FMA(cos45, gi, d4);
            const float br = FMA(-cos45, gr, d0), bi = FMA(-cos45, gi, d4);
            const float ur = FMA(cos22, d1, -(sin22 * d5)), ui = FMA(sin22, d1, cos22 * d5);
            const float vr = FMA(sin22, d3, -(cos22 * d7)), vi = FMA(cos22, d3, sin22 * d7);
            const float pr = ur + vr, pi = ui + vi, mr = ur - vr, mi = ui - vi;
            PUT_COLUMN(1, ar + pr, -(ai + pi));
            PUT_COLUMN(7, ar - pr, ai - pi);
            PUT_COLUMN(5, br - mi, -(bi + mr));
            PUT_COLUMN(3, br + mi, bi - mr);
        }
    }
}

ALWAYS_INLINE void rfft_rows1(const nac_rfft_plan *plan, size_t first, size_t step, const float *x,
                              const int32_t *at, float *restrict columns)
{
    for (size_t i = first; i < plan->h; i += step) {
        float *to = columns + i * (2 * MEL_LANES);
        for (int l = 0; l < MEL_LANES; l++) PUT(to, (x + at[i])[l] * plan->window[i], 0.0f);
    }
}

ALWAYS_INLINE void rfft_rows(const nac_rfft_plan *plan, size_t first, size_t step, const float *x,
                             const int32_t *at, float *restrict columns)
{
    if (plan->split == 1)
        rfft_rows1(plan, first, step, x, at, columns);
    else if (plan->split == 2)
        rfft_rows2(plan, first, step, x, at, columns);
    else if (plan->split == 4 && plan->turns)
        rfft_rows4(plan, first, step, 1, x, at, columns);
    else if (plan->split == 4)
        rfft_rows4(plan, first, step, 0, x, at, columns);
    else if (plan->split == 8 && plan->turns)
        rfft_rows8(plan, first, step, 1, x, at, columns);
    else if (plan->split == 8)
        rfft_rows8(plan, first, step, 0, x, at, columns);
    else if (plan->turns)
        rfft_rows16(plan, first, step, 1, x, at, columns);
    else
        rfft_rows16(plan, first, step, 0, x, at, columns);
}

/* What becomes of a butterfly's results: the step's output as they are, or turned; or powers. */
enum { PLAIN, TURNED, POWER };

#define PUT_RESULT(k, re, im)                                                           \
    do {                                                                                \
        if (kind == POWER)                                                              \
            (y + (size_t)bins[(k) * stride] * MEL_LANES)[l] = FMA(re, re, (im) * (im)); \
        else if (kind == TURNED && (k) > 0)                                             \
            PUT_TURNED(y + (k) * stride * (2 * MEL_LANES), re, im, w + 2 * ((k) - 1));  \
        else                                                                            \
            PUT(y + (k) * stride * (2 * MEL_LANES), re, im);                            \
    } while (0)

/* The butterflies of one p and q: a to e are elements q + stride (p + m j) for j = 0, 1, ...,
 * result k is element q + stride (radix p + k), or bin bins[k * stride]. */
ALWAYS_INLINE void butterfly2(int kind, const float *a, size_t hop, size_t stride, const float *w,
                              const int32_t *bins, float *restrict y)
{
    VECTORISE
    for (int l = 0; l < MEL_LANES; l++) {
        const float re0 = RFFT_RE(a, 0) + RFFT_RE(a, hop), im0 = RFFT_IM(a, 0) + RFFT_IM(a, hop);
        const float re1 = RFFT_RE(a, 0) - RFFT_RE(a, hop), im1 = RFFT_IM(a, 0) - RFFT_IM(a, hop);
        PUT_RESULT(0, re0, im0);
        PUT_RESULT(1, re1, im1);
    }
}

ALWAYS_INLINE void butterfly3(int kind, const float *a, size_t hop, size_t stride, const float *w,
                              const int32_t *bins, float *restrict y)
{
    const float sin60 = 0.866025403784438647f;
    const float *b = a + hop * (2 * MEL_LANES), *c = b + hop * (2 * MEL_LANES);
    VECTORISE
    for (int l = 0; l < MEL_LANES; l++) {
        const float ar = RFFT_RE(a, 0), ai = RFFT_IM(a, 0);
        const float sr = RFFT_RE(b, 0) + RFFT_RE(c, 0), si = RFFT_IM(b, 0) + RFFT_IM(c, 0);
        const float dr = RFFT_RE(b, 0) - RFFT_RE(c, 0), di = RFFT_IM(b, 0) - RFFT_IM(c, 0);
        const float mr = FMA(-0.5f, sr, ar), mi = FMA(-0.5f, si, ai);
        const float re0 = ar + sr, im0 = ai + si;
        const float re1 = FMA(sin60, di, mr), im1 = FMA(-sin60, dr, mi);
        const float re2 = FMA(-sin60, di, mr), im2 = FMA(sin60, dr, mi);
        PUT_RESULT(0, re0, im0);
        PUT_RESULT(1, re1, im1);
        PUT_RESULT(2, re2, im2);
    }
}

ALWAYS_INLINE void butterfly4(int kind, const float *a, size_t hop, size_t stride, const float *w,
                              const int32_t *bins, float *restrict y)
{
    const float *b = a + hop * (2 * MEL_LANES), *c = b + hop * (2 * MEL_LANES),
                *d = c + hop * (2 * MEL_LANES);
    VECTORISE
    for (int l = 0; l < MEL_LANES; l++) {
        const float s0r = RFFT_RE(a, 0) + RFFT_RE(c, 0), s0i = RFFT_IM(a, 0) + RFFT_IM(c, 0);
        const float d0r = RFFT_RE(a, 0) - RFFT_RE(c, 0), d0i = RFFT_IM(a, 0) - RFFT_IM(c, 0);
        const float s1r = RFFT_RE(b, 0) + RFFT_RE(d, 0), s1i = RFFT_IM(b, 0) + RFFT_IM(d, 0);
        const float d1r = RFFT_RE(b, 0) - RFFT_RE(d, 0), d1i = RFFT_IM(b, 0) - RFFT_IM(d, 0);
        const float re0 = s0r + s1r, im0 = s0i + s1i, re1 = d0r + d1i, im1 = d0i - d1r;
        const float re2 = s0r - s1r, im2 = s0i - s1i, re3 = d0r - d1i, im3 = d0i + d1r;
        PUT_RESULT(0, re0, im0);
        PUT_RESULT(1, re1, im1);
        PUT_RESULT(2, re2, im2);
        PUT_RESULT(3, re3, im3);
    }
}

ALWAYS_INLINE void butterfly5(int kind, const float *a, size_t hop, size_t stride, const float *w,
                              const int32_t *bins, float *restrict y)
{
    const float sin72 = 0.951056516295153572f;
    const float ratio = 0.618033988749894848f; /* sin 36 / sin 72 degrees */
    const float root = 0.559016994374947424f;  /* sqrt(5) / 4 */
    const float *b = a + hop * (2 * MEL_LANES), *c = b + hop * (2 * MEL_LANES);
    const float *d = c + hop * (2 * MEL_LANES), *e = d + hop * (2 * MEL_LANES);
    VECTORISE
    for (int l = 0; l < MEL_LANES; l++) {
        const float ar = RFFT_RE(a, 0), ai = RFFT_IM(a, 0);
        const float s1r = RFFT_RE(b, 0) + RFFT_RE(e, 0), s1i = RFFT_IM(b, 0) + RFFT_IM(e, 0);
        const float d1r = RFFT_RE(b, 0) - RFFT_RE(e, 0), d1i = RFFT_IM(b, 0) - RFFT_IM(e, 0);
        const float s2r = RFFT_RE(c, 0) + RFFT_RE(d, 0), s2i = RFFT_IM(c, 0) + RFFT_IM(d, 0);
        const float d2r = RFFT_RE(c, 0) - RFFT_RE(d, 0), d2i = RFFT_IM(c, 0) - RFFT_IM(d, 0);
        const float tr = s1r + s2r, ti = s1i + s2i, ur = s1r - s2r, ui = s1i - s2i;
        const float mr = FMA(-0.25f, tr, ar), mi = FMA(-0.25f, ti, ai);
        const float m1r = FMA(root, ur, mr), m1i = FMA(root, ui, mi);
        const float m2r = FMA(-root, ur, mr), m2i = FMA(-root, ui, mi);
        const float v1r = FMA(ratio, d2r, d1r), v1i = FMA(ratio, d2i, d1i);
        const float v2r = FMA(ratio, d1r, -d2r), v2i = FMA(ratio, d1i, -d2i);
        const float re0 = ar + tr, im0 = ai + ti;
        const float re1 = FMA(sin72, v1i, m1r), im1 = FMA(-sin72, v1r, m1i);
        const float re4 = FMA(-sin72, v1i, m1r), im4 = FMA(sin72, v1r, m1i);
        const float re2 = FMA(sin72, v2i, m2r), im2 = FMA(-sin72, v2r, m2i);
        const float re3 = FMA(-sin72, v2i, m2r), im3 = FMA(sin72, v2r, m2i);
        PUT_RESULT(0, re0, im0);
        PUT_RESULT(1, re1, im1);
        PUT_RESULT(2, re2, im2);
        PUT_RESULT(3, re3, im3);
        PUT_RESULT(4, re4, im4);
    }
}

#define EACH_RADIX(radix, do_)  \
    do {                        \
        if ((radix) == 2)       \
            do_(butterfly2, 2); \
        else if ((radix) == 3)  \
            do_(butterfly3, 3); \
        else if ((radix) == 4)  \
            do_(butterfly4, 4); \
        else                    \
            do_(butterfly5, 5); \
    } while (0)

#define STEP(butterfly, R)                                                                      \
    do {                                                                                        \
        for (size_t q = 0; q < stride; q++)                                                     \
            butterfly(PLAIN, x + q * (2 * MEL_LANES), hop, stride, w, NULL,                     \
                      y + q * (2 * MEL_LANES));                                                 \
        for (size_t p = 1; p < m; p++, w += 2 * ((R) - 1))                                      \
            for (size_t q = 0; q < stride; q++)                                                 \
                butterfly(TURNED, x + (q + stride * p) * (2 * MEL_LANES), hop, stride, w, NULL, \
                          y + (q + stride * p * (R)) * (2 * MEL_LANES));                        \
    } while (0)

#define LAST_STEP(butterfly, R)                                                         \
    do {                                                                                \
        for (size_t q = 0; q < stride; q++)                                             \
            butterfly(POWER, x + q * (2 * MEL_LANES), hop, stride, w, bins + q, power); \
    } while (0)

/* The transform of the column x: its powers to `power`, or where that is NULL, to x or work:
 * returns which. */
ALWAYS_INLINE float *rfft_column(const nac_rfft_plan *plan, float *x, float *work,
                                 const int32_t *bins, float *power)
{
    const float *w = plan->twiddles;
    size_t length = plan->h, stride = 1;

    for (size_t i = 0; i < plan->n_steps; i++) {
        const int32_t radix = plan->radices[i];
        const size_t m = length / (size_t)radix, hop = stride * m;
        if (power && i + 1 == plan->n_steps) {
            EACH_RADIX(radix, LAST_STEP);
        } else {
            float *restrict y = work;
            EACH_RADIX(radix, STEP);
        }
        length = m;
        stride *= (size_t)radix;
        float *swap = x;
        x = work;
        work = swap;
    }
    return x;
}

/* Column 0, transformed, to its bins' powers: step 3 for k = first, first + step, ... */
ALWAYS_INLINE void rfft_unpack(const nac_rfft_plan *plan, size_t first, size_t step, const float *x,
                               float *restrict power)
{
    const size_t h = plan->h, half = plan->split / 2;
    for (size_t k = first; k <= h / 2; k += step) {
        const float *a = x + k * (2 * MEL_LANES), *b = x + (k ? h - k : 0) * (2 * MEL_LANES);
        float *low = power + half * k * MEL_LANES, *high = power + half * (h - k) * MEL_LANES;
        const float c = plan->unpack[2 * k], s = plan->unpack[2 * k + 1];
        VECTORISE
        for (int l = 0; l < MEL_LANES; l++) {
            const float er = RFFT_RE(a, 0) + RFFT_RE(b, 0), ei = RFFT_IM(a, 0) - RFFT_IM(b, 0);
            const float dr = RFFT_IM(a, 0) + RFFT_IM(b, 0), di = RFFT_RE(b, 0) - RFFT_RE(a, 0);
            const float tr = FMA(dr, c, -(di * s)), ti = FMA(dr, s, di * c);
            const float lr = er + tr, li = ei + ti, hr = er - tr, hi = ei - ti;
            /* Where k = h - k both are that bin, up to rounding; `low`, written last, stands. */
            high[l] = 0.25f * FMA(hr, hr, hi * hi);
            low[l] = 0.25f * FMA(lr, lr, li * li);
        }
    }
}

/* |X_k|^2 of MEL_LANES signals -> power [n / 2 + 2][MEL_LANES], of which the last row is nobody's. Sample
 * order[r][m] of lane l is x[at[r * split + m] + l]. */
ALWAYS_INLINE void rfft_power(const nac_rfft_plan *plan, const float *x, const int32_t *at,
                              float *scratch, float *restrict power)
{
    const size_t split = plan->split, column = COLUMN_SIZE(plan);
    float *work = scratch, *columns = scratch + column;

    rfft_rows(plan, 0, 1, x, at, columns);
    if (split == 1) {
        rfft_column(plan, columns, work, plan->bins, power);
        return;
    }
    for (size_t k = 1; k < split / 2; k++)
        rfft_column(plan, columns + k * column, work, plan->bins + (k - 1) * plan->h, power);
    rfft_unpack(plan, 0, 1, rfft_column(plan, columns, work, NULL, NULL), power);
}

#endif
