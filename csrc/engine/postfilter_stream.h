/* The postfilter on audio that arrives piece by piece: of any pieces, the samples of nac_postfilter on
 * the whole.
 *
 * A hop comes out when NAC_POSTFILTER_AFTER hops behind it are complete. A state is flat memory of constant
 * size, aligned to 8 bytes, which may be copied, saved, and go on elsewhere; scratch memory is not kept. */
#ifndef NAC_ENGINE_POSTFILTER_STREAM_H
#define NAC_ENGINE_POSTFILTER_STREAM_H

#include "postfilter.h"

size_t nac_postfilter_stream_state_size(void); /* bytes, a multiple of 8 */
size_t nac_postfilter_stream_scratch(void);    /* floats */

void nac_postfilter_stream_reset(void *state);

/* Whether the states of `channels` streams, one after the other, are safe to go on from, and as far as
 * each other. */
int nac_postfilter_stream_valid(const void *states, size_t channels);

/* Samples that come out when n are pushed, and when the stream ends after n more. */
size_t nac_postfilter_stream_ready(const void *state, size_t n);
size_t nac_postfilter_stream_left(const void *state, size_t n);

/* Takes n samples. Returns the end of what it gives to out. */
float *nac_postfilter_stream_push(void *state, const float *samples, size_t n, float *out,
                                  float *scratch);

/* The end: gives what is left. The state is then that of a new stream. */
void nac_postfilter_stream_flush(void *state, float *out, float *scratch);

#endif
