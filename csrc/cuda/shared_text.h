/* The CPU's own text as device code: one lane, as a thread does what a lane of a vector does there. */
#ifndef NAC_CUDA_SHARED_TEXT_H
#define NAC_CUDA_SHARED_TEXT_H

#include <string.h>

#include "common/isa.h"
#include "device.h"
#include "parts.h"

#if defined(__CUDACC__)
#undef ALWAYS_INLINE
#undef VECTORISE
#define ALWAYS_INLINE static __device__ __forceinline__
#define VECTORISE
#endif
#define FFT_LANES 1
#define restrict __restrict__
#include "kernels/bins.h"
#include "kernels/fft.h"
#include "kernels/seeds.h"
#undef restrict

namespace engine {

/* The sum of the 16 threads' values, as csrc/kernels/fold.h adds them: to each of them. */
static __device__ __forceinline__ float fold_lanes(float sum)
{
#pragma unroll
    for (int half = PANEL / 2; half > 0; half /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, half);
    return sum;
}

} // namespace engine

#endif
