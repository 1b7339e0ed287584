#include "rvq.h"

#include <string.h>

#include "common/fp_env.h"
#include "rvq_screen.h"
#include "rvq_tile.h"

size_t nac_rvq_panels_size(size_t levels, size_t codewords, size_t dim)
{
    return levels * nac_rvq_panels(codewords) * dim * NAC_RVQ_PANEL;
}

size_t nac_rvq_half_size(size_t levels, size_t codewords)
{
    return levels * nac_rvq_panels(codewords) * NAC_RVQ_PANEL;
}

/* Residuals, those of them that the screen left, what the search remembers of each, the screen's. */
size_t nac_rvq_scratch_size(size_t dim)
{
    return NAC_RVQ_CHUNK * (2 * dim + 2 * NAC_RVQ_PANEL) + nac_aligned_floats(nac_rvq_screen_scratch(dim));
}

ALWAYS_INLINE void pack(const nac_rvq_plan *plan, const float *codebooks)
{
    const size_t K = plan->codewords, D = plan->dim, panels = nac_rvq_panels(K);

    for (size_t level = 0; level < plan->levels; level++) {
        for (size_t p = 0; p < panels; p++) {
            float *panel = plan->panels + (level * panels + p) * D * NAC_RVQ_PANEL;
            float *half = plan->half + (level * panels + p) * NAC_RVQ_PANEL;
            const size_t first = p * NAC_RVQ_PANEL;
            const size_t here = K - first < NAC_RVQ_PANEL ? K - first : NAC_RVQ_PANEL;
            const float *words = codebooks + (level * K + first) * D;
            float norm[NAC_RVQ_PANEL] = {0};

            for (size_t d = 0; d < D; d++) {
                float *row = panel + d * NAC_RVQ_PANEL;
                for (size_t c = 0; c < here; c++) row[c] = words[c * D + d];
                for (size_t c = here; c < NAC_RVQ_PANEL; c++) row[c] = 0.0f;
                VECTORISE
                for (int c = 0; c < NAC_RVQ_PANEL; c++)
                    norm[c] = __builtin_fmaf(row[c], row[c], norm[c]);
            }
            for (size_t c = 0; c < NAC_RVQ_PANEL; c++)
                half[c] = c < here ? 0.5f * norm[c] : __builtin_inff();
        }
    }
}

static void pack_scalar(const nac_rvq_plan *plan, const float *codebooks) { pack(plan, codebooks); }

#if NAC_X86
/* Packing moves memory: wider vectors than AVX2's would not help. */
TARGET_AVX2 static void pack_avx2(const nac_rvq_plan *plan, const float *codebooks)
{
    pack(plan, codebooks);
}
#endif

void nac_rvq_pack(const nac_rvq_plan *plan, nac_isa isa)
{
    const nac_fp_env caller = nac_fp_env_enter();
#if NAC_X86
    if (isa >= NAC_ISA_AVX2)
        pack_avx2(plan, plan->codebooks);
    else
#else
    (void)isa;
#endif
        pack_scalar(plan, plan->codebooks);
    if (plan->screen)
        nac_bounds_pack(plan->screen, plan->levels, plan->codewords, plan->dim, plan->codebooks,
                        plan->half, nac_rvq_panels(plan->codewords) * NAC_RVQ_PANEL);
    nac_fp_env_leave(caller);
}

/* The lowest score that each lane of a panel has seen for a residual, and in which panel. */
typedef struct {
    float score[NAC_RVQ_PANEL];
    int32_t panel[NAC_RVQ_PANEL];
} lanes;

/* Scores `rows` residuals against panel p, and keeps the lower ones: strict `<`, so that a lane keeps
 * its first lowest panel. */
