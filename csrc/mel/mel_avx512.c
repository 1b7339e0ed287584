#include "mel_kernels.h"

#define LANES 16
#include "mel_body.h"

size_t mel_floats_avx512(const mel_plan *plan)
{
    mel_scratch scratch;
    return carve(plan, NULL, &scratch);
}

#if CODEC_X86
TARGET_AVX512 int mel_run_avx512(const mel_plan *plan, const mel_clip *clip, float *top, float *out,
                                 void *scratch)
{
    return run(plan, clip, top, out, scratch);
}
#endif
