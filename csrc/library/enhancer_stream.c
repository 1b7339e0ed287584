#include <string.h>

#include "enhancer_model.h"
#include "stream.h"

/* Audio is enhanced a span at a time, among all that its hops see on either side:
 *
 *     held  | before |      span      | after |
 *
 * Of the start of the audio, less or nothing lies before. */
struct codec_enhancer_stream {
    nac_memory memory; /* of all, and of this struct */
    const nac_enhancer *net;
    size_t before, span, after; /* samples */
    float *held;                /* [before + span + after] */
    size_t seen;                /* samples of it before the span */
    size_t n;                   /* samples of it in all */
    int ended;
};

codec_status codec_enhancer_stream_new(const codec_enhancer *enhancer,
                                       codec_enhancer_stream **stream)
{
    if (!enhancer || !stream) return CODEC_ERROR_ARGUMENT;
    const nac_enhancer *net = &enhancer->net;
    const size_t hop = net->plan.hop;
    nac_memory memory = {NULL};
    codec_enhancer_stream *made = nac_memory_new(&memory, 1, sizeof *made);
    codec_enhancer_stream s = {.net = net,
                               .before = nac_enhancer_before(net) * hop,
                               .span = NAC_ENHANCER_SPAN * hop,
                               .after = nac_enhancer_after(net) * hop};
    s.held = nac_memory_new(&memory, s.before + s.span + s.after, sizeof *s.held);
    *stream = NULL;
    if (!made || !s.held) {
        nac_memory_free(&memory);
        return CODEC_ERROR_MEMORY;
    }
    s.memory = memory;
    *made = s;
    *stream = made;
    return CODEC_OK;
}

void codec_enhancer_stream_free(codec_enhancer_stream *stream)
{
    if (!stream) return;
    nac_memory memory = stream->memory;
    nac_memory_free(&memory);
}

void codec_enhancer_stream_reset(codec_enhancer_stream *stream)
{
    if (!stream) return;
    stream->seen = stream->n = 0;
    stream->ended = 0;
}

size_t codec_enhancer_stream_ready(const codec_enhancer_stream *s, size_t n)
{
    if (!s || s->ended) return 0;
    if (n > NAC_MOST) return SIZE_MAX;
    const size_t waiting = s->n - s->seen + n;
    return waiting < s->after ? 0 : (waiting - s->after) / s->span * s->span;
}

size_t codec_enhancer_stream_left(const codec_enhancer_stream *s)
{
    return !s || s->ended ? 0 : s->n - s->seen;
}

static codec_status check(const codec_enhancer_stream *s, const float *out, size_t capacity,
                          size_t given)
{
    if (s->ended) return CODEC_ERROR_STATE;
    if (given > capacity) return CODEC_ERROR_SIZE;
    return given && !out ? CODEC_ERROR_ARGUMENT : CODEC_OK;
}

/* Scratch memory for all that is held when n samples of it are; NULL if there is none. */
static float *scratch_of(const codec_enhancer_stream *s, size_t n, nac_memory *aside)
{
    return nac_memory_new(aside, nac_enhancer_scratch(s->net, n), sizeof(float));
}

/* Enhances the held samples from `seen` up to `stop`. */
static void enhance(const codec_enhancer_stream *s, size_t stop, float *out, float *scratch)
{
    const size_t hop = s->net->plan.hop;
    nac_enhancer_run(s->net, s->held, s->n, s->seen / hop, (stop + hop - 1) / hop, out, scratch);
}

codec_status codec_enhancer_stream_push(codec_enhancer_stream *s, const float *samples, size_t n,
                                        float *out, size_t capacity, size_t *given)
{
    if (!s || !given || (n && !samples) || n > NAC_MOST) return CODEC_ERROR_ARGUMENT;
    const size_t ready = codec_enhancer_stream_ready(s, n);
    const codec_status status = check(s, out, capacity, ready);
    if (status) return status;
    if (!nac_all_finite(samples, n)) return CODEC_ERROR_AUDIO;
    nac_memory aside = {NULL};
    float *scratch = ready ? scratch_of(s, s->before + s->span + s->after, &aside) : NULL;
    if (ready && !scratch) return CODEC_ERROR_MEMORY;
    while (n) {
        const size_t stop = s->seen + s->span, room = stop + s->after - s->n;
        const size_t taken = n < room ? n : room;
        memcpy(s->held + s->n, samples, taken * sizeof *samples);
        s->n += taken;
        samples += taken;
        n -= taken;
        if (taken < room) break;
        enhance(s, stop, out, scratch);
        out += s->span;
        const size_t done = stop > s->before ? stop - s->before : 0;
        s->n -= done;
        s->seen = stop - done;
        memmove(s->held, s->held + done, s->n * sizeof *s->held);
    }
    nac_memory_free(&aside);
    *given = ready;
    return CODEC_OK;
}

codec_status codec_enhancer_stream_flush(codec_enhancer_stream *s, float *out, size_t capacity,
                                         size_t *given)
{
    if (!s || !given) return CODEC_ERROR_ARGUMENT;
    const size_t left = codec_enhancer_stream_left(s);
    const codec_status status = check(s, out, capacity, left);
    if (status) return status;
    nac_memory aside = {NULL};
    float *scratch = left ? scratch_of(s, s->n, &aside) : NULL;
    if (left && !scratch) return CODEC_ERROR_MEMORY;
    if (left) enhance(s, s->n, out, scratch);
    nac_memory_free(&aside);
    s->ended = 1;
    *given = left;
    return CODEC_OK;
}
