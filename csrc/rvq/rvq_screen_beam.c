#include "rvq_screen_beam.h"

#include <string.h>

#if NAC_X86

#include <immintrin.h>

NAC_VNNI_BEGIN

enum { LANES = NAC_BOUNDS_LANES, WIDE = NAC_BOUNDS_WIDE, SPAN = NAC_BOUNDS_SPAN };
enum { PANELS = NAC_BOUNDS_PANELS, MOST = NAC_SCREEN_BEAM_MOST, CHAINS = 4 };

/* Survivors in any order, with a vector to spare. */
typedef struct {
    float lower[MOST + LANES], upper[MOST + LANES]; /* L and H */
    uint32_t which[MOST + LANES];
    size_t count;
} survivors;

/* Scratch memory. */
typedef struct {
    float *lower, *lowest;   /* of scores: [PANELS][paths][WIDE], [PANELS][paths][LANES] */
    float *groups;           /* [paths][LANES]: H of the lowest of each lane */
    nac_bounds_terms *terms; /* [paths] */
    survivors *found;
    int8_t *y; /* [paths][4 * steps] */
} layout;

static size_t aligned(size_t bytes) { return nac_aligned_floats((bytes + 3) / sizeof(float)); }

static layout layout_of(size_t paths, float *scratch)
{
    layout at;
    at.lower = scratch;
    at.lowest = at.lower + paths * SPAN;
    at.groups = at.lowest + paths * PANELS * LANES;
    at.found = (survivors *)(at.groups + paths * LANES);
    at.terms = (nac_bounds_terms *)((float *)at.found + aligned(sizeof *at.found));
    at.y = (int8_t *)((float *)at.terms + aligned(paths * sizeof *at.terms));
    return at;
}

size_t nac_rvq_screen_beam_scratch(size_t dim, size_t paths)
{
    return paths * (SPAN + PANELS * LANES + LANES) + aligned(sizeof(survivors)) +
           aligned(paths * sizeof(nac_bounds_terms)) + aligned(paths * 4 * ((dim + 3) / 4));
}

/* Integers in the order of floats, and back. */
static int32_t rank_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ ((bits >> 31) & 0x7fffffff);
}

static float of_rank(int32_t rank)
{
    float x;
    rank ^= (rank >> 31) & 0x7fffffff;
    memcpy(&x, &rank, sizeof x);
    return x;
}

/* A value, of which it is not much more, that at least `wanted` of some values do not exceed: +inf if
 * there are fewer. x holds +inf up to a multiple of LANES. */
static float nearly_lowest(const float *x, size_t n, size_t wanted)
{
    __m512 least = _mm512_set1_ps(__builtin_inff()), most = _mm512_set1_ps(-__builtin_inff());
    if (n < wanted) return __builtin_inff();
    for (size_t i = 0; i < n; i += LANES) {
        least = _mm512_min_ps(least, _mm512_load_ps(x + i));
        most = _mm512_max_ps(most, _mm512_load_ps(x + i));
    }
    int64_t low = rank_of(_mm512_reduce_min_ps(least)), high = rank_of(_mm512_reduce_max_ps(most));
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const __m512 limit = _mm512_set1_ps(of_rank((int32_t)middle));
        size_t count = 0;
        for (size_t i = 0; i < n; i += LANES)
            count += (size_t)__builtin_popcount(
                _mm512_cmp_ps_mask(_mm512_load_ps(x + i), limit, _CMP_LE_OQ));
        if (count < wanted) {
            low = middle + 1;
            continue;
        }
        high = middle;
        if (count <= wanted + wanted / 8) break;
    }
    return of_rank((int32_t)high);
}

/* Fills the last vector of H. */
static void fill_up(survivors *found)
{
    _mm512_storeu_ps(found->upper + found->count, _mm512_set1_ps(__builtin_inff()));
}

/* Keeps the survivors whose L is at most the limit. */
static void narrow(survivors *found, float limit)
{
    size_t count = 0;
    for (size_t i = 0; i < found->count; i++) {
        found->lower[count] = found->lower[i];
        found->upper[count] = found->upper[i];
        found->which[count] = found->which[i];
        count += found->lower[i] <= limit;
    }
    found->count = count;
}

/* Adds the codewords of one path and one panel, from index k on, whose L is at most the limit. 0 if
 * there are too many. */
static int collect(survivors *found, const float *lower, const float *norm, float cost, float two_A,
                   float limit, uint32_t which)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (size_t v = 0; v < WIDE; v += LANES) {
        const __m512 score = _mm512_load_ps(lower + v), costs = _mm512_set1_ps(cost);
        const __m512 L = _mm512_add_ps(costs, score);
        const __mmask16 few = _mm512_cmp_ps_mask(L, _mm512_set1_ps(limit), _CMP_LE_OQ);
        if (!few) continue;
        const __m512 upper =
            _mm512_fmadd_ps(_mm512_set1_ps(two_A), _mm512_load_ps(norm + v), score);
        const __m512i index = _mm512_add_epi32(lane, _mm512_set1_epi32((int32_t)(which + v)));
        _mm512_storeu_ps(found->lower + found->count, _mm512_maskz_compress_ps(few, L));
        _mm512_storeu_ps(found->upper + found->count,
                         _mm512_maskz_compress_ps(few, _mm512_add_ps(costs, upper)));
        _mm512_storeu_si512(found->which + found->count, _mm512_maskz_compress_epi32(few, index));
        found->count += (size_t)__builtin_popcount(few);
        if (found->count > MOST) return 0;
    }
    return 1;
}

