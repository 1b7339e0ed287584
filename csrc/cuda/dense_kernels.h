/* The matrix product: csrc/kernels/dense.h's definition, so its bits.
 *
 *                     weights [depth][128]           A block makes 16 V rows by 128 columns. Weights and
 *                    +--- 128 columns ---+           rows stream through shared memory, 16 steps of k
 *                16  | stage             | of two    at a time, while the 16 before them are used.
 *                    +-------------------+
 *                 k  :                   :           Each of 256 threads keeps V x 8 sums in registers:
 *   x [16 V][16]                                     one chain of FMAs each, in the order of k.
 *
 * V = 8 (128 rows): for 2 steps of k a thread reads 8 times 64 bits of x and 4 times 128 bits of
 * weights, for 128 FMAs. A warp is 4 x 8 threads: it reads 4 different rows of x, in different banks,
 * and 128 bytes of weights side by side, one pass of the shared memory each. So a warp costs 12 passes
 * for 128 FMAs, which take a multiprocessor 64 (sm_80) or 32 cycles (sm_90): arithmetic is the limit.
 * Shared memory: 36,864 bytes; at most 128 registers a thread; so two blocks share a multiprocessor.
 *
 * V = 4 and V = 1 are for calls of few rows, whose blocks would leave multiprocessors idle. Which of
 * them runs changes no bit. k is not split, and what lies beyond the last k is not added as zeros,
 * which would turn a sum of -0 into +0. */
#ifndef NAC_CUDA_DENSE_KERNELS_H
#define NAC_CUDA_DENSE_KERNELS_H

#include "parts.h"
#include "shared_text.h"

namespace engine {

constexpr int DENSE_THREADS = 256;
constexpr int DENSE_DEPTH = 16;              /* steps of k that are copied together */
constexpr int X_STRIDE = DENSE_DEPTH + 4;    /* floats: 4 neighbouring rows in different banks */

template <int V>
struct dense_tile {
    static constexpr int rows = 16 * V;
    static constexpr int x_size = rows * X_STRIDE, w_size = DENSE_DEPTH * DENSE_COLUMNS;
    static constexpr size_t shared_bytes = 2 * (x_size + w_size) * sizeof(float);
};

/* Starts to copy steps k .. k + 15 of the tile's rows and columns to a stage. */
template <int V>
static __device__ __forceinline__ void fetch(const dense &layer, const float *x, size_t stride,
                                             int first_row, int rows, int first_column, int k,
                                             float *x_stage, float *w_stage)
{
#pragma unroll 1 /* addresses that stay in registers would make the sums spill */
    for (int i = threadIdx.x; i < dense_tile<V>::rows * 4; i += DENSE_THREADS) {
        const int r = i / 4, part = i % 4 * 4, row = min(first_row + r, rows - 1);
        if (k + part < layer.depth)
            __pipeline_memcpy_async(x_stage + r * X_STRIDE + part, x + row * stride + k + part,
                                    sizeof(float4));
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < DENSE_DEPTH * DENSE_COLUMNS / 4; i += DENSE_THREADS) {
        const int step = i / (DENSE_COLUMNS / 4), column = i % (DENSE_COLUMNS / 4) * 4;
        if (k + step < layer.depth)
            __pipeline_memcpy_async(w_stage + step * DENSE_COLUMNS + column,
                                    layer.weight + size_t(k + step) * layer.padded + first_column +
                                        column,
                                    sizeof(float4));
    }
    __pipeline_commit();
}

/* Adds one step of k to the sums. */
template <int V>
static __device__ __forceinline__ void add_step(float (&sum)[V][8], const float (&x)[V],
                                                const float *w)
{
    const float4 low = *reinterpret_cast<const float4 *>(w);
    const float4 high = *reinterpret_cast<const float4 *>(w + DENSE_COLUMNS / 2);
    const float weight[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int i = 0; i < V; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) sum[i][j] = __fmaf_rn(x[i], weight[j], sum[i][j]);
}

/* x [rows] at `stride` floats, a multiple of 4 and no less than depth -> the first `columns` columns of
 * y [rows] at `y_stride`. Block b makes tile [b / column tiles][b % column tiles]. */
template <int V>
static __global__ void __launch_bounds__(DENSE_THREADS, 2)
    product(dense layer, const float *x, size_t stride, int rows, dense_kind kind, float *y,
            int y_stride, int columns)
{
    using tile = dense_tile<V>;
    float *x_stage = reinterpret_cast<float *>(shared_memory); /* [2][rows][X_STRIDE] */
    float *w_stage = x_stage + 2 * tile::x_size;               /* [2][DENSE_DEPTH][DENSE_COLUMNS] */

    const int t = threadIdx.x, lane = t % 32, warp = t / 32;
    const int column = warp % 2 * 8 + lane % 8, row = warp / 2 * 4 + lane / 8;
    const int tiles = layer.padded / DENSE_COLUMNS;
    const int first_row = int(blockIdx.x) / tiles * tile::rows;
    const int first_column = int(blockIdx.x) % tiles * DENSE_COLUMNS;

    float sum[V][8];
#pragma unroll
    for (int i = 0; i < V; i++) {
        const int r = first_row + row + 16 * i;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int c = first_column + j / 4 * (DENSE_COLUMNS / 2) + column * 4 + j % 4;
            if (kind != DENSE_ADD)
                sum[i][j] = layer.bias[c];
            else
                sum[i][j] = r < rows && c < columns ? y[size_t(r) * y_stride + c] : 0.0f;
        }
    }

