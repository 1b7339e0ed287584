/* A stream of refined codes, the same for any size of the pushes.
 *
 * A step of the refinement sees all frames of its window, so windows lie always in the same places: SPAN
 * frames each, from the start of the audio. So that no code lacks its neighbours, MARGIN frames on either
 * side are refined too, and their codes are dropped; codec/engine/refine.py draws it. A window is refined
 * when all samples are there that its margin's latents depend on; the last one takes what is left.
 *
 * A state is one block of nac_refined_state_size bytes, aligned to 8, without pointers: the samples that
 * wait, and those before them that the next window's latents depend on. The latents are made anew for
 * each window, which takes a hundredth of the time of 20 steps. */
#ifndef NAC_REFINED_STREAM_H
#define NAC_REFINED_STREAM_H

#include "refiner.h"
#include "stream.h"

enum { NAC_REFINE_SPAN = 100, NAC_REFINE_MARGIN = 12, NAC_REFINE_MOST = 1000 /* steps */ };

/* It never changes, so threads may share one. */
typedef struct {
    const nac_encoder *net;
    const nac_refiner *refiner;
    size_t hop;           /* samples a token frame */
    size_t before, ahead; /* frames around a window that must be there */
} nac_refined;

nac_refined nac_refined_of(const codec_model *model, const nac_refiner *refiner);

size_t nac_refined_state_size(const nac_refined *r); /* bytes */
size_t nac_refined_scratch(const nac_refined *r);    /* floats, aligned to NAC_ALIGN */

void nac_refined_reset(const nac_refined *r, void *state);

/* Whether the bytes are a state of such a stream, of any origin. */
int nac_refined_valid(const nac_refined *r, const void *state);

int nac_refined_done(const void *state);  /* whether it has been flushed */
int nac_refined_begun(const void *state); /* whether it has, or samples were pushed */

/* As nac_stream_encodes, nac_stream_encodes_last and nac_stream_check. */
size_t nac_refined_encodes(const nac_refined *r, const void *state, size_t n);
size_t nac_refined_encodes_last(const nac_refined *r, const void *state);
codec_status nac_refined_check(const nac_refined *r, const void *state, const float *samples,
                               size_t n, const nac_encoded *to, size_t frames);

/* As nac_stream_encode and nac_stream_encode_last, to codes that `steps` steps refine. */
codec_status nac_refined_encode(const nac_refined *r, void *state, float *scratch, size_t steps,
                                const float *samples, size_t n, const nac_encoded *to,
                                size_t *frames);
codec_status nac_refined_encode_last(const nac_refined *r, void *state, float *scratch,
                                     size_t steps, const nac_encoded *to, size_t *frames);

/* The parts of both, for who wants to stop between two steps; nothing is checked any more.
 *
 * Takes up to n samples; returns how many it took, fewer if a window is full before. */
size_t nac_refined_take(const nac_refined *r, void *state, const float *samples, size_t n);
int nac_refined_full(const nac_refined *r, const void *state);

/* Begins the steps of the window, which is full or, at the end of the audio, has a frame at least. The
 * state and the scratch memory are used until nac_refined_end. */
nac_refinement nac_refined_begin(const nac_refined *r, void *state, float *scratch, size_t steps,
                                 const nac_encoded *to);

/* Gives the window's codes to `to`, as its frames from `at` on, and goes on to the next window; the
 * stream ends if it was not full, and needs no scratch memory if there are no frames. Returns how many
 * there were. */
size_t nac_refined_end(const nac_refined *r, void *state, float *scratch, const nac_encoded *to,
                       size_t at);

#endif
