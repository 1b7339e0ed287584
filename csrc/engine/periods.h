/* The period of a voice, found in decoded audio of 24 kHz every 5 ms: what the postfilter and the enhancer
 * know of it.
 *
 * The lag is that of 60 to 400 Hz at which what lies below 1 kHz correlates best with itself. Its strength
 * is the correlation times STRENGTH, or 0 where it is no more than VOICED.
 *
 * Everything is defined to the bit: sums run over ascending indices, nothing is contracted. */
#ifndef NAC_ENGINE_PERIODS_H
#define NAC_ENGINE_PERIODS_H

#include <stddef.h>

enum {
    NAC_PERIOD_RATE = 24000,      /* samples a second */
    NAC_PERIOD_HOP = 120,         /* samples from one moment to the next */
    NAC_PERIOD_BEFORE = 6,        /* hops of samples that a moment sees before it, */
    NAC_PERIOD_AFTER = 3,         /* and after it */
    NAC_PERIOD_LONGEST = 402,     /* samples that a lag has at most */
    NAC_PERIOD_SLOW_RATE = 4,     /* the lag is sought at a quarter of the rate: */
    NAC_PERIOD_SLOW_BEFORE = 160, /* samples there before a moment that are seen, */
    NAC_PERIOD_SLOW_AFTER = 60    /* and after it */
};

typedef struct {
    int lag;     /* samples */
    float share; /* s / (1 + s) of the strength s */
} nac_period;

/* y [n] is what x has below 1 kHz, y[i] at x[NAC_PERIOD_SLOW_RATE * i]: 31 samples of x before and after
 * are seen. */
void nac_period_slow(const float *x, size_t n, float *y);

/* The period at the moment of slow[NAC_PERIOD_SLOW_BEFORE]; NAC_PERIOD_SLOW_AFTER samples from it on are
 * seen. */
nac_period nac_period_find(const float *slow);

/* Floats of scratch memory for nac_periods. */
size_t nac_periods_scratch(size_t n);

/* Of audio [n], n a multiple of NAC_PERIOD_HOP: the periods at its n / NAC_PERIOD_HOP + 1 moments, and the
 * audio a period before each sample and a period after it, past [n] and future [n], where between two
 * moments that of the one lag fades into that of the other. What lies outside audio counts as zeros. */
void nac_periods(const float *audio, size_t n, nac_period *periods, float *past, float *future,
                 float *scratch);

#endif
