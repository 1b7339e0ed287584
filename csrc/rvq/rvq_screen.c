#include "rvq_screen.h"

#include <string.h>

#if NAC_X86

#if defined(__clang__)
#pragma clang attribute push(                                                     \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma,prefer-vector-width=512")
#endif
#include <immintrin.h>

/* A tile is ROWS residuals by WIDE codewords: 24 of 32 registers are sums. Scores of SPAN codewords
 * are kept at a time. A residual of more than KEEP survivors is given back. */
enum {
    LANES = 16,
    VECTORS = 4,
    WIDE = VECTORS * LANES,
    ROWS = 6,
    SPAN = 1024,
    PANELS = SPAN / WIDE
};
enum { KEEP = 48 };
enum { MAX_DIM = 4096 };

/* Of one level: bounds on all codewords, then for each half, s and |c|, then q.
 *
 *     half [K'] scale [K'] norm [K']    K' = ceil(K / 64) * 64
 *     words [K' / 64][ceil(D / 4)][64][4]      q + 128, as vpdpbusd takes one factor unsigned
 */
typedef struct {
    float ratio, largest; /* max |e| / |c|, max |c| */
    float fill[14];       /* the arrays that follow stay aligned */
} level_bounds;

static size_t padded(size_t codewords) { return nac_round_up(codewords, WIDE); }

static size_t n_steps(size_t dim) { return (dim + 3) / 4; }

