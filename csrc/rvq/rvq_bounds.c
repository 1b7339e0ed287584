#include "rvq_bounds.h"

#include <string.h>

enum { LANES = NAC_BOUNDS_LANES, WIDE = NAC_BOUNDS_WIDE, ROWS = NAC_BOUNDS_ROWS };
enum { VECTORS = WIDE / LANES, MAX_DIM = 4096 };

#if NAC_X86

#include <immintrin.h>

NAC_VNNI_BEGIN

/* What is before the arrays of a level, which stay aligned. q + 128 is stored, as vpdpbusd takes one
 * factor unsigned. */
typedef struct {
    float ratio, largest;
    float fill[14];
} header;

static size_t padded(size_t codewords) { return nac_round_up(codewords, WIDE); }

static size_t n_steps(size_t dim) { return (dim + 3) / 4; }

static size_t level_size(size_t codewords, size_t dim)
{
    return sizeof(header) + padded(codewords) * (3 * sizeof(float) + 4 * n_steps(dim));
}

static float larger(float a, float b) { return a > b ? a : b; }

/* At least the length of a vector whose squares sum up to `sum` in float32. */
static float length(float sum)
{
    const float root = _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(sum)));
    return root * (1 + 0x1p-10f) + 0x1p-60f;
}

/* The first `count` lanes of a vector. */
static __mmask16 lanes(size_t count)
{
    return (__mmask16)(count >= LANES ? 0xffff : (1u << count) - 1);
}

/* v as t y + f: y in [-127, 127]^D, zeros up to a multiple of 4. */
typedef struct {
    float t, norm, error; /* norm >= |v|; error >= |f|, and 0 only if f is */
    int32_t sum;          /* of y */
} int8_form;

static int8_form round_to_int8(const float *v, size_t dim, int8_t *y)
{
    __m512 high = _mm512_setzero_ps(), squares = high, errors = high, highest = high;
    __m512i sum = _mm512_setzero_si512();
    for (size_t d = 0; d < dim; d += LANES) {
        const __m512 here = _mm512_maskz_loadu_ps(lanes(dim - d), v + d);
        high = _mm512_max_ps(high, _mm512_abs_ps(here));
        squares = _mm512_fmadd_ps(here, here, squares);
    }
    const float most = larger(_mm512_reduce_max_ps(high), 0x1p-60f);
    int8_form form = {.t = most / 127, .norm = length(_mm512_reduce_add_ps(squares))};
    if (!(form.norm < 0x1p60f)) return form;
    const __m512 t = _mm512_set1_ps(form.t), inverse = _mm512_set1_ps(127 / most);
    for (size_t d = 0; d < dim; d += LANES) {
        const __m512 here = _mm512_maskz_loadu_ps(lanes(dim - d), v + d);
        const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(here, inverse));
        const __m512 error = _mm512_fnmadd_ps(t, _mm512_cvtepi32_ps(q), here);
        errors = _mm512_fmadd_ps(error, error, errors);
        highest = _mm512_max_ps(highest, _mm512_abs_ps(error));
        sum = _mm512_add_epi32(sum, q);
        _mm512_mask_cvtsepi32_storeu_epi8(y + d, lanes((dim - d + 3) / 4 * 4), q);
    }
    form.sum = _mm512_reduce_add_epi32(sum);
    if (_mm512_reduce_max_ps(highest) > 0) form.error = length(_mm512_reduce_add_ps(errors));
    return form;
}

size_t nac_rvq_screen_size(nac_isa isa, size_t levels, size_t codewords, size_t dim)
{
    if (isa != NAC_ISA_AVX512 || !nac_isa_has_vnni() || dim > MAX_DIM || codewords < WIDE) return 0;
    return levels * level_size(codewords, dim);
}

