/* The network's parts as kernels take them: pointers are to the device's memory. */
#ifndef NAC_CUDA_PARTS_H
#define NAC_CUDA_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "device.h"

namespace engine {

constexpr int PANEL = 16; /* NAC_PANEL: partial sums of a row */
constexpr int DENSE_COLUMNS = 128;
constexpr int ROW_THREADS = 256, ROWS_A_BLOCK = ROW_THREADS / PANEL;
constexpr int FFT_THREADS = 256;
constexpr int CODE_THREADS = 256;

/* y = bias + x W. */
struct dense {
    const float *weight; /* [depth][padded], padded a multiple of DENSE_COLUMNS */
    const float *bias;   /* [padded]; NULL where the layer only adds */
    int depth, padded;
};

enum dense_kind { DENSE_PLAIN, DENSE_GELU, DENSE_ADD }; /* ADD: the chains start from y */

/* Depthwise convolution and norm, of `width` columns of which `dim` are the network's. */
struct conv_norm {
    int dim, width, taps, lookahead;
    const float *weight, *bias; /* [taps][width], [width]; taps is 0 where there is only a norm */
    const float *gain, *shift;  /* [width] */
};

/* Where a row stands in its item: rows of it before this one, and after. */
struct place {
    int before, after;
};

/* Floats of a row in shared memory: the two rows of a warp lie in different banks. */
inline __host__ __device__ int row_stride(int width)
{
    return width % 32 ? width : width + PANEL;
}

/* A transform; the members are nac_fft_plan's. */
struct fft {
    int n, steps;
    const int32_t *radices;
    const float *twiddles, *unpack;
};

/* Transforms of a block, so that both arrays take a third of what a block may have: three blocks then
 * share a multiprocessor. One at least: the caller has checked that it fits. */
inline int fft_together(int n)
{
    const int fits = (32 << 10) / (2 * n * int(sizeof(float)));
    return fits < 1 ? 1 : fits > 16 ? 16 : fits;
}

inline size_t fft_shared_bytes(int n) { return 2 * size_t(n) * fft_together(n) * sizeof(float); }

/* A span of an item in a batch, from row first_row on. Its samples are audio[at ... at + length), from
 * the first of its first row on, and zeros before and after. */
struct span {
    long long at;
    int length, first_row;
};

/* The encoder's front end. A row has `gather` frames of `size` features, side by side in `stride`
 * floats, a multiple of 4. */
struct front {
    fft long_fft, short_fft;
    const float *long_window, *short_window, *mean, *scale;
    int hop, per_frame, phase_bins, waveform, size, gather, stride;
};

/* The decoder's way back. A row has per_frame spectra. */
struct back {
    fft plan;
    const float *window, *lower, *upper;
    const int32_t *band;
    int hop, per_frame, bands, noise_bin;
};

} // namespace engine

#endif
