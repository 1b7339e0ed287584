#include "tables.h"

#include <float.h>

#include "wide.h"

#if FLT_EVAL_METHOD != 0
#error "wider intermediate results would change the tables' last bits: compile with -mfpmath=sse"
#endif

enum { MAX_FFT = 1 << 16, MAX_STEPS = 16 };

static const double HALF_PI = 0x1.921fb54442d18p0;

/* In quarters of 1 / n turn, mirrored into the first eighth of the circle. The first term of the series
 * that is dropped is below (pi / 4)^19 / 19! < 1e-19. */
void nac_circle(size_t k, size_t n, double *cosine, double *sine)
{
    size_t m = 4 * (k % n);
    const int below = m > 2 * n;
    if (below) m = 4 * n - m;
    const int left = m > n;
    if (left) m = 2 * n - m;
    const int steep = 2 * m > n;
    if (steep) m = n - m;
    const double angle = HALF_PI * ((double)m / (double)n), square = angle * angle;
    double s = 1, c = 1;
    for (int i = 16; i > 0; i -= 2) {
        s = 1.0 - square / (double)(i * (i + 1)) * s;
        c = 1.0 - square / (double)(i * (i - 1)) * c;
    }
    s = angle * s;
    const double across = steep ? s : c, up = steep ? c : s;
    *cosine = left ? -across : across;
    *sine = below ? -up : up;
}

/* e^(-2 pi i k / n) as (re, im). */
static void turn(size_t k, size_t n, float *out)
{
    double c, s;
    nac_circle(k, n, &c, &s);
    out[0] = (float)c;
    out[1] = (float)-s;
}

/* n as a product of 5, 4, 3 and at most one 2; returns the number of factors, 0 if there is none. */
static size_t factors(size_t n, int32_t *radices)
{
    size_t count = 0;
    for (int32_t radix = 5; radix > 1; radix--)
        for (; n % (size_t)radix == 0; n /= (size_t)radix) radices[count++] = radix;
    return n == 1 ? count : 0;
}

codec_status nac_fft_tables(size_t n, nac_memory *memory, nac_fft_plan *plan, nac_reason reason)
{
    int32_t found[MAX_STEPS];
    const size_t steps = n >= 4 && n <= MAX_FFT && n % 2 == 0 ? factors(n / 2, found) : 0;
    if (steps == 0)
        return nac_fail(reason, CODEC_ERROR_MODEL,
                        "no FFT of %zu samples: 4 to %d, even, of factors 2, 3 and 5", n, MAX_FFT);
    size_t pairs = 0, length = n / 2;
    for (size_t i = 0; i < steps; i++) {
        length /= (size_t)found[i];
        pairs += length * (size_t)(found[i] - 1);
    }
    int32_t *radices = nac_memory_new(memory, steps, sizeof *radices);
    float *twiddles = nac_memory_new(memory, pairs, 2 * sizeof *twiddles);
    float *unpack = nac_memory_new(memory, n / 4 + 1, 2 * sizeof *unpack);
    if (!radices || !twiddles || !unpack)
        return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for the tables of an FFT");

    float *out = twiddles;
    length = n / 2;
    for (size_t i = 0; i < steps; i++) {
        const size_t radix = (size_t)found[i], parts = length / radix;
        radices[i] = found[i];
        for (size_t p = 0; p < parts; p++)
            for (size_t k = 1; k < radix; k++, out += 2) turn(p * k, length, out);
        length = parts;
    }
    for (size_t k = 0; k <= n / 4; k++) turn(k, n, unpack + 2 * k);
    *plan = (nac_fft_plan){n, steps, radices, twiddles, unpack};
    return CODEC_OK;
}

void nac_hann(size_t n, float *window)
{
    for (size_t j = 0; j < n; j++) {
        double c, s;
        nac_circle(j, 2 * n, &c, &s);
        window[j] = (float)(s * s);
    }
}

void nac_synthesis_window(size_t n, size_t hop, float *window)
{
    for (size_t j = 0; j < n; j++) {
        double c, s;
        nac_circle(2 * j + 1, 4 * n, &c, &s);
        window[j] = (float)(s * ((double)(2 * hop) / (double)n) / (double)n);
    }
}

/* The value is computed to within 700 * 2^-228 < 2^-218, and rounded then. That rounds it correctly
 * unless it lies so near to a middle between two doubles. An exact middle it is not: it would have 54
 * significant bits, but where (1 + rate / 1400)^(i / (n - 1)) is rational, its denominator divides
 * 1400 and its numerator is at most 1400 + rate. */
void nac_band_edges(size_t n, size_t sample_rate, double *edges)
{
    const nac_wide log = nac_wide_log((uint32_t)(1400 + sample_rate), 1400);
    for (size_t i = 0; i < n; i++) {
        const nac_wide part = nac_wide_over(nac_wide_times(log, (uint32_t)i), (uint32_t)(n - 1));
        const nac_wide ratio = nac_wide_subtract(nac_wide_exp(part), nac_wide_of(1));
        edges[i] = nac_wide_double(nac_wide_times(ratio, 700));
    }
}

static double within_one(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

int nac_band_weights(const double *edges, size_t n_bands, size_t n_fft, size_t sample_rate,
                     int *band, float *lower, float *upper)
{
    for (size_t i = 1; i < n_bands; i++)
        if (!(edges[i - 1] < edges[i])) return 0;
    size_t above = 0; /* the first edge that is not below the bin */
    for (size_t k = 0; k <= n_fft / 2; k++) {
        const double hertz = (double)k * ((double)sample_rate / (double)n_fft);
        while (above < n_bands && edges[above] < hertz) above++;
        const size_t high = above < 1 ? 1 : above > n_bands - 1 ? n_bands - 1 : above;
        const double from = edges[high - 1], to = edges[high];
        const double weight = within_one((hertz - from) / (to - from));
        band[k] = (int)(high - 1);
        lower[k] = (float)(1.0 - weight);
        upper[k] = (float)weight;
    }
    return 1;
}
