#include "model.h"
#include "stream.h"
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
    return decoder ? nac_stream_decodes(net_of(decoder), decoder->state, frames) : 0;
}

size_t codec_decoder_left(const codec_decoder *decoder)
{
    return decoder ? nac_stream_decodes_last(net_of(decoder), decoder->state) : 0;
}

static codec_status push(codec_decoder *decoder, nac_coded from, float *samples, size_t capacity,
                         size_t *n)
{
    return nac_stream_decode(net_of(decoder), decoder->state, decoder->scratch, &from, samples,
                             capacity, n);
}

codec_status codec_decoder_push(codec_decoder *decoder, const uint16_t *codes, size_t stride,
                                size_t codebooks, size_t frames, float *samples, size_t capacity,
                                size_t *n)
{
    if (!decoder || codebooks < 1) return CODEC_ERROR_ARGUMENT;
    return push(decoder, (nac_coded){frames, codebooks, codes, stride, NULL}, samples, capacity, n);
}

codec_status codec_decoder_push_latents(codec_decoder *decoder, const float *latents, size_t frames,
                                        float *samples, size_t capacity, size_t *n)
{
    if (!decoder) return CODEC_ERROR_ARGUMENT;
    return push(decoder, (nac_coded){frames, 0, NULL, 0, latents}, samples, capacity, n);
}

codec_status codec_decoder_flush(codec_decoder *decoder, float *samples, size_t capacity, size_t *n)
{
    if (!decoder) return CODEC_ERROR_ARGUMENT;
    return nac_stream_decode_last(net_of(decoder), decoder->state, decoder->scratch, samples,
                                  capacity, n);
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