void nac_bounds_pack(void *screen, size_t levels, size_t codewords, size_t dim,
                     const float *codebooks, const float *half, size_t stride)
{
    const size_t K = padded(codewords), steps = n_steps(dim);
    int8_t y[MAX_DIM];

    for (size_t level = 0; level < levels; level++) {
        char *packed = (char *)screen + level * level_size(codewords, dim);
        header *bounds = (header *)packed;
        float *halves = (float *)(bounds + 1), *scales = halves + K, *norms = scales + K;
        uint8_t *words = (uint8_t *)(norms + K);
        float ratio = 0, largest = 0;

        for (size_t k = 0; k < K; k++) {
            uint8_t *word = words + k / WIDE * WIDE * 4 * steps + k % WIDE * 4;
            if (k >= codewords) {
                halves[k] = __builtin_inff(), scales[k] = norms[k] = 0;
                for (size_t s = 0; s < steps; s++) memset(word + s * WIDE * 4, 128, 4);
                continue;
            }
            const int8_form c = round_to_int8(codebooks + (level * codewords + k) * dim, dim, y);
            halves[k] = half[level * stride + k], scales[k] = c.t, norms[k] = c.norm;
            ratio = larger(ratio, c.error / c.norm);
            largest = larger(largest, c.norm);
            for (size_t s = 0; s < steps; s++) {
                uint32_t four;
                memcpy(&four, y + 4 * s, 4);
                four ^= 0x80808080u; /* + 128 each */
                memcpy(word + s * WIDE * 4, &four, 4);
            }
        }
        *bounds = (header){.ratio = ratio * (1 + 0x1p-10f), .largest = largest};
    }
}

nac_bounds_level nac_bounds_of(const void *screen, size_t level, size_t codewords, size_t dim)
{
    const size_t K = padded(codewords);
    const header *bounds =
        (const void *)((const char *)screen + level * level_size(codewords, dim));
    const float *half = (const float *)(bounds + 1);
    return (nac_bounds_level){.codewords = codewords,
                              .dim = dim,
                              .padded = K,
                              .steps = n_steps(dim),
                              .ratio = bounds->ratio,
                              .largest = bounds->largest,
                              .half = half,
                              .scale = half + K,
                              .norm = half + 2 * K,
                              .words = (const uint8_t *)(half + 3 * K)};
}

int nac_bounds_terms_of(const nac_bounds_level *level, const float *x, int8_t *y,
                        nac_bounds_terms *terms)
{
    const int8_form v = round_to_int8(x, level->dim, y);
    *terms = (nac_bounds_terms){0, 0, 0, 0};
    if (!(v.norm < 0x1p60f && level->largest < 0x1p60f)) return 0;
    const float K_term = (float)(level->dim + 16) * 0x1p-23f * (level->largest + v.norm);
    const float A = v.error + level->ratio * (v.norm + v.error) + K_term;
    terms->t = v.t, terms->offset = -128 * v.sum;
    terms->A = A * (1 + 0x1p-10f);
    terms->two_W = 2 * level->largest * K_term * (1 + 0x1p-10f) + 0x1p-119f;
    return 1;
}

/* The integers of `rows` residuals y [rows][4 * steps] with a panel: offset + sum (q + 128) y. A tile of
 * 6 x 64 has 24 of the 32 registers for sums. */
ALWAYS_INLINE void dots(const int rows, size_t steps, const int8_t *y, const nac_bounds_terms *x,
                        const uint8_t *words, __m512i *dot)
{
    __m512i sum[ROWS][VECTORS];
    UNROLL_ROWS
    for (int r = 0; r < rows; r++) {
        UNROLL_ROWS
        for (int v = 0; v < VECTORS; v++) sum[r][v] = _mm512_set1_epi32(x[r].offset);
    }
    for (size_t s = 0; s < steps; s++, words += WIDE * 4) {
        __m512i word[VECTORS];
        UNROLL_ROWS
        for (int v = 0; v < VECTORS; v++) word[v] = _mm512_load_si512(words + v * 64);
        UNROLL_ROWS
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, y + ((size_t)r * steps + s) * 4, 4);
            const __m512i y4 = _mm512_set1_epi32(four);
            UNROLL_ROWS
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], word[v], y4);
        }
    }
    UNROLL_ROWS
    for (int r = 0; r < rows; r++) {
        UNROLL_ROWS
        for (int v = 0; v < VECTORS; v++) dot[r * VECTORS + v] = sum[r][v];
    }
}

/* Not inlined: what follows would take registers from these loops. */
#define DEFINE_DOTS(rows)                                                                 \
    __attribute__((noinline)) static void dots_##rows(size_t steps, const int8_t *y,      \
                                                      const nac_bounds_terms *x,          \
                                                      const uint8_t *words, __m512i *dot) \
    {                                                                                     \
        dots(rows, steps, y, x, words, dot);                                              \
    }
