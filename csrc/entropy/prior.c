#include "prior.h"

#include <string.h>

#include "common/align.h"
#include "common/dispatch.h"
#include "common/fp_env.h"
#include "kernels/elementary.h"
#include "kernels/fold.h"

static size_t padded(size_t n) { return nac_round_up(n, NAC_PANEL); }

/* x [dim] -> its direction and the logarithm of its size, [dim + 1].
 */
ALWAYS_INLINE void feature_body(const float *x, size_t dim, float scale, float *y)
{
    float lane[NAC_PANEL] = {0};
    const size_t whole = dim - dim % NAC_PANEL;
    for (size_t i = 0; i < whole; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) {
            const float v = x[i + (size_t)l] * scale;
            lane[l] = __builtin_fmaf(v, v, lane[l]);
        }
    }
    for (size_t l = 0; l < dim - whole; l++) {
        const float v = x[whole + l] * scale;
        lane[l] = __builtin_fmaf(v, v, lane[l]);
    }
    const float square = fold(lane) / (float)dim + 1e-6f;
    const float factor = scale / __builtin_sqrtf(square);
    for (size_t i = 0; i < dim; i++) y[i] = x[i] * factor;
    y[dim] = 0.5f * log_positive(square);
}

/* 1 / (1 + e^-x); -x is clamped below by exp_clamped, above here. */
ALWAYS_INLINE float sigmoid_of(float x)
{
    const float t = x > -80.0f ? x : -80.0f;
    return 1.0f / (1.0f + exp_clamped(-t));
}

/* tanh x = 2 / (1 + e^-2x) - 1, within 1.2e-7. */
ALWAYS_INLINE float tanh_of(float x) { return __builtin_fmaf(2.0f, sigmoid_of(2.0f * x), -1.0f); }

/* One step of a GRU; in and now [3 n]: what its input and its state give the gates. */
ALWAYS_INLINE void gates_body(const float *in, const float *now, size_t n, float *state)
{
    for (size_t i = 0; i < n; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) {
            const size_t u = i + (size_t)l;
            const float reset = sigmoid_of(in[u] + now[u]);
            const float update = sigmoid_of(in[n + u] + now[n + u]);
            const float fresh = tanh_of(__builtin_fmaf(reset, now[2 * n + u], in[2 * n + u]));
            state[u] = __builtin_fmaf(update, state[u] - fresh, fresh);
        }
    }
}

/* score [n] += unit * by_tables; then weights, of e^score relative to the highest, rounded down to
 * an odd number: never 0, whatever a damaged model makes of its scores. */
ALWAYS_INLINE void weights_body(float *score, const int32_t *by_tables, float unit, size_t n,
                                uint32_t *weights)
{
    float lane[NAC_PANEL];
    for (int l = 0; l < NAC_PANEL; l++) lane[l] = -3e38f;
    const size_t whole = n - n % NAC_PANEL;
    for (size_t i = 0; i < whole; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) {
            const float s =
                __builtin_fmaf((float)by_tables[i + (size_t)l], unit, score[i + (size_t)l]);
            score[i + (size_t)l] = s;
            lane[l] = s > lane[l] ? s : lane[l];
        }
    }
    float top = -3e38f;
    for (size_t k = whole; k < n; k++) {
        score[k] = __builtin_fmaf((float)by_tables[k], unit, score[k]);
        top = score[k] > top ? score[k] : top;
    }
    for (int l = 0; l < NAC_PANEL; l++) top = lane[l] > top ? lane[l] : top;
    top = top < 3e38f ? top : 3e38f;
    for (size_t k = 0; k < n; k++) {
        float d = score[k] - top;
        d = d < 0.0f ? d : 0.0f; /* of what is infinite or not a number too */
        weights[k] = (uint32_t)(int32_t)(exp_clamped(d) * (float)(1 << NAC_WEIGHT_BITS)) | 1u;
    }
}

#define INSTANCE(suffix, target)                                                                 \
    target static void feature_##suffix(const float *x, size_t dim, float scale, float *y)       \
    {                                                                                            \
        feature_body(x, dim, scale, y);                                                          \
    }                                                                                            \
    target static void gates_##suffix(const float *in, const float *now, size_t n, float *state) \
    {                                                                                            \
        gates_body(in, now, n, state);                                                           \
    }                                                                                            \
    target static void weights_##suffix(float *score, const int32_t *by_tables, float unit,      \
                                        size_t n, uint32_t *weights)                             \
    {                                                                                            \
        weights_body(score, by_tables, unit, n, weights);                                        \
    }

NAC_INSTANCES(INSTANCE)

