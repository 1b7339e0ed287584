/* The coders of a file: how the codes of a chunk become its payload, and back.
 *
 * A coder starts anew with every chunk, so that any chunk can be decoded by itself. It does not
 * change once it is open, and threads may share it; what a chunk needs lies in scratch memory. */
#ifndef NAC_CODER_H
#define NAC_CODER_H

#include "entropy/prior.h"
#include "memory.h"
#include "status.h"

struct codec_coder {
    uint32_t number; /* CODEC_CODER_... */
    uint8_t tables_id[8];
    /* The model whose codes it is for; known is 0 for raw codes of any model. */
    int known;
    uint8_t model_id[8];
    uint32_t frame_rate, frame_divisor, levels, codewords, together;
    nac_tables tables;
    nac_prior prior;
    nac_memory memory; /* what `tables` and `prior` point to */
};

/* Codes [channels][levels][frames] below `codewords`; a channel is a stream of the file. */
typedef struct {
    size_t channels, levels, frames;
    uint32_t codewords;
} nac_shape;

/* The most bytes that a payload of that shape can take. */
size_t nac_coder_bound(const codec_coder *coder, const nac_shape *shape);

/* Floats of scratch memory, aligned to NAC_ALIGN, for that many channels. */
size_t nac_coder_scratch(const codec_coder *coder, size_t channels);

/* Returns the bytes of the payload, at most nac_coder_bound. */
size_t nac_coder_encode(const codec_coder *coder, const nac_shape *shape, uint16_t *codes,
                        uint8_t *payload, float *scratch);

/* CODEC_ERROR_PAYLOAD if it is not a payload that nac_coder_encode would write for this shape. Time
 * and memory depend on the shape, never on the payload. */
codec_status nac_coder_decode(const codec_coder *coder, const nac_shape *shape,
                              const uint8_t *payload, size_t size, uint16_t *codes, float *scratch);

/* Whether a file with this header can be coded by it: CODEC_OK, or what does not fit. */
codec_status nac_coder_check(const codec_coder *coder, const codec_file_info *info);

#endif
