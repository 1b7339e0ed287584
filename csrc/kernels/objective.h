/* How far decoded audio is from its original, and the derivative by its samples.
 *
 * Both are compared by short-time spectra, FFT_LANES frames side by side; `target` holds what is needed
 * of the original's, group after group of frames. Lanes of the last group that have no frame hold
 * silence on both sides, which differs in nothing. */

ALWAYS_INLINE size_t groups_of(size_t frames) { return (frames + FFT_LANES - 1) / FFT_LANES; }

ALWAYS_INLINE size_t lanes_at(size_t frames, size_t group)
{
    const size_t left = frames - group * FFT_LANES;
    return left < FFT_LANES ? left : FFT_LANES;
}

/* Powers of a spectrum in bands, each plus `floor`. */
ALWAYS_INLINE void band_powers(const nac_resolution *r, const float *spectrum, float floor,
                               float *restrict power)
{
    memset(power, 0, r->bands * FFT_LANES * sizeof *power);
    for (size_t k = 0; k <= r->fft.n / 2; k++) {
        const float *bin = FFT_RE(spectrum, k), low = r->lower[k], high = r->upper[k];
        float *lower = power + (size_t)r->band[k] * FFT_LANES, *upper = lower + FFT_LANES;
        VECTORISE
        for (int l = 0; l < FFT_LANES; l++) {
            const float re = FFT_RE(bin, 0)[l], im = FFT_IM(bin, 0)[l];
            const float p = re * re + im * im + floor;
            lower[l] = __builtin_fmaf(p, low, lower[l]);
            upper[l] = __builtin_fmaf(p, high, upper[l]);
        }
    }
}

/* Adds the derivative by a power in a band to that by the bins: d|Z|^2 = 2 Z. */
ALWAYS_INLINE void add_power_gradient(const nac_resolution *r, size_t k, const float *by_band,
                                      const float *bin, float *restrict out)
{
    const float *lower = by_band + (size_t)r->band[k] * FFT_LANES, *upper = lower + FFT_LANES;
    const float low = 2.0f * r->lower[k], high = 2.0f * r->upper[k];
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float by_power = __builtin_fmaf(upper[l], high, lower[l] * low);
        FFT_RE(out, 0)[l] = __builtin_fmaf(FFT_RE(bin, 0)[l], by_power, FFT_RE(out, 0)[l]);
        FFT_IM(out, 0)[l] = __builtin_fmaf(FFT_IM(bin, 0)[l], by_power, FFT_IM(out, 0)[l]);
    }
}

/* Adds the derivative by the samples, from that by the bins G, which is overwritten: sample j of a
 * frame is multiplied by w[j] e^(-2 pi i j k / n) in bin k, so its derivative is
 * w[j] Re sum_k G_k e^(2 pi i j k / n). `signals` doubles all bins but the ends. */
ALWAYS_INLINE void spread(const nac_resolution *r, float *spectrum, size_t here, float *scratch,
                          float *gradient)
{
    const size_t n = r->fft.n;
    for (size_t i = 2 * FFT_LANES; i < n * FFT_LANES; i++) spectrum[i] *= 0.5f;
    const float *x = signals(&r->fft, spectrum, scratch);
    for (size_t l = 0; l < here; l++) {
        float *out = gradient + l * r->hop;
        for (size_t j = 0; j < n / 2; j++) {
            out[2 * j] = __builtin_fmaf(FFT_IM(x, j)[l], r->window[2 * j], out[2 * j]);
            out[2 * j + 1] = __builtin_fmaf(FFT_RE(x, j)[l], r->window[2 * j + 1], out[2 * j + 1]);
        }
    }
}

ALWAYS_INLINE double sum_of(const float *lane)
{
    double sum = 0;
    for (int l = 0; l < FFT_LANES; l++) sum += (double)lane[l];
    return sum;
}

/* A band's part of an empty one is a constant, so its logarithm is finite, and equal on both sides. */
#define EMPTY_BAND 1e-9f
#define COMPRESSED_FLOOR 1e-4f /* added to |u|^2 before compression, u = Z / sqrt(unit) */
#define MAGNITUDE_FLOOR 1e-8f

ALWAYS_INLINE float mel_floor(const nac_resolution *r) { return (float)r->fft.n * 3.75e-8f; }

