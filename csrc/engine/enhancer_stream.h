/* The enhancer on audio that arrives piece by piece: of any pieces, the samples of nac_enhancer_run on the
 * whole.
 *
 * A hop comes out when nac_enhancer_after hops behind it are complete. A state is flat memory of constant
 * size, aligned to 8 bytes, which may be copied, saved, and go on elsewhere; scratch memory is not kept. */
#ifndef NAC_ENGINE_ENHANCER_STREAM_H
#define NAC_ENGINE_ENHANCER_STREAM_H

#include "enhancer.h"

/* Hops that are enhanced at once at most: the more, the less is seen twice. */
enum { NAC_ENHANCER_SPAN = 512 };

size_t nac_enhancer_stream_state_size(const nac_enhancer *net); /* bytes, a multiple of 8 */
void nac_enhancer_stream_reset(const nac_enhancer *net, void *state);

/* Whether the states of `channels` streams, one after the other, are safe to go on from, and as far as
 * each other. */
int nac_enhancer_stream_valid(const nac_enhancer *net, const void *states, size_t channels);

/* Samples that come out when n are pushed, and when the stream ends after n more. */
size_t nac_enhancer_stream_ready(const nac_enhancer *net, const void *state, size_t n);
size_t nac_enhancer_stream_left(const nac_enhancer *net, const void *state, size_t n);

/* Floats of scratch memory to push n samples, or to push n and flush; aligned to NAC_ALIGN. */
size_t nac_enhancer_stream_scratch(const nac_enhancer *net, size_t n);

/* Takes n samples. Returns the end of what it gives to out. */
float *nac_enhancer_stream_push(const nac_enhancer *net, void *state, const float *samples,
                                size_t n, float *out, float *scratch);

/* The end: gives what is left. The state is then that of a new stream. */
void nac_enhancer_stream_flush(const nac_enhancer *net, void *state, float *out, float *scratch);

#endif
