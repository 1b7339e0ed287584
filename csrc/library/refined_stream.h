/* A stream of refined codes, the same for any size of the pushes.
 *
 * A step of the refinement sees all frames of its window, so windows lie always in the same places: SPAN
 * frames each, from the start of the audio. So that no code lacks its neighbours, MARGIN frames on either
 * side are refined too, and their codes are dropped; codec/engine/refine.py draws it. A window is refined
 * when all samples are there that its margin's latents depend on; the last one takes what is left. */
#ifndef NAC_REFINED_STREAM_H
#define NAC_REFINED_STREAM_H

#include "memory.h"
#include "refiner.h"
#include "stream.h"

enum { NAC_REFINE_SPAN = 100, NAC_REFINE_MARGIN = 12, NAC_REFINE_MOST = 1000 /* steps */ };

/* What waits for its window, beside the state of the encoder. */
typedef struct {
    const nac_encoder *net;
    const nac_refiner *refiner;
    size_t hop;             /* samples a token frame */
    size_t ahead;           /* frames past a window that must be there */
    size_t before;          /* frames held before the window that comes next */
    size_t samples, frames; /* held: audio, and latents */
    float *audio;           /* [room * hop] */
    float *latents, *moved; /* [room][net->latent] */
    uint16_t *codes;        /* [levels][room] */
    float *scratch;         /* of the refinement */
} nac_refined_stream;

/* Makes one of a model of one channel for up to `levels` codebooks, in `memory`. */
codec_status nac_refined_new(const codec_model *model, const nac_refiner *refiner, size_t levels,
                             nac_memory *memory, nac_refined_stream *stream);
void nac_refined_reset(nac_refined_stream *stream);

/* As nac_stream_encodes and nac_stream_encodes_last, of an encoder whose state is `state`. */
size_t nac_refined_encodes(const nac_refined_stream *stream, const void *state, size_t n);
size_t nac_refined_encodes_last(const nac_refined_stream *stream, const void *state);

/* As nac_stream_encode and nac_stream_encode_last, to codes that `steps` steps refine; scratch is that
 * of the encoder. */
codec_status nac_refined_encode(nac_refined_stream *stream, void *state, float *scratch,
                                size_t steps, const float *samples, size_t n,
                                const nac_encoded *to, size_t *frames);
codec_status nac_refined_encode_last(nac_refined_stream *stream, void *state, float *scratch,
                                     size_t steps, const nac_encoded *to, size_t *frames);

#endif
