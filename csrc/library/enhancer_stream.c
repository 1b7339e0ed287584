#include "enhancer_model.h"
#include "stream.h"

struct codec_enhancer_stream {
    nac_memory memory; /* of all, and of this struct */
    const nac_enhancer *net;
    void *state;
    int ended;
};

codec_status codec_enhancer_stream_new(const codec_enhancer *enhancer,
                                       codec_enhancer_stream **stream)
{
    if (!enhancer || !stream) return CODEC_ERROR_ARGUMENT;
    const nac_enhancer *net = &enhancer->net;
    nac_memory memory = {NULL};
    codec_enhancer_stream *made = nac_memory_new(&memory, 1, sizeof *made);
    void *state = nac_memory_new(&memory, nac_enhancer_stream_state_size(net), 1);
    *stream = NULL;
    if (!made || !state) {
        nac_memory_free(&memory);
        return CODEC_ERROR_MEMORY;
    }
    nac_enhancer_stream_reset(net, state);
    *made = (codec_enhancer_stream){.memory = memory, .net = net, .state = state};
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
    nac_enhancer_stream_reset(stream->net, stream->state);
    stream->ended = 0;
}

size_t codec_enhancer_stream_ready(const codec_enhancer_stream *s, size_t n)
{
    if (!s || s->ended) return 0;
    if (n > NAC_MOST) return SIZE_MAX;
    return nac_enhancer_stream_ready(s->net, s->state, n);
}

size_t codec_enhancer_stream_left(const codec_enhancer_stream *s)
{
    return !s || s->ended ? 0 : nac_enhancer_stream_left(s->net, s->state, 0);
}

static codec_status check(const codec_enhancer_stream *s, const float *out, size_t capacity,
                          size_t given)
{
    if (s->ended) return CODEC_ERROR_STATE;
    if (given > capacity) return CODEC_ERROR_SIZE;
    return given && !out ? CODEC_ERROR_ARGUMENT : CODEC_OK;
}

/* Scratch memory to push n samples; NULL if there is none. */
static float *scratch_for(const codec_enhancer_stream *s, size_t n, nac_memory *aside)
{
    return nac_memory_new(aside, nac_enhancer_stream_scratch(s->net, n), sizeof(float));
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
    float *scratch = scratch_for(s, n, &aside);
    if (!scratch) return CODEC_ERROR_MEMORY;
    nac_enhancer_stream_push(s->net, s->state, samples, n, out, scratch);
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
    float *scratch = scratch_for(s, 0, &aside);
    if (!scratch) return CODEC_ERROR_MEMORY;
    nac_enhancer_stream_flush(s->net, s->state, out, scratch);
    nac_memory_free(&aside);
    s->ended = 1;
    *given = left;
    return CODEC_OK;
}
