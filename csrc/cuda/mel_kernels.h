/* Log-mel spectra on a GPU: csrc/mel/mel.h's definition, by the C kernels' own text, csrc/mel/rfft.h and
 * csrc/mel/log10.h, so the same bits. There a CPU does one step of MEL_LANES transforms at once; here MEL_LANES
 * is 1, and a frame's threads share out the parts of a step, which are independent.
 *
 * A block of 256 threads has 256 / threads_a_frame(h) frames, each in its own shared memory:
 *     columns [C][2 h + 1]   of step 1; then one of the two that steps of 2 alternate between
 *     work    [C][2 h + 1]   the other one; before step 1 the frame's samples, which reach into
 *     power   [n / 2 + 2]    the powers
 *     level   [n_mels]
 * with C = max(split / 2, 1). Sample i is at i + i / 16: step 1 reads samples 16 r + c of 32
 * neighbouring r, which so lie in different banks.
 * Whisper's frames (n = 400: C = 8, h = 25, a warp each): 4,800 bytes a frame, 38,400 a block, so
 * that 4 blocks, 32 warps, share a multiprocessor (164 KB on sm_80), as many as the 64 registers of a
 * thread allow.
 * Global memory sees 160 new samples and 80 levels a frame, 960 bytes, once, and the levels once more
 * where they wait for the clip's maximum; that they need twice is why the maximum is a second pass.
 */
#ifndef NAC_CUDA_MEL_KERNELS_H
#define NAC_CUDA_MEL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "launch.h"

#if defined(__CUDACC__)
#undef ALWAYS_INLINE
#undef VECTORISE
#define ALWAYS_INLINE static __device__ __forceinline__
#define VECTORISE
#endif
#define restrict __restrict__
#define MEL_LANES 1
#include "mel/log10.h"
#include "mel/rfft.h"

namespace mel {

constexpr int THREADS = 256;

inline __host__ __device__ size_t n_columns(const nac_rfft_plan &fft)
{
    return fft.split > 2 ? fft.split / 2 : 1;
}

/* Floats of shared memory. */
inline __host__ __device__ size_t frame_size(const nac_mel_plan &plan)
{
    const size_t columns = n_columns(plan.fft) * COLUMN_SIZE(&plan.fft);
    return 2 * columns + plan.fft.n / 2 + 2 + plan.n_mels;
}

/* Step 1 has h parts, the others about as many for each of its 256 threads or fewer. */
inline __host__ __device__ int threads_a_frame(const nac_rfft_plan &fft)
{
    int threads = 32;
    while (threads < THREADS && size_t(threads) < fft.h) threads *= 2;
    return threads;
}

static __device__ __forceinline__ float as_float(float sample) { return sample; }
static __device__ __forceinline__ float as_float(int16_t sample)
{
    return 0x1p-15f * float(sample);
}

/* Sample i of a clip as it is continued: csrc/mel/mel_body.h has a drawing. */
template <typename Sample>
static __device__ __forceinline__ float sample(const nac_mel_plan &plan, const Sample *clip,
                                               long long n, long long i)
{
    const long long pad = (long long)plan.pad;
    if (plan.reflect) {
        const long long last = (n > pad ? n : pad + 1) - 1;
        if (i < 0) i = -i;
        if (i > last && i <= last + pad) i = 2 * last - i;
    }
    return i < 0 || i >= n ? 0.0f : as_float(clip[i]);
}

/* Part i of a step: element q of the interleaved transforms, p of the butterflies of one. */
#define PART(butterfly, R)                                                                   \
    do {                                                                                     \
        const size_t at = q + stride * p, to = q + stride * p * (R);                         \
        if (is_last && powers)                                                               \
            butterfly(POWER, from + 2 * at, hop, stride, NULL, bins + q, power);             \
        else if (p == 0)                                                                     \
            butterfly(PLAIN, from + 2 * at, hop, stride, NULL, NULL, into + 2 * to);         \
        else                                                                                 \
            butterfly(TURNED, from + 2 * at, hop, stride, w + (p - 1) * 2 * ((R) - 1), NULL, \
                      into + 2 * to);                                                        \
    } while (0)

/* Transforms all columns x, parts first, first + step, ...: column 0 to what is returned, x or work,
 * the others (or that of an odd n) to `power`. */
static __device__ float *columns_powers(const nac_rfft_plan &fft, size_t first, size_t step,
                                        float *x, float *work, float *power)
{
    const size_t columns = n_columns(fft), column_size = COLUMN_SIZE(&fft);
    const float *w = fft.twiddles;
    size_t length = fft.h, stride = 1;

    for (size_t s = 0; s < fft.n_steps; s++) {
        const unsigned radix = unsigned(fft.radices[s]);
        const size_t m = length / radix, hop = stride * m; /* hop: parts a column */
        const bool is_last = s + 1 == fft.n_steps;
        for (size_t i = first; i < columns * hop; i += step) {
            const unsigned column = unsigned(i) / unsigned(hop), part = unsigned(i) % unsigned(hop);
            const size_t p = part / unsigned(stride), q = part % unsigned(stride);
            const bool powers = column > 0 || fft.split == 1;
            const float *from = x + column * column_size;
            float *into = work + column * column_size;
            const int32_t *bins = fft.bins + (column > 0 ? column - 1 : 0) * fft.h;
            EACH_RADIX(radix, PART);
        }
        __syncthreads();
        w += 2 * (m - 1) * (radix - 1);
        length = m;
        stride *= radix;
        float *swap = x;
        x = work;
        work = swap;
    }
    return x;
}

/* The frame's levels, of bands first, first + step, ...; returns the most of them. */
static __device__ float bands(const nac_cuda_mel_plan &cuda, size_t first, size_t step,
                              const float *power, float *level)
{
    const nac_mel_plan &plan = cuda.plan;
    float most = -INFINITY;
    for (size_t band = first; band < plan.n_mels; band += step) {
        const float *weights = plan.band_weights + cuda.band_first[band];
        const float *bins = power + plan.band_start[band];
        float sum = 0.0f;
        for (int32_t k = 0; k < plan.band_size[band]; k++)
            sum = __fmaf_rn(weights[k], plan.magnitude ? __fsqrt_rn(bins[k]) : bins[k], sum);
        if (plan.log) sum = log10_positive(sum > plan.floor ? sum : plan.floor);
        most = sum > most ? sum : most;
        level[band] = sum;
    }
    return most;
}

static __device__ __forceinline__ float scaled(const nac_mel_plan &plan, float level, float top)
{
    const float lowest = top - plan.range;
    return __fmaf_rn(level > lowest ? level : lowest, plan.scale, plan.offset);
}

/* Blocks [n_clips][blocks a clip]: frames of clips [n_clips][n] to `out`, scaled unless their top is
 * not known yet: then the most of each frame's levels goes to tops [n_clips][n_frames]. */
template <typename Sample>
static __global__ void __launch_bounds__(THREADS)
    frames(nac_cuda_mel_plan cuda, const Sample *clips, size_t n, size_t n_frames, int frame_major,
           float top, float *tops, float *out)
{
    const nac_mel_plan &plan = cuda.plan;
    const int threads = threads_a_frame(plan.fft), together = THREADS / threads;
    const size_t blocks = (n_frames + together - 1) / together;
    const size_t clip = blockIdx.x / blocks, first = blockIdx.x % blocks * together;
    const int t = threadIdx.x, mine = t / threads, part = t % threads;
    const size_t n_fft = plan.fft.n, size = frame_size(plan), frame = first + mine;
    const bool is_one = frame < n_frames;

    float *memory = reinterpret_cast<float *>(shared_memory);
    float *columns = memory + mine * size;
    float *work = columns + n_columns(plan.fft) * COLUMN_SIZE(&plan.fft);
    float *power = work + n_columns(plan.fft) * COLUMN_SIZE(&plan.fft);
    float *level = power + n_fft / 2 + 2;

    for (size_t i = part; i < n_fft; i += threads)
        work[i + i / 16] = is_one ? sample(plan, clips + clip * n, (long long)n,
                                           (long long)(frame * plan.hop + i) - (long long)plan.pad)
                                  : 0.0f;
    __syncthreads();
    rfft_rows(&plan.fft, part, threads, work, cuda.at, columns);
    __syncthreads();
    const float *column = columns_powers(plan.fft, part, threads, columns, work, power);
    if (plan.fft.split > 1) rfft_unpack(&plan.fft, part, threads, column, power);
    __syncthreads();
    float most = bands(cuda, part, threads, power, level);

    const bool waits = plan.log && plan.top != NAC_MEL_TOP_FIXED;
    if (waits) {
        for (int apart = 1; apart < 32; apart *= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, most, apart);
            most = other > most ? other : most;
        }
        __syncthreads(); /* the powers have been read: the warps' maxima take their place */
        if (part % 32 == 0) power[part / 32] = most;
        __syncthreads();
        if (part == 0 && is_one) {
            for (int warp = 1; warp < threads / 32; warp++)
                most = power[warp] > most ? power[warp] : most;
            tops[clip * n_frames + frame] = most;
        }
    }
    __syncthreads();

