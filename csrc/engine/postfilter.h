/* A long-term postfilter: it makes decoded voices more periodic where they are periodic.
 *
 * What codes with few bits add to a voice is noise between its harmonics. The mean of the samples a period
 * before and a period after a sample has the same harmonics and other noise, so mixing some of it in leaves
 * the harmonics and lowers the noise. It is the low-frequency pitch enhancement of AMR-WB+ (3GPP TS 26.290,
 * 6.1.3), whose alpha is 2 g. With g = s / (1 + s), and x' for what x has below 2 kHz:
 *
 *     y[j] = x[j] + g ((x'[j - T] + x'[j + T]) / 2 - x'[j])
 *
 * T and s are found in the decoded audio itself, every 5 ms. T is the lag of 60 to 400 Hz at which what
 * lies below 1 kHz correlates best with itself, and s the correlation times STRENGTH, or 0 where it is
 * no more than VOICED. Between two such moments what is mixed in fades from the one lag to the other.
 *
 * Everything is defined to the bit: sums run over ascending indices, nothing is contracted. */
#ifndef NAC_ENGINE_POSTFILTER_H
#define NAC_ENGINE_POSTFILTER_H

#include <stddef.h>

enum {
    NAC_POSTFILTER_RATE = 24000, /* samples a second of what it filters */
    NAC_POSTFILTER_HOP = 120,    /* samples between two estimates of the lag */
    NAC_POSTFILTER_BEFORE = 6,   /* hops that are seen before a hop */
    NAC_POSTFILTER_AFTER = 4     /* and after it */
};

/* Floats of scratch memory for n samples. */
size_t nac_postfilter_scratch(size_t n);

/* Filters the hops [first, last) of audio [n], which end at the latest where it does: out gets
 * (last - first) * NAC_POSTFILTER_HOP samples, or fewer if n ends within the last hop. What lies outside
 * audio counts as zeros; NAC_POSTFILTER_BEFORE hops before and _AFTER after, if there are any, make the
 * result that of the whole. */
void nac_postfilter(const float *audio, size_t n, size_t first, size_t last, float *out,
                    float *scratch);

#endif