/* Bounds by a sum in any order. */
static void sharpen(survivors *found, const layout *at, size_t dim, const float *codebook,
                    const float *half, const float *x, const float *cost)
{
    for (size_t i = 0; i < found->count; i++) {
        const uint32_t path = found->which[i] >> 16, k = found->which[i] & 0xffff;
        const float score = half[k] - nac_bounds_dot(x + path * dim, codebook + k * dim, dim);
        const float W = 0.5f * at->terms[path].two_W;
        found->lower[i] = cost[path] + (score - W);
        found->upper[i] = cost[path] + (score + W);
    }
}

/* The costs of the survivors as defined: CHAINS at a time, as each operation waits for the one before
 * it in its chain. */
static void score(const survivors *from, size_t dim, const float *codebook, const float *half,
                  const float *x, const float *cost, nac_candidate *found)
{
    for (size_t i = 0; i < from->count; i += CHAINS) {
        const float *residual[CHAINS], *word[CHAINS];
        float dot[CHAINS] = {0};
        for (size_t j = 0; j < CHAINS; j++) {
            const uint32_t which = from->which[i + j < from->count ? i + j : i];
            residual[j] = x + (which >> 16) * dim;
            word[j] = codebook + (which & 0xffff) * dim;
        }
        for (size_t d = 0; d < dim; d++) {
            UNROLL_ROWS
            for (size_t j = 0; j < CHAINS; j++)
                dot[j] = __builtin_fmaf(residual[j][d], word[j][d], dot[j]);
        }
        for (size_t j = 0; j < CHAINS && i + j < from->count; j++) {
            const uint32_t which = from->which[i + j];
            found[i + j].which = which;
            found[i + j].cost = cost[which >> 16] + (half[which & 0xffff] - dot[j]);
        }
    }
}

size_t nac_rvq_screen_beam(const void *screen, size_t level, size_t codewords, size_t dim,
                           const float *codebook, const float *half, const float *x,
                           const float *cost, size_t paths, size_t beam, nac_candidate *found,
                           float *scratch)
{
    const nac_bounds_level bounds = nac_bounds_of(screen, level, codewords, dim);
    const layout at = layout_of(paths, scratch);
    float limit = 0x1p127f; /* what fills the last panel is at +inf */

    if (!(bounds.largest >= 0x1p-30f)) return 0;
    for (size_t p = 0; p < paths; p++)
        if (!(cost[p] < 0x1p100f && cost[p] > -0x1p100f) ||
            !nac_bounds_terms_of(&bounds, x + p * dim, at.y + p * 4 * bounds.steps, &at.terms[p]))
            return 0;
    at.found->count = 0;
    for (size_t start = 0; start < bounds.padded; start += SPAN) {
        const size_t count = bounds.padded - start < SPAN ? bounds.padded - start : SPAN;
        const size_t panels = count / WIDE;
        nac_bounds_lower(&bounds, paths, at.y, at.terms, start, count, at.lower, at.lowest);
        for (size_t p = 0; p < paths; p++) {
            const float *lowest = at.lowest + p * LANES;
            __m512 low = _mm512_load_ps(lowest);
            for (size_t i = 1; i < panels; i++)
                low = _mm512_min_ps(low, _mm512_load_ps(lowest + i * paths * LANES));
            const __m512 upper =
                _mm512_add_ps(low, _mm512_set1_ps(2 * at.terms[p].A * bounds.largest));
            _mm512_store_ps(at.groups + p * LANES, _mm512_add_ps(_mm512_set1_ps(cost[p]), upper));
        }
        const float here = nearly_lowest(at.groups, paths * LANES, beam);
        if (here < limit) limit = here;
        for (size_t p = 0; p < paths; p++) {
            const float *lowest = at.lowest + p * LANES, *lower = at.lower + p * WIDE;
            const __m512 costs = _mm512_set1_ps(cost[p]), most = _mm512_set1_ps(limit);
            for (size_t i = 0; i < panels; i++) {
                const __m512 L = _mm512_add_ps(costs, _mm512_load_ps(lowest + i * paths * LANES));
                if (!_mm512_cmp_ps_mask(L, most, _CMP_LE_OQ)) continue;
                const size_t k = start + i * WIDE;
                if (!collect(at.found, lower + i * paths * WIDE, bounds.norm + k, cost[p],
                             2 * at.terms[p].A, limit, (uint32_t)(p << 16 | k)))
                    return 0;
            }
        }
    }
    fill_up(at.found);
    narrow(at.found, nearly_lowest(at.found->upper, at.found->count, beam));
    sharpen(at.found, &at, dim, codebook, half, x, cost);
    fill_up(at.found);
    narrow(at.found, nearly_lowest(at.found->upper, at.found->count, beam));
    score(at.found, dim, codebook, half, x, cost, found);
    return at.found->count;
}

NAC_VNNI_END

#else

size_t nac_rvq_screen_beam_scratch(size_t dim, size_t paths)
{
    (void)dim, (void)paths;
    return 0;
}

size_t nac_rvq_screen_beam(const void *screen, size_t level, size_t codewords, size_t dim,
                           const float *codebook, const float *half, const float *x,
                           const float *cost, size_t paths, size_t beam, nac_candidate *found,
                           float *scratch)
{
    (void)screen, (void)level, (void)codewords, (void)dim, (void)codebook, (void)half, (void)x;
    (void)cost, (void)paths, (void)beam, (void)found, (void)scratch;
    return 0;
}

#endif
