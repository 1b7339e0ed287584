/* The fast model: static integer tables of low rank, conditioned on codes that are known.
 *
 *     score[k] = bias[k] + sum over r of out[r][k] * (sum over contexts of embed[code][r])
 *
 * in units of 2^-fraction_bits of log2. Bounds, which the caller checks:
 *   - 8-bit values, at most 16 contexts and rank 32: the sum over contexts is within 2^11, each
 *     product within 2^18, the sum over r within 2^23; |bias| <= 2^24: |score| < 2^25;
 *   - fraction_bits in [0, 12]. */
#ifndef NAC_ENTROPY_TABLES_H
#define NAC_ENTROPY_TABLES_H

#include "coding.h"
#include "common/isa.h"

enum { NAC_MAX_CONTEXTS = 16, NAC_MAX_RANK = 32, NAC_MAX_FRACTION_BITS = 12 };

typedef struct {
    nac_isa isa;
    size_t levels, codewords, rank, contexts;
    const int8_t *embed;          /* [levels][contexts][codewords][rank] */
    const int8_t *out;            /* [levels][rank][codewords] */
    const int32_t *bias;          /* [levels][codewords] */
    const int32_t *fraction_bits; /* [levels] */
    const int32_t *back;          /* [contexts]: frames before this one, 0 or 1 */
    const int32_t *source;        /* [levels][contexts]: the context's level; -1: it has none */
} nac_tables;

/* Scores [codewords] of `level` at `frame`, of which the coarser levels are known. */
void nac_tables_scores(const nac_tables *model, const nac_chunk *c, size_t channel, size_t level,
                       size_t frame, int32_t *score);

/* Codes a chunk. scratch: nac_tables_scratch(model) words of 32 bits. */
size_t nac_tables_scratch(const nac_tables *model);
void nac_tables_code(const nac_tables *model, nac_chunk *c, uint32_t *scratch);

#endif
