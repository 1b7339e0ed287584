#include "rvq_beam.h"

#include <string.h>

#include "common/dispatch.h"
#include "common/fp_env.h"
#include "rvq_screen_beam.h"
#include "rvq_tile.h"

enum { ROWS = NAC_RVQ_CHUNK };

/* The candidates of one vector that are kept so far, in their order. */
typedef struct {
    size_t count;
    float cost[NAC_RVQ_BEAM_MOST];
    uint32_t which[NAC_RVQ_BEAM_MOST]; /* path << 16 | codeword */
} kept;

/* The codeword that ends a path, and the path that it continues. */
typedef struct {
    uint16_t codeword, path;
} step;

/* Scratch memory. Row `vector * width + path` is that path's, of `width` paths a vector. */
typedef struct {
    float *x, *next;      /* residuals [ROWS][D] */
    float *cost;          /* [ROWS] */
    kept *best;           /* [ROWS]: of each vector */
    step *steps;          /* [levels][vector * beam + path] */
    nac_candidate *found; /* [NAC_SCREEN_BEAM_MOST] */
    float *rest;          /* for the screen */
} layout;

/* Floats of what follows the costs, up to `rest`. */
static size_t after_costs(size_t levels)
{
    const size_t bytes = ROWS * sizeof(kept) + levels * ROWS * sizeof(step) +
                         NAC_SCREEN_BEAM_MOST * sizeof(nac_candidate);
    return nac_aligned_floats(bytes / sizeof(float) + 1);
}

static layout layout_of(size_t levels, size_t dim, float *scratch)
{
    layout at;
    at.x = scratch;
    at.next = at.x + nac_aligned_floats(ROWS * dim);
    at.cost = at.next + nac_aligned_floats(ROWS * dim);
    at.best = (kept *)(at.cost + nac_aligned_floats(ROWS));
    at.steps = (step *)(at.best + ROWS);
    at.found = (nac_candidate *)(at.steps + levels * ROWS);
    at.rest = at.cost + nac_aligned_floats(ROWS) + after_costs(levels);
    return at;
}

size_t nac_rvq_beam_scratch_size(size_t levels, size_t dim)
{
    return 2 * nac_aligned_floats(ROWS * dim) + nac_aligned_floats(ROWS) + after_costs(levels) +
           nac_rvq_screen_beam_scratch(dim, NAC_RVQ_BEAM_MOST);
}

/* What a candidate must not exceed to be kept. */
static float limit_of(const kept *best, size_t beam)
{
    return best->count < beam ? __builtin_inff() : best->cost[beam - 1];
}

/* Keeps a candidate if it is among the lowest `beam`. They come in any order. */
static void keep(kept *best, size_t beam, float cost, uint32_t which)
{
    if (!(cost < __builtin_inff())) return;
    size_t i = best->count;
    if (i == beam) {
        const float last = best->cost[beam - 1];
        if (cost > last || (cost == last && which > best->which[beam - 1])) return;
        i--;
    } else {
        best->count++;
    }
    for (; i > 0; i--) {
        const float before = best->cost[i - 1];
        if (before < cost || (before == cost && best->which[i - 1] < which)) break;
        best->cost[i] = before;
        best->which[i] = best->which[i - 1];
    }
    best->cost[i] = cost;
    best->which[i] = which;
}

/* Continues all paths of `n` vectors with all codewords of one level; at->best has what is kept. A
 * panel at a time against all paths: it stays in the first-level cache. */
ALWAYS_INLINE void extend(const int rows, const int cols, const nac_rvq_plan *plan, size_t level,
                          size_t beam, size_t n, size_t width, const layout *at)
{
    const size_t D = plan->dim, panels = nac_rvq_panels(plan->codewords), live = n * width;
    const float *words = plan->panels + level * panels * D * NAC_RVQ_PANEL;
    const float *halves = plan->half + level * panels * NAC_RVQ_PANEL;
    const size_t tiled = nac_rvq_whole_tiles(rows, at->x, live, D);
    uint8_t vector[ROWS], path[ROWS];

    for (size_t v = 0; v < n; v++) {
        at->best[v].count = 0;
        for (size_t i = 0; i < width; i++)
            vector[v * width + i] = (uint8_t)v, path[v * width + i] = (uint8_t)i;
    }
    for (size_t p = 0; p < panels; p++) {
        const float *panel = words + p * D * NAC_RVQ_PANEL, *half = halves + p * NAC_RVQ_PANEL;
        for (size_t first = 0; first < tiled; first += (size_t)rows) {
            float dot[NAC_RVQ_MAX_ROWS * NAC_RVQ_PANEL];
            for (int c = 0; c < NAC_RVQ_PANEL; c += cols)
                nac_rvq_tile(rows, cols, D, at->x + first * D, panel + c, dot + c);
            for (size_t r = 0; r < (size_t)rows && first + r < live; r++) {
                kept *best = at->best + vector[first + r];
                const float cost = at->cost[first + r], limit = limit_of(best, beam);
                const uint32_t which =
                    (uint32_t)path[first + r] << 16 | (uint32_t)p * NAC_RVQ_PANEL;
                float found[NAC_RVQ_PANEL];
                int32_t any = 0;
                VECTORISE
                for (int c = 0; c < NAC_RVQ_PANEL; c++) {
                    found[c] = cost + (half[c] - dot[r * NAC_RVQ_PANEL + (size_t)c]);
                    any |= -(int32_t)(found[c] <= limit);
                }
                if (!any) continue;
                for (uint32_t c = 0; c < NAC_RVQ_PANEL; c++)
                    if (found[c] <= limit) keep(best, beam, found[c], which + c);
            }
        }
    }
}

