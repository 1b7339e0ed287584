#include "model.h"
#include "refined_stream.h"
#include "stream.h"
#include "stream_state.h"

struct codec_encoder {
    nac_memory memory; /* of all, and of this struct */
    const codec_model *model;
    size_t codebooks, beam, steps; /* steps: of a refinement, 0 without */
    void *state, *other;           /* the second is to load into */
    float *scratch;
    nac_refined_stream *refined; /* NULL until there are steps */
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
    *made = (codec_encoder){memory, model, codebooks, 1, 0, state, other, scratch, NULL};
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
    if (!encoder) return;
    nac_encoder_reset(net_of(encoder), encoder->state);
    if (encoder->refined) nac_refined_reset(encoder->refined);
}

codec_status codec_encoder_set_beam(codec_encoder *encoder, size_t paths)
{
    if (!encoder || paths < 1 || paths > NAC_RVQ_BEAM_MOST) return CODEC_ERROR_ARGUMENT;
    encoder->beam = paths;
    return CODEC_OK;
}

codec_status codec_encoder_set_refine(codec_encoder *encoder, size_t steps, char *message,
                                      size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    if (!encoder) return nac_fail(reason, CODEC_ERROR_ARGUMENT, "the encoder is NULL");
    if (steps > NAC_REFINE_MOST)
        return nac_fail(reason, CODEC_ERROR_ARGUMENT, "codes are refined by 0 to %d steps",
                        NAC_REFINE_MOST);
    if (nac_encoder_begun(encoder->state))
        return nac_fail(reason, CODEC_ERROR_STATE,
                        "the steps of a stream are set before its first sample");
    if (steps && !encoder->refined) {
        const nac_refiner *refiner;
        codec_status status = nac_refiner_of(encoder->model, &refiner, reason);
        if (status) return status;
        nac_memory *memory = &encoder->memory;
        nac_refined_stream *made = nac_memory_new(memory, 1, sizeof *made);
        status = made ? nac_refined_new(encoder->model, refiner, encoder->codebooks, memory, made)
                      : CODEC_ERROR_MEMORY;
        if (status) return nac_fail(reason, status, "no memory for a refinement");
        encoder->refined = made;
    }
    encoder->steps = steps;
    return CODEC_OK;
}

size_t codec_encoder_ready(const codec_encoder *encoder, size_t n)
{
    if (!encoder) return 0;
    return encoder->steps ? nac_refined_encodes(encoder->refined, encoder->state, n)
                          : nac_stream_encodes(net_of(encoder), encoder->state, n);
}

size_t codec_encoder_left(const codec_encoder *encoder)
{
    if (!encoder) return 0;
    return encoder->steps ? nac_refined_encodes_last(encoder->refined, encoder->state)
                          : nac_stream_encodes_last(net_of(encoder), encoder->state);
}

static codec_status push(codec_encoder *encoder, const float *samples, size_t n, nac_encoded to,
                         size_t *frames)
{
    if (!encoder->steps)
        return nac_stream_encode(net_of(encoder), encoder->state, encoder->scratch, samples, n, &to,
                                 frames);
    if (!to.levels) return CODEC_ERROR_UNSUPPORTED; /* latents are not refined, codes are */
    return nac_refined_encode(encoder->refined, encoder->state, encoder->scratch, encoder->steps,
                              samples, n, &to, frames);
}

static codec_status flush(codec_encoder *encoder, nac_encoded to, size_t *frames)
{
    if (!encoder->steps)
        return nac_stream_encode_last(net_of(encoder), encoder->state, encoder->scratch, &to,
                                      frames);
    if (!to.levels) return CODEC_ERROR_UNSUPPORTED;
    return nac_refined_encode_last(encoder->refined, encoder->state, encoder->scratch,
                                   encoder->steps, &to, frames);
}

static nac_encoded to_codes(const codec_encoder *encoder, uint16_t *codes, size_t stride)
{
    return (nac_encoded){encoder->codebooks, encoder->beam, codes, stride, NULL, stride};
}

static nac_encoded to_latents(float *latents, size_t capacity)
{
    return (nac_encoded){0, 1, NULL, 0, latents, capacity};
}

codec_status codec_encoder_push(codec_encoder *encoder, const float *samples, size_t n,
                                uint16_t *codes, size_t stride, size_t *frames)
{
    if (!encoder) return CODEC_ERROR_ARGUMENT;
    return push(encoder, samples, n, to_codes(encoder, codes, stride), frames);
}

codec_status codec_encoder_flush(codec_encoder *encoder, uint16_t *codes, size_t stride,
                                 size_t *frames)
{
    return encoder ? flush(encoder, to_codes(encoder, codes, stride), frames)
                   : CODEC_ERROR_ARGUMENT;
}

codec_status codec_encoder_push_latents(codec_encoder *encoder, const float *samples, size_t n,
                                        float *latents, size_t capacity, size_t *frames)
{
    if (!encoder) return CODEC_ERROR_ARGUMENT;
    return push(encoder, samples, n, to_latents(latents, capacity), frames);
}

codec_status codec_encoder_flush_latents(codec_encoder *encoder, float *latents, size_t capacity,
                                         size_t *frames)
{
    return encoder ? flush(encoder, to_latents(latents, capacity), frames) : CODEC_ERROR_ARGUMENT;
}

static nac_state_of saved(const codec_encoder *encoder)
{
    return (nac_state_of){"NACe", encoder->model->id, encoder->codebooks};
}

size_t codec_encoder_state_size(const codec_encoder *encoder)
{
    if (!encoder || encoder->steps) return 0; /* a state has no room for audio that waits */
    return NAC_STATE_HEADER + nac_encoder_state_size(net_of(encoder));
}

codec_status codec_encoder_save(const codec_encoder *encoder, void *state, size_t size)
{
    if (!encoder || !state) return CODEC_ERROR_ARGUMENT;
    if (encoder->steps) return CODEC_ERROR_UNSUPPORTED;
    if (size < codec_encoder_state_size(encoder)) return CODEC_ERROR_SIZE;
    nac_state_save(saved(encoder), encoder->state, nac_encoder_state_size(net_of(encoder)), state);
    return CODEC_OK;
}

codec_status codec_encoder_load(codec_encoder *encoder, const void *state, size_t size)
{
    if (!encoder || !state) return CODEC_ERROR_ARGUMENT;
    if (encoder->steps) return CODEC_ERROR_UNSUPPORTED;
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
        nac_encoded rest = to_codes(encoder, n ? codes + first : codes, stride);
        rest.room -= first;
        status = flush(encoder, rest, &last);
    }
    if (!status) *frames = first + last;
    codec_encoder_free(encoder);
    return status;
}
