/* Convolution over time and layer norm: csrc/kernels/layers.h's definition, so its bits.
 *
 * A row belongs to 16 threads, half a warp: thread l has columns l, l + 16, ..., which are what lane l of
 * the CPU's sums adds up, in the same order; the sums are folded by halves, in shuffles. A thread reads
 * and writes its own columns only, so that the row in shared memory needs no barrier. */
#ifndef NAC_CUDA_LAYER_KERNELS_H
#define NAC_CUDA_LAYER_KERNELS_H

#include "parts.h"
#include "shared_text.h"

namespace engine {

/* x [rows][width] -> y [rows][width]; y may be x where there is only a norm. */
static __global__ void __launch_bounds__(ROW_THREADS)
    normalise(conv_norm layer, const place *places, const float *x, int rows, float *y)
{
    const int l = threadIdx.x % PANEL, mine = threadIdx.x / PANEL, width = layer.width;
    const int wanted = int(blockIdx.x) * ROWS_A_BLOCK + mine, row = min(wanted, rows - 1);
    float *line = reinterpret_cast<float *>(shared_memory) + mine * row_stride(width);
    const float *in = x + size_t(row) * width;

    if (layer.taps == 0) {
        for (int c = l; c < width; c += PANEL) line[c] = in[c];
    } else {
        const place at = places[row];
        const int past = layer.taps - 1 - layer.lookahead;
        for (int c = l; c < width; c += PANEL) {
            float sum = layer.bias[c];
            for (int k = 0; k < layer.taps; k++) {
                const int from = k - past;
                const bool there = from >= -at.before && from <= at.after;
                const float value = there ? in[(long long)from * width + c] : 0.0f;
                sum = __fmaf_rn(value, layer.weight[k * width + c], sum);
            }
            line[c] = sum;
        }
    }

    float sum = 0.0f, squares = 0.0f;
    for (int c = l; c < layer.dim; c += PANEL) sum += line[c];
    const float mean = fold_lanes(sum) / float(layer.dim);
    for (int c = l; c < layer.dim; c += PANEL) {
        const float d = line[c] - mean;
        squares = __fmaf_rn(d, d, squares);
    }
    const float factor = norm_factor(fold_lanes(squares), size_t(layer.dim));
    if (wanted >= rows) return;
    for (int c = l; c < width; c += PANEL)
        y[size_t(row) * width + c] =
            __fmaf_rn(centred(line[c], mean, factor), layer.gain[c], layer.shift[c]);
}

} // namespace engine

#endif