/* u / |u|^0.5 of a bin, re and im, its magnitude, and the square of that, `size`. */
ALWAYS_INLINE void describe_bin(const float *bin, float root, float *target, float *size)
{
    float re[FFT_LANES], im[FFT_LANES], magnitude[FFT_LANES], square[FFT_LANES];
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float ur = FFT_RE(bin, 0)[l] * root, ui = FFT_IM(bin, 0)[l] * root;
        const float g = compression(ur * ur + ui * ui + COMPRESSED_FLOOR);
        re[l] = ur * g;
        im[l] = ui * g;
        square[l] = re[l] * re[l] + im[l] * im[l];
        magnitude[l] = __builtin_sqrtf(square[l] + MAGNITUDE_FLOOR);
    }
    memcpy(FFT_RE(target, 0), re, sizeof re);
    memcpy(FFT_IM(target, 0), im, sizeof im);
    memcpy(target + 2 * FFT_LANES, magnitude, sizeof magnitude);
    memcpy(size, square, sizeof square);
}

/* Adds what a bin's complex value counts to the loss, and gives the derivative by it. */
ALWAYS_INLINE void compare_bin(const float *bin, float root, float magnitude, float phase,
                               const float *target, float *loss, float *out)
{
    float re[FFT_LANES], im[FFT_LANES], more[FFT_LANES];
    VECTORISE
    for (int l = 0; l < FFT_LANES; l++) {
        const float ur = FFT_RE(bin, 0)[l] * root, ui = FFT_IM(bin, 0)[l] * root;
        const float power = ur * ur + ui * ui + COMPRESSED_FLOOR;
        const float g = compression(power), yr = ur * g, yi = ui * g;
        const float size = __builtin_sqrtf(yr * yr + yi * yi + MAGNITUDE_FLOOR);
        const float dr = yr - FFT_RE(target, 0)[l], di = yi - FFT_IM(target, 0)[l];
        const float d = size - target[2 * FFT_LANES + l];
        const float along = 2.0f * magnitude * d / size;
        const float gr = 2.0f * phase * dr + along * yr;
        const float gi = 2.0f * phase * di + along * yi;
        /* y = u power^(-1/4) */
        const float turned = 0.5f * g / power * (ur * gr + ui * gi);
        more[l] = phase * (dr * dr + di * di) + magnitude * (d * d);
        re[l] = root * (g * gr - turned * ur);
        im[l] = root * (g * gi - turned * ui);
    }
    for (int l = 0; l < FFT_LANES; l++) loss[l] += more[l];
    memcpy(FFT_RE(out, 0), re, sizeof re);
    memcpy(FFT_IM(out, 0), im, sizeof im);
}

/* Of a frame: log powers in bands; then, where complex values are compared, for each bin u / |u|^0.5,
 * re and im, and its magnitude. Returns in energy[0] the sum of the squares of these, in energy[1] the
 * same by the bins' weights. */
static void run_describe(const nac_resolution *r, float per_unit, const float *audio,
                         size_t samples, float *target, double *energy, float *scratch)
{
    const size_t frames = nac_frames(r, samples), bins = r->fft.n / 2 + 1;
    const float root = __builtin_sqrtf(per_unit);
    float *spectrum = scratch;
    scratch += SPECTRUM_SIZE(r->fft.n);
    energy[0] = energy[1] = 0;

    for (size_t group = 0; group < groups_of(frames); group++) {
        const size_t here = lanes_at(frames, group);
        spectra(&r->fft, r->window, audio + group * FFT_LANES * r->hop, r->hop, here, scratch,
                spectrum);
        band_powers(r, spectrum, mel_floor(r), target);
        for (size_t i = 0; i < r->bands * FFT_LANES; i++)
            target[i] = log_positive(target[i] + EMPTY_BAND);
        target += r->bands * FFT_LANES;
        if (!r->weight) continue;
        float all[FFT_LANES] = {0}, weighted[FFT_LANES] = {0};
        for (size_t k = 0; k < bins; k++, target += 3 * FFT_LANES) {
            float size[FFT_LANES];
            describe_bin(FFT_RE(spectrum, k), root, target, size);
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) {
                all[l] += size[l];
                weighted[l] = __builtin_fmaf(size[l], r->weight[k], weighted[l]);
            }
        }
        energy[0] += sum_of(all);
        energy[1] += sum_of(weighted);
    }
}

/* The sum of share->band |difference| over the log powers, and share->magnitude and share->phase times
 * the squared differences of magnitudes and, by weight, of complex values. Adds its derivative by
 * audio [samples] to gradient. */
