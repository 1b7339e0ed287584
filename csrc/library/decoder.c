#include <string.h>

#include "model.h"
#include "stream_state.h"

struct codec_decoder {
    nac_memory memory; /* of all, and of this struct */
    const codec_model *model;
    void *state, *other; /* the second is to load into */
    float *scratch;
};

static const nac_decoder *net_of(const codec_decoder *decoder) { return &decoder->model->decoder; }

codec_status codec_decoder_new(const codec_model *model, codec_decoder **decoder)
{
    if (!model || !decoder) return CODEC_ERROR_ARGUMENT;
    nac_memory memory = {NULL};
    const size_t size = nac_decoder_state_size(&model->decoder);
    codec_decoder *made = nac_memory_new(&memory, 1, sizeof *made);
    void *state = nac_memory_new(&memory, size, 1), *other = nac_memory_new(&memory, size, 1);
    float *scratch = nac_memory_new(&memory, nac_decoder_scratch(&model->decoder), sizeof *scratch);
    *decoder = NULL;
    if (!made || !state || !other || !scratch) {
        nac_memory_free(&memory);
        return CODEC_ERROR_MEMORY;
    }
    *made = (codec_decoder){memory, model, state, other, scratch};
    nac_decoder_reset(&model->decoder, state);
    *decoder = made;
    return CODEC_OK;
}

void codec_decoder_free(codec_decoder *decoder)
{
    if (!decoder) return;
    nac_memory memory = decoder->memory;
    nac_memory_free(&memory);
}

void codec_decoder_reset(codec_decoder *decoder)
{
    if (decoder) nac_decoder_reset(net_of(decoder), decoder->state);
}

size_t codec_decoder_ready(const codec_decoder *decoder, size_t frames)
{
    if (!decoder || nac_decoder_done(decoder->state)) return 0;
    if (frames > NAC_MOST / decoder->model->config.hop_length) return SIZE_MAX;
    return nac_decoder_ready(net_of(decoder), decoder->state, frames);
}

size_t codec_decoder_left(const codec_decoder *decoder)
{
    if (!decoder || nac_decoder_done(decoder->state)) return 0;
    return nac_decoder_left(net_of(decoder), decoder->state);
}

/* What every push checks: how many samples come out, and whether they fit. */
static codec_status check_push(const codec_decoder *decoder, const void *in, size_t frames,
                               const float *samples, size_t capacity, size_t *n)
{
    if (!decoder || !n || (frames && !in)) return CODEC_ERROR_ARGUMENT;
    if (frames > NAC_MOST / decoder->model->config.hop_length) return CODEC_ERROR_ARGUMENT;
    if (nac_decoder_done(decoder->state)) return CODEC_ERROR_STATE;
    const size_t ready = nac_decoder_ready(net_of(decoder), decoder->state, frames);
    if (ready > capacity) return CODEC_ERROR_SIZE;
    if (ready && !samples) return CODEC_ERROR_ARGUMENT;
    *n = ready;
    return CODEC_OK;
}

codec_status codec_decoder_push(codec_decoder *decoder, const uint16_t *codes, size_t stride,
                                size_t codebooks, size_t frames, float *samples, size_t capacity,
                                size_t *n)
{
    size_t ready = 0;
    float nowhere; /* the engine copies nothing to a place that must not be NULL */
    const codec_status status = check_push(decoder, codes, frames, samples, capacity, &ready);
    if (status) return status;
    const nac_config *c = &decoder->model->config;
    if (codebooks < 1 || codebooks > c->n_codebooks || (codebooks > 1 && stride < frames))
        return CODEC_ERROR_ARGUMENT;
    if (!nac_codes_fit(codes, stride, codebooks, frames, c->codebook_size))
        return CODEC_ERROR_CODES;
    if (frames)
        nac_decoder_push(net_of(decoder), decoder->state, codes, stride, frames, codebooks,
                         ready ? samples : &nowhere, decoder->scratch);
    *n = ready;
    return CODEC_OK;
}

codec_status codec_decoder_push_latents(codec_decoder *decoder, const float *latents, size_t frames,
                                        float *samples, size_t capacity, size_t *n)
{
    size_t ready = 0;
    float nowhere;
    const codec_status status = check_push(decoder, latents, frames, samples, capacity, &ready);
    if (status) return status;
    if (!nac_latents_fit(latents, frames * decoder->model->config.latent_dim))
        return CODEC_ERROR_CODES;
    if (frames)
        nac_decoder_push_latents(net_of(decoder), decoder->state, latents, frames,
                                 ready ? samples : &nowhere, decoder->scratch);
    *n = ready;
    return CODEC_OK;
}

codec_status codec_decoder_flush(codec_decoder *decoder, float *samples, size_t capacity, size_t *n)
{
    float nowhere;
    if (!decoder || !n) return CODEC_ERROR_ARGUMENT;
    if (nac_decoder_done(decoder->state)) return CODEC_ERROR_STATE;
    const size_t left = nac_decoder_left(net_of(decoder), decoder->state);
    if (left > capacity) return CODEC_ERROR_SIZE;
    if (left && !samples) return CODEC_ERROR_ARGUMENT;
    nac_decoder_flush(net_of(decoder), decoder->state, left ? samples : &nowhere, decoder->scratch);
    *n = left;
    return CODEC_OK;
}

static nac_state_of saved(const codec_decoder *decoder)
{
    return (nac_state_of){"NACd", decoder->model->id, 0};
}

size_t codec_decoder_state_size(const codec_decoder *decoder)
{
    return decoder ? NAC_STATE_HEADER + nac_decoder_state_size(net_of(decoder)) : 0;
}

codec_status codec_decoder_save(const codec_decoder *decoder, void *state, size_t size)
{
    if (!decoder || !state) return CODEC_ERROR_ARGUMENT;
    if (size < codec_decoder_state_size(decoder)) return CODEC_ERROR_SIZE;
    nac_state_save(saved(decoder), decoder->state, nac_decoder_state_size(net_of(decoder)), state);
    return CODEC_OK;
}

codec_status codec_decoder_load(codec_decoder *decoder, const void *state, size_t size)
{
    if (!decoder || !state) return CODEC_ERROR_ARGUMENT;
    if (size != codec_decoder_state_size(decoder) ||
        !nac_state_load(saved(decoder), state, nac_decoder_state_size(net_of(decoder)),
                        decoder->other) ||
        !nac_decoder_valid(net_of(decoder), decoder->other))
        return CODEC_ERROR_STATE;
    void *before = decoder->state;
    decoder->state = decoder->other;
    decoder->other = before;
    return CODEC_OK;
}

codec_status codec_decode(const codec_model *model, const uint16_t *codes, size_t stride,
                          size_t codebooks, size_t frames, float *samples, size_t capacity,
                          size_t *n)
{
    codec_decoder *decoder = NULL;
    size_t first = 0, last = 0;
    if (!model || !n || frames > NAC_MOST / model->config.hop_length ||
        (frames && (!codes || !samples)))
        return CODEC_ERROR_ARGUMENT;
    if (frames * model->config.hop_length > capacity) return CODEC_ERROR_SIZE;
    codec_status status = codec_decoder_new(model, &decoder);
    if (!status)
        status = codec_decoder_push(decoder, codes, stride, codebooks, frames, samples, capacity,
                                    &first);
    if (!status)
        status =
            codec_decoder_flush(decoder, first ? samples + first * model->config.channels : samples,
                                capacity - first, &last);
    if (!status) *n = first + last;
    codec_decoder_free(decoder);
    return status;
}
