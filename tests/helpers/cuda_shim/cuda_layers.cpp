/* Single layers of the CUDA engine, for tests. */
#include "cuda/host.h"

#include "cuda/layer_kernels.h"

using namespace engine;

extern "C" int layers_dense(const float *weight, const float *bias, int depth, int padded, int kind,
                            const float *x, size_t stride, int rows, float *y, int y_stride,
                            int columns, int multiprocessors)
{
    return int(run_dense({weight, bias, depth, padded}, dense_kind(kind), x, stride, rows, y,
                         y_stride, columns, multiprocessors, nullptr));
}

/* Rows of one item. */
extern "C" int layers_conv_norm(int dim, int width, int taps, int lookahead, const float *weight,
                                const float *bias, const float *gain, const float *shift,
                                const float *x, int rows, float *y)
{
    const conv_norm layer = {dim, width, taps, lookahead, weight, bias, gain, shift};
    std::vector<place> places;
    for (int r = 0; r < rows; r++) places.push_back({r, rows - 1 - r});
    const size_t bytes = size_t(ROWS_A_BLOCK) * row_stride(width) * sizeof(float);
    const cudaError_t error = allow_shared(normalise, bytes);
    if (error != cudaSuccess) return int(error);
    LAUNCH(normalise, blocks(size_t(rows), ROWS_A_BLOCK), ROW_THREADS, bytes, nullptr, layer,
           places.data(), x, rows, y);
    return int(cudaGetLastError());
}