DEFINE_DOTS(1)
DEFINE_DOTS(2)
DEFINE_DOTS(3)
DEFINE_DOTS(4)
DEFINE_DOTS(5)
DEFINE_DOTS(6)
#undef DEFINE_DOTS

static void panel_dots(size_t rows, size_t steps, const int8_t *y, const nac_bounds_terms *x,
                       const uint8_t *words, __m512i *dot)
{
    switch (rows) {
    case 1: dots_1(steps, y, x, words, dot); break;
    case 2: dots_2(steps, y, x, words, dot); break;
    case 3: dots_3(steps, y, x, words, dot); break;
    case 4: dots_4(steps, y, x, words, dot); break;
    case 5: dots_5(steps, y, x, words, dot); break;
    default: dots_6(steps, y, x, words, dot);
    }
}

/* The bounds of `rows` residuals with a panel whose first codeword is `first`. */
static void panel_bounds(const nac_bounds_level *level, size_t rows, const int8_t *y,
                         const nac_bounds_terms *x, size_t first, float *lower, float *lowest)
{
    __m512i dot[ROWS * VECTORS];
    panel_dots(rows, level->steps, y, x, level->words + first * 4 * level->steps, dot);
    for (size_t r = 0; r < rows; r++, lower += WIDE, lowest += LANES) {
        const __m512 t = _mm512_set1_ps(x[r].t), A = _mm512_set1_ps(x[r].A);
        __m512 low[VECTORS];
        UNROLL_ROWS
        for (size_t v = 0; v < VECTORS; v++) {
            const size_t k = first + v * LANES;
            const __m512 sum = _mm512_cvtepi32_ps(dot[r * VECTORS + v]);
            const __m512 product = _mm512_mul_ps(sum, _mm512_load_ps(level->scale + k));
            const __m512 rough = _mm512_fnmadd_ps(t, product, _mm512_load_ps(level->half + k));
            low[v] = _mm512_fnmadd_ps(A, _mm512_load_ps(level->norm + k), rough);
            _mm512_store_ps(lower + v * LANES, low[v]);
        }
        _mm512_store_ps(
            lowest, _mm512_min_ps(_mm512_min_ps(low[0], low[1]), _mm512_min_ps(low[2], low[3])));
    }
}

void nac_bounds_lower(const nac_bounds_level *level, size_t rows, const int8_t *y,
                      const nac_bounds_terms *x, size_t start, size_t count, float *lower,
                      float *lowest)
{
    const size_t tiles = (rows + ROWS - 1) / ROWS;
    for (size_t k = 0; k < count; k += WIDE)
        for (size_t tile = 0; tile < tiles; tile++) { /* of about the same height */
            const size_t r = tile * rows / tiles, next = (tile + 1) * rows / tiles;
            panel_bounds(level, next - r, y + r * 4 * level->steps, x + r, start + k,
                         lower + (k / WIDE * rows + r) * WIDE,
                         lowest + (k / WIDE * rows + r) * LANES);
        }
}

float nac_bounds_dot(const float *x, const float *word, size_t dim)
{
    __m512 even = _mm512_setzero_ps(), odd = even;
    size_t d = 0;
    for (; d + 2 * LANES <= dim; d += 2 * LANES) {
        even = _mm512_fmadd_ps(_mm512_loadu_ps(x + d), _mm512_loadu_ps(word + d), even);
        odd =
            _mm512_fmadd_ps(_mm512_loadu_ps(x + d + LANES), _mm512_loadu_ps(word + d + LANES), odd);
    }
    for (; d < dim; d += LANES) {
        const __mmask16 here = lanes(dim - d);
        even = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(here, x + d),
                               _mm512_maskz_loadu_ps(here, word + d), even);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
}

NAC_VNNI_END

#else /* no bounds, so that nothing but their size is ever asked for */

size_t nac_rvq_screen_size(nac_isa isa, size_t levels, size_t codewords, size_t dim)
{
    (void)isa, (void)levels, (void)codewords, (void)dim;
    return 0;
}

void nac_bounds_pack(void *screen, size_t levels, size_t codewords, size_t dim,
                     const float *codebooks, const float *half, size_t stride)
{
    (void)screen, (void)levels, (void)codewords, (void)dim;
    (void)codebooks, (void)half, (void)stride;
}

#endif
