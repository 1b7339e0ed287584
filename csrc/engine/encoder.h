/* Samples to codes, as a stream.
 *
 *     audio -> features -> gather frames -> embed -> backbone -> gather -> project -> quantiser
 *
 * `gather` front-end frames side by side make one frame of the backbone, `stack` of those one token
 * frame.
 *
 * With `stereo`, a sample is a pair (left, right), n samples are [n][2] floats, and the network sees
 * mid = (left + right) / 2 and side = (left - right) / 2: the features of both are embedded together.
 *
 * A stream's state is one block of nac_encoder_state_size bytes, aligned to 8, without pointers: a copy
 * of the bytes is a copy of the stream. Scratch memory holds nothing between calls. */
#ifndef NAC_ENGINE_ENCODER_H
#define NAC_ENGINE_ENCODER_H

#include "backbone.h"
#include "rvq/rvq_beam.h"

typedef struct {
    const nac_kernels *k;
    nac_analysis front;
    size_t gather; /* front-end frames in a backbone frame */
    nac_dense embed;
    nac_backbone body;
    size_t stack;      /* backbone frames in a token frame */
    nac_dense project; /* of a token frame's rows, one after the other */
    size_t latent;     /* its columns that are latents */
    nac_rvq_plan rvq;
    size_t block; /* backbone frames worked on at a time, a multiple of stack */
    int stereo;
    nac_analysis side;    /* with stereo: `front` but for mean and scale */
    nac_dense embed_side; /* and what the side adds to the embedding; it has no bias */
} nac_encoder;

size_t nac_encoder_state_size(const nac_encoder *net); /* bytes */
size_t nac_encoder_scratch(const nac_encoder *net);    /* floats, aligned to NAC_ALIGN */

void nac_encoder_reset(const nac_encoder *net, void *state);

/* Whether the bytes could be a state: every number in them that addresses memory is in range. */
int nac_encoder_valid(const nac_encoder *net, const void *state);

/* Samples past the end of a token frame that its codes depend on; token frames before it, rounded up. */
size_t nac_encoder_lookahead(const nac_encoder *net);
size_t nac_encoder_context(const nac_encoder *net);

/* Token frames that nac_encoder_push makes of n samples, or nac_encoder_flush. */
size_t nac_encoder_ready(const nac_encoder *net, const void *state, size_t n);
size_t nac_encoder_left(const nac_encoder *net, const void *state);

int nac_encoder_done(const void *state);  /* whether it has been flushed */
int nac_encoder_begun(const void *state); /* whether it has, or samples were pushed */

/* Codes of the first `levels` codebooks: codes[level * stride + frame]. Not after a flush. beam: 1, or
 * paths for nac_rvq_beam. */
void nac_encoder_push(const nac_encoder *net, void *state, const float *audio, size_t n,
                      size_t levels, size_t beam, uint16_t *codes, size_t stride, float *scratch);

/* The end: the last frame is filled up with silence, and layers see zeros ahead, as the network was
 * trained. */
void nac_encoder_flush(const nac_encoder *net, void *state, size_t levels, size_t beam,
                       uint16_t *codes, size_t stride, float *scratch);

/* The latents before quantisation, [frame][net->latent], in place of codes. */
void nac_encoder_push_latents(const nac_encoder *net, void *state, const float *audio, size_t n,
                              float *latents, float *scratch);
void nac_encoder_flush_latents(const nac_encoder *net, void *state, float *latents, float *scratch);

#endif
