#include <string.h>

#include "filtered_stream.h"
#include "stream_state.h"

struct codec_decoder {
    nac_memory memory; /* of all, and of this struct */
    const codec_model *model;
    void *state, *other; /* with room for those of a filter; the second is to load into */
    float *scratch;
    int filters;                   /* whether the audio is filtered */
    nac_filtered_stream *filtered; /* NULL until it is */
};

static const nac_decoder *net_of(const codec_decoder *decoder) { return &decoder->model->decoder; }

codec_status codec_decoder_new(const codec_model *model, codec_decoder **decoder)
{
    if (!model || !decoder) return CODEC_ERROR_ARGUMENT;
    nac_memory memory = {NULL};
    const size_t size = nac_filtered_state_size(model);
    codec_decoder *made = nac_memory_new(&memory, 1, sizeof *made);
    void *state = nac_memory_new(&memory, size, 1), *other = nac_memory_new(&memory, size, 1);
    float *scratch = nac_memory_new(&memory, nac_decoder_scratch(&model->decoder), sizeof *scratch);
    *decoder = NULL;
    if (!made || !state || !other || !scratch) {
        nac_memory_free(&memory);
        return CODEC_ERROR_MEMORY;
    }
    *made = (codec_decoder){memory, model, state, other, scratch, 0, NULL};
    nac_filtered_reset(model, state);
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
    if (decoder) nac_filtered_reset(decoder->model, decoder->state);
}

/* Whether the stream is not as a new one. */
static int begun(codec_decoder *decoder)
{
    nac_filtered_reset(decoder->model, decoder->other);
    return memcmp(decoder->state, decoder->other, nac_filtered_state_size(decoder->model)) != 0;
}

codec_status codec_decoder_set_postfilter(codec_decoder *decoder, int on, char *message,
                                          size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    if (!decoder) return nac_fail(reason, CODEC_ERROR_ARGUMENT, "the decoder is NULL");
    if (begun(decoder))
        return nac_fail(reason, CODEC_ERROR_STATE,
                        "the postfilter of a stream is set before its first frame");
    if (on && !decoder->filtered) {
        nac_memory *memory = &decoder->memory;
        nac_filtered_stream stream, *made;
        const codec_status status = nac_filtered_new(decoder->model, memory, &stream, reason);
        if (status) return status;
        made = nac_memory_new(memory, 1, sizeof *made);
        if (!made) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for a postfilter");
        *made = stream;
        decoder->filtered = made;
    }
    decoder->filters = on != 0;
    return CODEC_OK;
}

size_t codec_decoder_latency(const codec_decoder *decoder)
{
    if (!decoder) return 0;
    return decoder->filters ? nac_filtered_lookahead(decoder->filtered)
                            : nac_decoder_lookahead(net_of(decoder));
}

size_t codec_decoder_ready(const codec_decoder *decoder, size_t frames)
{
    if (!decoder) return 0;
    return decoder->filters ? nac_filtered_decodes(decoder->filtered, decoder->state, frames)
                            : nac_stream_decodes(net_of(decoder), decoder->state, frames);
}

size_t codec_decoder_left(const codec_decoder *decoder)
{
    if (!decoder) return 0;
    return decoder->filters ? nac_filtered_decodes_last(decoder->filtered, decoder->state)
                            : nac_stream_decodes_last(net_of(decoder), decoder->state);
}

static codec_status push(codec_decoder *decoder, nac_coded from, float *samples, size_t capacity,
                         size_t *n)
{
    if (decoder->filters)
        return nac_filtered_decode(decoder->filtered, decoder->state, decoder->scratch, &from,
                                   samples, capacity, n);
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
    if (decoder->filters)
        return nac_filtered_decode_last(decoder->filtered, decoder->state, decoder->scratch,
                                        samples, capacity, n);
    return nac_stream_decode_last(net_of(decoder), decoder->state, decoder->scratch, samples,
                                  capacity, n);
}

static nac_state_of saved(const codec_decoder *decoder)
{
    return (nac_state_of){decoder->filters ? "NACf" : "NACd", decoder->model->id, 0};
}

/* Bytes of the state that are the stream's. */
static size_t used(const codec_decoder *decoder)
{
    return decoder->filters ? nac_filtered_state_size(decoder->model)
                            : nac_decoder_state_size(net_of(decoder));
}

size_t codec_decoder_state_size(const codec_decoder *decoder)
{
    return decoder ? NAC_STATE_HEADER + used(decoder) : 0;
}

codec_status codec_decoder_save(const codec_decoder *decoder, void *state, size_t size)
{
    if (!decoder || !state) return CODEC_ERROR_ARGUMENT;
    if (size < codec_decoder_state_size(decoder)) return CODEC_ERROR_SIZE;
    nac_state_save(saved(decoder), decoder->state, used(decoder), state);
    return CODEC_OK;
}

codec_status codec_decoder_load(codec_decoder *decoder, const void *state, size_t size)
{
    if (!decoder || !state) return CODEC_ERROR_ARGUMENT;
    nac_filtered_reset(decoder->model, decoder->other); /* without a filter, the state ends before */
    if (size != codec_decoder_state_size(decoder) ||
        !nac_state_load(saved(decoder), state, used(decoder), decoder->other) ||
        !nac_filtered_valid(decoder->model, decoder->other))
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
