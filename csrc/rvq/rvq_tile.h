/* Dot products of residuals with codewords that lie side by side, for the searches of rvq.h. */
#ifndef NAC_RVQ_TILE_H
#define NAC_RVQ_TILE_H

#include <string.h>

#include "rvq.h"

/* Vectors that go through all levels together: their residuals stay in the cache, and scratch
 * memory is constant. A multiple of every tile height. */
enum { NAC_RVQ_CHUNK = 120, NAC_RVQ_MAX_ROWS = 12 };

static inline size_t nac_rvq_panels(size_t codewords)
{
    return (codewords + NAC_RVQ_PANEL - 1) / NAC_RVQ_PANEL;
}

/* Dot products of `rows` residuals with `cols` codewords, each one chain of FMAs over d.
 *
 *               panel [D][32]                 all rows x cols sums stay in registers while d runs:
 *              +-- cols --+                   every step loads `cols` coordinates once and uses
 *            d |  c_k[d]  |                   them for each of the rows.
 *              +----------+
 *   x [rows][D] x[r][d]  ->  dot [rows][32]
 *
 * Tiles that fill the registers: rows * cols / lanes sums, cols / lanes codewords, one residual.
 *     AVX-512  12 x 32: 24 + 2 + 1 of 32      AVX2  6 x 16: 12 + 2 + 1 of 16
 *     NEON      6 x 16: 24 + 4 + 1 of 32 */
ALWAYS_INLINE void nac_rvq_tile(const int rows, const int cols, size_t dim, const float *restrict x,
                                const float *restrict panel, float *restrict dot)
{
    float sum[NAC_RVQ_MAX_ROWS][NAC_RVQ_PANEL];
    UNROLL_ROWS
    for (int r = 0; r < rows; r++) {
        VECTORISE
        for (int c = 0; c < cols; c++) sum[r][c] = 0.0f;
    }
    for (size_t d = 0; d < dim; d++) {
        const float *word = panel + d * NAC_RVQ_PANEL;
        UNROLL_ROWS
        for (int r = 0; r < rows; r++) {
            const float coordinate = x[(size_t)r * dim + d];
            VECTORISE
            for (int c = 0; c < cols; c++)
                sum[r][c] = __builtin_fmaf(coordinate, word[c], sum[r][c]);
        }
    }
    UNROLL_ROWS
    for (int r = 0; r < rows; r++) {
        VECTORISE
        for (int c = 0; c < cols; c++) dot[r * NAC_RVQ_PANEL + c] = sum[r][c];
    }
}

/* Fills x [n] up to whole tiles: zeros, whose results are dropped. */
ALWAYS_INLINE size_t nac_rvq_whole_tiles(const int rows, float *x, size_t n, size_t dim)
{
    const size_t tiled = nac_round_up(n, (size_t)rows);
    memset(x + n * dim, 0, (tiled - n) * dim * sizeof *x);
    return tiled;
}

#endif
