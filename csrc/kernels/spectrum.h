/* Frames of audio to features, and spectra to frames of audio, FFT_LANES frames side by side. */

/* Floats of FFT_LANES spectra of a transform of n samples: bin k at [k][re, im][FFT_LANES]. */
#define SPECTRUM_SIZE(n) (((n) / 2 + 1) * 2 * FFT_LANES)

/* Frames of plan->n samples, the l-th from audio + l * hop for l < here, times the window, to
 * spectra; further lanes are silent. fft.h has the formulas. */
ALWAYS_INLINE void spectra(const nac_fft_plan *plan, const float *window, const float *audio,
                           size_t hop, size_t here, float *scratch, float *restrict out)
{
    const size_t n = plan->n, h = n / 2;
    float *x = scratch;

    for (size_t l = 0; l < FFT_LANES; l++) {
        const float *samples = audio + (l < here ? l : 0) * hop;
        for (size_t j = 0; j < n; j++)
            x[j * FFT_LANES + l] = l < here ? samples[j] * window[j] : 0.0f;
    }
    x = fft_complex(plan, x, scratch + n * FFT_LANES);
    for (size_t k = 0; k <= h / 2; k++) {
        unpack_bins(FFT_RE(x, k), FFT_RE(x, k ? h - k : 0), plan->unpack[2 * k],
                    plan->unpack[2 * k + 1], FFT_RE(out, k), FFT_RE(out, h - k));
    }
}

/* Power of a bin of FFT_LANES spectra, plus the floor. */
ALWAYS_INLINE void power_of(const float *bin, float *restrict power)
{
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) power[l] = power_at(FFT_RE(bin, 0)[l], FFT_IM(bin, 0)[l]);
}

/* Feature f of `here` frames, normalised; the frames' rows are `stride` floats apart. */
ALWAYS_INLINE void put(const nac_analysis *plan, size_t f, const float *value, size_t here,
                       float *features, size_t stride)
{
    for (size_t l = 0; l < here; l++)
        features[l * stride] = centred(value[l], plan->mean[f], plan->scale[f]);
}

/* Features from f on: the samples under the long window. Their squares are summed like the rows of
 * layers.h. */
ALWAYS_INLINE void put_samples(const nac_analysis *plan, size_t f, const float *x, float *features)
{
    const size_t n = plan->long_fft.n;
    float sum[NAC_PANEL] = {0};
    for (size_t i = 0; i < n; i += NAC_PANEL)
        for (size_t l = 0; l < NAC_PANEL && i + l < n; l++)
            sum[l] = __builtin_fmaf(x[i + l], x[i + l], sum[l]);
    const float loudness = fold(sum) / (float)n + POWER_FLOOR;
    const float gain = compression(loudness);
    for (size_t i = 0; i < n; i++)
        features[f + i] = centred(x[i] * gain, plan->mean[f + i], plan->scale[f + i]);
}

/* Of a frame, in this order: log power of the long spectrum; of the short spectra, one after the
 * other; then X / |X|^0.5 of the long spectrum's bins 1 ... phase_bins, real parts, imaginary
 * parts; and, with `waveform`, the samples x under the long window, over the fourth root of their
 * mean square. The long window lies centred on the frame, a short one on its share of the frame. */
static void run_analyse(const nac_analysis *plan, const float *audio, size_t rows, float *features,
                        float *scratch)
{
    const size_t bins = plan->long_fft.n / 2 + 1, short_bins = plan->short_fft.n / 2 + 1;
    const size_t short_hop = plan->hop / plan->per_frame, size = plan->size;
    const size_t long_start = plan->left - (plan->long_fft.n - plan->hop) / 2;
    const size_t short_start = plan->left - (plan->short_fft.n - short_hop) / 2;
    const size_t phases = bins + plan->per_frame * short_bins;
    float *spectrum = scratch;
    const size_t longest =
        plan->long_fft.n > plan->short_fft.n ? plan->long_fft.n : plan->short_fft.n;
    scratch += SPECTRUM_SIZE(longest);

    for (size_t row = 0; row < rows; row += FFT_LANES) {
        const size_t here = rows - row < FFT_LANES ? rows - row : FFT_LANES;
        float *out = features + row * size, power[FFT_LANES], value[FFT_LANES];
        spectra(&plan->long_fft, plan->long_window, audio + long_start + row * plan->hop, plan->hop,
                here, scratch, spectrum);
        for (size_t k = 0; k < bins; k++) {
            const float *bin = FFT_RE(spectrum, k);
            power_of(bin, power);
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) value[l] = log_positive(power[l]);
            put(plan, k, value, here, out + k, size);

            if (k < 1 || k > plan->phase_bins) continue;
            float imaginary[FFT_LANES];
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) {
                const float gain = compression(power[l]);
                value[l] = FFT_RE(bin, 0)[l] * gain;
                imaginary[l] = FFT_IM(bin, 0)[l] * gain;
            }
            const size_t re = phases + k - 1, im = re + plan->phase_bins;
            put(plan, re, value, here, out + re, size);
            put(plan, im, imaginary, here, out + im, size);
        }
    }
    for (size_t row = 0; plan->waveform && row < rows; row++)
        put_samples(plan, phases + 2 * plan->phase_bins, audio + long_start + row * plan->hop,
                    features + row * size);
    for (size_t i = 0; i < rows * plan->per_frame; i += FFT_LANES) {
        const size_t left = rows * plan->per_frame - i, here = left < FFT_LANES ? left : FFT_LANES;
        float power[FFT_LANES], value[FFT_LANES];
        spectra(&plan->short_fft, plan->short_window, audio + short_start + i * short_hop,
                short_hop, here, scratch, spectrum);
        for (size_t k = 0; k < short_bins; k++) {
            power_of(FFT_RE(spectrum, k), power);
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) value[l] = log_positive(power[l]);
            for (size_t l = 0; l < here; l++) {
                const size_t row = (i + l) / plan->per_frame, part = (i + l) % plan->per_frame;
                const size_t f = bins + part * short_bins + k;
                put(plan, f, value + l, 1, features + row * size + f, size);
            }
        }
    }
}

