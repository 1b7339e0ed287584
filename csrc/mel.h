/* Log-mel spectra: framing, window, power spectrum, mel bands, log10 and Whisper's scaling. */
#ifndef CODEC_MEL_H
#define CODEC_MEL_H

#include "fft.h"

/* All tables are made by codec/kernels/mel_tables.py, and the caller has checked their sizes. */
typedef struct {
    fft_plan fft;
    size_t hop, n_mels;
    const float *window;       /* [n_fft] */
    const int32_t *band_start; /* [n_mels]: first bin of each band */
    const int32_t *band_size;  /* [n_mels]: its bins; start + size <= n_fft / 2 + 1 */
    const float *band_weights; /* those of all bands, one after the other */
} mel_plan;

/* Floats that mel_run needs as scratch memory. */
size_t mel_scratch_size(const mel_plan *plan);

/* One clip of n samples -> out [n_mels][n / hop]. */
void mel_run(const mel_plan *plan, codec_isa isa, const float *audio, size_t n, float *out,
             float *scratch);

/* out[i] = log10(x[i]), as mel_run computes it; for tests. */
void mel_log10(const float *x, size_t n, float *out);

#endif
