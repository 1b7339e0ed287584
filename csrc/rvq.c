#include "rvq.h"

#include <string.h>

#include "fp_env.h"

/* Vectors that go through all levels together: their residuals stay in the cache, and scratch
 * memory is constant. A multiple of every tile height below. */
enum { CHUNK = 240, MAX_ROWS = 12 };

static size_t n_panels(size_t codewords) { return (codewords + RVQ_PANEL - 1) / RVQ_PANEL; }

size_t rvq_panels_size(size_t levels, size_t codewords, size_t dim)
{
    return levels * n_panels(codewords) * dim * RVQ_PANEL;
}

size_t rvq_half_size(size_t levels, size_t codewords)
{
    return levels * n_panels(codewords) * RVQ_PANEL;
}

size_t rvq_scratch_size(size_t dim) { return CHUNK * dim; }

ALWAYS_INLINE void pack(const rvq_plan *plan, const float *codebooks)
{
    const size_t K = plan->codewords, D = plan->dim, panels = n_panels(K);

    for (size_t level = 0; level < plan->levels; level++) {
        for (size_t p = 0; p < panels; p++) {
            float *panel = plan->panels + (level * panels + p) * D * RVQ_PANEL;
            float *half = plan->half + (level * panels + p) * RVQ_PANEL;
            const size_t first = p * RVQ_PANEL;
            const size_t here = K - first < RVQ_PANEL ? K - first : RVQ_PANEL;
            const float *words = codebooks + (level * K + first) * D;
            float norm[RVQ_PANEL] = {0};

            for (size_t d = 0; d < D; d++) {
                float *row = panel + d * RVQ_PANEL;
                for (size_t c = 0; c < here; c++) row[c] = words[c * D + d];
                for (size_t c = here; c < RVQ_PANEL; c++) row[c] = 0.0f;
                VECTORISE
                for (int c = 0; c < RVQ_PANEL; c++)
                    norm[c] = __builtin_fmaf(row[c], row[c], norm[c]);
            }
            for (size_t c = 0; c < RVQ_PANEL; c++)
                half[c] = c < here ? 0.5f * norm[c] : __builtin_inff();
        }
    }
}

static void pack_base(const rvq_plan *plan, const float *codebooks) { pack(plan, codebooks); }

#if CODEC_X86
/* Packing moves memory: wider vectors than AVX2's would not help. */
TARGET_AVX2 static void pack_avx2(const rvq_plan *plan, const float *codebooks)
{
    pack(plan, codebooks);
}
#endif

void rvq_pack(const rvq_plan *plan, codec_isa isa, const float *codebooks)
{
    const fp_env caller = fp_env_enter();
#if CODEC_X86
    if (isa >= ISA_AVX2)
        pack_avx2(plan, codebooks);
    else
#else
    (void)isa;
#endif
        pack_base(plan, codebooks);
    fp_env_leave(caller);
}

/* Dot products of `rows` residuals with `cols` codewords, each one chain of FMAs over d.
 *
 *               panel [D][32]                 all rows x cols sums stay in registers while d runs:
 *              +-- cols --+                   every step loads `cols` coordinates once and uses
 *            d |  c_k[d]  |                   them for each of the rows.
 *              +----------+
 *   x [rows][D] x[r][d]  ->  dot [rows][32]
 */
ALWAYS_INLINE void tile(const int rows, const int cols, size_t dim, const float *restrict x,
                        const float *restrict panel, float *restrict dot)
{
    float sum[MAX_ROWS][RVQ_PANEL];
    UNROLL_ROWS
    for (int r = 0; r < rows; r++) {
        VECTORISE
        for (int c = 0; c < cols; c++) sum[r][c] = 0.0f;
    }
    for (size_t d = 0; d < dim; d++) {
        const float *word = panel + d * RVQ_PANEL;
        UNROLL_ROWS
        for (int r = 0; r < rows; r++) {
            const float coordinate = x[(size_t)r * dim + d];
            VECTORISE
            for (int c = 0; c < cols; c++)
                sum[r][c] = __builtin_fmaf(coordinate, word[c], sum[r][c]);
        }
    }
    UNROLL_ROWS
    for (int r = 0; r < rows; r++) {
        VECTORISE
        for (int c = 0; c < cols; c++) dot[r * RVQ_PANEL + c] = sum[r][c];
    }
}