/* FFT_LANES spectra to as many signals of n samples: n times the inverse transform. Returns where they
 * lie: sample 2j at FFT_IM(x, j), 2j + 1 at FFT_RE(x, j).
 *
 * With E and O the transforms of the even and odd samples (fft.h), their interleaved complex signal
 * has the transform Z = E + i O, and
 *     E_k = (X_k + conj X_(h-k)) / 2      O_k = (X_k - conj X_(h-k)) / 2 e^(2 pi i k / n)
 *     Z_k = E_k + i O_k                   Z_(h-k) = conj(E_k) + i conj(O_k)
 * (the halves are left out here). Real and imaginary parts trade places on the way in and out, which
 * turns the forward transform into the inverse one. */
ALWAYS_INLINE float *signals(const nac_fft_plan *plan, const float *spectrum, float *scratch)
{
    const size_t h = plan->n / 2;
    float *z = scratch;

    for (size_t k = 0; k <= h / 2; k++) {
        float *high = FFT_RE(z, k ? h - k : 0);
        pack_bins(FFT_RE(spectrum, k), FFT_RE(spectrum, h - k), plan->unpack[2 * k],
                  plan->unpack[2 * k + 1], k == 0, FFT_RE(z, k), high);
    }
    return fft_complex(plan, z, scratch + plan->n * FFT_LANES);
}

/* Adds `here` signals of n samples, as `signals` leaves them, times the window to audio; signal l from
 * audio + l * hop on. */
ALWAYS_INLINE void add_windows(const float *x, size_t n, const float *window, size_t here,
                               size_t hop, float *audio)
{
    for (size_t l = 0; l < here; l++) {
        float *out = audio + l * hop;
        for (size_t j = 0; j < n / 2; j++) {
            out[2 * j] = __builtin_fmaf(FFT_IM(x, j)[l], window[2 * j], out[2 * j]);
            out[2 * j + 1] = __builtin_fmaf(FFT_RE(x, j)[l], window[2 * j + 1], out[2 * j + 1]);
        }
    }
}

/* A shape row holds per_frame spectra [re, im][bins], a gain row per_frame times [bands] logarithms
 * of gains; a bin's gain is interpolated between its two bands, and from noise_bin on has a drawn
 * sign: spectrum i of a row has the seed seeds[row] * per_frame + i. Windows are added in the order of
 * time, so that a sample is one chain of fused multiply-adds, wherever a block ends. */
static void run_synthesise(const nac_synthesis *plan, const float *shapes, size_t shape_stride,
                           const float *gains, size_t gain_stride, const uint32_t *seeds,
                           size_t rows, float *audio, float *scratch)
{
    const size_t n = plan->fft.n, bins = n / 2 + 1, bands = plan->bands;
    float *spectrum = scratch, *gain = spectrum + SPECTRUM_SIZE(n);
    scratch = gain + bands * FFT_LANES;

    for (size_t i = 0; i < rows * plan->per_frame; i += FFT_LANES) {
        const size_t left = rows * plan->per_frame - i, here = left < FFT_LANES ? left : FFT_LANES;
        const float *shape[FFT_LANES];
        uint32_t seed[FFT_LANES];
        for (size_t l = 0; l < FFT_LANES; l++) {
            const size_t at = i + (l < here ? l : 0);
            const size_t row = at / plan->per_frame, part = at % plan->per_frame;
            shape[l] = shapes + row * shape_stride + part * 2 * bins;
            seed[l] = seeds[row] * (uint32_t)plan->per_frame + (uint32_t)part;
            const float *log_gain = gains + row * gain_stride + part * bands;
            for (size_t band = 0; band < bands; band++) gain[band * FFT_LANES + l] = log_gain[band];
        }
        for (size_t band = 0; band < bands; band++) {
            float *g = gain + band * FFT_LANES;
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) g[l] = band_gain(g[l]);
        }
        for (size_t k = 0; k < bins; k++) {
            const float *lower = gain + (size_t)plan->band[k] * FFT_LANES,
                        *upper = lower + FFT_LANES;
            float *bin = FFT_RE(spectrum, k);
            uint32_t sign[FFT_LANES] = {0};
            if (k >= plan->noise_bin) {
                VECTORISE
                for (int l = 0; l < FFT_LANES; l++) sign[l] = sign_of(seed[l], (uint32_t)k);
            }
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) {
                const float g =
                    bin_gain(lower[l], upper[l], plan->lower[k], plan->upper[k], sign[l]);
                FFT_RE(bin, 0)[l] = shape[l][k] * g;
                FFT_IM(bin, 0)[l] = shape[l][bins + k] * g;
            }
        }
        const float *x = signals(&plan->fft, spectrum, scratch);
        add_windows(x, n, plan->window, here, plan->hop, audio + i * plan->hop);
    }
}
