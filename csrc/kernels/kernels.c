#include "kernels.h"

#include "elementary.h"

extern const nac_kernels nac_kernels_scalar;
#if NAC_X86
extern const nac_kernels nac_kernels_avx2, nac_kernels_avx512;
#elif defined(__aarch64__)
extern const nac_kernels nac_kernels_neon;
#endif

const nac_kernels *nac_kernels_at(size_t i)
{
    if (i == 0) return &nac_kernels_scalar;
#if NAC_X86
    if (i == 1 && nac_isa_best() >= NAC_ISA_AVX2) return &nac_kernels_avx2;
    if (i == 2 && nac_isa_best() >= NAC_ISA_AVX512) return &nac_kernels_avx512;
#elif defined(__aarch64__)
    if (i == 1) return &nac_kernels_neon;
#endif
    return 0;
}

/* A spectrum and the two buffers of a transform, of the longer of the windows. */
static size_t transform_scratch(size_t n) { return ((n / 2 + 1) * 2 + 2 * n) * FFT_LANES; }

size_t nac_analyse_scratch(const nac_analysis *plan)
{
    const size_t a = plan->long_fft.n, b = plan->short_fft.n;
    return transform_scratch(a > b ? a : b);
}

size_t nac_synthesise_scratch(const nac_synthesis *plan)
{
    return transform_scratch(plan->fft.n) + 2 * plan->bands * FFT_LANES;
}

size_t nac_features(const nac_enhancement *plan)
{
    return plan->fft.n / 2 + 1 + 6 * plan->narrow + 1;
}

size_t nac_factors(const nac_enhancement *plan)
{
    return 2 * plan->wide + 4 * plan->narrow + plan->bands;
}

size_t nac_kept_size(const nac_enhancement *plan, size_t rows)
{
    const size_t bins = plan->fft.n / 2 + 1 + 2 * plan->narrow;
    return (rows + FFT_LANES - 1) / FFT_LANES * bins * 2 * FFT_LANES;
}

size_t nac_enhance_scratch(const nac_enhancement *plan)
{
    return transform_scratch(plan->fft.n) + plan->bands * FFT_LANES;
}

static size_t groups(const nac_resolution *r, size_t samples)
{
    return (nac_frames(r, samples) + FFT_LANES - 1) / FFT_LANES;
}

size_t nac_target_size(const nac_resolution *r, size_t samples)
{
    const size_t spectrum = r->weight ? 3 * (r->fft.n / 2 + 1) : 0;
    const size_t lane = r->quiet ? 2 * r->bands + 1 : r->bands + spectrum;
    return groups(r, samples) * lane * FFT_LANES;
}

/* Both comparisons: spectra, of all frames for the loudness, and derivatives by bins and bands. */
size_t nac_objective_scratch(const nac_resolution *r, size_t samples)
{
    const size_t spectrum = (r->fft.n / 2 + 1) * 2 * FFT_LANES;
    const size_t kept = r->quiet ? groups(r, samples) * (spectrum + FFT_LANES) : 0;
    return kept + transform_scratch(r->fft.n) + spectrum + r->bands * FFT_LANES;
}

void nac_dense_pack(const float *weight, size_t depth, size_t columns, float *panels)
{
    for (size_t first = 0; first < columns; first += NAC_PANEL)
        for (size_t k = 0; k < depth; k++, panels += NAC_PANEL)
            for (size_t c = 0; c < NAC_PANEL; c++)
                panels[c] = first + c < columns ? weight[(first + c) * depth + k] : 0.0f;
}

void nac_elementary(int which, const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = which == 0 ? exp_clamped(x[i]) : which == 1 ? log_positive(x[i]) : gelu_of(x[i]);
}
