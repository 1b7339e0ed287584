/* The kernels that the network is made of, as one table for each instruction set.
 *
 * A result is the same bits from every table, in every batch: each kernel is plain C whose every
 * operation IEEE 754 defines, compiled without contraction; vectors run over outputs, never along
 * a sum; every fused multiply-add is written out; and what libm would compute is computed here.
 *
 * Rows are frames. An activation row is `width` floats, a multiple of NAC_PANEL; weights beyond the
 * network's own columns are zero, and so are the columns they make.
 */
#ifndef NAC_ENGINE_KERNELS_H
#define NAC_ENGINE_KERNELS_H

#include <stddef.h>

#include "common/align.h"
#include "common/isa.h"
#include "fft.h"

/* Columns that lie side by side in packed weights. */
enum { NAC_PANEL = 16 };

/* y = bias + x W, or y += x W, with W [depth][width] packed as panels [width / NAC_PANEL][depth][NAC_PANEL].
 *
 * The definition: s = bias[n] or y[n]; for k = 0..depth-1: s = fma(x[k], W[k][n], s). */
typedef struct {
    size_t depth, width;
    const float *panels;
    const float *bias; /* [width], or NULL where the layer only adds */
} nac_dense;

/* Depthwise convolution over time and layer norm, the head of a ConvNeXt block. */
typedef struct {
    size_t dim, width, taps;
    const float *weight;       /* [taps][width] */
    const float *bias;         /* [width] */
    const float *gain, *shift; /* [width], of the norm */
} nac_conv_norm;

/* What the encoder sees of a frame: see `analyse`. */
typedef struct {
    nac_fft_plan long_fft, short_fft;
    const float *long_window, *short_window; /* [long_fft.n], [short_fft.n] */
    const float *mean, *scale;               /* [size] */
    size_t hop, per_frame, phase_bins, size; /* short frames are hop / per_frame samples apart */
    int waveform;                            /* whether the samples themselves are features */
    size_t left, right; /* samples before a frame's first, and after its last, that it sees */
} nac_analysis;

/* How a frame's spectra become samples: see `synthesise`. */
typedef struct {
    nac_fft_plan fft;
    const float *window;        /* [fft.n], times 1 / fft.n for the inverse transform */
    const int *band;            /* [bins]: the lower of the two bands that meet in a bin */
    const float *lower, *upper; /* [bins]: their weights */
    size_t hop, per_frame, bands;
    size_t noise_bin; /* the first bin whose sign is drawn */
} nac_synthesis;

/* How an enhancer sees decoded audio, and how its factors change it: see engine/enhancer.h. */
typedef struct {
    nac_fft_plan fft;
    const float *window; /* [fft.n] */
    const float
        *back; /* [fft.n]: the window, over what overlapping ones sum up to, times 1 / fft.n */
    const int *band; /* as in nac_synthesis, of gains whose logarithms are interpolated */
    const float *lower, *upper;
    size_t hop, bands;
    size_t wide;   /* bins that get a complex factor: at most all */
    size_t narrow; /* bins that get shares of a period before and after: at most `wide` */
} nac_enhancement;

/* One resolution at which decoded audio is compared with its original: frames of fft.n samples, `hop`
 * apart, whose bins are weighed together to bands as in nac_synthesis. objective.h has the formulas. */
typedef struct {
    nac_fft_plan fft;
    const float *window; /* [fft.n] */
    size_t hop, bands;
    const int *band;
    const float *lower, *upper;
    const float *weight; /* [bins]: of complex errors; NULL where they do not count */
    const float *quiet;  /* [bands]: power at the threshold of hearing, for the loudness */
} nac_resolution;

/* Whole frames in so many samples. */
static inline size_t nac_frames(const nac_resolution *r, size_t samples)
{
    return samples < r->fft.n ? 0 : (samples - r->fft.n) / r->hop + 1;
}

/* What differences at one resolution count. */
typedef struct {
    float band, magnitude, phase;
} nac_shares;

