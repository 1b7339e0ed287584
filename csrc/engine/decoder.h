/* Codes to samples, as a stream.
 *
 *     codes -> sum of codewords -> embed -> backbone -> gains and shapes -> windows, overlapped
 *
 * With `stereo`, a row of gains, and one of shapes, is that of the mid and then that of the side. The
 * samples are pairs (mid + side, mid - side): n of them are [n][2] floats.
 *
 * States and scratch memory are as in encoder.h. */
#ifndef NAC_ENGINE_DECODER_H
#define NAC_ENGINE_DECODER_H

#include "backbone.h"
#include "rvq/rvq.h"

typedef struct {
    const nac_kernels *k;
    const float *codebooks; /* [levels][codewords][latent] */
    size_t levels, codewords, latent;
    nac_dense embed; /* of one token frame to its `stack` rows, one after the other */
    size_t stack;
    nac_backbone body;
    nac_dense gain, shape;
    nac_synthesis back;
    size_t block; /* backbone frames worked on at a time, a multiple of stack */
    int stereo;
} nac_decoder;

size_t nac_decoder_state_size(const nac_decoder *net); /* bytes */
size_t nac_decoder_scratch(const nac_decoder *net);    /* floats, aligned to NAC_ALIGN */

void nac_decoder_reset(const nac_decoder *net, void *state);
int nac_decoder_valid(const nac_decoder *net, const void *state);

/* Samples before the end of the last token frame that still wait for what follows; token frames before
 * one that its samples depend on, rounded up. */
size_t nac_decoder_lookahead(const nac_decoder *net);
size_t nac_decoder_context(const nac_decoder *net);

/* Samples that nac_decoder_push makes of n token frames, or nac_decoder_flush. */
size_t nac_decoder_ready(const nac_decoder *net, const void *state, size_t n);
size_t nac_decoder_left(const nac_decoder *net, const void *state);

int nac_decoder_done(const void *state); /* whether it has been flushed */

/* Seeds of the signs of n token frames with codes [levels][n], one for each of their rows: the frame's
 * own, counted up within it. */
void nac_decoder_seeds(const nac_decoder *net, const uint16_t *codes, size_t n, size_t levels,
                       uint32_t *seeds);

/* The seeds of the side, of those of the mid; the two may be one array. */
void nac_decoder_side_seeds(const uint32_t *seeds, size_t rows, uint32_t *side);

/* Of a row: shapes of the mid, which those of the side follow; and gains. */
size_t nac_decoder_shapes(const nac_decoder *net);
size_t nac_decoder_gains(const nac_decoder *net);

/* codes [levels][stride], n of each level used, all below net->codewords. Not after a flush. */
void nac_decoder_push(const nac_decoder *net, void *state, const uint16_t *codes, size_t stride,
                      size_t n, size_t levels, float *audio, float *scratch);

/* The same for latents [n][net->latent] in place of codes. */
void nac_decoder_push_latents(const nac_decoder *net, void *state, const float *latents, size_t n,
                              float *audio, float *scratch);

/* The end: layers see zeros ahead, and the last windows ring out up to the last frame's end. */
void nac_decoder_flush(const nac_decoder *net, void *state, float *audio, float *scratch);

#endif
