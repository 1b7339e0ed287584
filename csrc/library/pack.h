/* Weights of a file, checked against the configuration and packed as the engine reads them. */
#ifndef NAC_PACK_H
#define NAC_PACK_H

#include "engine/decoder.h"
#include "engine/encoder.h"
#include "pack_layers.h"

/* Frames worked on at a time: a multiple of every tile, enough to use each weight often, few enough to
 * be small beside the weights. */
enum { NAC_BLOCK = 144 };

/* The codewords float [codebooks][codewords][dim], from 8 bits and a scale for each. */
codec_status nac_pack_codebooks(const nac_packing *p, const float **books);

/* Both keep `books` and the kernels, and fail if a dimension or a tensor does not fit. */
codec_status nac_pack_encoder(const nac_packing *p, const float *books, nac_encoder *net);
codec_status nac_pack_decoder(const nac_packing *p, const float *books, nac_decoder *net);

#endif
