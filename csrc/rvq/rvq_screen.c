#include "rvq_screen.h"

#include <string.h>

#if NAC_X86

#include <immintrin.h>

NAC_VNNI_BEGIN

/* A residual of more than KEEP survivors is given back. */
enum { LANES = NAC_BOUNDS_LANES, WIDE = NAC_BOUNDS_WIDE, ROWS = NAC_BOUNDS_ROWS };
enum { SPAN = NAC_BOUNDS_SPAN, PANELS = NAC_BOUNDS_PANELS, KEEP = 48 };

typedef struct {
    size_t count;
    float low; /* the lowest lower bound */
    uint16_t k[KEEP];
    float lower[KEEP];
} survivors;

/* Adds the codewords of some panels, from index `start` on, whose lower bounds are at most the lowest
 * one and `spread`. The panels of one residual are `rows` apart. */
static void collect(survivors *found, const float *lower, const float *lowest, size_t panels,
                    size_t rows, size_t start, float spread)
{
    __m512 low = _mm512_load_ps(lowest);
    for (size_t p = 1; p < panels; p++)
        low = _mm512_min_ps(low, _mm512_load_ps(lowest + p * rows * LANES));
    const float here = _mm512_reduce_min_ps(low);
    if (here < found->low) found->low = here;
    const __m512 limit = _mm512_set1_ps(found->low + spread);

    for (size_t p = 0; p < panels; p++, lower += rows * WIDE, lowest += rows * LANES) {
        if (!_mm512_cmp_ps_mask(_mm512_load_ps(lowest), limit, _CMP_LE_OQ)) continue;
        for (size_t k = 0; k < WIDE; k += LANES) {
            const __m512 bound = _mm512_load_ps(lower + k);
            unsigned lane = _mm512_cmp_ps_mask(bound, limit, _CMP_LE_OQ);
            for (; lane; lane &= lane - 1, found->count++) {
                if (found->count >= KEEP) continue;
                const size_t codeword = k + (size_t)__builtin_ctz(lane);
                found->k[found->count] = (uint16_t)(start + p * WIDE + codeword);
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

/* Which of the survivors has the lowest score as defined, and the lowest index of those. */
static uint16_t decide(survivors *found, size_t dim, const float *codebook, const float *half,
                       const float *x, float two_W)
{
    float score[KEEP], low = __builtin_inff();
    for (size_t i = 0; i < found->count; i++) {
        score[i] = half[found->k[i]] - nac_bounds_dot(x, codebook + found->k[i] * dim, dim);
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
           (SPAN + PANELS * LANES + (dim + 3) / 4 + LANES + sizeof(survivors) / sizeof(float));
}

size_t nac_rvq_screen_search(const void *screen, size_t level, size_t codewords, size_t dim,
                             const float *codebook, const float *half, const float *x, size_t n,
                             uint16_t *codes, uint16_t *left, float *scratch)
{
    const nac_bounds_level bounds = nac_bounds_of(screen, level, codewords, dim);
    float *lower = scratch, *lowest = lower + ROWS * SPAN;
    survivors *found = (survivors *)(lowest + ROWS * PANELS * LANES);
    int8_t *y = (int8_t *)(found + ROWS);
    size_t n_left = 0;

    for (size_t i = 0, rows; i < n; i += rows, x += rows * dim) {
        nac_bounds_terms term[ROWS];
        rows = n - i < ROWS ? n - i : ROWS;
        for (size_t r = 0; r < rows; r++) {
            const int bounded =
                nac_bounds_terms_of(&bounds, x + r * dim, y + r * bounds.steps * 4, &term[r]);
            found[r].count = bounded ? 0 : KEEP + 1;
            found[r].low = __builtin_inff();
        }
        for (size_t start = 0; start < bounds.padded; start += SPAN) {
            const size_t count = bounds.padded - start < SPAN ? bounds.padded - start : SPAN;
            nac_bounds_lower(&bounds, rows, y, term, start, count, lower, lowest);
            for (size_t r = 0; r < rows; r++)
                if (found[r].count <= KEEP)
                    collect(&found[r], lower + r * WIDE, lowest + r * LANES, count / WIDE, rows,
                            start, 2 * term[r].A * bounds.largest + 0x1p-119f);
        }
        for (size_t r = 0; r < rows; r++) {
            if (found[r].count > KEEP) {
                left[n_left++] = (uint16_t)(i + r);
                continue;
            }
            narrow(&found[r], 2 * term[r].A, bounds.norm);
            codes[i + r] = found[r].count == 1
                               ? found[r].k[0]
                               : decide(&found[r], dim, codebook, half, x + r * dim, term[r].two_W);
        }
    }
    return n_left;
}

NAC_VNNI_END

#else /* no screen, so that nothing but its scratch memory is ever asked for */

size_t nac_rvq_screen_scratch(size_t dim)
{
    (void)dim;
    return 0;
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
