#include "mel_kernels.h"

#define MEL_LANES 16
#include "mel_body.h"

size_t nac_mel_floats_avx512(const nac_mel_plan *plan)
{
    nac_mel_scratch scratch;
    return carve(plan, NULL, &scratch);
}

#if NAC_X86
TARGET_AVX512 int nac_mel_run_avx512(const nac_mel_plan *plan, const nac_mel_clip *clip, float *top,
                                     float *out, void *scratch)
{
    return run(plan, clip, top, out, scratch);
}
#endif
