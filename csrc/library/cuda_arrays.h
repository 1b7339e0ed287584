/* What csrc/cuda/engine.h takes, out of a model that is packed for the CPU: the same numbers in other
 * places. */
#ifndef NAC_CUDA_ARRAYS_H
#define NAC_CUDA_ARRAYS_H

#include "cuda/engine.h"
#include "model.h"

/* For models of one channel whose encoder, or decoder, is packed. */
void nac_cuda_encoder_fill(const codec_model *model, nac_cuda_encoder_sizes *sizes);
void nac_cuda_decoder_fill(const codec_model *model, nac_cuda_decoder_sizes *sizes);

/* Write the arrays, if they are not NULL, and return how many values they have. */
size_t nac_cuda_encoder_ints(const codec_model *model, int32_t *ints);
size_t nac_cuda_decoder_ints(const codec_model *model, int32_t *ints);
size_t nac_cuda_encoder_floats(const codec_model *model, float *floats);
size_t nac_cuda_decoder_floats(const codec_model *model, float *floats);

#endif