/* Scratch memory, each array [channels] of rows; every size is a multiple of NAC_PANEL. */
typedef struct {
    float *state, *feature, *input, *now, *by_state, *hidden, *predicted, *score, *sum;
    int32_t *by_tables;
    uint32_t *weights, *cumulative;
    size_t size;
} layout;

static layout layout_of(const nac_prior *m, size_t channels, float *base)
{
    layout s = {0};
    size_t at = 0;
#define TAKE(field, type, count)                              \
    s.field = base ? (type *)(void *)(base + at) : (type *)0; \
    at += padded(count)
    TAKE(state, float, channels * m->state);
    TAKE(feature, float, channels *padded(m->dim + 1));
    TAKE(input, float, channels * 3 * m->state);
    TAKE(now, float, channels * 3 * m->state);
    TAKE(by_state, float, channels * m->levels * m->hidden);
    TAKE(hidden, float, channels * m->hidden);
    TAKE(predicted, float, channels *padded(m->dim + 1));
    TAKE(score, float, channels *padded(m->codewords));
    TAKE(sum, float, channels * m->dim);
    TAKE(by_tables, int32_t, m->codewords);
    TAKE(weights, uint32_t, m->codewords);
    TAKE(cumulative, uint32_t, m->codewords + 1);
#undef TAKE
    s.size = at;
    return s;
}

size_t nac_prior_scratch(const nac_prior *model, size_t channels)
{
    return layout_of(model, channels, NULL).size;
}

static void features(const nac_prior *m, const layout *s, size_t channels)
{
    for (size_t r = 0; r < channels; r++)
        NAC_CHOOSE(feature, m->k->isa)(s->sum + r * m->dim, m->dim, m->input_scale,
                                       s->feature + r * padded(m->dim + 1));
}

/* The state after the frame whose sum is there, and what it says about the levels of the next. */
static void advance(const nac_prior *m, const layout *s, size_t channels, size_t levels)
{
    features(m, s, channels);
    m->k->dense(&m->gru_input, s->feature, padded(m->dim + 1), channels, s->input);
    m->k->dense(&m->gru_state, s->state, m->state, channels, s->now);
    for (size_t r = 0; r < channels; r++)
        NAC_CHOOSE(gates, m->k->isa)(s->input + r * 3 * m->state, s->now + r * 3 * m->state,
                                     m->state, s->state + r * m->state);
    nac_dense used = m->from_state; /* panels lie level by level: the first ones are all it takes */
    used.width = levels * m->hidden;
    m->k->dense(&used, s->state, m->state, channels, s->by_state);
}

static void code_level(const nac_prior *m, const layout *s, nac_chunk *c, size_t frame,
                       size_t level)
{
    const size_t channels = c->channels, n = m->codewords, wide = padded(n);
    for (size_t r = 0; r < channels; r++)
        memcpy(s->hidden + r * m->hidden, s->by_state + (r * c->levels + level) * m->hidden,
               m->hidden * sizeof(float));
    features(m, s, channels);
    m->k->dense_add(&m->from_sum[level], s->feature, padded(m->dim + 1), channels, s->hidden);
    m->k->gelu(s->hidden, channels * m->hidden);
    m->k->dense(&m->predict[level], s->hidden, m->hidden, channels, s->predicted);
    m->k->dense(&m->out[level], s->predicted, m->predict[level].width, channels, s->score);
    for (size_t r = 0; r < channels; r++) {
        nac_tables_scores(m->tables, c, r, level, frame, s->by_tables);
        NAC_CHOOSE(weights, m->k->isa)(s->score + r * wide, s->by_tables, m->unit[level], n,
                                       s->weights);
        accumulate(s->weights, n, s->cumulative);
        uint16_t *code = code_at(c, r, level, frame);
        code_symbol(c, s->cumulative, n, code);
        const float *word = m->codebooks + (level * n + *code) * m->dim;
        float *sum = s->sum + r * m->dim;
        for (size_t i = 0; i < m->dim; i++) sum[i] += word[i];
    }
}

void nac_prior_code(const nac_prior *model, nac_chunk *c, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const layout s = layout_of(model, c->channels, scratch);
    memset(scratch, 0, s.size * sizeof *scratch);
    for (size_t frame = 0; frame < c->frames; frame++) {
        advance(model, &s, c->channels, c->levels);
        memset(s.sum, 0, c->channels * model->dim * sizeof *s.sum);
        for (size_t level = 0; level < c->levels; level++) code_level(model, &s, c, frame, level);
    }
    nac_fp_env_leave(caller);
}
