/* Codes to samples, as a stream.
 *
 *     codes -> sum of codewords -> embed -> backbone -> gains and shapes -> windows, overlapped
 *
 * States and scratch memory are as in encoder.h. */
#ifndef CODEC_ENGINE_DECODER_H
#define CODEC_ENGINE_DECODER_H

#include "rvq/rvq.h"
#include "backbone.h"

typedef struct {
    const kernels *k;
    const float *codebooks; /* [levels][codewords][latent] */
    size_t levels, codewords, latent;
    dense embed; /* of one token frame to its `stack` rows, one after the other */
    size_t stack;
    backbone body;
    dense gain, shape;
    synthesis back;
    size_t block; /* backbone frames worked on at a time, a multiple of stack */
} decoder;

size_t decoder_state_size(const decoder *net); /* bytes */
size_t decoder_scratch(const decoder *net);    /* floats, aligned to ENGINE_ALIGN */

void decoder_reset(const decoder *net, void *state);
int decoder_valid(const decoder *net, const void *state);

/* Samples that decoder_push makes of n token frames, or decoder_flush. */
size_t decoder_ready(const decoder *net, const void *state, size_t n);
size_t decoder_left(const decoder *net, const void *state);

int decoder_done(const decoder *net, const void *state); /* whether it has been flushed */

/* codes [levels][stride], n of each level used, all below net->codewords. Not after a flush. */
void decoder_push(const decoder *net, void *state, const uint16_t *codes, size_t stride, size_t n,
                  size_t levels, float *audio, float *scratch);

/* The end: layers see zeros ahead, and the last windows ring out up to the last frame's end. */
void decoder_flush(const decoder *net, void *state, float *audio, float *scratch);

#endif
