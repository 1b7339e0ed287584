#include "postfilter.h"

#include <string.h>

#include "common/fp_env.h"
#include "periods.h"

enum {
    HOP = NAC_POSTFILTER_HOP,
    LOW = 48, /* coefficients of half a filter */
    DOWN = NAC_PERIOD_SLOW_RATE,
    BEHIND = NAC_PERIOD_SLOW_BEFORE,
    MARGIN = NAC_POSTFILTER_BEFORE * HOP /* zeros around the audio */
};

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
/* clang-format on */

/* y is x below 2 kHz. */
static void low_pass(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = LOW_PASS[0] * x[i];
    for (size_t k = 1; k < LOW; k++)
        for (size_t i = 0; i < n; i++) y[i] += LOW_PASS[k] * (x[i - k] + x[i + k]);
}

/* Adds to HOP samples what a periodicity asks for, by the share `from` that changes by `step`. */
static void comb(const float *low, const nac_period *p, float from, float step, float *out)
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
    nac_period_slow(x + MARGIN + first * HOP - DOWN * BEHIND,
                    (last - first) * (HOP / DOWN) + BEHIND + NAC_PERIOD_SLOW_AFTER, slow);
    nac_period next = nac_period_find(slow);
    for (size_t hop = first; hop < last; hop++) {
        const nac_period now = next;
        const size_t at = hop * HOP, size = n - at < HOP ? n - at : HOP;
        float y[HOP];
        memcpy(y, x + MARGIN + at, sizeof y);
        next = nac_period_find(slow + (hop + 1 - first) * (HOP / DOWN));
        comb(low + MARGIN + at, &now, 1.0f, -1.0f / HOP, y);
        comb(low + MARGIN + at, &next, 0.0f, 1.0f / HOP, y);
        memcpy(out + (at - first * HOP), y, size * sizeof *y);
    }
    nac_fp_env_leave(caller);
}