/* Codes of `rows` residuals, and the residuals that they leave. */
ALWAYS_INLINE void search(const int rows, const int cols, const float *restrict panels,
                          const float *restrict half, size_t n_panel, size_t dim,
                          float *restrict x, uint16_t *restrict codes)
{
    float best[MAX_ROWS][RVQ_PANEL];
    int32_t where[MAX_ROWS][RVQ_PANEL];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < RVQ_PANEL; c++) best[r][c] = __builtin_inff(), where[r][c] = 0;

    for (size_t p = 0; p < n_panel; p++) {
        float dot[MAX_ROWS * RVQ_PANEL];
        for (int c = 0; c < RVQ_PANEL; c += cols)
            tile(rows, cols, dim, x, panels + p * dim * RVQ_PANEL + c, dot + c);
        const float *h = half + p * RVQ_PANEL;
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < RVQ_PANEL; c++) {
                const float score = h[c] - dot[r * RVQ_PANEL + c];
                const int lower = score < best[r][c];
                best[r][c] = lower ? score : best[r][c];
                where[r][c] = lower ? (int32_t)p : where[r][c];
            }
        }
    }
    /* A lane holds its first lowest panel: strict `<` kept the earlier one. Of lanes that tie, the
     * lowest panel wins, and in the same panel the lowest lane: that is the lowest k. */
    for (int r = 0; r < rows; r++) {
        float low = __builtin_inff();
        int32_t k = 0;
        for (int c = 0; c < RVQ_PANEL; c++) {
            const int32_t candidate = where[r][c] * RVQ_PANEL + c;
            if (best[r][c] < low || (best[r][c] == low && candidate < k)) {
                low = best[r][c];
                k = candidate;
            }
        }
        codes[r] = (uint16_t)k;
        const float *word = panels + (size_t)(k / RVQ_PANEL) * dim * RVQ_PANEL + k % RVQ_PANEL;
        for (size_t d = 0; d < dim; d++) x[(size_t)r * dim + d] -= word[d * RVQ_PANEL];
    }
}

ALWAYS_INLINE void encode(const int rows, const int cols, const rvq_plan *plan, size_t levels,
                          const float *latents, size_t n, uint16_t *codes, float *scratch)
{
    const size_t D = plan->dim, panels = n_panels(plan->codewords);

    for (size_t start = 0; start < n; start += CHUNK) {
        const size_t here = n - start < CHUNK ? n - start : CHUNK;
        memcpy(scratch, latents + start * D, here * D * sizeof *scratch);
        /* The last tile may reach past the vectors: zeros there, whose codes are dropped. */
        memset(scratch + here * D, 0, (CHUNK - here) * D * sizeof *scratch);

        for (size_t level = 0; level < levels; level++) {
            for (size_t row = 0; row < here; row += (size_t)rows) {
                uint16_t found[MAX_ROWS];
                search(rows, cols, plan->panels + level * panels * D * RVQ_PANEL,
                       plan->half + level * panels * RVQ_PANEL, panels, D, scratch + row * D,
                       found);
                const size_t keep = here - row < (size_t)rows ? here - row : (size_t)rows;
                memcpy(codes + level * n + start + row, found, keep * sizeof *codes);
            }
        }
    }
}

/* Tiles that fill the registers: rows * cols / lanes sums, cols / lanes codewords, one residual.
 *     AVX-512  12 x 32: 24 + 2 + 1 of 32      AVX2  6 x 16: 12 + 2 + 1 of 16
 *     NEON      6 x 16: 24 + 4 + 1 of 32 */
static void encode_base(const rvq_plan *plan, size_t levels, const float *latents, size_t n,
                        uint16_t *codes, float *scratch)
{
    encode(6, 16, plan, levels, latents, n, codes, scratch);
}

#if CODEC_X86
TARGET_AVX2 static void encode_avx2(const rvq_plan *plan, size_t levels, const float *latents,
                                    size_t n, uint16_t *codes, float *scratch)
{
    encode(6, 16, plan, levels, latents, n, codes, scratch);
}

TARGET_AVX512 static void encode_avx512(const rvq_plan *plan, size_t levels, const float *latents,
                                        size_t n, uint16_t *codes, float *scratch)
{
    encode(12, 32, plan, levels, latents, n, codes, scratch);
}
#endif

void rvq_encode(const rvq_plan *plan, codec_isa isa, size_t levels, const float *latents, size_t n,
                uint16_t *codes, float *scratch)
{
    const fp_env caller = fp_env_enter();
#if CODEC_X86
    if (isa == ISA_AVX512)
        encode_avx512(plan, levels, latents, n, codes, scratch);
    else if (isa == ISA_AVX2)
        encode_avx2(plan, levels, latents, n, codes, scratch);
    else
#else
    (void)isa;
#endif
        encode_base(plan, levels, latents, n, codes, scratch);
    fp_env_leave(caller);
}

void rvq_decode(const float *codebooks, size_t codewords, size_t dim, size_t levels,
                const uint16_t *codes, size_t n, float *out)
{
    const fp_env caller = fp_env_enter();
    memset(out, 0, n * dim * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        float *row = out + i * dim;
        for (size_t level = 0; level < levels; level++) {
            const float *word = codebooks + (level * codewords + codes[level * n + i]) * dim;
            for (size_t d = 0; d < dim; d++) row[d] += word[d];
        }
    }
    fp_env_leave(caller);
}