    int buffer = 0;
    fetch<V>(layer, x, stride, first_row, rows, first_column, 0, x_stage, w_stage);
    for (int k = 0; k < layer.depth; k += DENSE_DEPTH, buffer = 1 - buffer) {
        /* All threads' copies have come, and all have done with the other buffer. */
        __pipeline_wait_prior(0);
        __syncthreads();
        if (k + DENSE_DEPTH < layer.depth)
            fetch<V>(layer, x, stride, first_row, rows, first_column, k + DENSE_DEPTH,
                     x_stage + (1 - buffer) * tile::x_size, w_stage + (1 - buffer) * tile::w_size);

        const float *in = x_stage + buffer * tile::x_size + row * X_STRIDE;
        const float *w = w_stage + buffer * tile::w_size + column * 4;
        const int steps = min(DENSE_DEPTH, layer.depth - k);
        if (steps == DENSE_DEPTH) {
#pragma unroll 1 /* other warps hide the loads; more at once would spill */
            for (int s = 0; s < DENSE_DEPTH; s += 2) {
                float two[2][V];
#pragma unroll
                for (int i = 0; i < V; i++) {
                    const float2 pair =
                        *reinterpret_cast<const float2 *>(in + 16 * i * X_STRIDE + s);
                    two[0][i] = pair.x, two[1][i] = pair.y;
                }
                add_step<V>(sum, two[0], w + s * DENSE_COLUMNS);
                add_step<V>(sum, two[1], w + (s + 1) * DENSE_COLUMNS);
            }
        } else {
            for (int s = 0; s < steps; s++) {
                float one[V];
#pragma unroll
                for (int i = 0; i < V; i++) one[i] = in[16 * i * X_STRIDE + s];
                add_step<V>(sum, one, w + s * DENSE_COLUMNS);
            }
        }
    }

#pragma unroll
    for (int i = 0; i < V; i++) {
        const int r = first_row + row + 16 * i;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int c = first_column + half * (DENSE_COLUMNS / 2) + column * 4;
            float out[4];
#pragma unroll
            for (int j = 0; j < 4; j++)
                out[j] = kind == DENSE_GELU ? gelu_of(sum[i][4 * half + j]) : sum[i][4 * half + j];
            if (r >= rows) continue;
            float *to = y + size_t(r) * y_stride + c;
            if (c + 4 <= columns && y_stride % 4 == 0)
                *reinterpret_cast<float4 *>(to) = {out[0], out[1], out[2], out[3]};
            else
#pragma unroll
                for (int j = 0; j < 4; j++)
                    if (c + j < columns) to[j] = out[j];
        }
    }
}

} // namespace engine

#endif
