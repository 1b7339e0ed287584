/* Derivatives of the layers: what an analysis by synthesis needs of them, csrc/engine/refine.h. The
 * matrix products need none of their own: theirs are products with the transposed weights. */

/* run_conv_norm, and the convolution's sums [rows][width] in `kept`. */
static void run_conv_norm_kept(const nac_conv_norm *layer, const float *x, size_t rows, float *y,
                               float *kept)
{
    const size_t width = layer->width;
    for (size_t r = 0; r < rows; r++) {
        conv_row(layer, x + r * width, kept + r * width);
        norm_row(layer, kept + r * width, y + r * width);
    }
}

/* With h = dy gain, n values a row and x' the normalised row, layer norm's derivative is
 *     dx = (h - mean h - x' mean(h x')) factor. */
ALWAYS_INLINE void norm_row_back(const nac_conv_norm *layer, const float *x, const float *dy,
                                 float *dx)
{
    const size_t n = layer->dim, whole = n - n % NAC_PANEL;
    const row_statistics row = statistics(layer, x);
    float sum[NAC_PANEL] = {0}, along[NAC_PANEL] = {0};

    for (size_t i = 0; i < whole; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) {
            const size_t c = i + (size_t)l;
            const float h = dy[c] * layer->gain[c];
            sum[l] += h;
            along[l] = __builtin_fmaf(h, centred(x[c], row.mean, row.factor), along[l]);
        }
    }
    for (size_t l = 0; l < n - whole; l++) {
        const size_t c = whole + l;
        const float h = dy[c] * layer->gain[c];
        sum[l] += h;
        along[l] = __builtin_fmaf(h, centred(x[c], row.mean, row.factor), along[l]);
    }
    const float mean = fold(sum) / (float)n, share = fold(along) / (float)n;

    for (size_t c = 0; c < n; c++) {
        const float h = dy[c] * layer->gain[c] - mean;
        dx[c] = (h - centred(x[c], row.mean, row.factor) * share) * row.factor;
    }
    for (size_t c = n; c < layer->width; c++) dx[c] = 0.0f;
}

static void run_norm_back(const nac_conv_norm *layer, const float *x, size_t rows, const float *dy,
                          float *dx)
{
    for (size_t r = 0; r < rows; r++) {
        const size_t at = r * layer->width;
        norm_row_back(layer, x + at, dy + at, dx + at);
    }
}

static void run_conv_back(const nac_conv_norm *layer, size_t lead, const float *dy, size_t rows,
                          float *dx)
{
    const size_t width = layer->width;
    for (size_t r = 0; r < rows; r++) {
        float *out = dx + r * width;
        for (size_t k = 0; k < layer->taps; k++) {
            if (r + lead < k || r + lead - k >= rows) continue;
            const float *in = dy + (r + lead - k) * width, *w = layer->weight + k * width;
            VECTORISE
            for (size_t c = 0; c < width; c++) out[c] = __builtin_fmaf(in[c], w[c], out[c]);
        }
    }
}

static void run_gelu_back(const float *x, size_t n, float *gradient)
{
    for (size_t i = 0; i < n; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) gradient[i + (size_t)l] *= gelu_slope(x[i + (size_t)l]);
    }
}

/* The derivative of run_synthesise by shapes and gains, from that by the audio. A bin Z of a window
 * adds w[j] (Z_0 + Z_h (-1)^j + 2 Re sum_k Z_k e^(2 pi i j k / n)) to sample j, so its derivative is
 * twice the transform of the windowed gradient, once at both ends, which are real. */
static void run_synthesise_back(const nac_synthesis *plan, const float *gradient,
                                const float *shapes, size_t shape_stride, const float *gains,
                                size_t gain_stride, const uint32_t *seeds, size_t rows,
                                float *by_shapes, float *by_gains, float *scratch)
{
    const size_t n = plan->fft.n, bins = n / 2 + 1, bands = plan->bands;
    float *spectrum = scratch, *gain = spectrum + SPECTRUM_SIZE(n);
    float *by_gain = gain + bands * FFT_LANES;
    scratch = by_gain + bands * FFT_LANES;

    for (size_t i = 0; i < rows * plan->per_frame; i += FFT_LANES) {
        const size_t left = rows * plan->per_frame - i, here = left < FFT_LANES ? left : FFT_LANES;
        const float *shape[FFT_LANES];
        float *by_shape[FFT_LANES];
        uint32_t seed[FFT_LANES];
        spectra(&plan->fft, plan->window, gradient + i * plan->hop, plan->hop, here, scratch,
                spectrum);
        for (size_t l = 0; l < FFT_LANES; l++) {
            const size_t at = i + (l < here ? l : 0);
            const size_t row = at / plan->per_frame, part = at % plan->per_frame;
            shape[l] = shapes + row * shape_stride + part * 2 * bins;
            by_shape[l] = by_shapes + row * shape_stride + part * 2 * bins;
            seed[l] = seeds[row] * (uint32_t)plan->per_frame + (uint32_t)part;
            const float *log_gain = gains + row * gain_stride + part * bands;
            for (size_t band = 0; band < bands; band++) {
                gain[band * FFT_LANES + l] = band_gain(log_gain[band]);
                by_gain[band * FFT_LANES + l] = 0.0f;
            }
        }
        for (size_t k = 0; k < bins; k++) {
            const size_t band = (size_t)plan->band[k] * FFT_LANES;
            const float *lower = gain + band, *upper = lower + FFT_LANES;
            const float *bin = FFT_RE(spectrum, k);
            const int end = k == 0 || k == bins - 1;
            const float re = end ? 1.0f : 2.0f, im = end ? 0.0f : 2.0f;
            for (size_t l = 0; l < here; l++) {
                const uint32_t sign = k >= plan->noise_bin ? sign_of(seed[l], (uint32_t)k) : 0;
                const float g = bin_gain(lower[l], upper[l], plan->lower[k], plan->upper[k], sign);
                const float zr = FFT_RE(bin, 0)[l] * re, zi = FFT_IM(bin, 0)[l] * im;
                by_shape[l][k] = zr * g;
                by_shape[l][bins + k] = zi * g;
                const float size = zr * shape[l][k] + zi * shape[l][bins + k];
                const float signed_size = float_of((int32_t)((uint32_t)bits_of(size) ^ sign));
                by_gain[band + l] = __builtin_fmaf(signed_size, plan->lower[k], by_gain[band + l]);
                by_gain[band + FFT_LANES + l] =
                    __builtin_fmaf(signed_size, plan->upper[k], by_gain[band + FFT_LANES + l]);
            }
        }
        for (size_t l = 0; l < here; l++) {
            const size_t row = (i + l) / plan->per_frame, part = (i + l) % plan->per_frame;
            const float *log_gain = gains + row * gain_stride + part * bands;
            float *out = by_gains + row * gain_stride + part * bands;
            for (size_t band = 0; band < bands; band++) {
                const size_t at = band * FFT_LANES + l;
                out[band] = log_gain[band] < 8.0f ? by_gain[at] * gain[at] : 0.0f;
            }
        }
    }
}
