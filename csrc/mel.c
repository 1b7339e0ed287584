#include "mel.h"

#include "fp_env.h"
#include "log10.h"

#define CLAMP 1e-10f /* the least power that has a logarithm */
#define RANGE 8.0f   /* decades kept below the clip's loudest value */

size_t mel_scratch_size(const mel_plan *plan)
{
    return (2 * plan->fft.n + plan->fft.n / 2 + 1) * LANES;
}

/* Sample i of a clip extended by reflection at both ends, -n_fft/2 <= i < n + n_fft/2:
 *
 *     x[2] x[1] | x[0] x[1] x[2] ... x[n-2] x[n-1] | x[n-2] x[n-3]
 *
 * which needs n > n_fft / 2; a shorter clip counts as continued with zeros up to that (`length`). */
static inline float reflected(const float *audio, size_t n, size_t length, ptrdiff_t i)
{
    const ptrdiff_t last = (ptrdiff_t)length - 1;
    if (i < 0) i = -i;
    if (i > last) i = 2 * last - i;
    return (size_t)i < n ? audio[i] : 0.0f;
}

/* Windowed frames first .. first+LANES-1 -> x [n_fft][LANES]; frames past the last are silent. */
ALWAYS_INLINE void frame(const mel_plan *plan, const float *audio, size_t n, size_t first,
                         size_t n_frames, float *restrict x)
{
    const size_t n_fft = plan->fft.n, half = n_fft / 2;
    const size_t length = n > half ? n : half + 1;

    for (size_t l = 0; l < LANES; l++) {
        const size_t t = first + l;
        const ptrdiff_t start = (ptrdiff_t)(t * plan->hop) - (ptrdiff_t)half;
        if (t >= n_frames) {
            for (size_t j = 0; j < n_fft; j++) x[j * LANES + l] = 0.0f;
        } else if (start >= 0 && (size_t)start + n_fft <= n) {
            const float *samples = audio + start;
            for (size_t j = 0; j < n_fft; j++) x[j * LANES + l] = samples[j] * plan->window[j];
        } else {
            for (size_t j = 0; j < n_fft; j++)
                x[j * LANES + l] =
                    reflected(audio, n, length, start + (ptrdiff_t)j) * plan->window[j];
        }
    }
}

ALWAYS_INLINE void run(const mel_plan *plan, const float *audio, size_t n, float *out,
                       float *scratch)
{
    const size_t n_fft = plan->fft.n, n_frames = n / plan->hop;
    float *x = scratch, *work = x + n_fft * LANES, *power = work + n_fft * LANES;
    float top = -__builtin_inff();

    for (size_t first = 0; first < n_frames; first += LANES) {
        const size_t here = n_frames - first < LANES ? n_frames - first : LANES;
        frame(plan, audio, n, first, n_frames, x);
        fft_power(&plan->fft, x, work, power);

        const float *weight = plan->band_weights;
        for (size_t band = 0; band < plan->n_mels; band++) {
            const float *bins = power + (size_t)plan->band_start[band] * LANES;
            float sum[LANES] = {0};
            for (int32_t k = 0; k < plan->band_size[band]; k++, bins += LANES, weight++) {
                VECTORISE
                for (int l = 0; l < LANES; l++) sum[l] += *weight * bins[l];
            }
            VECTORISE
            for (int l = 0; l < LANES; l++)
                sum[l] = log10_positive(sum[l] > CLAMP ? sum[l] : CLAMP);
            for (size_t l = 0; l < here; l++) {
                top = sum[l] > top ? sum[l] : top;
                out[band * n_frames + first + l] = sum[l];
            }
        }
    }
    const float floor = top - RANGE;
    for (size_t i = 0; i < plan->n_mels * n_frames; i++)
        out[i] = ((out[i] > floor ? out[i] : floor) + 4.0f) * 0.25f;
}

static void run_base(const mel_plan *plan, const float *audio, size_t n, float *out,
                     float *scratch)
{
    run(plan, audio, n, out, scratch);
}

#if CODEC_X86
TARGET_AVX2 static void run_avx2(const mel_plan *plan, const float *audio, size_t n, float *out,
                                 float *scratch)
{
    run(plan, audio, n, out, scratch);
}
#endif

void mel_run(const mel_plan *plan, codec_isa isa, const float *audio, size_t n, float *out,
             float *scratch)
{
    const fp_env caller = fp_env_enter();
#if CODEC_X86
    /* AVX-512 would do no more: a vector of LANES floats is one of AVX2. */
    if (isa >= ISA_AVX2)
        run_avx2(plan, audio, n, out, scratch);
    else
#else
    (void)isa;
#endif
        run_base(plan, audio, n, out, scratch);
    fp_env_leave(caller);
}

void mel_log10(const float *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = log10_positive(x[i]);
}
