/* A chain of causal ConvNeXt blocks (Liu et al. 2022, arXiv 2201.03545) over a stream of frames.
 *
 * A block's convolution of `taps` frames sees `lookahead` frames ahead, so its output lags behind
 * its input by as many. What it saw last is kept as history, and is what its next input follows:
 *
 *         history (have)      new rows           zeros (only at the end, `lookahead` of them)
 *      +-----------------+------------------+- - -+
 *      |    window, have + rows             |     |      outputs: have + rows - (taps - 1)
 *      +-----------------+------------------+- - -+
 *      |<- taps-1-lookahead ->| output 0's own row: the block adds to it, in place
 *
 * A stream starts with taps - 1 - lookahead rows of zeros as history, the convolution's padding. */
#ifndef NAC_ENGINE_BACKBONE_H
#define NAC_ENGINE_BACKBONE_H

#include <stdint.h>

#include "kernels/kernels.h"

typedef struct {
    nac_conv_norm conv;
    size_t lookahead;
    nac_dense expand, reduce; /* reduce: times the block's scale; adds to its input */
} nac_block;

typedef struct {
    size_t n_blocks;
    const nac_block *blocks; /* all of one width and number of taps */
    nac_conv_norm norm;      /* after the last block; its convolution is not used */
    size_t width, hidden, taps;
    size_t lookahead; /* that of all blocks */
} nac_backbone;

/* What a stream keeps between blocks of frames. */
typedef struct {
    int64_t *have;  /* [n_blocks]: rows of history */
    float *history; /* [n_blocks][taps - 1][width] */
} nac_backbone_state;

size_t nac_backbone_history(const nac_backbone *body); /* floats */
void nac_backbone_reset(const nac_backbone *body, nac_backbone_state state);
int nac_backbone_valid(const nac_backbone *body, const int64_t *have);

/* Rows that come out when `rows` go in, and with `flush` all that are due after the last. */
size_t nac_backbone_ready(const nac_backbone *body, const int64_t *have, size_t rows, int flush);

/* Rows that went in and have not come out yet: at most body->lookahead. */
size_t nac_backbone_waiting(const nac_backbone *body, const int64_t *have);

/* Floats of scratch memory for up to `rows` rows. */
size_t nac_backbone_scratch(const nac_backbone *body, size_t rows);

/* Rows that must be free before x, and after its `rows` rows. */
size_t nac_backbone_room_before(const nac_backbone *body);
size_t nac_backbone_room_after(const nac_backbone *body);

/* Runs x [rows][width] through; sets *out to the results, which lie in x's memory, from at most
 * body->lookahead rows before x on. Returns their number. */
size_t nac_backbone_run(const nac_backbone *body, const nac_kernels *k, nac_backbone_state state,
                        float *x, size_t rows, int flush, float *scratch, float **out);

#endif
