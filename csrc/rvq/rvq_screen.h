/* The nearest codeword by integers: all codewords are scored with int8 products, roughly but within
 * a proved bound, and only those that the bound cannot tell apart are scored as rvq.h defines it.
 * The codes are the definition's, bit for bit, on every input.
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
 * underflows is off by at most 2^-150, and there are fewer than 2^14 of them. A codeword that wins
 * has lower <= min_k upper_k + 2^-119, and those that meet this are the survivors.
 *
 * The norms are computed: D u < 2^-12 relative, and where squares underflow an absolute
 * sqrt(D 2^-149) < 2^-68, are covered by |v| <= sqrt(sum) (1 + 2^-10) + 2^-60. A is rounded up with a
 * factor 1 + 2^-10, too. Nothing overflows: a level with |c| or a residual with |x| of 2^60 or more
 * is not screened (nor is what has more survivors than are worth looking at).
 *
 * Survivors are scored once more with float32 sums in any order: by the same reckoning these differ
 * from the defined scores by at most W = K |c|(max |c| + |x|). Those within 2 W of the lowest, ties or
 * all but ties, are scored by the definition itself. */
#ifndef NAC_RVQ_SCREEN_H
#define NAC_RVQ_SCREEN_H

#include <stddef.h>
#include <stdint.h>

#include "rvq.h"

/* Packs codebooks [levels][codewords][dim]; half as rvq.h defines it, `stride` apart per level. */
void nac_rvq_screen_pack(void *screen, size_t levels, size_t codewords, size_t dim,
                         const float *codebooks, const float *half, size_t stride);

/* Floats of scratch memory for nac_rvq_screen_search. */
size_t nac_rvq_screen_scratch(size_t dim);

/* The codes of residuals x [n][dim] at one level, whose codebook and half norms are given as they are;
 * but the rows that the screen cannot decide are listed in `left`, their number returned. */
size_t nac_rvq_screen_search(const void *screen, size_t level, size_t codewords, size_t dim,
                             const float *codebook, const float *half, const float *x, size_t n,
                             uint16_t *codes, uint16_t *left, float *scratch);

#endif
