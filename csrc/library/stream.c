#include "stream.h"

#include <string.h>

int nac_all_finite(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        if ((bits & 0x7f800000) == 0x7f800000) return 0;
    }
    return 1;
}

size_t nac_stream_encodes(const nac_encoder *net, const void *state, size_t n)
{
    if (nac_encoder_done(state)) return 0;
    return n > NAC_MOST ? SIZE_MAX : nac_encoder_ready(net, state, n);
}

size_t nac_stream_encodes_last(const nac_encoder *net, const void *state)
{
    return nac_encoder_done(state) ? 0 : nac_encoder_left(net, state);
}

codec_status nac_stream_check(const nac_encoder *net, int done, const float *samples, size_t n,
                              const nac_encoded *to, size_t frames)
{
    if ((n && !samples) || n > NAC_MOST) return CODEC_ERROR_ARGUMENT;
    if (to->levels > net->rvq.levels || to->beam < 1 || to->beam > NAC_RVQ_BEAM_MOST)
        return CODEC_ERROR_ARGUMENT;
    if (done) return CODEC_ERROR_STATE;
    if (frames > to->room) return CODEC_ERROR_SIZE;
    if (frames && !(to->levels ? (const void *)to->codes : to->latents))
        return CODEC_ERROR_ARGUMENT;
    return nac_all_finite(samples, n * (net->stereo ? 2 : 1)) ? CODEC_OK : CODEC_ERROR_AUDIO;
}

codec_status nac_stream_encode(const nac_encoder *net, void *state, float *scratch,
                               const float *samples, size_t n, const nac_encoded *to,
                               size_t *frames)
{
    if (!frames) return CODEC_ERROR_ARGUMENT;
    const size_t ready = nac_stream_encodes(net, state, n);
    const codec_status status = nac_stream_check(net, nac_encoder_done(state), samples, n, to, ready);
    if (status) return status;
    if (n && to->levels)
        nac_encoder_push(net, state, samples, n, to->levels, to->beam, to->codes, to->stride,
                         scratch);
    else if (n)
        nac_encoder_push_latents(net, state, samples, n, to->latents, scratch);
    *frames = ready;
    return CODEC_OK;
}

codec_status nac_stream_encode_last(const nac_encoder *net, void *state, float *scratch,
                                    const nac_encoded *to, size_t *frames)
{
    if (!frames) return CODEC_ERROR_ARGUMENT;
    const size_t left = nac_stream_encodes_last(net, state);
    const codec_status status = nac_stream_check(net, nac_encoder_done(state), NULL, 0, to, left);
    if (status) return status;
    if (to->levels)
        nac_encoder_flush(net, state, to->levels, to->beam, to->codes, to->stride, scratch);
    else
        nac_encoder_flush_latents(net, state, to->latents, scratch);
    *frames = left;
    return CODEC_OK;
}

/* Frames of more samples than NAC_MOST are too many. */
static size_t most_frames(const nac_decoder *net)
{
    return NAC_MOST / (net->back.hop * net->back.per_frame * net->stack);
}

size_t nac_stream_decodes(const nac_decoder *net, const void *state, size_t frames)
{
    if (nac_decoder_done(state)) return 0;
    return frames > most_frames(net) ? SIZE_MAX : nac_decoder_ready(net, state, frames);
}

size_t nac_stream_decodes_last(const nac_decoder *net, const void *state)
{
    return nac_decoder_done(state) ? 0 : nac_decoder_left(net, state);
}

/* Whether all codes are in their codebook. */
static int codes_fit(const nac_decoder *net, const nac_coded *from)
{
    for (size_t level = 0; level < from->levels; level++)
        for (size_t i = 0; i < from->frames; i++)
            if (from->codes[level * from->stride + i] >= net->codewords) return 0;
    return 1;
}

/* Whether latents are within +-1e30, beyond which sums of squares in the decoder may overflow. */
static int latents_fit(const float *latents, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(latents[i] >= -1e30f && latents[i] <= 1e30f)) return 0; /* also NaN */
    return 1;
}

static codec_status check_coded(const nac_decoder *net, const nac_coded *from)
{
    if (from->levels == 0)
        return latents_fit(from->latents, from->frames * net->latent) ? CODEC_OK
                                                                      : CODEC_ERROR_CODES;
    if (from->levels > net->levels || (from->levels > 1 && from->stride < from->frames))
        return CODEC_ERROR_ARGUMENT;
    return codes_fit(net, from) ? CODEC_OK : CODEC_ERROR_CODES;
}

codec_status nac_stream_check_coded(const nac_decoder *net, const void *state,
                                    const nac_coded *from, const float *samples, size_t room,
                                    size_t ready)
{
    const void *in = from->levels ? (const void *)from->codes : from->latents;
    if ((from->frames && !in) || from->frames > most_frames(net)) return CODEC_ERROR_ARGUMENT;
    if (nac_decoder_done(state)) return CODEC_ERROR_STATE;
    if (ready > room) return CODEC_ERROR_SIZE;
    if (ready && !samples) return CODEC_ERROR_ARGUMENT;
    return check_coded(net, from);
}

codec_status nac_stream_decode(const nac_decoder *net, void *state, float *scratch,
                               const nac_coded *from, float *samples, size_t room, size_t *n)
{
    float nowhere; /* the engine copies nothing to a place that must not be NULL */
    if (!n) return CODEC_ERROR_ARGUMENT;
    const size_t ready = nac_stream_decodes(net, state, from->frames);
    const codec_status status = nac_stream_check_coded(net, state, from, samples, room, ready);
    if (status) return status;
    float *out = ready ? samples : &nowhere;
    if (from->frames && from->levels)
        nac_decoder_push(net, state, from->codes, from->stride, from->frames, from->levels, out,
                         scratch);
    else if (from->frames)
        nac_decoder_push_latents(net, state, from->latents, from->frames, out, scratch);
    *n = ready;
    return CODEC_OK;
}

codec_status nac_stream_decode_last(const nac_decoder *net, void *state, float *scratch,
                                    float *samples, size_t room, size_t *n)
{
    float nowhere;
    if (!n) return CODEC_ERROR_ARGUMENT;
    if (nac_decoder_done(state)) return CODEC_ERROR_STATE;
    const size_t left = nac_decoder_left(net, state);
    if (left > room) return CODEC_ERROR_SIZE;
    if (left && !samples) return CODEC_ERROR_ARGUMENT;
    nac_decoder_flush(net, state, left ? samples : &nowhere, scratch);
    *n = left;
    return CODEC_OK;
}
