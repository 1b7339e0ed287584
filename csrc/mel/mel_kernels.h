/* The wider twin of mel.c, which has vectors of 16 floats: for mel_run to pick. */
#ifndef CODEC_MEL_KERNELS_H
#define CODEC_MEL_KERNELS_H

#include "mel.h"

size_t mel_floats_avx512(const mel_plan *plan);
int mel_run_avx512(const mel_plan *plan, const mel_clip *clip, float *top, float *out,
                   void *scratch);

#endif
