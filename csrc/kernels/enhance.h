/* Decoded audio to what an enhancer's network sees of it, and its factors to audio: engine/enhancer.h has
 * the formulas. FFT_LANES frames side by side. */

/* Added to a frame's mean power, and to a bin's power relative to it. */
#define MEAN_FLOOR 1e-7f
#define BIN_FLOOR 1e-4f

/* Where the spectra of FFT_LANES frames lie: the audio's, then of what lies a period before and after the
 * lowest bins. */
typedef struct {
    size_t past, future, size;
} kept_spectra;

ALWAYS_INLINE kept_spectra kept_of(size_t n_fft, size_t narrow)
{
    const size_t past = SPECTRUM_SIZE(n_fft), future = past + narrow * 2 * FFT_LANES;
    return (kept_spectra){past, future, future + narrow * 2 * FFT_LANES};
}

/* Puts a value of each of `here` frames into their rows. */
ALWAYS_INLINE void give_rows(const float *value, size_t here, float *features, size_t stride)
{
    for (size_t l = 0; l < here; l++) features[l * stride] = value[l];
}

/* 1 over the frames' mean power, and 0.1 times its logarithm. */
ALWAYS_INLINE void mean_power(const float *spectrum, size_t bins, float *restrict unit,
                              float *restrict level)
{
    float sum[FFT_LANES] = {0};
    for (size_t k = 0; k < bins; k++) {
        const float *bin = FFT_RE(spectrum, k);
        VECTORISE
        for (int l = 0; l < FFT_LANES; l++)
            sum[l] += FFT_RE(bin, 0)[l] * FFT_RE(bin, 0)[l] + FFT_IM(bin, 0)[l] * FFT_IM(bin, 0)[l];
    }
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float mean = sum[l] / (float)bins + MEAN_FLOOR;
        unit[l] = 1.0f / mean;
        level[l] = 0.1f * log_positive(mean);
    }
}

/* The power of a bin relative to the frame's, and 0.2 times its logarithm. */
ALWAYS_INLINE void relative_power(const float *bin, const float *unit, float *restrict power,
                                  float *restrict log_power)
{
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float re = FFT_RE(bin, 0)[l], im = FFT_IM(bin, 0)[l];
        power[l] = (re * re + im * im) * unit[l] + BIN_FLOOR;
        log_power[l] = 0.2f * log_positive(power[l]);
    }
}

/* Three features of a bin of what lies a period away: its power against the bin's own, and the product
 * of the two as in a correlation, its real and its imaginary part. */
ALWAYS_INLINE void compare_shifted(const float *own, const float *shifted, const float *unit,
                                   const float *power, const float *log_power, size_t here,
                                   float *ratio, float *re, float *im, size_t stride)
{
    float other[FFT_LANES], log_other[FFT_LANES], product_re[FFT_LANES], product_im[FFT_LANES];
    relative_power(shifted, unit, other, log_other);
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float xr = FFT_RE(own, 0)[l], xi = FFT_IM(own, 0)[l];
        const float zr = FFT_RE(shifted, 0)[l], zi = FFT_IM(shifted, 0)[l];
        const float scale = unit[l] / __builtin_sqrtf(power[l] * other[l]);
        product_re[l] = (zr * xr + zi * xi) * scale;
        product_im[l] = (zi * xr - zr * xi) * scale;
        log_other[l] -= log_power[l];
    }
    give_rows(log_other, here, ratio, stride);
    give_rows(product_re, here, re, stride);
    give_rows(product_im, here, im, stride);
}

