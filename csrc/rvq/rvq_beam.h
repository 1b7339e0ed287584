/* Beam search: codes whose codewords add up closer to the vector than those of rvq.h's search.
 *
 * A path is a choice of codewords for the levels so far. Each level continues every path with every
 * codeword and keeps the best of them, instead of the best one (Babenko & Lempitsky, "Additive
 * Quantization for Extreme Vector Compression", CVPR 2014, section 3; with B = 1 it is the search of
 * rvq.h). The definition, which every build meets bit for bit, with `score` as in rvq.h:
 *     at first        one path, whose residual is the vector, of cost 0
 *     candidate[p][k] cost[p] + score[k], of the residual of path p
 *     paths           the `beam` lowest candidates below +inf: in this order, of equals first that of
 *                     the lowest p, then of the lowest k. If there is none, path 0 with codeword 0,
 *                     at the cost that it has
 *     residual[d]     residual[d] - c_k[d], of the path that was continued
 *     codes           those of path 0 after the last level
 * A cost is (|residual|^2 - |vector|^2) / 2 but for rounding. The codes of fewer levels are not the
 * first of those of more. */
#ifndef NAC_RVQ_BEAM_H
#define NAC_RVQ_BEAM_H

#include "rvq.h"

enum { NAC_RVQ_BEAM_MOST = 64 };

/* Floats that nac_rvq_beam needs as scratch memory, aligned to NAC_ALIGN. */
size_t nac_rvq_beam_scratch_size(size_t levels, size_t dim);

/* latents [n][D] -> codes [levels][n], with the plan's first `levels` codebooks and 2 to
 * NAC_RVQ_BEAM_MOST paths. */
void nac_rvq_beam(const nac_rvq_plan *plan, nac_isa isa, size_t levels, size_t beam,
                  const float *latents, size_t n, uint16_t *codes, float *scratch);

#endif
