/* Samples to codes, as a stream.
 *
 *     audio -> features -> gather frames -> embed -> backbone -> gather -> project -> quantiser
 *
 * `gather` front-end frames side by side make one frame of the backbone, `stack` of those one token
 * frame.
 *
 * A stream's state is one block of encoder_state_size bytes, aligned to 8, without pointers: a copy
 * of the bytes is a copy of the stream. Scratch memory holds nothing between calls. */
#ifndef CODEC_ENGINE_ENCODER_H
#define CODEC_ENGINE_ENCODER_H

#include "rvq/rvq.h"
#include "backbone.h"

typedef struct {
    const kernels *k;
    analysis front;
    size_t gather; /* front-end frames in a backbone frame */
    dense embed;
    backbone body;
    size_t stack;  /* backbone frames in a token frame */
    dense project; /* of a token frame's rows, one after the other */
    size_t latent; /* its columns that are latents */
    rvq_plan rvq;
    size_t block; /* backbone frames worked on at a time, a multiple of stack */
} encoder;

size_t encoder_state_size(const encoder *net); /* bytes */
size_t encoder_scratch(const encoder *net);    /* floats, aligned to ENGINE_ALIGN */

void encoder_reset(const encoder *net, void *state);

/* Whether the bytes could be a state: every number in them that addresses memory is in range. */
int encoder_valid(const encoder *net, const void *state);

/* Token frames that encoder_push makes of n samples, or encoder_flush. */
size_t encoder_ready(const encoder *net, const void *state, size_t n);
size_t encoder_left(const encoder *net, const void *state);

int encoder_done(const encoder *net, const void *state); /* whether it has been flushed */

/* Codes of the first `levels` codebooks: codes[level * stride + frame]. Not after a flush. */
void encoder_push(const encoder *net, void *state, const float *audio, size_t n, size_t levels,
                  uint16_t *codes, size_t stride, float *scratch);

/* The end: the last frame is filled up with silence, and layers see zeros ahead, as the network was
 * trained. */
void encoder_flush(const encoder *net, void *state, size_t levels, uint16_t *codes, size_t stride,
                   float *scratch);

/* The latents before quantisation, [frame][net->latent], in place of codes; for tests. */
void encoder_push_latents(const encoder *net, void *state, const float *audio, size_t n,
                          float *latents, float *scratch);
void encoder_flush_latents(const encoder *net, void *state, float *latents, float *scratch);

#endif
