/* Tables that the engine reads beside the weights, the same bits on every machine.
 *
 * No function of libm is asked, since those differ in their last bit between systems. Angles go through
 * a Taylor series in double, whose sums and products IEEE 754 defines, band edges through wide.h. */
#ifndef NAC_TABLES_H
#define NAC_TABLES_H

#include "kernels/fft.h"
#include "memory.h"
#include "status.h"

/* Tables for n real samples: 4 to 65536, even, n / 2 without prime factors above 5. */
codec_status nac_fft_tables(size_t n, nac_memory *memory, nac_fft_plan *plan, nac_reason reason);

/* cos and sin of 2 pi k / n, k < n < 2^20: exact where 0 or 1, error below 2^-52. */
void nac_circle(size_t k, size_t n, double *cosine, double *sine);

/* The periodic Hann window [n], sin^2(pi j / n). */
void nac_hann(size_t n, float *window);

/* [n]: sin(pi (j + 1/2) / n), times 2 hop / n (overlap), times 1 / n (inverse FFT). */
void nac_synthesis_window(size_t n, size_t hop, float *window);

/* Frequencies in Hz [n], equidistant on HTK's mel scale from 0 to half the sample rate, each the double
 * nearest to 700 ((1 + rate / 1400)^(i / (n - 1)) - 1). n: 2 to 2^16; sample_rate: 1 to 2^20. */
void nac_band_edges(size_t n, size_t sample_rate, double *edges);

/* For each of n_fft / 2 + 1 bins the lower of the two bands around it, and the weights of both. edges:
 * [n_bands], as nac_band_edges makes them; returns 0 if two of them are equal. */
int nac_band_weights(const double *edges, size_t n_bands, size_t n_fft, size_t sample_rate,
                     int *band, float *lower, float *upper);

#endif
