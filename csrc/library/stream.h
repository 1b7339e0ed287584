/* The steps of a stream, with every argument checked: codec.h's streams and those of Python are made of
 * them. The state and the scratch memory are the caller's, as engine/encoder.h and decoder.h want them.
 * What fails changes nothing. */
#ifndef NAC_STREAM_H
#define NAC_STREAM_H

#include "engine/decoder.h"
#include "engine/encoder.h"
#include "status.h"

/* The most samples, frames or values that a call takes, so that no size in bytes overflows. */
#define NAC_MOST ((size_t)1 << 40)

/* Where results of the encoder go, up to `room` frames. */
typedef struct {
    size_t levels;   /* codebooks; 0 for latents */
    size_t beam;     /* paths of the search for codes, 1 to NAC_RVQ_BEAM_MOST */
    uint16_t *codes; /* codes[level * stride + frame] */
    size_t stride;
    float *latents; /* [room][net->latent] */
    size_t room;
} nac_encoded;

/* Frames that n samples make now, or the end; 0 of a stream that has ended, SIZE_MAX of too many. */
size_t nac_stream_encodes(const nac_encoder *net, const void *state, size_t n);
size_t nac_stream_encodes_last(const nac_encoder *net, const void *state);

/* Whether no value is infinite or not a number. */
int nac_all_finite(const float *values, size_t n);

/* Whether n samples may be encoded, or with n = 0 the stream end, and the frames which that makes fit.
 * done: whether it has ended. */
codec_status nac_stream_check(const nac_encoder *net, int done, const float *samples, size_t n,
                              const nac_encoded *to, size_t frames);

/* Encodes n samples; sets *frames to how many came out. */
codec_status nac_stream_encode(const nac_encoder *net, void *state, float *scratch,
                               const float *samples, size_t n, const nac_encoded *to,
                               size_t *frames);

/* Ends the stream. */
codec_status nac_stream_encode_last(const nac_encoder *net, void *state, float *scratch,
                                    const nac_encoded *to, size_t *frames);

/* What the decoder takes. */
typedef struct {
    size_t frames, levels; /* levels: of codes; 0 for latents */
    const uint16_t *codes; /* codes[level * stride + frame] */
    size_t stride;
    const float *latents; /* [frames][net->latent] */
} nac_coded;

/* Samples that so many frames make now, or the end; as for the encoder. */
size_t nac_stream_decodes(const nac_decoder *net, const void *state, size_t frames);
size_t nac_stream_decodes_last(const nac_decoder *net, const void *state);

/* Whether these may be decoded, and the samples which that makes fit. */
codec_status nac_stream_check_coded(const nac_decoder *net, const void *state,
                                    const nac_coded *from, const float *samples, size_t room,
                                    size_t ready);

/* Decodes to at most `room` samples; sets *n to how many came out. */
codec_status nac_stream_decode(const nac_decoder *net, void *state, float *scratch,
                               const nac_coded *from, float *samples, size_t room, size_t *n);

/* Ends the stream. */
codec_status nac_stream_decode_last(const nac_decoder *net, void *state, float *scratch,
                                    float *samples, size_t room, size_t *n);

#endif
