/* The wider twin of mel.c, which has vectors of 16 floats: for nac_mel_run to pick. */
#ifndef NAC_MEL_KERNELS_H
#define NAC_MEL_KERNELS_H

#include "mel.h"

size_t nac_mel_floats_avx512(const nac_mel_plan *plan);
int nac_mel_run_avx512(const nac_mel_plan *plan, const nac_mel_clip *clip, float *top, float *out,
                       void *scratch);

#endif
