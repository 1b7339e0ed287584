/* Residual vector quantisation on a GPU: csrc/rvq/rvq.h's definition, so the C kernels' codes.
 *
 *                    panel [D][128]              A block takes a tile of vectors through all levels.
 *                   +-- 128 words --+            Its residuals stay in shared memory; codewords
 *               16  |  stage        | of two     stream through it, 16 coordinates of 128 codewords
 *                   +---------------+            at a time, while the 16 before them are used.
 *                d  |               |
 *                   :               :            Each of 256 threads holds V x 8 dot products in
 *   x [D][16 V]                                  registers, and adds to them in the order of d.
 *
 * V = 4 (64 vectors a block). For a coordinate a thread reads 4 + 8 floats in three 128-bit loads,
 * for 32 FMAs. The 32 threads of a warp are 4 x 8: they read 64, 128 and 128 different bytes, one
 * pass of the shared memory each. So a warp costs 3 passes for 32 FMAs, which take a multiprocessor
 * 16 (sm_80, 64 lanes) or 8 cycles (sm_90, 128 lanes): arithmetic is the limit.
 * Shared memory: 272 D + 18,688 bytes, 53,504 for D = 128; with the 80 registers of a thread
 * three blocks, 24 warps, share a multiprocessor (65,536 registers, 164 KB on sm_80, 228 on sm_90).
 * All codewords come from the L2 cache once a block: 64 vectors do 16 FMAs a byte. An A100 with
 * 9.7e12 FMA/s asks 0.6 TB/s of it, an H100 with 33e12 FMA/s 2.1 TB/s; they have more than twice that.
 *
 * V = 1 (16 vectors a block) is for calls whose blocks of 64 would leave multiprocessors idle, and
 * for D > 256: 2.25 passes for 8 FMAs, but four times the blocks.
 */
#ifndef NAC_CUDA_RVQ_KERNELS_H
#define NAC_CUDA_RVQ_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "device.h"

namespace rvq {

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int PANEL = 128; /* codewords side by side, as csrc/rvq/rvq.h's are 32 */
constexpr int STAGE = 16;  /* coordinates of a panel that are copied together */
constexpr int STAGE_SIZE = (STAGE + 1) * PANEL;
constexpr int PACK_CHUNK = 32;              /* coordinates that `pack` transposes together */
constexpr int PACK_STRIDE = PACK_CHUNK + 1; /* no two of 32 rows start in the same bank */

/* A row of residuals is 4 floats longer than the tile: aligned for 128-bit loads, and coordinates
 * of a vector, which are written together, are spread over 8 banks. */
template <int V>
struct tile {
    static constexpr int vectors = 16 * V, stride = vectors + 4;
    static size_t shared_bytes(size_t dim)
    {
        return 4 * (dim * stride + 2 * STAGE_SIZE + 5 * vectors);
    }
};

inline size_t n_panels(size_t codewords) { return (codewords + PANEL - 1) / PANEL; }

/* Block [level][p] packs panel p of a level: codebooks [levels][codewords][dim] to
 * panels [levels][n_panels][dim + 1][128], whose last row is `half`. The last panel is filled up
 * with zero codewords of half = +inf: they never win. */
static __global__ void __launch_bounds__(PANEL)
    pack(const float *codebooks, int codewords, int dim, float *panels)
{
    float *words = reinterpret_cast<float *>(shared_memory); /* [PANEL][PACK_STRIDE] */
    const int t = threadIdx.x, per_level = (codewords + PANEL - 1) / PANEL;
    const int level = blockIdx.x / per_level, first = blockIdx.x % per_level * PANEL;
    const float *book = codebooks + size_t(level) * codewords * dim;
    float *panel = panels + size_t(blockIdx.x) * (dim + 1) * PANEL;
    float norm = 0.0f;

    for (int start = 0; start < dim; start += PACK_CHUNK) {
        const int here = min(PACK_CHUNK, dim - start);
        __syncthreads(); /* the chunk before has been read */
        for (int i = t; i < PANEL * PACK_CHUNK; i += PANEL) {
            const int c = i / PACK_CHUNK, d = i % PACK_CHUNK;
            const bool there = first + c < codewords && d < here;
            words[c * PACK_STRIDE + d] = there ? book[size_t(first + c) * dim + start + d] : 0.0f;
        }
        __syncthreads();
        for (int d = 0; d < here; d++) {
            const float word = words[t * PACK_STRIDE + d];
            norm = __fmaf_rn(word, word, norm);
            panel[size_t(start + d) * PANEL + t] = word;
        }
    }
    panel[size_t(dim) * PANEL + t] = first + t < codewords ? 0.5f * norm : INFINITY;
}

/* The packed panels of all levels, one after the other. */
struct stream {
    const float *panel;
    int panels;    /* that have not been fetched to their end */
    int dim, left; /* left: coordinates of the first of them */

