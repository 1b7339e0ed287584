#include "postfilter.h"

#include <string.h>

#include "common/fp_env.h"

enum {
    HOP = NAC_POSTFILTER_HOP,
    LOW = 48,   /* coefficients of half a filter */
    SLOW = 32,  /* likewise */
    DOWN = 4,   /* the lag is sought at a quarter of the rate */
    LEAST = 15, /* lags there: 400 Hz */
    MOST = 100, /* 60 Hz */
    LAGS = MOST - LEAST + 1,
    WINDOW = 120,                        /* samples there that are compared, 20 ms */
    BEHIND = MOST + WINDOW / 2,          /* samples there before a moment that are seen */
    MARGIN = NAC_POSTFILTER_BEFORE * HOP /* zeros around the audio */
};

static const float STRENGTH = 0.3f, VOICED = 0.4f;
static const float SHORTER = 0.0012f; /* for each lag, by which multiples of the period lose */
static const float SILENT = 1e-9f;

/* clang-format off */
/* scipy.signal.firwin(97, 2000, fs=24000)[48:] */
static const float LOW_PASS[LOW] = {
    1.66965896e-01f, 1.59283654e-01f, 1.37536291e-01f, 1.05354284e-01f, 6.79577035e-02f,
    3.11096796e-02f, 0, -2.16967219e-02f, -3.23925166e-02f, -3.26844911e-02f, -2.49908360e-02f,
    -1.28399949e-02f, 0, 1.03427833e-02f, 1.61756456e-02f, 1.69126667e-02f, 1.32901696e-02f,
    6.97274260e-03f, 0, -5.77227441e-03f, -9.10023497e-03f, -9.56251662e-03f, -7.53214698e-03f,
    -3.95194842e-03f, 0, 3.25204510e-03f, 5.09788020e-03f, 5.31774196e-03f, 4.15169355e-03f,
    2.15595611e-03f, 0, -1.73094571e-03f, -2.67529389e-03f, -2.74854187e-03f, -2.11156118e-03f,
    -1.07827880e-03f, 0, 8.36648576e-04f, 1.27220418e-03f, 1.28798622e-03f, 9.77799648e-04f,
    4.95582636e-04f, 0, -3.87152170e-04f, -6.00484196e-04f, -6.29533983e-04f, -5.03902981e-04f,
    -2.74729517e-04f};
/* scipy.signal.firwin(63, 1000, fs=24000)[31:] */
static const float SLOW_PASS[SLOW] = {
    8.31498408e-02f, 8.20092483e-02f, 7.86545795e-02f, 7.32818917e-02f, 6.62008701e-02f,
    5.78108577e-02f, 4.85704184e-02f, 3.89631744e-02f, 2.94629442e-02f, 2.05011961e-02f,
    1.24395287e-02f, 5.54932749e-03f, 0, -4.14367754e-03f, -6.91544562e-03f, -8.43383740e-03f,
    -8.88266059e-03f, -8.48794472e-03f, -7.49380491e-03f, -6.13960312e-03f, -4.64047638e-03f,
    -3.17279294e-03f, -1.86545658e-03f, -7.97283019e-04f, 0, 5.34152875e-04f, 8.41667240e-04f,
    9.75519137e-04f, 9.93114035e-04f, 9.45921107e-04f, 8.71943742e-04f, 7.91707696e-04f};
/* clang-format on */

typedef struct {
    int lag;     /* samples at the full rate */
    float share; /* g */
} periodicity;

/* y is x below 2 kHz. */
static void low_pass(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = LOW_PASS[0] * x[i];
    for (size_t k = 1; k < LOW; k++)
        for (size_t i = 0; i < n; i++) y[i] += LOW_PASS[k] * (x[i - k] + x[i + k]);
}

/* y is x below 1 kHz, at the lower rate. */
static void slow_pass(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        const float *at = x + DOWN * i;
        float sum = SLOW_PASS[0] * at[0];
        for (size_t k = 1; k < SLOW; k++) sum += SLOW_PASS[k] * (at[-(ptrdiff_t)k] + at[k]);
        y[i] = sum;
    }
}

/* How periodic the WINDOW samples of d after its first MOST are. */
static periodicity find(const float *d)
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
    periodicity p = {.lag = DOWN * (int)(MOST - best), .share = 0};
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

/* Adds to HOP samples what a periodicity asks for, by the share `from` that changes by `step`. */
static void comb(const float *low, const periodicity *p, float from, float step, float *out)
{
    const float *past = low - p->lag, *future = low + p->lag;
    if (p->share == 0) return;
    for (size_t i = 0; i < HOP; i++)
        out[i] +=
            (from + step * ((float)i + 0.5f)) * p->share * (0.5f * (past[i] + future[i]) - low[i]);
}

/* The audio with MARGIN zeros on both sides, that below 2 kHz, and that below 1 kHz at the lower rate */
size_t nac_postfilter_scratch(size_t n) { return 2 * (n + 2 * MARGIN) + n / DOWN + 2 * MARGIN; }

void nac_postfilter(const float *audio, size_t n, size_t first, size_t last, float *out,
                    float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const size_t padded = n + 2 * MARGIN;
    float *x = scratch, *low = x + padded, *slow = low + padded;
    memset(x, 0, padded * sizeof *x);
    memcpy(x + MARGIN, audio, n * sizeof *x);
    low_pass(x + LOW, padded - 2 * LOW, low + LOW);
    slow_pass(x + MARGIN + first * HOP - DOWN * BEHIND,
              (last - first) * (HOP / DOWN) + BEHIND + WINDOW / 2, slow);
    periodicity next = find(slow);
    for (size_t hop = first; hop < last; hop++) {
        const periodicity now = next;
        const size_t at = hop * HOP, size = n - at < HOP ? n - at : HOP;
        float y[HOP];
        memcpy(y, x + MARGIN + at, sizeof y);
        next = find(slow + (hop + 1 - first) * (HOP / DOWN));
        comb(low + MARGIN + at, &now, 1.0f, -1.0f / HOP, y);
        comb(low + MARGIN + at, &next, 0.0f, 1.0f / HOP, y);
        memcpy(out + (at - first * HOP), y, size * sizeof *y);
    }
    nac_fp_env_leave(caller);
}
