/* Samples to features: csrc/kernels/spectrum.h's run_analyse, so its bits. */
#ifndef NAC_CUDA_ANALYSIS_KERNELS_H
#define NAC_CUDA_ANALYSIS_KERNELS_H

#include "fft_kernels.h"

namespace engine {

static __device__ __forceinline__ float sample(const span &from, const float *audio, int i)
{
    return i >= 0 && i < from.length ? audio[from.at + i] : 0.0f;
}

static __device__ __forceinline__ void put(const front &plan, float *features, int f, float value)
{
    features[f] = centred(value, plan.mean[f], plan.scale[f]);
}

/* Features of bin k of a long spectrum. */
static __device__ __forceinline__ void put_long(const front &plan, float *features, int k,
                                                const float *bin)
{
    const float power = power_at(bin[0], bin[1]);
    put(plan, features, k, log_positive(power));
    if (k < 1 || k > plan.phase_bins) return;
    const float gain = compression(power);
    const int re = plan.long_fft.n / 2 + 1 + plan.per_frame * (plan.short_fft.n / 2 + 1) + k - 1;
    put(plan, features, re, bin[0] * gain);
    put(plan, features, re + plan.phase_bins, bin[1] * gain);
}

/* Windows of the long transform, one a frame, or of the short one, per_frame a frame: block b takes
 * windows b * together, .... row_span [rows]: the span of each row. */
template <bool IS_LONG>
static __global__ void __launch_bounds__(FFT_THREADS)
    analyse(front plan, const span *spans, const int *row_span, const float *audio, int rows,
            int together, float *features)
{
    const fft &f = IS_LONG ? plan.long_fft : plan.short_fft;
    const float *window = IS_LONG ? plan.long_window : plan.short_window;
    const int n = f.n, h = n / 2, parts = IS_LONG ? 1 : plan.per_frame;
    const int part_hop = plan.hop / parts, windows = rows * plan.gather * parts;
    const int first = int(blockIdx.x) * together, here = min(together, windows - first);
    float *x = reinterpret_cast<float *>(shared_memory), *work = x + together * n; /* [together][n] */

    for (int i = threadIdx.x; i < here * n; i += FFT_THREADS) {
        const int number = first + i / n, j = i % n, row = number / (plan.gather * parts);
        const span &from = spans[row_span[row]];
        const int local = number - from.first_row * plan.gather * parts;
        x[i] = sample(from, audio, local * part_hop - (n - part_hop) / 2 + j) * window[j];
    }
    const float *z = transform(f, here, x, work);

    for (int i = threadIdx.x; i < here * (h / 2 + 1); i += FFT_THREADS) {
        const int which = i / (h / 2 + 1), k = i % (h / 2 + 1), number = first + which;
        const int frame = number / parts, part = number % parts;
        float *out = features + size_t(frame / plan.gather) * plan.stride +
                     frame % plan.gather * plan.size;
        const float *own = z + which * n;
        float low[2], high[2];
        unpack_bins(FFT_RE(own, k), FFT_RE(own, k ? h - k : 0), f.unpack[2 * k],
                    f.unpack[2 * k + 1], low, high);
        if (IS_LONG) {
            if (k != h - k) put_long(plan, out, k, low);
            put_long(plan, out, h - k, high);
        } else {
            const int at = plan.long_fft.n / 2 + 1 + part * (h + 1);
            if (k != h - k) put(plan, out, at + k, log_positive(power_at(low[0], low[1])));
            put(plan, out, at + h - k, log_positive(power_at(high[0], high[1])));
        }
    }
}

/* The samples under the long window as features: 16 threads a frame, as layer_kernels.h has them. */
static __global__ void __launch_bounds__(ROW_THREADS)
    put_samples(front plan, const span *spans, const int *row_span, const float *audio, int rows,
                float *features)
{
    const int l = threadIdx.x % PANEL, n = plan.long_fft.n, frames = rows * plan.gather;
    const int wanted = int(blockIdx.x) * ROWS_A_BLOCK + int(threadIdx.x) / PANEL;
    const int frame = min(wanted, frames - 1), row = frame / plan.gather;
    const span &from = spans[row_span[row]];
    const int start = (frame - from.first_row * plan.gather) * plan.hop - (n - plan.hop) / 2;
    const int at = plan.long_fft.n / 2 + 1 + plan.per_frame * (plan.short_fft.n / 2 + 1) +
                   2 * plan.phase_bins;
    float *out = features + size_t(row) * plan.stride + frame % plan.gather * plan.size;

    float sum = 0.0f;
    for (int j = l; j < n; j += PANEL) {
        const float value = sample(from, audio, start + j);
        sum = __fmaf_rn(value, value, sum);
    }
    const float gain = compression(fold_lanes(sum) / float(n) + POWER_FLOOR);
    if (wanted >= frames) return;
    for (int j = l; j < n; j += PANEL)
        put(plan, out, at + j, sample(from, audio, start + j) * gain);
}

} // namespace engine

#endif