    /* Neighbouring threads write neighbouring floats. */
    const int here = n_frames - first < size_t(together) ? int(n_frames - first) : together;
    const int n_mels = int(plan.n_mels);
    for (int i = t; i < here * n_mels; i += THREADS) {
        const int f = frame_major ? i / n_mels : i % here,
                  band = frame_major ? i % n_mels : i / here;
        const float found = memory[f * size + (level - columns) + band];
        const size_t to = frame_major ? (clip * n_frames + first + f) * n_mels + band
                                      : (clip * n_mels + band) * n_frames + first + f;
        out[to] = plan.log && !waits ? scaled(plan, found, top) : found;
    }
}

/* Block c: each frame's top, from the most of its levels; `top` counts as before the first.
 * Every thread has a run of neighbouring frames. */
static __global__ void __launch_bounds__(THREADS)
    find_tops(size_t n_frames, int running, float top, float *tops)
{
    float *run_top = reinterpret_cast<float *>(shared_memory); /* [THREADS] */
    const int t = threadIdx.x;
    const size_t run = (n_frames + THREADS - 1) / THREADS;
    const size_t start = run * t < n_frames ? run * t : n_frames;
    const size_t end = start + run < n_frames ? start + run : n_frames;
    tops += blockIdx.x * n_frames;

    float most = -INFINITY;
    for (size_t i = start; i < end; i++) most = tops[i] > most ? tops[i] : most;
    run_top[t] = most;
    __syncthreads();
    most = top;
    for (int i = 0; i < (running ? t : THREADS); i++) most = run_top[i] > most ? run_top[i] : most;
    for (size_t i = start; i < end; i++) {
        if (running) most = tops[i] > most ? tops[i] : most;
        tops[i] = most;
    }
}

/* A thread scales one level. */
static __global__ void __launch_bounds__(THREADS)
    scale(nac_mel_plan plan, size_t n_frames, size_t n_levels, int frame_major, const float *tops,
          float *out)
{
    const size_t i = size_t(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= n_levels) return;
    const size_t clip = i / (n_frames * plan.n_mels);
    const size_t frame = frame_major ? i / plan.n_mels % n_frames : i % n_frames;
    out[i] = scaled(plan, out[i], tops[clip * n_frames + frame]);
}

} // namespace mel

#undef restrict

#endif
