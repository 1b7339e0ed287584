#include "mel.h"

#include "common/fp_env.h"
#include "mel_kernels.h"

/* A vector of AVX2, or two of SSE or NEON. */
#define LANES 8
#include "mel_body.h"

size_t mel_scratch_size(const mel_plan *plan)
{
    mel_scratch scratch;
    const size_t here = carve(plan, NULL, &scratch), wide = mel_floats_avx512(plan);
    return (here > wide ? here : wide) * sizeof(float);
}

static int run_base(const mel_plan *plan, const mel_clip *clip, float *top, float *out,
                    void *scratch)
{
    return run(plan, clip, top, out, scratch);
}

#if CODEC_X86
TARGET_AVX2 static int run_avx2(const mel_plan *plan, const mel_clip *clip, float *top, float *out,
                                void *scratch)
{
    return run(plan, clip, top, out, scratch);
}
#endif

int mel_run(const mel_plan *plan, codec_isa isa, const mel_clip *clip, float *top, float *out,
            void *scratch)
{
    const fp_env caller = fp_env_enter();
    int fine;
#if CODEC_X86
    if (isa >= ISA_AVX512)
        fine = mel_run_avx512(plan, clip, top, out, scratch);
    else if (isa >= ISA_AVX2)
        fine = run_avx2(plan, clip, top, out, scratch);
    else
#else
    (void)isa;
#endif
        fine = run_base(plan, clip, top, out, scratch);
    fp_env_leave(caller);
    return fine;
}

void mel_log10(const float *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = log10_positive(x[i]);
}