static size_t level_size(size_t codewords, size_t dim)
{
    return sizeof(level_bounds) + padded(codewords) * (3 * sizeof(float) + 4 * n_steps(dim));
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

void nac_rvq_screen_pack(void *screen, size_t levels, size_t codewords, size_t dim,
                         const float *codebooks, const float *half, size_t stride)
{
    const size_t K = padded(codewords), steps = n_steps(dim);
    int8_t y[MAX_DIM];

    for (size_t level = 0; level < levels; level++) {
        char *packed = (char *)screen + level * level_size(codewords, dim);
        level_bounds *bounds = (level_bounds *)packed;
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
        *bounds = (level_bounds){.ratio = ratio * (1 + 0x1p-10f), .largest = largest};
    }
}

/* What a residual x = t y + f brings to its scores. */
typedef struct {
    float t, A;
    float two_W;    /* with the largest |c| */
    int32_t offset; /* -128 sum(y), for the 128 in q + 128 */
} terms;

/* The integers of `rows` residuals y [rows][4 * steps] with a panel: start[r] + sum (q + 128) y. */
ALWAYS_INLINE void dots(const int rows, size_t steps, const int8_t *y, const terms *x,
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
#define DEFINE_DOTS(rows)                                                                  \
    __attribute__((noinline)) static void dots_##rows(                                     \
        size_t steps, const int8_t *y, const terms *x, const uint8_t *words, __m512i *dot) \
    {                                                                                      \
        dots(rows, steps, y, x, words, dot);                                               \
    }
DEFINE_DOTS(1)
DEFINE_DOTS(2)
DEFINE_DOTS(3)
DEFINE_DOTS(6)
#undef DEFINE_DOTS

ALWAYS_INLINE void panel_dots(const int rows, size_t steps, const int8_t *y, const terms *x,
                              const uint8_t *words, __m512i *dot)
{
    switch (rows) { /* a constant */
    case 1: dots_1(steps, y, x, words, dot); break;
    case 2: dots_2(steps, y, x, words, dot); break;
    case 3: dots_3(steps, y, x, words, dot); break;
    default: dots_6(steps, y, x, words, dot);
    }
}

/* The lower bounds of `rows` residuals' scores with one panel, [rows][SPAN], and the lowest of each
 * lane, [rows][PANELS]. */
ALWAYS_INLINE void screen(const int rows, size_t steps, const int8_t *y, const terms *x,
                          const uint8_t *words, const float *half, size_t K, float *lower,
                          __m512 *lowest)
{
    __m512i dot[ROWS * VECTORS];
    panel_dots(rows, steps, y, x, words, dot);
    for (int r = 0; r < rows; r++, lower += SPAN, lowest += PANELS) {
        const __m512 t = _mm512_set1_ps(x[r].t), A = _mm512_set1_ps(x[r].A);
        __m512 low[VECTORS];
        UNROLL_ROWS
        for (int v = 0; v < VECTORS; v++) {
            const float *halves = half + v * LANES;
            const __m512 product =
                _mm512_mul_ps(_mm512_cvtepi32_ps(dot[r * VECTORS + v]), _mm512_load_ps(halves + K));
            const __m512 rough = _mm512_fnmadd_ps(t, product, _mm512_load_ps(halves));
            low[v] = _mm512_fnmadd_ps(A, _mm512_load_ps(halves + 2 * K), rough);
            _mm512_store_ps(lower + v * LANES, low[v]);
        }
        *lowest = _mm512_min_ps(_mm512_min_ps(low[0], low[1]), _mm512_min_ps(low[2], low[3]));
    }
}

typedef struct {
    size_t count;
    float low; /* the lowest lower bound */
    uint16_t k[KEEP];
    float lower[KEEP];
} survivors;

/* Adds the codewords of some panels, from index `start` on, whose lower bounds are at most the lowest
 * one and `spread`. */
static void collect(survivors *found, const float *lower, const __m512 *lowest, size_t panels,
                    size_t start, float spread)
{
    __m512 low = lowest[0];
    for (size_t p = 1; p < panels; p++) low = _mm512_min_ps(low, lowest[p]);
    const float here = _mm512_reduce_min_ps(low);
    if (here < found->low) found->low = here;
    const __m512 limit = _mm512_set1_ps(found->low + spread);

    for (size_t p = 0; p < panels; p++) {
        if (!_mm512_cmp_ps_mask(lowest[p], limit, _CMP_LE_OQ)) continue;
        for (size_t k = p * WIDE; k < (p + 1) * WIDE; k += LANES) {
            const __m512 bound = _mm512_load_ps(lower + k);
            unsigned lane = _mm512_cmp_ps_mask(bound, limit, _CMP_LE_OQ);
            for (; lane; lane &= lane - 1, found->count++) {
                if (found->count >= KEEP) continue;
                const size_t codeword = k + (size_t)__builtin_ctz(lane);
                found->k[found->count] = (uint16_t)(start + codeword);
                found->lower[found->count] = lower[codeword];
            }
        }
    }
}

/* Drops codewords that only the largest |c| let in: keeps lower <= min (lower + 2 A |c|) + 2^-119. */
static void narrow(survivors *found, float two_A, const float *norm)
{
    float limit = __builtin_inff();
    size_t count = 0;
    for (size_t i = 0; i < found->count; i++) {
        const float upper = found->lower[i] + two_A * norm[found->k[i]];
        limit = upper < limit ? upper : limit;
    }
    limit += 0x1p-119f;
    for (size_t i = 0; i < found->count; i++) {
        found->k[count] = found->k[i];
        count += found->lower[i] <= limit;
    }
    found->count = count;
}

static float dot_in_any_order(const float *x, const float *word, size_t dim)
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

/* Which of the survivors has the lowest score as defined, and the lowest index of those. */
static uint16_t decide(survivors *found, size_t dim, const float *codebook, const float *half,
                       const float *x, float two_W)
{
    float score[KEEP], low = __builtin_inff();
    for (size_t i = 0; i < found->count; i++) {
        score[i] = half[found->k[i]] - dot_in_any_order(x, codebook + found->k[i] * dim, dim);
        low = score[i] < low ? score[i] : low;
    }
    size_t count = 0;
    for (size_t i = 0; i < found->count; i++)
        if (score[i] <= low + two_W) found->k[count++] = found->k[i];
    uint16_t best = found->k[0];
    if (count == 1) return best;
    low = __builtin_inff();
    for (size_t i = 0; i < count; i++) {
        const float *word = codebook + found->k[i] * dim;
        float dot = 0;
        for (size_t d = 0; d < dim; d++) dot = __builtin_fmaf(x[d], word[d], dot);
        const float exact = half[found->k[i]] - dot;
        if (exact < low) low = exact, best = found->k[i];
    }
    return best;
}

/* lower [ROWS][SPAN], lowest [ROWS][PANELS][LANES], ROWS survivors, y [ROWS][4 * steps]. */
size_t nac_rvq_screen_scratch(size_t dim)
{
    return ROWS *
           (SPAN + PANELS * LANES + n_steps(dim) + LANES + sizeof(survivors) / sizeof(float));
}

ALWAYS_INLINE size_t search(const int rows, const void *packed, size_t codewords, size_t dim,
                            const float *codebook, const float *half, const float *x, size_t n,
                            size_t index, uint16_t *codes, uint16_t *left, float *scratch)
{
    const size_t K = padded(codewords), steps = n_steps(dim);
    const level_bounds *bounds = packed;
    const float largest = bounds->largest;
    const float *halves = (const float *)(bounds + 1), *norms = halves + 2 * K;
    const uint8_t *words = (const uint8_t *)(halves + 3 * K);
    const float unit = (float)(dim + 16) * 0x1p-23f;
    float *lower = scratch;
    __m512 *lowest = (__m512 *)(lower + ROWS * SPAN);
    survivors *found = (survivors *)(lowest + ROWS * PANELS);
    int8_t *y = (int8_t *)(found + ROWS);
    terms term[ROWS];
    size_t n_left = 0;

    for (int r = 0; r < rows; r++) {
        found[r].count = KEEP + 1;
        found[r].low = __builtin_inff();
        term[r] = (terms){0, 0, 0, 0};
        if ((size_t)r >= n) continue;
        const int8_form v = round_to_int8(x + (size_t)r * dim, dim, y + (size_t)r * steps * 4);
        if (!(v.norm < 0x1p60f)) continue;
        const float K_term = unit * (largest + v.norm);
        const float A = v.error + bounds->ratio * (v.norm + v.error) + K_term;
        found[r].count = 0;
        term[r].t = v.t, term[r].offset = -128 * v.sum;
        term[r].A = A * (1 + 0x1p-10f);
        term[r].two_W = 2 * largest * K_term * (1 + 0x1p-10f) + 0x1p-119f;
    }
    for (size_t start = 0; start < K; start += SPAN) {
        const size_t count = K - start < SPAN ? K - start : SPAN;
        for (size_t k = 0; k < count; k += WIDE)
            screen(rows, steps, y, term, words + (start + k) * 4 * steps, halves + start + k, K,
                   lower + k, lowest + k / WIDE);
        for (int r = 0; r < rows; r++)
            if (found[r].count <= KEEP)
                collect(&found[r], lower + r * SPAN, lowest + r * PANELS, count / WIDE, start,
                        2 * term[r].A * largest + 0x1p-119f);
    }
    for (size_t r = 0; r < (size_t)rows && r < n; r++) {
        if (found[r].count > KEEP) {
            left[n_left++] = (uint16_t)(index + r);
            continue;
        }
        narrow(&found[r], 2 * term[r].A, norms);
        if (found[r].count == 1)
            codes[r] = found[r].k[0];
        else
            codes[r] = decide(&found[r], dim, codebook, half, x + r * dim, term[r].two_W);
    }
    return n_left;
}

size_t nac_rvq_screen_search(const void *screen, size_t level, size_t codewords, size_t dim,
                             const float *codebook, const float *half, const float *x, size_t n,
                             uint16_t *codes, uint16_t *left, float *scratch)
{
    const char *packed = (const char *)screen + level * level_size(codewords, dim);
    size_t n_left = 0;

    if (!(((const level_bounds *)packed)->largest < 0x1p60f)) {
        for (size_t i = 0; i < n; i++) left[i] = (uint16_t)i;
        return n;
    }
    for (size_t i = 0; i < n;) {
        const size_t rest = n - i, rows = rest > 3 ? (size_t)ROWS : rest;
        const size_t here = rest < rows ? rest : rows;
        const float *xi = x + i * dim;
        uint16_t *to = left + n_left;
        switch (rows) {
        case 1:
            n_left += search(1, packed, codewords, dim, codebook, half, xi, here, i, codes + i, to,
                             scratch);
            break;
        case 2:
            n_left += search(2, packed, codewords, dim, codebook, half, xi, here, i, codes + i, to,
                             scratch);
            break;
        case 3:
            n_left += search(3, packed, codewords, dim, codebook, half, xi, here, i, codes + i, to,
                             scratch);
            break;
        default:
            n_left += search(ROWS, packed, codewords, dim, codebook, half, xi, here, i, codes + i,
                             to, scratch);
        }
        i += here;
    }
    return n_left;
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else /* no screen, so that nothing but its sizes is ever asked for */

size_t nac_rvq_screen_size(nac_isa isa, size_t levels, size_t codewords, size_t dim)
{
    (void)isa, (void)levels, (void)codewords, (void)dim;
    return 0;
}

size_t nac_rvq_screen_scratch(size_t dim)
{
    (void)dim;
    return 0;
}

void nac_rvq_screen_pack(void *screen, size_t levels, size_t codewords, size_t dim,
                         const float *codebooks, const float *half, size_t stride)
{
    (void)screen, (void)levels, (void)codewords, (void)dim;
    (void)codebooks, (void)half, (void)stride;
}

size_t nac_rvq_screen_search(const void *screen, size_t level, size_t codewords, size_t dim,
                             const float *codebook, const float *half, const float *x, size_t n,
                             uint16_t *codes, uint16_t *left, float *scratch)
{
    (void)screen, (void)level, (void)codewords, (void)dim, (void)codebook, (void)half, (void)x;
    (void)codes, (void)left, (void)scratch;
    return n;
}

#endif
