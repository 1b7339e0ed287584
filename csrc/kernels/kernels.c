#include "kernels.h"

#include "elementary.h"

extern const kernels kernels_scalar;
#if CODEC_X86
extern const kernels kernels_avx2, kernels_avx512;
#elif defined(__aarch64__)
extern const kernels kernels_neon;
#endif

const kernels *kernels_at(size_t i)
{
    if (i == 0) return &kernels_scalar;
#if CODEC_X86
    if (i == 1 && isa_best() >= ISA_AVX2) return &kernels_avx2;
    if (i == 2 && isa_best() >= ISA_AVX512) return &kernels_avx512;
#elif defined(__aarch64__)
    if (i == 1) return &kernels_neon;
#endif
    return 0;
}

/* A spectrum and the two buffers of a transform, of the longer of the windows. */
static size_t transform_scratch(size_t n) { return ((n / 2 + 1) * 2 + 2 * n) * LANES; }

size_t analyse_scratch(const analysis *plan)
{
    const size_t a = plan->long_fft.n, b = plan->short_fft.n;
    return transform_scratch(a > b ? a : b);
}

size_t synthesise_scratch(const synthesis *plan)
{
    return transform_scratch(plan->fft.n) + plan->bands * LANES;
}

void dense_pack(const float *weight, size_t depth, size_t columns, float *panels)
{
    for (size_t first = 0; first < columns; first += PANEL)
        for (size_t k = 0; k < depth; k++, panels += PANEL)
            for (size_t c = 0; c < PANEL; c++)
                panels[c] = first + c < columns ? weight[(first + c) * depth + k] : 0.0f;
}

void elementary(int which, const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = which == 0 ? exp_clamped(x[i]) : which == 1 ? log_positive(x[i]) : gelu_of(x[i]);
}
