#include <string.h>

#include "model.h"
#include "stream_state.h"

struct codec_encoder {
    nac_memory memory; /* of all, and of this struct */
    const codec_model *model;
    size_t codebooks;
    void *state, *other; /* the second is to load into */
    float *scratch;
};

static const nac_encoder *net_of(const codec_encoder *encoder) { return &encoder->model->encoder; }

codec_status codec_encoder_new(const codec_model *model, size_t codebooks, codec_encoder **encoder)
{
    if (!model || !encoder || codebooks < 1 || codebooks > model->config.n_codebooks)
        return CODEC_ERROR_ARGUMENT;
    nac_memory memory = {NULL};
    const size_t size = nac_encoder_state_size(&model->encoder);
    codec_encoder *made = nac_memory_new(&memory, 1, sizeof *made);
    void *state = nac_memory_new(&memory, size, 1), *other = nac_memory_new(&memory, size, 1);
    float *scratch = nac_memory_new(&memory, nac_encoder_scratch(&model->encoder), sizeof *scratch);
    *encoder = NULL;
    if (!made || !state || !other || !scratch) {
        nac_memory_free(&memory);
        return CODEC_ERROR_MEMORY;
    }
    *made = (codec_encoder){memory, model, codebooks, state, other, scratch};
    nac_encoder_reset(&model->encoder, state);
    *encoder = made;
    return CODEC_OK;
}

void codec_encoder_free(codec_encoder *encoder)
{
    if (!encoder) return;
    nac_memory memory = encoder->memory;
    nac_memory_free(&memory);
}

void codec_encoder_reset(codec_encoder *encoder)
{
    if (encoder) nac_encoder_reset(net_of(encoder), encoder->state);
}

size_t codec_encoder_ready(const codec_encoder *encoder, size_t n)
{
    if (!encoder || nac_encoder_done(encoder->state)) return 0;
    return n > NAC_MOST ? SIZE_MAX : nac_encoder_ready(net_of(encoder), encoder->state, n);
}

size_t codec_encoder_left(const codec_encoder *encoder)
{
    if (!encoder || nac_encoder_done(encoder->state)) return 0;
    return nac_encoder_left(net_of(encoder), encoder->state);
}

/* What every push checks: how many frames come out, and whether they fit. */
static codec_status check_push(const codec_encoder *encoder, const float *samples, size_t n,
                               const void *out, size_t capacity, size_t *frames)
{
    if (!encoder || !frames || (n && !samples) || n > NAC_MOST) return CODEC_ERROR_ARGUMENT;
    if (nac_encoder_done(encoder->state)) return CODEC_ERROR_STATE;
    const size_t ready = nac_encoder_ready(net_of(encoder), encoder->state, n);
    if (ready > capacity) return CODEC_ERROR_SIZE;
    if (ready && !out) return CODEC_ERROR_ARGUMENT;
    if (!nac_finite(samples, n * encoder->model->config.channels)) return CODEC_ERROR_AUDIO;
    *frames = ready;
    return CODEC_OK;
}

static codec_status check_flush(const codec_encoder *encoder, const void *out, size_t capacity,
                                size_t *frames)
{
    if (!encoder || !frames) return CODEC_ERROR_ARGUMENT;
    if (nac_encoder_done(encoder->state)) return CODEC_ERROR_STATE;
    const size_t left = nac_encoder_left(net_of(encoder), encoder->state);
    if (left > capacity) return CODEC_ERROR_SIZE;
    if (left && !out) return CODEC_ERROR_ARGUMENT;
    *frames = left;
    return CODEC_OK;
}

codec_status codec_encoder_push(codec_encoder *encoder, const float *samples, size_t n,
                                uint16_t *codes, size_t stride, size_t *frames)
{
    const codec_status status = check_push(encoder, samples, n, codes, stride, frames);
    if (!status && n)
        nac_encoder_push(net_of(encoder), encoder->state, samples, n, encoder->codebooks, codes,
                         stride, encoder->scratch);
    return status;
}

codec_status codec_encoder_flush(codec_encoder *encoder, uint16_t *codes, size_t stride,
                                 size_t *frames)
{
    const codec_status status = check_flush(encoder, codes, stride, frames);
    if (!status)
        nac_encoder_flush(net_of(encoder), encoder->state, encoder->codebooks, codes, stride,
                          encoder->scratch);
    return status;
}

codec_status codec_encoder_push_latents(codec_encoder *encoder, const float *samples, size_t n,
                                        float *latents, size_t capacity, size_t *frames)
{
    const codec_status status = check_push(encoder, samples, n, latents, capacity, frames);
    if (!status && n)
        nac_encoder_push_latents(net_of(encoder), encoder->state, samples, n, latents,
                                 encoder->scratch);
    return status;
}

codec_status codec_encoder_flush_latents(codec_encoder *encoder, float *latents, size_t capacity,
                                         size_t *frames)
{
    const codec_status status = check_flush(encoder, latents, capacity, frames);
    if (!status)
        nac_encoder_flush_latents(net_of(encoder), encoder->state, latents, encoder->scratch);
    return status;
}

static nac_state_of saved(const codec_encoder *encoder)
{
    return (nac_state_of){"NACe", encoder->model->id, encoder->codebooks};
}

size_t codec_encoder_state_size(const codec_encoder *encoder)
{
    return encoder ? NAC_STATE_HEADER + nac_encoder_state_size(net_of(encoder)) : 0;
}

codec_status codec_encoder_save(const codec_encoder *encoder, void *state, size_t size)
{
    if (!encoder || !state) return CODEC_ERROR_ARGUMENT;
    if (size < codec_encoder_state_size(encoder)) return CODEC_ERROR_SIZE;
    nac_state_save(saved(encoder), encoder->state, nac_encoder_state_size(net_of(encoder)), state);
    return CODEC_OK;
}

codec_status codec_encoder_load(codec_encoder *encoder, const void *state, size_t size)
{
    if (!encoder || !state) return CODEC_ERROR_ARGUMENT;
    if (size != codec_encoder_state_size(encoder) ||
        !nac_state_load(saved(encoder), state, nac_encoder_state_size(net_of(encoder)),
                        encoder->other) ||
        !nac_encoder_valid(net_of(encoder), encoder->other))
        return CODEC_ERROR_STATE;
    void *before = encoder->state;
    encoder->state = encoder->other;
    encoder->other = before;
    return CODEC_OK;
}

codec_status codec_encode(const codec_model *model, const float *samples, size_t n,
                          size_t codebooks, uint16_t *codes, size_t stride, size_t *frames)
{
    codec_encoder *encoder = NULL;
    size_t first = 0, last = 0;
    if (!model || !frames || n > NAC_MOST || (n && (!samples || !codes)))
        return CODEC_ERROR_ARGUMENT;
    if (codec_frames(model, n) > stride) return CODEC_ERROR_SIZE;
    codec_status status = codec_encoder_new(model, codebooks, &encoder);
    if (!status) status = codec_encoder_push(encoder, samples, n, codes, stride, &first);
    /* What is left goes behind, with the stride of the whole. */
    if (!status) {
        const nac_encoder *net = net_of(encoder);
        last = nac_encoder_left(net, encoder->state);
        nac_encoder_flush(net, encoder->state, codebooks, n ? codes + first : codes, stride,
                          encoder->scratch);
        *frames = first + last;
    }
    codec_encoder_free(encoder);
    return status;
}