/* As `extend`, by the screen; 0 if it cannot decide for one of the vectors. */
static int extend_screened(const nac_rvq_plan *plan, size_t level, size_t beam, size_t n,
                           size_t width, const layout *at)
{
    const size_t K = plan->codewords, D = plan->dim;
    const float *words = plan->codebooks + level * K * D;
    const float *half = plan->half + level * nac_rvq_panels(K) * NAC_RVQ_PANEL;

    for (size_t v = 0; v < n; v++) {
        const size_t count =
            nac_rvq_screen_beam(plan->screen, level, K, D, words, half, at->x + v * width * D,
                                at->cost + v * width, width, beam, at->found, at->rest);
        if (count == 0) return 0;
        at->best[v].count = 0;
        for (size_t i = 0; i < count; i++)
            keep(at->best + v, beam, at->found[i].cost, at->found[i].which);
    }
    return 1;
}

/* Makes the kept candidates the paths of the next level, which has `wider` rows a vector. Rows that
 * no candidate fills cost +inf, as all that continues them. */
ALWAYS_INLINE void advance(const nac_rvq_plan *plan, size_t level, size_t beam, size_t n,
                           size_t width, size_t wider, layout *at)
{
    const size_t D = plan->dim;
    const float *words = plan->codebooks + level * plan->codewords * D;
    float cost[ROWS];

    for (size_t v = 0; v < n; v++) {
        kept *best = at->best + v;
        if (best->count == 0) {
            best->count = 1, best->which[0] = 0;
            best->cost[0] = at->cost[v * width];
        }
        for (size_t i = 0; i < wider; i++) {
            const size_t row = v * wider + i;
            float *to = at->next + row * D;
            if (i >= best->count) {
                memset(to, 0, D * sizeof *to);
                cost[row] = __builtin_inff();
                continue;
            }
            const uint16_t k = (uint16_t)best->which[i], path = (uint16_t)(best->which[i] >> 16);
            const float *from = at->x + (v * width + path) * D, *word = words + k * D;
            for (size_t d = 0; d < D; d++) to[d] = from[d] - word[d];
            cost[row] = best->cost[i];
            at->steps[level * ROWS + v * beam + i] = (step){k, path};
        }
    }
    memcpy(at->cost, cost, n * wider * sizeof *cost);
    float *x = at->x;
    at->x = at->next, at->next = x;
}

ALWAYS_INLINE void encode(const int rows, const int cols, const int screened,
                          const nac_rvq_plan *plan, size_t levels, size_t beam,
                          const float *latents, size_t n, uint16_t *codes, float *scratch)
{
    const size_t D = plan->dim, chunk = ROWS / beam;
    layout at = layout_of(levels, D, scratch);

    for (size_t start = 0; start < n; start += chunk) {
        const size_t here = n - start < chunk ? n - start : chunk;
        memcpy(at.x, latents + start * D, here * D * sizeof *latents);
        memset(at.cost, 0, here * sizeof *at.cost);
        size_t width = 1;
        for (size_t level = 0; level < levels; level++) {
            const size_t more = width * plan->codewords, wider = more < beam ? more : beam;
            if (!screened || !extend_screened(plan, level, beam, here, width, &at))
                extend(rows, cols, plan, level, beam, here, width, &at);
            advance(plan, level, beam, here, width, wider, &at);
            width = wider;
        }
        for (size_t v = 0; v < here; v++) { /* back along path 0 */
            size_t path = 0;
            for (size_t level = levels; level-- > 0;) {
                const step last = at.steps[level * ROWS + v * beam + path];
                codes[level * n + start + v] = last.codeword;
                path = last.path;
            }
        }
    }
}

#define SEARCH(suffix, target, rows, cols, screened)                                         \
    target static void encode_##suffix(const nac_rvq_plan *plan, size_t levels, size_t beam, \
                                       const float *latents, size_t n, uint16_t *codes,      \
                                       float *scratch)                                       \
    {                                                                                        \
        encode(rows, cols, screened, plan, levels, beam, latents, n, codes, scratch);        \
    }
SEARCH(scalar, , 6, 16, 0)
#if NAC_X86
SEARCH(avx2, TARGET_AVX2, 6, 16, 0)
SEARCH(avx512, TARGET_AVX512, 12, 32, plan->screen != NULL)
#endif

void nac_rvq_beam(const nac_rvq_plan *plan, nac_isa isa, size_t levels, size_t beam,
                  const float *latents, size_t n, uint16_t *codes, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    NAC_CHOOSE(encode, isa)(plan, levels, beam, latents, n, codes, scratch);
    nac_fp_env_leave(caller);
}