typedef struct {
    const char *name;
    nac_isa isa; /* what rvq.h calls this set */

    /* x [rows] at `stride` floats -> y [rows][layer->width]. */
    void (*dense)(const nac_dense *layer, const float *x, size_t stride, size_t rows, float *y);
    /* The same, added to what y holds: the chains start from it. */
    void (*dense_add)(const nac_dense *layer, const float *x, size_t stride, size_t rows, float *y);

    /* Row r of y is the norm of bias + sum over k of weight[k] x[r + k]: x has rows + taps - 1. */
    void (*conv_norm)(const nac_conv_norm *layer, const float *x, size_t rows, float *y);
    /* (x - mean) / sqrt(variance + 1e-5) * gain + shift over the first `dim` of each row. */
    void (*norm)(const nac_conv_norm *layer, const float *x, size_t rows, float *y);
    /* x Phi(x), Phi the normal distribution function, in place. n is a multiple of NAC_PANEL. */
    void (*gelu)(float *x, size_t n);

    /* Features [rows][size] of frames whose first sample is audio[left]; frame r begins r * hop
     * later. audio has left + rows * hop + right samples. */
    void (*analyse)(const nac_analysis *plan, const float *audio, size_t rows, float *features,
                    float *scratch);
    /* Adds the windows of rows frames to audio, which has rows * per_frame * hop + fft.n - hop
     * samples; window i starts at sample i * hop. shapes [rows] and gains [rows] are at strides;
     * signs are drawn from seeds [rows]. */
    void (*synthesise)(const nac_synthesis *plan, const float *shapes, size_t shape_stride,
                       const float *gains, size_t gain_stride, const uint32_t *seeds, size_t rows,
                       float *audio, float *scratch);

    /* What an enhancer sees of rows frames, the first of which begins at sample 0 of the audio and of
     * what lies a period before and after; frame r begins r * hop later. features [rows] are at
     * `stride`; kept holds the spectra for `enhance`. */
    void (*observe)(const nac_enhancement *plan, const float *audio, const float *past,
                    const float *future, size_t rows, float *features, size_t stride, float *kept,
                    float *scratch);
    /* Adds the windows of rows frames, changed by factors [rows] at `stride`, to audio as
     * `synthesise` does. */
    void (*enhance)(const nac_enhancement *plan, const float *kept, const float *factors,
                    size_t stride, size_t rows, float *audio, float *scratch);

    /* conv_norm, which also keeps what is normed, as [rows][width]. */
    void (*conv_norm_kept)(const nac_conv_norm *layer, const float *x, size_t rows, float *y,
                           float *kept);
    /* The derivative by the norm's input x, from dy by its output; dx may be dy. */
    void (*norm_back)(const nac_conv_norm *layer, const float *x, size_t rows, const float *dy,
                      float *dx);
    /* Adds the derivative by the convolution's input rows, whose first has `lead` rows of padding
     * before it, to dx [rows]. */
    void (*conv_back)(const nac_conv_norm *layer, size_t lead, const float *dy, size_t rows,
                      float *dx);
    /* Multiplies gradient by GELU's derivative at x. n is a multiple of NAC_PANEL. */
    void (*gelu_back)(const float *x, size_t n, float *gradient);
    /* The derivative of `synthesise`, strides alike: gradient is that by its audio. */
    void (*synthesise_back)(const nac_synthesis *plan, const float *gradient, const float *shapes,
                            size_t shape_stride, const float *gains, size_t gain_stride,
                            const uint32_t *seeds, size_t rows, float *by_shapes, float *by_gains,
                            float *scratch);

    /* What is compared of audio [samples]: target has nac_target_size floats. */
    void (*describe)(const nac_resolution *r, float per_unit, const float *audio, size_t samples,
                     float *target, double *energy, float *scratch);
    double (*compare)(const nac_resolution *r, float per_unit, const nac_shares *share,
                      const float *target, const float *audio, size_t samples, float *gradient,
                      float *scratch);
    float (*describe_loudness)(const nac_resolution *r, const float *audio, size_t samples,
                               float *target, float *scratch);
    double (*compare_loudness)(const nac_resolution *r, float unit, float share,
                               const float *target, const float *audio, size_t samples,
                               float *gradient, float *scratch);
} nac_kernels;

/* The i-th table that this CPU can run, narrowest first; NULL past the last. */
const nac_kernels *nac_kernels_at(size_t i);

size_t nac_analyse_scratch(const nac_analysis *plan);           /* floats */
size_t nac_features(const nac_enhancement *plan);               /* that `observe` gives a frame */
size_t nac_factors(const nac_enhancement *plan);                /* that `enhance` takes for one */
size_t nac_kept_size(const nac_enhancement *plan, size_t rows); /* floats, of spectra */
size_t nac_enhance_scratch(const nac_enhancement *plan);        /* floats; also for `observe` */
size_t nac_synthesise_scratch(const nac_synthesis *plan); /* floats; also for its derivative */
size_t nac_target_size(const nac_resolution *r, size_t samples);       /* floats */
size_t nac_objective_scratch(const nac_resolution *r, size_t samples); /* floats */

/* weight [columns][depth], as torch has it, to panels of ceil(columns / NAC_PANEL) * NAC_PANEL columns. */
void nac_dense_pack(const float *weight, size_t depth, size_t columns, float *panels);

/* exp (0), log (1) or GELU (2) of x, as the kernels compute them; for tests. */
void nac_elementary(int which, const float *x, size_t n, float *y);

#endif
