#include "filtered_stream.h"

enum { HOP = NAC_POSTFILTER_HOP, AHEAD = NAC_POSTFILTER_AFTER * HOP };

codec_status nac_filtered_new(const codec_model *model, nac_memory *memory,
                              nac_filtered_stream *stream, nac_reason reason)
{
    const nac_decoder *net = &model->decoder;
    const size_t rate = model->config.sample_rate, hop = model->config.hop_length;
    if (rate != NAC_POSTFILTER_RATE)
        return nac_fail(reason, CODEC_ERROR_UNSUPPORTED,
                        "the postfilter is for models of %d Hz, not %zu Hz", NAC_POSTFILTER_RATE,
                        rate);
    nac_filtered_stream s = {.net = net, .channels = model->config.channels, .hop = hop};
    s.most = net->block / net->stack;
    /* what a push makes of so many frames, or the end of a stream */
    const size_t room = nac_larger(s.most * hop, nac_decoder_lookahead(net));
    s.audio = nac_memory_new(memory, room * s.channels, sizeof *s.audio);
    s.plane = nac_memory_new(memory, room, sizeof *s.plane);
    s.filtered = nac_memory_new(memory, room + AHEAD + HOP, sizeof *s.filtered);
    s.scratch = nac_memory_new(memory, nac_postfilter_stream_scratch(), sizeof *s.scratch);
    if (!s.audio || !s.plane || !s.filtered || !s.scratch)
        return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for a postfilter");
    *stream = s;
    return CODEC_OK;
}

/* The state of a channel's filter. */
static void *filter_of(const nac_decoder *net, void *state, size_t channel)
{
    return (char *)state + nac_decoder_state_size(net) +
           channel * nac_postfilter_stream_state_size();
}

/* All channels are equally far. */
static const void *first_filter(const nac_decoder *net, const void *state)
{
    return (const char *)state + nac_decoder_state_size(net);
}

size_t nac_filtered_state_size(const codec_model *model)
{
    return nac_decoder_state_size(&model->decoder) +
           model->config.channels * nac_postfilter_stream_state_size();
}

void nac_filtered_reset(const codec_model *model, void *state)
{
    nac_decoder_reset(&model->decoder, state);
    for (size_t p = 0; p < model->config.channels; p++)
        nac_postfilter_stream_reset(filter_of(&model->decoder, state, p));
}

int nac_filtered_valid(const codec_model *model, const void *state)
{
    return nac_decoder_valid(&model->decoder, state) &&
           nac_postfilter_stream_valid(first_filter(&model->decoder, state),
                                       model->config.channels);
}

size_t nac_filtered_lookahead(const nac_filtered_stream *s)
{
    /* Whole hops come out; frames begin at multiples of `step` within them. */
    size_t step = HOP, rest = s->hop;
    while (rest) {
        const size_t next = step % rest;
        step = rest;
        rest = next;
    }
    const size_t own = nac_decoder_lookahead(s->net);
    return own + (step - own % step) % step + HOP - step + AHEAD;
}

size_t nac_filtered_decodes(const nac_filtered_stream *s, const void *state, size_t frames)
{
    const size_t n = nac_stream_decodes(s->net, state, frames);
    return n == SIZE_MAX ? n : nac_postfilter_stream_ready(first_filter(s->net, state), n);
}

size_t nac_filtered_decodes_last(const nac_filtered_stream *s, const void *state)
{
    if (nac_decoder_done(state)) return 0;
    return nac_postfilter_stream_left(first_filter(s->net, state),
                                      nac_decoder_left(s->net, state));
}

/* Filters n samples of s->audio, the last ones or not. Returns the end of what it gives to out. */
static float *filter(const nac_filtered_stream *s, void *state, size_t n, int last, float *out)
{
    size_t given = 0;
    for (size_t p = 0; p < s->channels; p++) {
        void *own = filter_of(s->net, state, p);
        for (size_t i = 0; i < n; i++) s->plane[i] = s->audio[i * s->channels + p];
        given = last ? nac_postfilter_stream_left(own, n) : nac_postfilter_stream_ready(own, n);
        float *end = nac_postfilter_stream_push(own, s->plane, n, s->filtered, s->scratch);
        if (last) nac_postfilter_stream_flush(own, end, s->scratch);
        for (size_t i = 0; i < given; i++) out[i * s->channels + p] = s->filtered[i];
    }
    return out + given * s->channels;
}

codec_status nac_filtered_decode(const nac_filtered_stream *s, void *state, float *scratch,
                                 const nac_coded *from, float *samples, size_t room, size_t *n)
{
    if (!n) return CODEC_ERROR_ARGUMENT;
    const size_t ready = nac_filtered_decodes(s, state, from->frames);
    const codec_status status = nac_stream_check_coded(s->net, state, from, samples, room, ready);
    if (status) return status;
    float nowhere, *out = ready ? samples : &nowhere;
    for (size_t at = 0; at < from->frames; at += s->most) {
        const size_t left = from->frames - at, frames = left < s->most ? left : s->most;
        const size_t made = nac_decoder_ready(s->net, state, frames);
        if (from->levels)
            nac_decoder_push(s->net, state, from->codes + at, from->stride, frames, from->levels,
                             s->audio, scratch);
        else
            nac_decoder_push_latents(s->net, state, from->latents + at * s->net->latent, frames,
                                     s->audio, scratch);
        out = filter(s, state, made, 0, out);
    }
    *n = ready;
    return CODEC_OK;
}

codec_status nac_filtered_decode_last(const nac_filtered_stream *s, void *state, float *scratch,
                                      float *samples, size_t room, size_t *n)
{
    if (!n) return CODEC_ERROR_ARGUMENT;
    const nac_coded nothing = {.levels = 1};
    const size_t left = nac_filtered_decodes_last(s, state);
    const codec_status status =
        nac_stream_check_coded(s->net, state, &nothing, samples, room, left);
    if (status) return status;
    const size_t made = nac_decoder_left(s->net, state);
    float nowhere;
    nac_decoder_flush(s->net, state, s->audio, scratch);
    filter(s, state, made, 1, left ? samples : &nowhere);
    *n = left;
    return CODEC_OK;
}
