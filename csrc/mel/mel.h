/* Log-mel spectra: framing, window, power spectrum, mel bands, log10, floor and scaling.
 *
 * The definition, which every build meets bit for bit. All is float32, a product and a sum rounded
 * each alone, `fma` together. Frame t, of the n = n_fft samples from t hop - pad on:
 *     power[k]   |X_k|^2 of the windowed frame, 0 <= k <= n / 2, as rfft.h defines it; with
 *                `magnitude` its square root (correctly rounded)
 *     band[b]    s = 0; for k = band_start[b], ... band_size[b] bins on: s = fma(weight, power[k], s)
 *     level[b]   log10.h's log10 of max(band[b], floor), or without `log` band[b] itself: the end
 *     top        the most of all levels: of the clip, or of frames 0 .. t, or a given one
 *     out[b]     fma(max(level[b], top - range), scale, offset)
 * int16 samples count as their value times 2^-15.
 */
#ifndef NAC_MEL_H
#define NAC_MEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/isa.h"

/* Of the transform of n real samples; rfft.h says how it reads them. */
typedef struct {
    size_t n, split, h, n_steps;
    const int32_t *order; /* [h][split] */
    const float *window;  /* [h][split]: of sample order[r][m] */
    const float *turns;   /* [h][split / 2 - 1][2]: e^(-2 pi i r k / n), k >= 1; NULL if h is odd */
    const int32_t *places;  /* [h][2]: order[r][0] and order[r][1] mod 2h */
    const int32_t *radices; /* [n_steps >= 1], each 2, 3, 4 or 5; their product is h */
    const float *twiddles;  /* of each step in turn [m - 1][radix - 1][2]: w^(p k), p, k >= 1 */
    const float *unpack;    /* [h / 2 + 1][2]: e^(-pi i k / h) */
    const int32_t *bins; /* [max(split / 2 - 1, 1)][h]: each at most n / 2 + 1, which is nowhere */
} nac_rfft_plan;

/* Which levels `top` is over. */
enum { NAC_MEL_TOP_FIXED, NAC_MEL_TOP_RUNNING, NAC_MEL_TOP_CLIP };

/* All tables are made by codec/kernels/mel_tables.py, and the caller has checked their sizes. */
typedef struct {
    nac_rfft_plan fft;
    size_t hop, pad, n_mels;
    const int32_t *band_start; /* [n_mels]: first bin of each band */
    const int32_t *band_size;  /* [n_mels]: its bins; start + size <= n / 2 + 1 */
    const float *band_weights; /* those of all bands, one after the other */
    int reflect;               /* a clip is continued by reflection, else by zeros */
    int magnitude, log, top;
    float floor, range, scale, offset;
} nac_mel_plan;

typedef struct {
    const void *samples; /* float, or int16_t if is_int16 */
    int is_int16;
    size_t n;
    ptrdiff_t start; /* of the first frame: -pad at the start of a clip */
    size_t n_frames;
    int frame_major; /* out is [n_frames][n_mels], else [n_mels][n_frames] */
} nac_mel_clip;

#define NAC_MEL_PEAK \
    1e12f /* louder samples could overflow a power: (2 * 2^16 * NAC_MEL_PEAK)^2 < 3.4e38 */

/* Bytes that nac_mel_run needs as scratch memory, aligned to 64. */
size_t nac_mel_scratch_size(const nac_mel_plan *plan);

/* The frames of a clip, or of a part of one that holds all samples under them. `top` is read where
 * it is fixed, or running, when it is the most so far and is left as it then is. Returns 0 if a
 * sample is not finite or beyond NAC_MEL_PEAK in magnitude: then `out` is of no use. */
int nac_mel_run(const nac_mel_plan *plan, nac_isa isa, const nac_mel_clip *clip, float *top,
                float *out, void *scratch);

/* out[i] = log10(x[i]), as nac_mel_run computes it; for tests. */
void nac_mel_log10(const float *x, size_t n, float *out);

#endif
