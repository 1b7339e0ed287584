/* Spectra to samples: csrc/kernels/spectrum.h's run_synthesise, so its bits. */
#ifndef NAC_CUDA_SYNTHESIS_KERNELS_H
#define NAC_CUDA_SYNTHESIS_KERNELS_H

#include "fft_kernels.h"

namespace engine {

/* Shapes and gains of a row to signals [rows][per_frame][n], before the window: block b takes spectra
 * b * together, .... */
static __global__ void __launch_bounds__(FFT_THREADS)
    synthesise(back plan, const float *shapes, int shape_stride, const float *gains,
               int gain_stride, const uint32_t *seeds, int rows, int together, float *signals)
{
    const int n = plan.plan.n, h = n / 2, bins = h + 1, bands = plan.bands;
    const int first = int(blockIdx.x) * together;
    const int here = min(together, rows * plan.per_frame - first);
    float *x = reinterpret_cast<float *>(shared_memory), *work = x + together * n; /* [together][n] */
    float *gain = work + together * n; /* [together][bands] */

    for (int i = threadIdx.x; i < here * bands; i += FFT_THREADS) {
        const int number = first + i / bands, row = number / plan.per_frame;
        gain[i] = band_gain(gains[size_t(row) * gain_stride +
                                  number % plan.per_frame * bands + i % bands]);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < here * (h / 2 + 1); i += FFT_THREADS) {
        const int which = i / (h / 2 + 1), k = i % (h / 2 + 1), number = first + which;
        const int row = number / plan.per_frame, part = number % plan.per_frame;
        const float *shape = shapes + size_t(row) * shape_stride + size_t(part) * 2 * bins;
        const uint32_t seed = seeds[row] * uint32_t(plan.per_frame) + uint32_t(part);
        float bin[2][2];
#pragma unroll
        for (int side = 0; side < 2; side++) {
            const int b = side ? h - k : k;
            const float *lower = gain + which * bands + plan.band[b];
            const uint32_t sign = b >= plan.noise_bin ? sign_of(seed, uint32_t(b)) : 0;
            const float g = bin_gain(lower[0], lower[1], plan.lower[b], plan.upper[b], sign);
            bin[side][0] = shape[b] * g;
            bin[side][1] = shape[bins + b] * g;
        }
        float *own = x + which * n;
        pack_bins(bin[0], bin[1], plan.plan.unpack[2 * k], plan.plan.unpack[2 * k + 1], k == 0,
                  FFT_RE(own, k), FFT_RE(own, k ? h - k : 0));
    }
    const float *z = transform(plan.plan, here, x, work);
    /* Real and imaginary parts have traded places. */
    for (int i = threadIdx.x; i < here * n; i += FFT_THREADS)
        signals[size_t(first) * n + i] = z[i ^ 1];
}

/* Samples of the token frames `kept` [n_kept], which are numbers of a batch's frames, to out [n_kept]
 * [hop * per_frame * stack]: one chain over the windows, in the order of time. */
static __global__ void __launch_bounds__(FFT_THREADS)
    overlap_add(back plan, const place *places, const int *kept, size_t samples, int stack,
                const float *signals, const long long *to, float *out)
{
    const size_t i = size_t(blockIdx.x) * FFT_THREADS + threadIdx.x;
    if (i >= samples) return;
    const int n = plan.plan.n, frame = plan.hop * plan.per_frame * stack;
    const int row = kept[i / frame] * stack;
    const place at = places[row];
    const int windows = (at.before + 1 + at.after) * plan.per_frame;
    /* Counted from the first window's first sample, which is so far before the item's. */
    const long long t = (long long)at.before * plan.hop * plan.per_frame + (long long)(i % frame) +
                        (n - plan.hop) / 2;
    const long long newest = t / plan.hop;
    const int last = newest < windows ? int(newest) : windows - 1;
    const int first = t < n ? 0 : int((t - n) / plan.hop) + 1;
    const float *own = signals + size_t(row - at.before) * plan.per_frame * n;
    float sum = 0.0f;
    for (int w = first; w <= last; w++) {
        const int j = int(t - (long long)w * plan.hop);
        sum = __fmaf_rn(own[size_t(w) * n + j], plan.window[j], sum);
    }
    out[to ? size_t(to[i / frame]) + i % frame : i] = sum;
}

} // namespace engine

#endif
