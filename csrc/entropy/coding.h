/* What both models of the entropy coder share: the walk over a chunk's codes, and the step from
 * scores to the weights of the range coder. */
#ifndef NAC_ENTROPY_CODING_H
#define NAC_ENTROPY_CODING_H

#include "range_coder.h"

/* Weights are at most 2^19 + 1 and codebooks at most 4096: sums stay below 2^32, and are not 0, as
 * the best code's weight is at least 2^19: what range_coder.h wants. */
enum { NAC_WEIGHT_BITS = 19, NAC_MAX_CODEWORDS = 4096 };

/* One chunk: codes [channels][levels][frames], read by an encoder, written by a decoder. They are
 * coded frame by frame, in a frame level by level, and of a level channel by channel. */
typedef struct {
    nac_range_encoder *encoder; /* or NULL: */
    nac_range_decoder *decoder;
    uint16_t *codes;
    size_t channels, levels, frames;
    uint32_t *costs; /* NULL, or [symbols][3]: each code's weight, sum of weights and frequency */
} nac_chunk;

static inline uint16_t *code_at(const nac_chunk *c, size_t channel, size_t level, size_t frame)
{
    return c->codes + (channel * c->levels + level) * c->frames + frame;
}

/* Codes *code, whose codebook has n codewords with the weights of `cumulative` [n + 1]. */
static inline void code_symbol(nac_chunk *c, const uint32_t *cumulative, size_t n, uint16_t *code)
{
    const uint32_t size = (uint32_t)n;
    if (c->decoder) {
        *code = (uint16_t)nac_range_decode_symbol(c->decoder, cumulative, size);
        return;
    }
    nac_range_encode_symbol(c->encoder, cumulative, size, *code);
    if (c->costs) {
        *c->costs++ = cumulative[*code + 1] - cumulative[*code];
        *c->costs++ = cumulative[n];
        *c->costs++ = nac_range_start(cumulative, size, *code + 1u) -
                      nac_range_start(cumulative, size, *code);
    }
}

/* weights [n] to their sums before each, in cumulative [n + 1]. */
static inline void accumulate(const uint32_t *weights, size_t n, uint32_t *cumulative)
{
    uint32_t sum = 0;
    for (size_t k = 0; k < n; k++) {
        cumulative[k] = sum;
        sum += weights[k];
    }
    cumulative[n] = sum;
}

#endif
