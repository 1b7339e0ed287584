/* The nearest codeword by the bounds of rvq_bounds.h: only those that the bounds cannot tell apart are
 * scored as rvq.h defines it. The codes are the definition's, bit for bit, on every input.
 *
 * A codeword that wins has lower <= min_k upper_k + 2^-119, and those that meet this are the
 * survivors. They are scored once more with sums in any order. Those within 2 W of the lowest, ties or
 * all but ties, are scored by the definition itself. What has no bounds, or more survivors than are
 * worth looking at, is given back. */
#ifndef NAC_RVQ_SCREEN_H
#define NAC_RVQ_SCREEN_H

#include <stddef.h>
#include <stdint.h>

#include "rvq_bounds.h"

/* Floats of scratch memory for nac_rvq_screen_search. */
size_t nac_rvq_screen_scratch(size_t dim);

/* The codes of residuals x [n][dim] at one level, whose codebook and half norms are given as they are;
 * but the rows that the screen cannot decide are listed in `left`, their number returned. */
size_t nac_rvq_screen_search(const void *screen, size_t level, size_t codewords, size_t dim,
                             const float *codebook, const float *half, const float *x, size_t n,
                             uint16_t *codes, uint16_t *left, float *scratch);

#endif