ALWAYS_INLINE void score(const int rows, const int cols, const float *restrict panel,
                         const float *restrict half, int32_t p, size_t dim, const float *restrict x,
                         lanes *restrict best)
{
    float dot[NAC_RVQ_MAX_ROWS * NAC_RVQ_PANEL];
    for (int c = 0; c < NAC_RVQ_PANEL; c += cols) nac_rvq_tile(rows, cols, dim, x, panel + c, dot + c);
    for (int r = 0; r < rows; r++) {
        VECTORISE
        for (int c = 0; c < NAC_RVQ_PANEL; c++) {
            const float found = half[c] - dot[r * NAC_RVQ_PANEL + c], before = best[r].score[c];
            const int32_t lower = -(int32_t)(found < before); /* all bits, or none */
            best[r].panel[c] = (lower & p) | (~lower & best[r].panel[c]);
            best[r].score[c] = found < before ? found : before;
        }
    }
}

/* Of lanes that tie, the lowest panel wins, and in the same panel the lowest lane: that is the
 * lowest k. Where no score is below infinity, it is codeword 0. */
ALWAYS_INLINE int32_t lowest(const lanes *best)
{
    float low = __builtin_inff();
    int32_t k = 0;
    for (int c = 0; c < NAC_RVQ_PANEL; c++) {
        const int32_t candidate = best->panel[c] * NAC_RVQ_PANEL + c;
        if (best->score[c] < low || (best->score[c] == low && candidate < k)) {
            low = best->score[c];
            k = candidate;
        }
    }
    return k;
}

/* The codes of `tiled` residuals at one level, a panel at a time against all of them: it stays in the
 * first-level cache. */
ALWAYS_INLINE void search(const int rows, const int cols, const nac_rvq_plan *plan, size_t level,
                          const float *x, size_t tiled, uint16_t *codes, lanes *best)
{
    const size_t D = plan->dim, panels = nac_rvq_panels(plan->codewords);
    const float *words = plan->panels + level * panels * D * NAC_RVQ_PANEL;
    const float *half = plan->half + level * panels * NAC_RVQ_PANEL;

    for (size_t row = 0; row < tiled; row++)
        for (int c = 0; c < NAC_RVQ_PANEL; c++)
            best[row].score[c] = __builtin_inff(), best[row].panel[c] = 0;
    for (size_t p = 0; p < panels; p++)
        for (size_t row = 0; row < tiled; row += (size_t)rows)
            score(rows, cols, words + p * D * NAC_RVQ_PANEL, half + p * NAC_RVQ_PANEL, (int32_t)p,
                  D, x + row * D, best + row);
    for (size_t row = 0; row < tiled; row++) codes[row] = (uint16_t)lowest(best + row);
}

ALWAYS_INLINE void encode(const int rows, const int cols, const nac_rvq_plan *plan,
                          const void *screen, size_t levels, const float *latents, size_t n,
                          uint16_t *codes, float *scratch)
{
    const size_t K = plan->codewords, D = plan->dim;
    lanes *best = (lanes *)scratch;
    float *x = scratch + NAC_RVQ_CHUNK * sizeof(lanes) / sizeof *scratch;
    float *aside = x + NAC_RVQ_CHUNK * D, *rest = aside + NAC_RVQ_CHUNK * D;
    uint16_t found[NAC_RVQ_CHUNK], again[NAC_RVQ_CHUNK], left[NAC_RVQ_CHUNK];

    for (size_t start = 0; start < n; start += NAC_RVQ_CHUNK) {
        const size_t here = n - start < NAC_RVQ_CHUNK ? n - start : NAC_RVQ_CHUNK;
        memcpy(x, latents + start * D, here * D * sizeof *x);

        for (size_t level = 0; level < levels; level++) {
            const float *words = plan->codebooks + level * K * D;
            if (!screen) {
                search(rows, cols, plan, level, x, nac_rvq_whole_tiles(rows, x, here, D), found, best);
            } else {
                const float *half = plan->half + level * nac_rvq_panels(K) * NAC_RVQ_PANEL;
                const size_t n_left = nac_rvq_screen_search(screen, level, K, D, words, half, x,
                                                            here, found, left, rest);
                for (size_t i = 0; i < n_left; i++)
                    memcpy(aside + i * D, x + left[i] * D, D * sizeof *x);
                if (n_left)
                    search(rows, cols, plan, level, aside, nac_rvq_whole_tiles(rows, aside, n_left, D), again,
                           best);
                for (size_t i = 0; i < n_left; i++) found[left[i]] = again[i];
            }
            for (size_t row = 0; row < here; row++) {
                const float *word = words + found[row] * D;
                codes[level * n + start + row] = found[row];
                for (size_t d = 0; d < D; d++) x[row * D + d] -= word[d];
            }
        }
    }
}

