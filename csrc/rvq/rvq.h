/* Residual vector quantisation: for every vector the nearest codeword of each level in turn.
 *
 * The definition, which every build meets bit for bit (all in float32, in this order):
 *     dot(a, b)   s = 0; for d = 0..D-1: s = fma(a[d], b[d], s)
 *     half[k]     0.5 * dot(c_k, c_k)
 *     score[k]    half[k] - dot(residual, c_k)       = (|residual - c_k|^2 - |residual|^2) / 2
 *     code        the k of the lowest score, the lowest such k on ties
 *     residual[d] residual[d] - c_code[d]            the input of the next level
 * A score that overflows to +inf or NaN never wins; if all do, the code is 0.
 */
#ifndef NAC_RVQ_H
#define NAC_RVQ_H

#include <stddef.h>
#include <stdint.h>

#include "common/align.h"
#include "common/isa.h"

/* Codewords that lie side by side in a packed panel. */
enum { NAC_RVQ_PANEL = 32 };

/* Codebooks of Q levels, K codewords each, D dimensions, as they are and packed for the search.
 *
 *     codebooks [Q][K][D]
 *     panels  [Q][ceil(K / 32)][D][32]   half  [Q][ceil(K / 32) * 32]
 *
 * so that a vector load takes the d-th coordinate of neighbouring codewords. The last panel is
 * filled up with zero codewords of half = +inf: they score +inf, and never win.
 *
 * `screen` is what csrc/rvq/rvq_bounds.h makes of them, or NULL: it changes speed, never a code. */
typedef struct {
    size_t levels, codewords, dim;
    const float *codebooks;
    float *panels, *half;
    void *screen;
} nac_rvq_plan;

/* Floats in `panels` and in `half`; the caller checks that the products do not overflow. */
size_t nac_rvq_panels_size(size_t levels, size_t codewords, size_t dim);
size_t nac_rvq_half_size(size_t levels, size_t codewords);

/* Bytes of `screen`, aligned to NAC_ALIGN; 0 where the CPU or the instruction set has none. */
size_t nac_rvq_screen_size(nac_isa isa, size_t levels, size_t codewords, size_t dim);

/* Fills plan->panels, plan->half and, if it is there, plan->screen from plan->codebooks. */
void nac_rvq_pack(const nac_rvq_plan *plan, nac_isa isa);

/* Floats that nac_rvq_encode needs as scratch memory, aligned to NAC_ALIGN. */
size_t nac_rvq_scratch_size(size_t dim);

/* latents [n][D] -> codes [levels][n], with the plan's first `levels` codebooks. */
void nac_rvq_encode(const nac_rvq_plan *plan, nac_isa isa, size_t levels, const float *latents,
                    size_t n, uint16_t *codes, float *scratch);

/* The same from codebooks that are not packed, for a few latents, which are overwritten: packs one
 * level after the other into plan->panels and plan->half, which have room for one, and stay in the
 * cache. plan->screen is not used. */
void nac_rvq_encode_once(const nac_rvq_plan *plan, nac_isa isa, float *latents, size_t n,
                         uint16_t *codes, float *scratch);

/* codes [levels][n] -> out [n][D]: the sum of the codewords in the order of the levels, from 0.
 * Every code is below `codewords`: the caller has checked. */
void nac_rvq_decode(const float *codebooks, size_t codewords, size_t dim, size_t levels,
                    const uint16_t *codes, size_t n, float *out);

#endif
