#include "tables.h"

#include <string.h>

#include "common/dispatch.h"

/* 2^(NAC_WEIGHT_BITS - d / 2^bits) of d = top - score >= 0, rounded down.
 *
 * With f the fraction of the exponent in 16 bits, 2^-f = 1 - f (a - f (b - f c)) within 2e-4 of
 * itself. All factors are at most 2^16 and no difference is negative, as a > b > c: products stay
 * below 2^32, and the polynomial is in [2^15, 2^16]. d < 2^26 by the bound on scores. */
ALWAYS_INLINE uint32_t weight_of(uint32_t d, uint32_t bits)
{
    const uint32_t f = (d << (16 - bits)) & 0xffffu, whole = d >> bits;
    const uint32_t c = 2563u, b = 15105u, a = 45310u;
    const uint32_t p = 65536u - ((f * (a - ((f * (b - ((f * c) >> 16))) >> 16))) >> 16);
    return (p << (NAC_WEIGHT_BITS - 16)) >> (whole < 31 ? whole : 31);
}

ALWAYS_INLINE void scores_body(const nac_tables *model, const int32_t *sum, size_t level,
                               int32_t *restrict score)
{
    const size_t n = model->codewords;
    const int8_t *restrict out = model->out + level * model->rank * n;
    memcpy(score, model->bias + level * n, n * sizeof *score);
    for (size_t r = 0; r < model->rank; r++) {
        const int32_t factor = sum[r];
        const int8_t *restrict row = out + r * n;
        for (size_t k = 0; k < n; k++) score[k] += factor * row[k];
    }
}

ALWAYS_INLINE void weights_body(const int32_t *restrict score, size_t n, uint32_t bits,
                                uint32_t *restrict weights)
{
    int32_t top = score[0];
    for (size_t k = 1; k < n; k++) top = score[k] > top ? score[k] : top;
    for (size_t k = 0; k < n; k++) weights[k] = weight_of((uint32_t)(top - score[k]), bits);
}

#define INSTANCE(suffix, target)                                                                  \
    target static void scores_##suffix(const nac_tables *model, const int32_t *sum, size_t level, \
                                       int32_t *score)                                            \
    {                                                                                             \
        scores_body(model, sum, level, score);                                                    \
    }                                                                                             \
    target static void weights_##suffix(const int32_t *score, size_t n, uint32_t bits,            \
                                        uint32_t *weights)                                        \
    {                                                                                             \
        weights_body(score, n, bits, weights);                                                    \
    }

NAC_INSTANCES(INSTANCE)

void nac_tables_scores(const nac_tables *model, const nac_chunk *c, size_t channel, size_t level,
                       size_t frame, int32_t *score)
{
    const size_t rank = model->rank;
    int32_t sum[NAC_MAX_RANK] = {0};
    for (size_t i = 0; i < model->contexts; i++) {
        const int32_t source = model->source[level * model->contexts + i];
        const size_t back = (size_t)model->back[i];
        if (source < 0 || frame < back) continue;
        const size_t code = *code_at(c, channel, (size_t)source, frame - back);
        const int8_t *row =
            model->embed + ((level * model->contexts + i) * model->codewords + code) * rank;
        for (size_t r = 0; r < rank; r++) sum[r] += row[r];
    }
    NAC_CHOOSE(scores, model->isa)(model, sum, level, score);
}

size_t nac_tables_scratch(const nac_tables *model) { return 3 * model->codewords + 1; }

void nac_tables_code(const nac_tables *model, nac_chunk *c, uint32_t *scratch)
{
    const size_t n = model->codewords;
    int32_t *score = (int32_t *)scratch;
    uint32_t *weights = scratch + n, *cumulative = scratch + 2 * n;
    for (size_t frame = 0; frame < c->frames; frame++)
        for (size_t level = 0; level < c->levels; level++)
            for (size_t channel = 0; channel < c->channels; channel++) {
                nac_tables_scores(model, c, channel, level, frame, score);
                NAC_CHOOSE(weights, model->isa)(score, n, (uint32_t)model->fraction_bits[level],
                                                weights);
                accumulate(weights, n, cumulative);
                code_symbol(c, cumulative, n, code_at(c, channel, level, frame));
            }
}
