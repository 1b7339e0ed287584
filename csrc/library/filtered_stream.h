/* A stream of decoded audio that the postfilter filters, the same for any size of the pushes.
 *
 * The decoder's samples are more or fewer than what comes out, so they are made a block at a time in memory
 * of the stream, and filtered from there. The filter's own states, one for each channel, lie behind that of
 * the decoder. */
#ifndef NAC_FILTERED_STREAM_H
#define NAC_FILTERED_STREAM_H

#include "engine/postfilter_stream.h"
#include "memory.h"
#include "model.h"
#include "stream.h"

typedef struct {
    const nac_decoder *net;
    size_t channels;
    size_t hop;      /* samples a token frame */
    size_t most;     /* token frames decoded at once */
    float *audio;    /* [room][channels], of the decoder */
    float *plane;    /* [room]: one channel of it */
    float *filtered; /* [room and what the filter held]: of one channel */
    float *scratch;  /* of the filter */
} nac_filtered_stream;

/* Makes one in `memory`; CODEC_ERROR_UNSUPPORTED of a model at a rate that is not the filter's. */
codec_status nac_filtered_new(const codec_model *model, nac_memory *memory,
                              nac_filtered_stream *stream, nac_reason reason);

/* Bytes of a state: that of the decoder, then of the filters. */
size_t nac_filtered_state_size(const codec_model *model);
void nac_filtered_reset(const codec_model *model, void *state);
int nac_filtered_valid(const codec_model *model, const void *state);

/* Samples before the end of the last token frame that still wait for what follows, at most. */
size_t nac_filtered_lookahead(const nac_filtered_stream *stream);

/* As nac_stream_decodes and nac_stream_decodes_last, nac_stream_decode and nac_stream_decode_last; scratch is
 * that of the decoder. */
size_t nac_filtered_decodes(const nac_filtered_stream *stream, const void *state, size_t frames);
size_t nac_filtered_decodes_last(const nac_filtered_stream *stream, const void *state);
codec_status nac_filtered_decode(const nac_filtered_stream *stream, void *state, float *scratch,
                                 const nac_coded *from, float *samples, size_t room, size_t *n);
codec_status nac_filtered_decode_last(const nac_filtered_stream *stream, void *state,
                                      float *scratch, float *samples, size_t room, size_t *n);

#endif
