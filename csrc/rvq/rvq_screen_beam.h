/* The candidates of a beam search that may be kept, by the bounds of rvq_bounds.h.
 *
 * A candidate is fl(cost + score), and rounding is monotone. So from
 *
 *     lower <= score <= upper    follows    L = fl(cost + lower) <= candidate <= fl(cost + upper) = H
 *
 * without a further error, however large the cost. Let T be no less than the N-th lowest H. Then at
 * least N candidates are at most T, so that none of the N lowest is above T, whatever the order of
 * equals. One with L > T is above T. So the survivors, L <= T, have all that are kept among them.
 *
 *   1. T is the N-th lowest H of the best codeword of each lane, with max |c| for |c|: the N-th lowest
 *      of some candidates is no less than that of all;
 *   2. of what survives, the N-th lowest H with the |c| of each;
 *   3. of what survives, the N-th lowest H for lower, upper = s -+ W, where s is a sum in any order.
 *
 * What is left is scored as defined.
 *
 * No 2^-120 is added to a bound, as rvq_bounds.h would have it: a level is screened if max |c| >= 2^-30.
 * Then K (max |c|) |c| >= 17 * 2^-23 * 2^-30 * 2^-60 > 2^-109. A is rounded up by 2^-10 of it, less 2^-21
 * for its own roundings, which makes A |c| larger by more than 2^-120. W has 2^-120 added.
 *
 * Two roundings are new. That of lower + 2 A |c| is u (|rough| + A |c|), that of s -+ W is u (|s| + W).
 * The parts with A and W are less than what these are rounded up by. |rough| and |s| are at most
 * 1.1 |c| (|c|/2 + |x|), and K has room for 15 u |c| (max |c| + |x|) more.
 *
 * Nothing overflows: costs of 2^100 or more are not screened, nor is what has no bounds, nor what has
 * more survivors than are worth looking at. */
#ifndef NAC_RVQ_SCREEN_BEAM_H
#define NAC_RVQ_SCREEN_BEAM_H

#include "rvq_bounds.h"

enum { NAC_SCREEN_BEAM_MOST = 1024 };

/* A path and the codeword that continues it, path << 16 | codeword, at this cost. */
typedef struct {
    float cost;
    uint32_t which;
} nac_candidate;

/* Floats of scratch memory, aligned to NAC_ALIGN, for nac_rvq_screen_beam. */
size_t nac_rvq_screen_beam_scratch(size_t dim, size_t paths);

/* Candidates of one vector at one level that have the lowest `beam` among them, with their costs as
 * rvq_beam.h defines them; their number, or 0 if the screen cannot decide. x [paths][dim] and cost
 * [paths] are the residuals and the costs of its paths; codebook and half norms are given as they are.
 * found has room for NAC_SCREEN_BEAM_MOST. */
size_t nac_rvq_screen_beam(const void *screen, size_t level, size_t codewords, size_t dim,
                           const float *codebook, const float *half, const float *x,
                           const float *cost, size_t paths, size_t beam, nac_candidate *found,
                           float *scratch);

#endif
