#include "model.h"
#include "refined_stream.h"
#include "stream.h"
#include "stream_state.h"

/* What pushes work on, and what a load goes to before it is known to be good. */
typedef struct {
    void *state, *other;
    float *scratch;
} places;

struct codec_encoder {
    nac_memory memory; /* of all, and of this struct */
    const codec_model *model;
    size_t codebooks, beam, steps; /* steps: of a refinement, 0 without */
    places plain, refining;        /* refining: NULL until there are steps */
    nac_refined refined;
};

static const nac_encoder *net_of(const codec_encoder *encoder) { return &encoder->model->encoder; }

static int new_places(nac_memory *memory, size_t state_size, size_t scratch, places *made)
{
    made->state = nac_memory_new(memory, state_size, 1);
    made->other = nac_memory_new(memory, state_size, 1);
    made->scratch = nac_memory_new(memory, scratch, sizeof *made->scratch);
    return made->state && made->other && made->scratch;
}

codec_status codec_encoder_new(const codec_model *model, size_t codebooks, codec_encoder **encoder)
{
    if (!model || !encoder || codebooks < 1 || codebooks > model->config.n_codebooks)
        return CODEC_ERROR_ARGUMENT;
    nac_memory memory = {NULL};
    const nac_encoder *net = &model->encoder;
    codec_encoder *made = nac_memory_new(&memory, 1, sizeof *made);
    places plain;
    *encoder = NULL;
    if (!made ||
        !new_places(&memory, nac_encoder_state_size(net), nac_encoder_scratch(net), &plain)) {
        nac_memory_free(&memory);
        return CODEC_ERROR_MEMORY;
    }
    *made = (codec_encoder){
        .memory = memory, .model = model, .codebooks = codebooks, .beam = 1, .plain = plain};
    nac_encoder_reset(net, plain.state);
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
    nac_encoder_reset(net_of(encoder), encoder->plain.state);
    if (encoder->refining.state) nac_refined_reset(&encoder->refined, encoder->refining.state);
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
    if (encoder->steps ? nac_refined_begun(encoder->refining.state)
                       : nac_encoder_begun(encoder->plain.state))
        return nac_fail(reason, CODEC_ERROR_STATE,
                        "the steps of a stream are set before its first sample");
    if (steps && !encoder->refining.state) {
        const nac_refiner *refiner;
        const codec_status status = nac_refiner_of(encoder->model, &refiner, reason);
        if (status) return status;
        const nac_refined r = nac_refined_of(encoder->model, refiner);
        places made;
        if (!new_places(&encoder->memory, nac_refined_state_size(&r), nac_refined_scratch(&r),
                        &made))
            return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for a refinement");
        encoder->refined = r;
        encoder->refining = made;
        nac_refined_reset(&r, made.state);
    }
    encoder->steps = steps;
    return CODEC_OK;
}

size_t codec_encoder_ready(const codec_encoder *encoder, size_t n)
{
    if (!encoder) return 0;
    return encoder->steps ? nac_refined_encodes(&encoder->refined, encoder->refining.state, n)
                          : nac_stream_encodes(net_of(encoder), encoder->plain.state, n);
}

size_t codec_encoder_left(const codec_encoder *encoder)
{
    if (!encoder) return 0;
    return encoder->steps ? nac_refined_encodes_last(&encoder->refined, encoder->refining.state)
                          : nac_stream_encodes_last(net_of(encoder), encoder->plain.state);
}

static codec_status push(codec_encoder *encoder, const float *samples, size_t n, nac_encoded to,
                         size_t *frames)
{
    const places *at = encoder->steps ? &encoder->refining : &encoder->plain;
    return encoder->steps ? nac_refined_encode(&encoder->refined, at->state, at->scratch,
                                               encoder->steps, samples, n, &to, frames)
                          : nac_stream_encode(net_of(encoder), at->state, at->scratch, samples, n,
                                              &to, frames);
}

static codec_status flush(codec_encoder *encoder, nac_encoded to, size_t *frames)
{
    const places *at = encoder->steps ? &encoder->refining : &encoder->plain;
    return encoder->steps ? nac_refined_encode_last(&encoder->refined, at->state, at->scratch,
                                                    encoder->steps, &to, frames)
                          : nac_stream_encode_last(net_of(encoder), at->state, at->scratch, &to,
                                                   frames);
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
    return (nac_state_of){encoder->steps ? "NACr" : "NACe", encoder->model->id, encoder->codebooks};
}

/* Without the header. */
static size_t state_size(const codec_encoder *encoder)
{
    return encoder->steps ? nac_refined_state_size(&encoder->refined)
                          : nac_encoder_state_size(net_of(encoder));
}

size_t codec_encoder_state_size(const codec_encoder *encoder)
{
    return encoder ? NAC_STATE_HEADER + state_size(encoder) : 0;
}

codec_status codec_encoder_save(const codec_encoder *encoder, void *state, size_t size)
{
    if (!encoder || !state) return CODEC_ERROR_ARGUMENT;
    if (size < codec_encoder_state_size(encoder)) return CODEC_ERROR_SIZE;
    const places *at = encoder->steps ? &encoder->refining : &encoder->plain;
    nac_state_save(saved(encoder), at->state, state_size(encoder), state);
    return CODEC_OK;
}

codec_status codec_encoder_load(codec_encoder *encoder, const void *state, size_t size)
{
    if (!encoder || !state) return CODEC_ERROR_ARGUMENT;
    places *at = encoder->steps ? &encoder->refining : &encoder->plain;
    if (size != codec_encoder_state_size(encoder) ||
        !nac_state_load(saved(encoder), state, state_size(encoder), at->other))
        return CODEC_ERROR_STATE;
    if (encoder->steps ? !nac_refined_valid(&encoder->refined, at->other)
                       : !nac_encoder_valid(net_of(encoder), at->other))
        return CODEC_ERROR_STATE;
    void *before = at->state;
    at->state = at->other;
    at->other = before;
    return CODEC_OK;
}

codec_status codec_encode_refined(const codec_model *model, const float *samples, size_t n,
                                  size_t codebooks, size_t paths, size_t steps, uint16_t *codes,
                                  size_t stride, size_t *frames)
{
    codec_encoder *encoder = NULL;
    size_t first = 0, last = 0;
    if (!model || !frames || n > NAC_MOST || (n && (!samples || !codes)))
        return CODEC_ERROR_ARGUMENT;
    if (codec_frames(model, n) > stride) return CODEC_ERROR_SIZE;
    codec_status status = codec_encoder_new(model, codebooks, &encoder);
    if (!status) status = codec_encoder_set_beam(encoder, paths);
    if (!status) status = codec_encoder_set_refine(encoder, steps, NULL, 0);
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

codec_status codec_encode(const codec_model *model, const float *samples, size_t n,
                          size_t codebooks, uint16_t *codes, size_t stride, size_t *frames)
{
    return codec_encode_refined(model, samples, n, codebooks, 1, 0, codes, stride, frames);
}