static void run_observe(const nac_enhancement *plan, const float *audio, const float *past,
                        const float *future, size_t rows, float *features, size_t stride,
                        float *kept, float *scratch)
{
    const size_t bins = plan->fft.n / 2 + 1, narrow = plan->narrow;
    const kept_spectra at = kept_of(plan->fft.n, narrow);
    float *shifted = scratch;
    scratch += SPECTRUM_SIZE(plan->fft.n);

    for (size_t row = 0; row < rows; row += FFT_LANES, kept += at.size) {
        const size_t here = rows - row < FFT_LANES ? rows - row : FFT_LANES;
        const size_t from = row * plan->hop;
        float unit[FFT_LANES], level[FFT_LANES], power[FFT_LANES], log_power[FFT_LANES];
        float *out = features + row * stride;

        spectra(&plan->fft, plan->window, audio + from, plan->hop, here, scratch, kept);
        spectra(&plan->fft, plan->window, past + from, plan->hop, here, scratch, shifted);
        memcpy(kept + at.past, shifted, (at.future - at.past) * sizeof *kept);
        spectra(&plan->fft, plan->window, future + from, plan->hop, here, scratch, shifted);
        memcpy(kept + at.future, shifted, (at.size - at.future) * sizeof *kept);

        mean_power(kept, bins, unit, level);
        for (size_t k = 0; k < bins; k++) {
            const float *own = FFT_RE(kept, k);
            relative_power(own, unit, power, log_power);
            give_rows(log_power, here, out + k, stride);
            if (k >= narrow) continue;
            float *first = out + bins + k; /* ratios, then products with the past and the future */
            compare_shifted(own, FFT_RE(kept + at.past, k), unit, power, log_power, here, first,
                            first + 2 * narrow, first + 3 * narrow, stride);
            compare_shifted(own, FFT_RE(kept + at.future, k), unit, power, log_power, here,
                            first + narrow, first + 4 * narrow, first + 5 * narrow, stride);
        }
        give_rows(level, here, out + bins + 6 * narrow, stride);
    }
}

/* Column c of the factors of FFT_LANES rows; further lanes repeat the first. */
ALWAYS_INLINE void take_rows(const float *const *row, size_t c, float *restrict value)
{
    for (size_t l = 0; l < FFT_LANES; l++) value[l] = row[l][c];
}

/* to += z (re + i im) */
ALWAYS_INLINE void add_turned(const float *z, const float *re, const float *im, float *to)
{
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float zr = FFT_RE(z, 0)[l], zi = FFT_IM(z, 0)[l];
        FFT_RE(to, 0)[l] += zr * re[l] - zi * im[l];
        FFT_IM(to, 0)[l] += zr * im[l] + zi * re[l];
    }
}

static void run_enhance(const nac_enhancement *plan, const float *kept, const float *factors,
                        size_t stride, size_t rows, float *audio, float *scratch)
{
    const size_t n = plan->fft.n, bins = n / 2 + 1, wide = plan->wide, narrow = plan->narrow;
    const kept_spectra at = kept_of(n, narrow);
    float *spectrum = scratch, *gain = spectrum + SPECTRUM_SIZE(n);
    scratch = gain + plan->bands * FFT_LANES;

    for (size_t i = 0; i < rows; i += FFT_LANES, kept += at.size) {
        const size_t here = rows - i < FFT_LANES ? rows - i : FFT_LANES;
        const float *row[FFT_LANES];
        float re[FFT_LANES], im[FFT_LANES];
        for (size_t l = 0; l < FFT_LANES; l++) row[l] = factors + (i + (l < here ? l : 0)) * stride;
        for (size_t band = 0; band < plan->bands; band++)
            take_rows(row, 2 * wide + 4 * narrow + band, gain + band * FFT_LANES);

        for (size_t k = 0; k < bins; k++) {
            const float *lower = gain + (size_t)plan->band[k] * FFT_LANES;
            const float *upper = lower + FFT_LANES, *own = FFT_RE(kept, k);
            float *bin = FFT_RE(spectrum, k);
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) {
                const float log_gain =
                    __builtin_fmaf(upper[l], plan->upper[k], lower[l] * plan->lower[k]);
                const float low = log_gain > -3.0f ? log_gain : -3.0f;
                const float g = exp_clamped(low < 3.0f ? low : 3.0f);
                FFT_RE(bin, 0)[l] = FFT_RE(own, 0)[l] * g;
                FFT_IM(bin, 0)[l] = FFT_IM(own, 0)[l] * g;
            }
            if (k < wide) {
                float changed[2 * FFT_LANES];
                memcpy(changed, bin, sizeof changed);
                take_rows(row, k, re);
                take_rows(row, wide + k, im);
                add_turned(changed, re, im, bin);
            }
            if (k < narrow) {
                const size_t c = 2 * wide + k;
                take_rows(row, c, re);
                take_rows(row, c + narrow, im);
                add_turned(FFT_RE(kept + at.past, k), re, im, bin);
                take_rows(row, c + 2 * narrow, re);
                take_rows(row, c + 3 * narrow, im);
                add_turned(FFT_RE(kept + at.future, k), re, im, bin);
            }
        }
        const float *x = signals(&plan->fft, spectrum, scratch);
        add_windows(x, n, plan->back, here, plan->hop, audio + i * plan->hop);
    }
}
