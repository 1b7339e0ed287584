/* Lower bounds of scores by integers: int8 products give all scores of a level, roughly but within a
 * proved bound, so that a search need score only few codewords as rvq.h defines it.
 *
 * Each codeword is c = s q + e, with a scale s of its own, q in [-127, 127]^D and an error e that is
 * zero where the codebook was stored as int8; a residual is x = t y + f likewise. With exact sums
 * over d, all in real numbers,
 *
 *     |x|^2/2 + score = |x - c|^2 / 2,   score = |c|^2/2 - x.c,   x.c = s t (y.q) + f.c + t y.e
 *
 * where y.q is an integer, computed without error, and by Cauchy and Schwarz
 *
 *     |f.c + t y.e|  <=  |f| |c| + |t y| |e|  <=  |c| (|f| + (|x| + |f|) max_k |e_k| / |c_k|).
 *
 * What floating point adds, u = 2^-24 being the unit roundoff (Higham, 2002, section 3.1):
 *   - the definition's chains of FMAs: |dot - x.c| <= D u' |x||c| and |half - |c|^2/2| <= D u' |c|^2/2
 *     with u' = u / (1 - D u) < 1.001 u for D <= 4096; its subtraction: u |score|;
 *   - the rough score half - t (s (y.q)): the integer's conversion and three operations, each u of
 *     what it yields, which is at most 1.1 |c| (|c|/2 + |x|) in size;
 * together less than (D + 16) u |c| (|c|/2 + |x|) * 1.1 and so less than |c| K (max_k |c_k| + |x|),
 * K = (D + 16) 2^-23. So with
 *
 *     A = |f| + ratio (|x| + |f|) + K (max |c| + |x|),    lower, upper = rough -+ A |c|
 *
 * the defined score lies in [lower, upper], up to 2^-120 for subnormals: a product or sum that
 * underflows is off by at most 2^-150, and there are fewer than 2^14 of them.
 *
 * The norms are computed: D u < 2^-12 relative, and where squares underflow an absolute
 * sqrt(D 2^-149) < 2^-68, are covered by |v| <= sqrt(sum) (1 + 2^-10) + 2^-60. A is rounded up with a
 * factor 1 + 2^-10, too. Nothing overflows: a level with |c| or a residual with |x| of 2^60 or more
 * has no bounds.
 *
 * Few enough candidates can be scored once more with float32 sums in any order: by the same reckoning
 * these differ from the defined scores by at most W = K max |c| (max |c| + |x|), and 2^-120: the errors
 * of both are 2 D u' |x||c| and two subtractions. */
#ifndef NAC_RVQ_BOUNDS_H
#define NAC_RVQ_BOUNDS_H

#include <stddef.h>
#include <stdint.h>

#include "rvq.h"

/* Codewords in a panel and panels in a span, which is bounded at a time; residuals in a tile. */
enum { NAC_BOUNDS_LANES = 16, NAC_BOUNDS_WIDE = 64, NAC_BOUNDS_PANELS = 16, NAC_BOUNDS_ROWS = 6 };
enum { NAC_BOUNDS_SPAN = NAC_BOUNDS_PANELS * NAC_BOUNDS_WIDE };

/* A level of packed codebooks: bounds on all codewords, then of each half, s and |c|, then q. */
typedef struct {
    size_t codewords, dim, padded, steps; /* ceil(codewords / 64) * 64, ceil(dim / 4) */
    float ratio, largest;                 /* max |e| / |c|, max |c| */
    const float *half, *scale, *norm;     /* [padded] */
    const uint8_t *words;                 /* [padded / 64][steps][64][4] */
} nac_bounds_level;

/* What a residual x = t y + f brings to its scores. */
typedef struct {
    float t, A;
    float two_W;    /* rounded up, and 2^-119 */
    int32_t offset; /* -128 sum(y), for the 128 in q + 128 */
} nac_bounds_terms;

/* Packs codebooks [levels][codewords][dim]; half as rvq.h defines it, `stride` apart per level.
 * nac_rvq_screen_size has the size. */
void nac_bounds_pack(void *screen, size_t levels, size_t codewords, size_t dim,
                     const float *codebooks, const float *half, size_t stride);

nac_bounds_level nac_bounds_of(const void *screen, size_t level, size_t codewords, size_t dim);

/* The terms of a residual, and its y [4 * steps]; 0 if it has no bounds. */
int nac_bounds_terms_of(const nac_bounds_level *level, const float *x, int8_t *y,
                        nac_bounds_terms *terms);

/* Bounds of residuals y [rows][4 * steps] with `count` <= SPAN codewords, whole panels, from `start` on:
 * lower [panels][rows][64], and the lowest of each lane there, lowest [panels][rows][LANES]. They are
 * aligned to NAC_ALIGN. */
void nac_bounds_lower(const nac_bounds_level *level, size_t rows, const int8_t *y,
                      const nac_bounds_terms *x, size_t start, size_t count, float *lower,
                      float *lowest);

/* A dot product whose sum is in any order. */
float nac_bounds_dot(const float *x, const float *word, size_t dim);

#endif
