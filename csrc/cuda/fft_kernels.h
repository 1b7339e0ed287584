/* The FFT of csrc/kernels/fft.h by the threads of a block, so its bits.
 *
 * A block takes some transforms of one length side by side, each between two arrays in shared memory,
 * complex numbers one after the other. The threads share out the parts of a step of all transforms,
 * which are independent; a part is the CPU's butterfly with one lane. */
#ifndef NAC_CUDA_FFT_KERNELS_H
#define NAC_CUDA_FFT_KERNELS_H

#include "parts.h"
#include "shared_text.h"

namespace engine {

#define FFT_PART(butterfly, R)                                                               \
    butterfly(FFT_RE(from, q + stride * p), hop, w + size_t(2) * ((R) - 1) * p,              \
              FFT_RE(to, q + stride * (R) * p), stride)

/* Transforms `together` complex signals of n / 2, in x or in work, which it returns. Begins and ends
 * with a barrier. */
static __device__ float *transform(const fft &plan, int together, float *x, float *work)
{
    const float *w = plan.twiddles;
    int length = plan.n / 2, stride = 1;

    __syncthreads();
    for (int s = 0; s < plan.steps; s++) {
        const int radix = plan.radices[s], m = length / radix, hop = stride * m;
        for (int i = threadIdx.x; i < together * hop; i += FFT_THREADS) {
            const int part = i % hop, p = part / stride, q = part % stride;
            const float *from = x + i / hop * plan.n;
            float *to = work + i / hop * plan.n;
            if (radix == 2)
                FFT_PART(butterfly2, 2);
            else if (radix == 3)
                FFT_PART(butterfly3, 3);
            else if (radix == 4)
                FFT_PART(butterfly4, 4);
            else
                FFT_PART(butterfly5, 5);
        }
        __syncthreads();
        w += size_t(2) * m * (radix - 1);
        length = m;
        stride *= radix;
        float *swap = x;
        x = work;
        work = swap;
    }
    return x;
}

#undef FFT_PART

} // namespace engine

#endif