static double run_compare(const nac_resolution *r, float per_unit, const nac_shares *share,
                          const float *target, const float *audio, size_t samples, float *gradient,
                          float *scratch)
{
    const size_t frames = nac_frames(r, samples), bins = r->fft.n / 2 + 1;
    const float root = __builtin_sqrtf(per_unit);
    float *spectrum = scratch, *by_bin = spectrum + SPECTRUM_SIZE(r->fft.n);
    float *by_band = by_bin + SPECTRUM_SIZE(r->fft.n);
    scratch = by_band + r->bands * FFT_LANES;
    double loss = 0;

    for (size_t group = 0; group < groups_of(frames); group++) {
        const size_t here = lanes_at(frames, group), at = group * FFT_LANES * r->hop;
        spectra(&r->fft, r->window, audio + at, r->hop, here, scratch, spectrum);
        band_powers(r, spectrum, mel_floor(r), by_band);
        float lane[FFT_LANES] = {0};
        for (size_t band = 0; band < r->bands; band++, target += FFT_LANES) {
            float *b = by_band + band * FFT_LANES;
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) {
                const float power = b[l] + EMPTY_BAND, d = log_positive(power) - target[l];
                const float sign = d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : 0.0f;
                lane[l] = __builtin_fmaf(share->band * sign, d, lane[l]);
                b[l] = share->band * sign / power;
            }
        }
        for (size_t k = 0; k < bins; k++) {
            const float *bin = FFT_RE(spectrum, k);
            float *out = FFT_RE(by_bin, k);
            if (r->weight) {
                compare_bin(bin, root, share->magnitude, share->phase * r->weight[k], target, lane,
                            out);
                target += 3 * FFT_LANES;
            } else {
                memset(out, 0, 2 * FFT_LANES * sizeof *out);
            }
            add_power_gradient(r, k, by_band, bin, out);
        }
        loss += sum_of(lane);
        spread(r, by_bin, here, scratch, gradient + at);
    }
    return loss;
}

/* x^y for x normal and positive, |y log x| <= 87. */
ALWAYS_INLINE float power_of_positive(float x, float y) { return exp_clamped(y * log_positive(x)); }

/* Zwicker's loudness of a power whose threshold of hearing is `quiet`. */
ALWAYS_INLINE float loudness_of(float power, float quiet)
{
    const float grown = power_of_positive(0.5f + 0.5f * power / quiet, 0.23f) - 1.0f;
    return power_of_positive(quiet, 0.23f) * (grown > 0.0f ? grown : 0.0f);
}

/* Of a frame: powers in bands, times a unit that gives the original ACTIVE_POWER on average, their
 * loudness, and the frame's weight. Returns the unit. */
#define ACTIVE_POWER 1e7f
static float run_describe_loudness(const nac_resolution *r, const float *audio, size_t samples,
                                   float *target, float *scratch)
{
    const size_t frames = nac_frames(r, samples), bands = r->bands;
    const size_t size = (2 * bands + 1) * FFT_LANES;
    float *spectrum = scratch;
    scratch += SPECTRUM_SIZE(r->fft.n);
    double total = 0;
    for (size_t group = 0; group < groups_of(frames); group++) {
        float *power = target + group * size;
        spectra(&r->fft, r->window, audio + group * FFT_LANES * r->hop, r->hop,
                lanes_at(frames, group), scratch, spectrum);
        band_powers(r, spectrum, 0.0f, power);
        for (size_t band = 0; band < bands; band++) total += sum_of(power + band * FFT_LANES);
    }
    /* silence is not amplified without end: at least -60 dB of full scale */
    const double least = (double)(r->fft.n * r->fft.n) * 0.375e-6;
    const double mean = frames ? total / (double)frames : 0;
    const float unit = (float)((double)ACTIVE_POWER / (mean > least ? mean : least));
    for (size_t group = 0; group < groups_of(frames); group++) {
        float *power = target + group * size, *loudness = power + bands * FFT_LANES;
        float *weight = loudness + bands * FFT_LANES, sum[FFT_LANES] = {0};
        for (size_t band = 0; band < bands; band++)
            for (size_t l = 0; l < FFT_LANES; l++) {
                const size_t at = band * FFT_LANES + l;
                power[at] *= unit;
                loudness[at] = loudness_of(power[at], r->quiet[band]);
                sum[l] += power[at];
            }
        for (size_t l = 0; l < FFT_LANES; l++)
            weight[l] = power_of_positive((sum[l] + 1e5f) * (1.0f / ACTIVE_POWER), -0.04f);
    }
    return unit;
}

/* The disturbance of a band: how far the loudness y is from x beyond a quarter of the softer one, its
 * derivative by y, and how much it counts as something added. */
typedef struct {
    float size, slope, added;
} disturbance;

ALWAYS_INLINE disturbance disturbed(float px, float x, float py, float y)
{
    disturbance d;
    const float louder = y - 1.25f * x, softer = x - 1.25f * y;
    d.size = louder > 0.0f ? louder : softer > 0.0f ? softer : 0.0f;
    d.slope = louder > 0.0f ? 1.0f : softer > 0.0f ? -1.25f : 0.0f;
    const float ratio = power_of_positive((py + 50.0f) / (px + 50.0f), 1.2f);
    d.added = ratio < 3.0f ? 0.0f : ratio > 12.0f ? 12.0f : ratio;
    return d;
}

