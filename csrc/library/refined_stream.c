#include "refined_stream.h"

#include <string.h>

enum { SPAN = NAC_REFINE_SPAN, MARGIN = NAC_REFINE_MARGIN };

codec_status nac_refined_new(const codec_model *model, const nac_refiner *refiner, size_t levels,
                             nac_memory *memory, nac_refined_stream *stream)
{
    const nac_encoder *net = &model->encoder;
    const size_t hop = model->config.hop_length, lookahead = nac_encoder_lookahead(net);
    const size_t ahead = MARGIN + (lookahead + hop - 1) / hop, room = MARGIN + SPAN + ahead;
    nac_refined_stream s = {.net = net, .refiner = refiner, .hop = hop, .ahead = ahead};
    s.audio = nac_memory_new(memory, room * hop, sizeof *s.audio);
    s.latents = nac_memory_new(memory, room * net->latent, sizeof *s.latents);
    s.moved = nac_memory_new(memory, room * net->latent, sizeof *s.moved);
    s.codes = nac_memory_new(memory, room * levels, sizeof *s.codes);
    s.scratch = nac_memory_new(memory, nac_refine_scratch(refiner, room), sizeof *s.scratch);
    if (!s.audio || !s.latents || !s.moved || !s.codes || !s.scratch) return CODEC_ERROR_MEMORY;
    *stream = s;
    return CODEC_OK;
}

void nac_refined_reset(nac_refined_stream *s) { s->before = s->samples = s->frames = 0; }

/* Samples held when the window that comes next can be refined. */
static size_t full(const nac_refined_stream *s) { return (s->before + SPAN + s->ahead) * s->hop; }

size_t nac_refined_encodes(const nac_refined_stream *s, const void *state, size_t n)
{
    if (nac_encoder_done(state)) return 0;
    if (n > NAC_MOST) return SIZE_MAX;
    const size_t held = s->samples + n, span = SPAN * s->hop;
    return held < full(s) ? 0 : ((held - full(s)) / span + 1) * SPAN;
}

size_t nac_refined_encodes_last(const nac_refined_stream *s, const void *state)
{
    if (nac_encoder_done(state)) return 0;
    return (s->samples + s->hop - 1) / s->hop - s->before;
}

/* Refines the frames held before `last`, and gives the codes of those in [before, stop) to `to` as its
 * frames from `at` on. */
static void refine(nac_refined_stream *s, size_t steps, size_t stop, size_t last,
                   const nac_encoded *to, size_t at)
{
    memcpy(s->moved, s->latents, last * s->net->latent * sizeof *s->moved);
    nac_refinement of = nac_refine_begin(s->refiner, s->audio, s->moved, last, to->levels, to->beam,
                                         steps, s->codes, s->scratch);
    while (nac_refine_step(&of)) continue;
    for (size_t level = 0; level < to->levels; level++)
        memcpy(to->codes + level * to->stride + at, s->codes + level * last + s->before,
               (stop - s->before) * sizeof *s->codes);
}

/* Forgets all but the margin before frame `stop` and what follows it. */
static void forget(nac_refined_stream *s, size_t stop)
{
    const size_t gone = stop - MARGIN, dim = s->net->latent;
    s->samples -= gone * s->hop;
    s->frames -= gone;
    s->before = MARGIN;
    memmove(s->audio, s->audio + gone * s->hop, s->samples * sizeof *s->audio);
    memmove(s->latents, s->latents + gone * dim, s->frames * dim * sizeof *s->latents);
}

codec_status nac_refined_encode(nac_refined_stream *s, void *state, float *scratch, size_t steps,
                                const float *samples, size_t n, const nac_encoded *to,
                                size_t *frames)
{
    if (!frames) return CODEC_ERROR_ARGUMENT;
    const size_t ready = nac_refined_encodes(s, state, n);
    const codec_status status = nac_stream_check(s->net, state, samples, n, to, ready);
    if (status) return status;
    for (size_t at = 0; n > 0;) {
        const size_t room = full(s) - s->samples, here = n < room ? n : room;
        float *latents = s->latents + s->frames * s->net->latent;
        s->frames += nac_encoder_ready(s->net, state, here);
        nac_encoder_push_latents(s->net, state, samples, here, latents, scratch);
        memcpy(s->audio + s->samples, samples, here * sizeof *samples);
        s->samples += here;
        samples += here;
        n -= here;
        if (here < room) break;
        const size_t stop = s->before + SPAN;
        refine(s, steps, stop, stop + MARGIN, to, at);
        forget(s, stop);
        at += SPAN;
    }
    *frames = ready;
    return CODEC_OK;
}

codec_status nac_refined_encode_last(nac_refined_stream *s, void *state, float *scratch,
                                     size_t steps, const nac_encoded *to, size_t *frames)
{
    if (!frames) return CODEC_ERROR_ARGUMENT;
    const size_t left = nac_refined_encodes_last(s, state), last = s->before + left;
    const codec_status status = nac_stream_check(s->net, state, NULL, 0, to, left);
    if (status) return status;
    nac_encoder_flush_latents(s->net, state, s->latents + s->frames * s->net->latent, scratch);
    memset(s->audio + s->samples, 0, (last * s->hop - s->samples) * sizeof *s->audio);
    if (left) refine(s, steps, last, last, to, 0);
    *frames = left;
    return CODEC_OK;
}