/* One or two vectors, as a stream has them, would fill a third of a tile: a row at a time. */
static void encode_scalar(const nac_rvq_plan *plan, size_t levels, const float *latents, size_t n,
                          uint16_t *codes, float *scratch)
{
    if (n < 3)
        encode(1, 32, plan, NULL, levels, latents, n, codes, scratch);
    else
        encode(6, 16, plan, NULL, levels, latents, n, codes, scratch);
}

#if NAC_X86
TARGET_AVX2 static void encode_avx2(const nac_rvq_plan *plan, size_t levels, const float *latents,
                                    size_t n, uint16_t *codes, float *scratch)
{
    if (n < 3)
        encode(1, 32, plan, NULL, levels, latents, n, codes, scratch);
    else
        encode(6, 16, plan, NULL, levels, latents, n, codes, scratch);
}

TARGET_AVX512 static void encode_avx512(const nac_rvq_plan *plan, size_t levels,
                                        const float *latents, size_t n, uint16_t *codes,
                                        float *scratch)
{
    if (n < 3)
        encode(1, 32, plan, plan->screen, levels, latents, n, codes, scratch);
    else
        encode(12, 32, plan, plan->screen, levels, latents, n, codes, scratch);
}
#endif

void nac_rvq_encode(const nac_rvq_plan *plan, nac_isa isa, size_t levels, const float *latents,
                    size_t n, uint16_t *codes, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
#if NAC_X86
    if (isa == NAC_ISA_AVX512)
        encode_avx512(plan, levels, latents, n, codes, scratch);
    else if (isa == NAC_ISA_AVX2)
        encode_avx2(plan, levels, latents, n, codes, scratch);
    else
#else
    (void)isa;
#endif
        encode_scalar(plan, levels, latents, n, codes, scratch);
    nac_fp_env_leave(caller);
}

void nac_rvq_encode_once(const nac_rvq_plan *plan, nac_isa isa, float *latents, size_t n,
                         uint16_t *codes, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const size_t D = plan->dim;
    nac_rvq_plan one = *plan;
    one.levels = 1, one.screen = NULL;
    for (size_t level = 0; level < plan->levels; level++, codes += n) {
        nac_rvq_pack(&one, isa);
        nac_rvq_encode(&one, isa, 1, latents, n, codes, scratch);
        for (size_t i = 0; i < n; i++)
            for (size_t d = 0; d < D; d++) latents[i * D + d] -= one.codebooks[codes[i] * D + d];
        one.codebooks += plan->codewords * D;
    }
    nac_fp_env_leave(caller);
}

void nac_rvq_decode(const float *codebooks, size_t codewords, size_t dim, size_t levels,
                    const uint16_t *codes, size_t n, float *out)
{
    const nac_fp_env caller = nac_fp_env_enter();
    memset(out, 0, n * dim * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        float *row = out + i * dim;
        for (size_t level = 0; level < levels; level++) {
            const float *word = codebooks + (level * codewords + codes[level * n + i]) * dim;
            for (size_t d = 0; d < dim; d++) row[d] += word[d];
        }
    }
    nac_fp_env_leave(caller);
}
