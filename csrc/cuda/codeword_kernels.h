/* Codes on their way into the decoder. */
#ifndef NAC_CUDA_CODEWORD_KERNELS_H
#define NAC_CUDA_CODEWORD_KERNELS_H

#include "parts.h"
#include "shared_text.h"

namespace engine {

/* The sum of the codewords of a frame, in the order of the levels: csrc/rvq/rvq.h's definition. codes
 * [frames][most], of which the first levels[frame] count, -> latents [frames] at `stride`. */
static __global__ void __launch_bounds__(CODE_THREADS)
    sum_codewords(const float *codebooks, int codewords, int latent, const uint16_t *codes,
                  int most, const uint16_t *levels, int frames, int stride, float *latents)
{
    const size_t i = size_t(blockIdx.x) * CODE_THREADS + threadIdx.x;
    if (i >= size_t(frames) * latent) return;
    const size_t frame = i / latent, d = i % latent;
    float sum = 0.0f;
    for (int level = 0; level < levels[frame]; level++)
        sum += codebooks[(size_t(level) * codewords + codes[frame * most + level]) * latent + d];
    latents[frame * stride + d] = sum;
}

/* The codes of a batch's frames from the caller's array, where level l of frame f is at from[f] + l *
 * stride, to codes [frames][most], with the number of levels of each frame, which is the same for all.
 * A code that is not in the codebook becomes one that is: no codeword may lie outside of the memory. */
static __global__ void __launch_bounds__(CODE_THREADS)
    gather_codes(const int64_t *given, const long long *from, size_t stride, int frames, int count,
                 int codewords, int most, uint16_t *codes, uint16_t *levels)
{
    const size_t i = size_t(blockIdx.x) * CODE_THREADS + threadIdx.x;
    if (i >= size_t(frames) * count) return;
    const size_t frame = i % frames, level = i / frames;
    const int64_t code = given[size_t(from[frame]) + level * stride];
    codes[frame * most + level] = uint16_t(code < 0 || code >= codewords ? 0 : code);
    if (level == 0) levels[frame] = uint16_t(count);
}

/* Seeds [frames][stack] of a frame's rows. */
static __global__ void __launch_bounds__(CODE_THREADS)
    draw(const uint16_t *codes, int most, const uint16_t *levels, int frames, int stack,
         uint32_t *seeds)
{
    const int frame = int(blockIdx.x) * CODE_THREADS + int(threadIdx.x);
    if (frame >= frames) return;
    uint32_t seed = SEED_START;
    for (int level = 0; level < levels[frame]; level++)
        seed = seed_with(seed, codes[size_t(frame) * most + level]);
    for (int row = 0; row < stack; row++)
        seeds[size_t(frame) * stack + row] = seed + uint32_t(row);
}

} // namespace engine

#endif
