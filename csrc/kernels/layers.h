/* Convolution over time, layer norm, GELU: what runs between the matrix products. */

/* Mean of a row, and what it is multiplied by about that. */
typedef struct {
    float mean, factor;
} row_statistics;

ALWAYS_INLINE row_statistics statistics(const nac_conv_norm *layer, const float *x)
{
    const size_t n = layer->dim, whole = n - n % NAC_PANEL;
    float sum[NAC_PANEL] = {0}, square[NAC_PANEL] = {0};

    for (size_t i = 0; i < whole; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) sum[l] += x[i + (size_t)l];
    }
    for (size_t l = 0; l < n - whole; l++) sum[l] += x[whole + l];
    const float mean = fold(sum) / (float)n;

    for (size_t i = 0; i < whole; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) {
            const float d = x[i + (size_t)l] - mean;
            square[l] = __builtin_fmaf(d, d, square[l]);
        }
    }
    for (size_t l = 0; l < n - whole; l++) {
        const float d = x[whole + l] - mean;
        square[l] = __builtin_fmaf(d, d, square[l]);
    }
    return (row_statistics){mean, norm_factor(fold(square), n)};
}

/* y may be x. */
ALWAYS_INLINE void norm_row(const nac_conv_norm *layer, const float *x, float *y)
{
    const row_statistics row = statistics(layer, x);
    for (size_t i = 0; i < layer->width; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) {
            const size_t c = i + (size_t)l;
            y[c] = __builtin_fmaf(centred(x[c], row.mean, row.factor), layer->gain[c],
                                  layer->shift[c]);
        }
    }
}

static void run_norm(const nac_conv_norm *layer, const float *x, size_t rows, float *y)
{
    for (size_t r = 0; r < rows; r++) norm_row(layer, x + r * layer->width, y + r * layer->width);
}

/* The convolution for one row: x has `taps` of them. */
ALWAYS_INLINE void conv_row(const nac_conv_norm *layer, const float *x, float *y)
{
    const size_t width = layer->width;
    for (size_t i = 0; i < width; i += NAC_PANEL) {
        float sum[NAC_PANEL];
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) sum[l] = layer->bias[i + (size_t)l];
        for (size_t k = 0; k < layer->taps; k++) {
            const float *in = x + k * width + i, *w = layer->weight + k * width + i;
            VECTORISE
            for (int l = 0; l < NAC_PANEL; l++) sum[l] = __builtin_fmaf(in[l], w[l], sum[l]);
        }
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) y[i + (size_t)l] = sum[l];
    }
}

static void run_conv_norm(const nac_conv_norm *layer, const float *x, size_t rows, float *y)
{
    const size_t width = layer->width;
    for (size_t r = 0; r < rows; r++) {
        conv_row(layer, x + r * width, y + r * width);
        norm_row(layer, y + r * width, y + r * width);
    }
}

static void run_gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += NAC_PANEL) {
        VECTORISE
        for (int l = 0; l < NAC_PANEL; l++) x[i + (size_t)l] = gelu_of(x[i + (size_t)l]);
    }
}