    /* Starts to copy the next coordinates to a stage, and after the last ones of a panel its half. */
    __device__ __forceinline__ void fetch(float *stage)
    {
        if (panels) {
            const int rows = left <= STAGE ? left + 1 : STAGE;
            for (int i = threadIdx.x * 4; i < rows * PANEL; i += THREADS * 4)
                __pipeline_memcpy_async(stage + i, panel + i, sizeof(float4));
            panel += rows * PANEL;
            left -= STAGE;
            if (left <= 0) {
                left = dim;
                panels--;
            }
        }
        __pipeline_commit();
    }
};

/* Adds one coordinate of V residuals times 8 codewords to their dot products. */
template <int V>
static __device__ __forceinline__ void step(float (&dot)[V][8], const float *x, const float *words)
{
    const float4 low = *reinterpret_cast<const float4 *>(words);
    const float4 high = *reinterpret_cast<const float4 *>(words + PANEL / 2);
    const float c[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    float r[V];
    if (V == 4) {
        const float4 four = *reinterpret_cast<const float4 *>(x);
        r[0] = four.x, r[1 % V] = four.y, r[2 % V] = four.z, r[3 % V] = four.w;
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) r[i] = x[i];
    }
#pragma unroll
    for (int i = 0; i < V; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) dot[i][j] = __fmaf_rn(r[i], c[j], dot[i][j]);
}

/* The lowest score so far and its codeword. */
struct found {
    float score;
    int k;
};

static __device__ __forceinline__ found lower(found a, found b)
{
    return b.score < a.score || (b.score == a.score && b.k < a.k) ? b : a;
}

/* Block b quantises vectors 16 V b, ... */
template <int V>
static __global__ void __launch_bounds__(THREADS, V == 4 ? 3 : 4)
    encode(const float *latents, size_t n, const float *codebooks, int levels, int codewords,
           int dim, const float *panels, int64_t *codes)
{
    constexpr int vectors = tile<V>::vectors, stride = tile<V>::stride;
    float *x = reinterpret_cast<float *>(shared_memory);           /* [dim][stride] */
    float *stage = x + dim * stride;                               /* [2][STAGE + 1][PANEL] */
    float *low_score = stage + 2 * STAGE_SIZE;                     /* [2][vectors] */
    int *low_k = reinterpret_cast<int *>(low_score + 2 * vectors); /* [2][vectors] */
    int *winner = low_k + 2 * vectors;                             /* [vectors] */

    /* 16 x 16 threads share out vectors and codewords; half a panel lies between a thread's first
     * four codewords and its last four, so that those of 8 threads are 128 bytes side by side. */
    const int t = threadIdx.x, lane = t % 32, warp = t / 32;
    const int column = warp % 2 * 8 + lane % 8, row = warp / 2 * 4 + lane / 8;
    const size_t first = size_t(blockIdx.x) * vectors;
    const int here = n - first < size_t(vectors) ? int(n - first) : vectors;

    for (int v = warp; v < vectors; v += WARPS)
        for (int d = lane; d < dim; d += 32)
            x[d * stride + v] = v < here ? latents[(first + v) * dim + d] : 0.0f;

    const int n_panels = (codewords + PANEL - 1) / PANEL;
    stream source = {panels, levels * n_panels, dim, dim};
    int buffer = 0;
    source.fetch(stage);

    for (int level = 0; level < levels; level++) {
        found best[V];
#pragma unroll
        for (int i = 0; i < V; i++) best[i] = {INFINITY, 0};

        for (int p = 0; p < n_panels; p++) {
            float dot[V][8] = {};
            for (int start = 0; start < dim; start += STAGE) {
                const int rows = min(STAGE, dim - start);
                /* All threads' copies have come, and all have done with the other buffer (and, at
                 * the start of a level, have brought the residuals up to date). */
                __pipeline_wait_prior(0);
                __syncthreads();
                source.fetch(stage + (1 - buffer) * STAGE_SIZE);

                const float *words = stage + buffer * STAGE_SIZE + column * 4;
                const float *residuals = x + start * stride + row * V;
                if (rows == STAGE) {
#pragma unroll
                    for (int d = 0; d < STAGE; d++)
                        step<V>(dot, residuals + d * stride, words + d * PANEL);
                } else {
                    for (int d = 0; d < rows; d++)
                        step<V>(dot, residuals + d * stride, words + d * PANEL);
                }
                buffer = 1 - buffer;
            }
            /* After the panel's last coordinates, in a stage that is not overwritten before the next
             * barrier. k rises from one of a thread's comparisons to the next: `<` keeps the lowest. */
            const float *half = stage + (1 - buffer) * STAGE_SIZE + ((dim - 1) % STAGE + 1) * PANEL;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const int c = j / 4 * (PANEL / 2) + column * 4 + j % 4;
#pragma unroll
                for (int i = 0; i < V; i++) {
                    const float score = half[c] - dot[i][j];
                    if (score < best[i].score) {
                        best[i].score = score;
                        best[i].k = p * PANEL + c;
                    }
                }
            }
        }

        /* Of the 16 threads with a vector, first the 8 of a warp, then its two warps. */
#pragma unroll
        for (int i = 0; i < V; i++) {
#pragma unroll
            for (int apart = 1; apart < 8; apart *= 2) {
                found other;
                other.score = __shfl_xor_sync(0xffffffffu, best[i].score, apart);
                other.k = __shfl_xor_sync(0xffffffffu, best[i].k, apart);
                best[i] = lower(best[i], other);
            }
            if (lane % 8 == 0) {
                low_score[warp % 2 * vectors + row * V + i] = best[i].score;
                low_k[warp % 2 * vectors + row * V + i] = best[i].k;
            }
        }
        __syncthreads();
        if (t < vectors) {
            const found a = {low_score[t], low_k[t]};
            const found b = {low_score[vectors + t], low_k[vectors + t]};
            winner[t] = lower(a, b).k;
            if (t < here) codes[size_t(level) * n + first + t] = winner[t];
        }
        __syncthreads();
        for (int v = warp; v < here; v += WARPS) {
            const float *word = codebooks + (size_t(level) * codewords + winner[v]) * dim;
            for (int d = lane; d < dim; d += 32) x[d * stride + v] -= word[d];
        }
    }
}

/* A thread sums one coordinate of one vector: neighbours read neighbouring coordinates. */
static __global__ void __launch_bounds__(THREADS)
    decode(const float *codebooks, int codewords, int dim, int levels, const int64_t *codes,
           size_t n, float *out)
{
    const size_t i = size_t(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= n * dim) return;
    const size_t vector = i / dim, d = i % dim;
    float sum = 0.0f;
    for (int level = 0; level < levels; level++) {
        const int64_t code = codes[level * n + vector];
        const bool known = code >= 0 && code < codewords;
        sum += known ? codebooks[(size_t(level) * codewords + code) * dim + d] : NAN;
    }
    out[i] = sum;
}

} // namespace rvq

#endif
