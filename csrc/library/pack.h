/* Weights of a file, checked against the configuration and packed as the engine reads them. */
#ifndef NAC_PACK_H
#define NAC_PACK_H

#include "config.h"
#include "engine/decoder.h"
#include "engine/encoder.h"
#include "safetensors.h"

/* What the halves are packed from, and into. */
typedef struct {
    const nac_safetensors *file;
    const nac_config *config;
    const nac_kernels *kernels;
    size_t block;       /* backbone frames worked on at a time; no bit depends on it */
    nac_memory *memory; /* of what is packed */
    nac_reason reason;
} nac_packing;

/* Frames worked on at a time: a multiple of every tile, enough to use each weight often, few enough to
 * be small beside the weights. */
enum { NAC_BLOCK = 144 };

/* The codewords float [codebooks][codewords][dim], from 8 bits and a scale for each. */
codec_status nac_pack_codebooks(const nac_packing *p, const float **books);

/* Both keep `books` and the kernels, and fail if a dimension or a tensor does not fit. */
codec_status nac_pack_encoder(const nac_packing *p, const float *books, nac_encoder *net);
codec_status nac_pack_decoder(const nac_packing *p, const float *books, nac_decoder *net);

#endif