/* The loss of codec.training.losses.loudness: `share` times symmetric and asymmetric disturbance, each
 * a root mean square over the frames. */
#define SYMMETRIC 2.0f
#define ASYMMETRIC 0.618f
static double run_compare_loudness(const nac_resolution *r, float unit, float share,
                                   const float *target, const float *audio, size_t samples,
                                   float *gradient, float *scratch)
{
    const size_t frames = nac_frames(r, samples), bands = r->bands, n = r->fft.n;
    const size_t size = (2 * bands + 1) * FFT_LANES, groups = groups_of(frames);
    const float per_band = 1.0f / (float)bands;
    float *spectrum = scratch, *added = spectrum + groups * SPECTRUM_SIZE(n);
    float *power = added + groups * FFT_LANES, *by_bin = power + bands * FFT_LANES;
    scratch = by_bin + SPECTRUM_SIZE(n);
    double symmetric = 0, asymmetric = 0;

    for (size_t group = 0; group < groups; group++) {
        const float *px = target + group * size, *x = px + bands * FFT_LANES;
        const float *weight = x + bands * FFT_LANES;
        float *z = spectrum + group * SPECTRUM_SIZE(n), square[FFT_LANES] = {0};
        float *more = added + group * FFT_LANES;
        spectra(&r->fft, r->window, audio + group * FFT_LANES * r->hop, r->hop,
                lanes_at(frames, group), scratch, z);
        band_powers(r, z, 0.0f, power);
        memset(more, 0, FFT_LANES * sizeof *more);
        for (size_t band = 0; band < bands; band++) {
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) {
                const size_t at = band * FFT_LANES + (size_t)l;
                const float py = power[at] * unit, y = loudness_of(py, r->quiet[band]);
                const disturbance d = disturbed(px[at], x[at], py, y);
                square[l] = __builtin_fmaf(d.size, d.size, square[l]);
                more[l] = __builtin_fmaf(d.size, d.added, more[l]);
            }
        }
        for (size_t l = 0; l < FFT_LANES; l++) {
            square[l] *= per_band * weight[l] * weight[l];
            more[l] *= per_band * weight[l];
        }
        symmetric += sum_of(square);
        for (size_t l = 0; l < FFT_LANES; l++) asymmetric += (double)more[l] * (double)more[l];
    }
    const float per_frame = 1.0f / (float)(frames ? frames : 1);
    const float s = __builtin_sqrtf((float)symmetric * per_frame + 1e-4f);
    const float a = __builtin_sqrtf((float)asymmetric * per_frame + 1e-4f);
    const float by_square = share * SYMMETRIC / s * per_frame * per_band;
    const float by_more = share * ASYMMETRIC / a * per_frame * per_band;

    for (size_t group = 0; group < groups; group++) {
        const float *px = target + group * size, *x = px + bands * FFT_LANES;
        const float *weight = x + bands * FFT_LANES, *more = added + group * FFT_LANES;
        const float *z = spectrum + group * SPECTRUM_SIZE(n);
        band_powers(r, z, 0.0f, power);
        for (size_t band = 0; band < bands; band++) {
            const float quiet = r->quiet[band];
            VECTORISE
            for (int l = 0; l < FFT_LANES; l++) {
                const size_t at = band * FFT_LANES + (size_t)l;
                const float py = power[at] * unit, y = loudness_of(py, quiet);
                const disturbance d = disturbed(px[at], x[at], py, y);
                const float by_size = by_square * weight[l] * weight[l] * d.size +
                                      by_more * weight[l] * more[l] * d.added;
                /* loudness = quiet^.23 (v^.23 - 1), v = .5 + .5 P / quiet */
                const float v = 0.5f + 0.5f * py / quiet;
                const float slope =
                    y > 0.0f ? power_of_positive(quiet * v, 0.23f) * 0.115f / (v * quiet) : 0.0f;
                power[at] = by_size * d.slope * slope * unit;
            }
        }
        memset(by_bin, 0, SPECTRUM_SIZE(n) * sizeof *by_bin);
        for (size_t k = 0; k <= n / 2; k++)
            add_power_gradient(r, k, power, FFT_RE(z, k), FFT_RE(by_bin, k));
        spread(r, by_bin, lanes_at(frames, group), scratch, gradient + group * FFT_LANES * r->hop);
    }
    return (double)(share * (SYMMETRIC * s + ASYMMETRIC * a));
}
