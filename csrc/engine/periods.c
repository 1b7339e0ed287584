#include "periods.h"

#include <string.h>

#include "common/align.h"

enum {
    HOP = NAC_PERIOD_HOP,
    SLOW = 32, /* coefficients of half a filter */
    DOWN = NAC_PERIOD_SLOW_RATE,
    LEAST = 15, /* lags at the lower rate: 400 Hz */
    MOST = 100, /* 60 Hz */
    LAGS = MOST - LEAST + 1,
    WINDOW = 120, /* samples there that are compared, 20 ms */
    BEHIND = NAC_PERIOD_SLOW_BEFORE,
    AHEAD = NAC_PERIOD_SLOW_AFTER,
    MARGIN = NAC_PERIOD_BEFORE * HOP /* zeros around the audio */
};

_Static_assert(BEHIND == MOST + WINDOW / 2 && AHEAD == WINDOW / 2, "what a moment sees");
_Static_assert(DOWN *BEHIND + SLOW <= NAC_PERIOD_BEFORE * HOP, "and in hops, before it");
_Static_assert(DOWN *AHEAD + SLOW <= NAC_PERIOD_AFTER * HOP, "and after it");
_Static_assert(DOWN *MOST + DOWN / 2 <= NAC_PERIOD_LONGEST,
               "a parabola moves by half a lag at most");

static const float STRENGTH = 0.3f, VOICED = 0.4f;
static const float SHORTER = 0.0012f; /* for each lag, by which multiples of the period lose */
static const float SILENT = 1e-9f;

/* clang-format off */
/* scipy.signal.firwin(63, 1000, fs=24000)[31:] */
static const float SLOW_PASS[SLOW] = {
    8.31498408e-02f, 8.20092483e-02f, 7.86545795e-02f, 7.32818917e-02f, 6.62008701e-02f,
    5.78108577e-02f, 4.85704184e-02f, 3.89631744e-02f, 2.94629442e-02f, 2.05011961e-02f,
    1.24395287e-02f, 5.54932749e-03f, 0, -4.14367754e-03f, -6.91544562e-03f, -8.43383740e-03f,
    -8.88266059e-03f, -8.48794472e-03f, -7.49380491e-03f, -6.13960312e-03f, -4.64047638e-03f,
    -3.17279294e-03f, -1.86545658e-03f, -7.97283019e-04f, 0, 5.34152875e-04f, 8.41667240e-04f,
    9.75519137e-04f, 9.93114035e-04f, 9.45921107e-04f, 8.71943742e-04f, 7.91707696e-04f};
/* clang-format on */

void nac_period_slow(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        const float *at = x + DOWN * i;
        float sum = SLOW_PASS[0] * at[0];
        for (size_t k = 1; k < SLOW; k++) sum += SLOW_PASS[k] * (at[-(ptrdiff_t)k] + at[k]);
        y[i] = sum;
    }
}

nac_period nac_period_find(const float *d)
{
    float product[LAGS] = {0}, alike[LAGS];
    for (size_t i = 0; i < WINDOW; i++) /* by descending lag, which is ascending memory */
        for (size_t q = 0; q < LAGS; q++) product[q] += d[MOST + i] * d[i + q];
    double own = 0, energy = 0;
    for (size_t i = 0; i < WINDOW; i++) {
        own += (double)d[MOST + i] * (double)d[MOST + i];
        energy += (double)d[i] * (double)d[i];
    }
    size_t best = 0;
    float most = -2.0f;
    for (size_t q = 0; q < LAGS; q++) {
        const float scale = (float)((own + (double)SILENT) * (energy + (double)SILENT));
        alike[q] = product[q] / __builtin_sqrtf(scale);
        const float score = alike[q] * (1.0f - SHORTER * (float)(MOST - q));
        if (score > most) {
            most = score;
            best = q;
        }
        energy += (double)d[q + WINDOW] * (double)d[q + WINDOW] - (double)d[q] * (double)d[q];
        energy = energy > 0 ? energy : 0;
    }
    nac_period p = {.lag = DOWN * (int)(MOST - best), .share = 0};
    if (!(alike[best] > VOICED)) return p;
    const float s = STRENGTH * (alike[best] < 1.0f ? alike[best] : 1.0f);
    p.share = s / (1.0f + s);
    if (best > 0 && best < LAGS - 1) { /* the top of a parabola through three values */
        const float left = alike[best - 1], right = alike[best + 1];
        const float bend = left - 2.0f * alike[best] + right;
        const float to = bend < 0 ? 0.5f * (left - right) / bend : 0;
        /* of audio so loud that nothing is finite, any lag near by will do */
        const float within = to > 0.5f ? 0.5f : to >= -0.5f ? to : -0.5f;
        p.lag -= (int)((float)DOWN * within + 8.5f) - 8;
    }
    return p;
}

/* The audio with MARGIN zeros on both sides, and what it has below 1 kHz */
size_t nac_periods_scratch(size_t n)
{
    return nac_aligned_floats(n + 2 * MARGIN) + n / DOWN + BEHIND + AHEAD;
}

void nac_periods(const float *audio, size_t n, nac_period *periods, float *past, float *future,
                 float *scratch)
{
    float *x = scratch, *slow = x + nac_aligned_floats(n + 2 * MARGIN);
    memset(x, 0, (n + 2 * MARGIN) * sizeof *x);
    memcpy(x + MARGIN, audio, n * sizeof *x);
    nac_period_slow(x + MARGIN - DOWN * BEHIND, n / DOWN + BEHIND + AHEAD, slow);
    periods[0] = nac_period_find(slow);
    for (size_t hop = 0; hop < n / HOP; hop++) {
        periods[hop + 1] = nac_period_find(slow + (hop + 1) * (HOP / DOWN));
        const int now = periods[hop].lag, next = periods[hop + 1].lag;
        const float *at = x + MARGIN + hop * HOP;
        for (size_t i = 0; i < HOP; i++, at++) {
            const float to = ((float)i + 0.5f) * (1.0f / HOP);
            past[hop * HOP + i] = at[-now] + to * (at[-next] - at[-now]);
            future[hop * HOP + i] = at[now] + to * (at[next] - at[now]);
        }
    }
}
