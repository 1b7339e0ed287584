#include "mel.h"

#include "common/fp_env.h"
#include "mel_kernels.h"

/* A vector of AVX2, or two of SSE or NEON. */
#define MEL_LANES 8
#include "mel_body.h"

size_t nac_mel_scratch_size(const nac_mel_plan *plan)
{
    nac_mel_scratch scratch;
    const size_t here = carve(plan, NULL, &scratch), wide = nac_mel_floats_avx512(plan);
    return (here > wide ? here : wide) * sizeof(float);
}

static int run_scalar(const nac_mel_plan *plan, const nac_mel_clip *clip, float *top, float *out,
                      void *scratch)
{
    return run(plan, clip, top, out, scratch);
}

#if NAC_X86
TARGET_AVX2 static int run_avx2(const nac_mel_plan *plan, const nac_mel_clip *clip, float *top,
                                float *out, void *scratch)
{
    return run(plan, clip, top, out, scratch);
}
#endif

int nac_mel_run(const nac_mel_plan *plan, nac_isa isa, const nac_mel_clip *clip, float *top,
                float *out, void *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    int fine;
#if NAC_X86
    if (isa >= NAC_ISA_AVX512)
        fine = nac_mel_run_avx512(plan, clip, top, out, scratch);
    else if (isa >= NAC_ISA_AVX2)
        fine = run_avx2(plan, clip, top, out, scratch);
    else
#else
    (void)isa;
#endif
        fine = run_scalar(plan, clip, top, out, scratch);
    nac_fp_env_leave(caller);
    return fine;
}

void nac_mel_log10(const float *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = log10_positive(x[i]);
}
