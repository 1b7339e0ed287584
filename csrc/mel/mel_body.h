/* The body of nac_mel_run, for one number of MEL_LANES: frames that are computed side by side. */
#include <string.h>

#include "log10.h"
#include "mel.h"
#include "rfft.h"

/* Samples of a batch of frames, transposed: with rows = min(hop, n), columns[b][r] is sample
 * r of hop b, counted from the batch's first sample, and row r of `x` holds that of all hops. Lane
 * l of a frame's sample i is then
 *     x[i % hop][i / hop + l]
 * so that a sample is moved once, however many frames it is in, and vectors are loaded unaligned. */
typedef struct {
    size_t rows, hops, stride; /* stride: `hops` rounded up to a multiple of 4 */
    int32_t *at;               /* [h][split]: where in x lane 0 of a sample is */
    float *column;             /* [stride][rows] */
    float *x;                  /* [rows][stride] */
    float *fft, *power, *mel;  /* .., [n / 2 + 2][MEL_LANES], [n_mels][MEL_LANES] */
} nac_mel_scratch;

static size_t rounded(size_t floats) { return (floats + 15) / 16 * 16; }

/* Cuts `memory` up, if there is one; returns the floats that takes. */
static size_t carve(const nac_mel_plan *plan, float *memory, nac_mel_scratch *s)
{
    const size_t n = plan->fft.n;
    s->rows = plan->hop < n ? plan->hop : n;
    s->hops = MEL_LANES + (n - 1) / plan->hop;
    s->stride = (s->hops + 3) / 4 * 4;
    const size_t sizes[] = {n,
                            s->stride * s->rows,
                            s->stride * s->rows,
                            RFFT_SIZE(&plan->fft),
                            (n / 2 + 2) * MEL_LANES,
                            plan->n_mels * MEL_LANES};
    size_t starts[6], total = 0;
    for (size_t i = 0; i < 6; i++) {
        starts[i] = total;
        total += rounded(sizes[i]);
    }
    if (memory) {
        s->at = (int32_t *)(void *)memory;
        s->column = memory + starts[1];
        s->x = memory + starts[2];
        s->fft = memory + starts[3];
        s->power = memory + starts[4];
        s->mel = memory + starts[5];
    }
    return total;
}

/* Sample i of a clip as it is continued, by zeros or by reflection at both ends,
 *
 *     x[2] x[1] | x[0] x[1] x[2] ... x[n-2] x[n-1] | x[n-2] x[n-3]
 *
 * which needs n > pad; a shorter clip counts as continued with zeros up to that first. */
static float sample(const nac_mel_plan *plan, const nac_mel_clip *clip, ptrdiff_t i)
{
    const ptrdiff_t n = (ptrdiff_t)clip->n, pad = (ptrdiff_t)plan->pad;
    if (plan->reflect) {
        const ptrdiff_t last = (n > pad ? n : pad + 1) - 1;
        if (i < 0) i = -i;
        if (i > last && i <= last + pad) i = 2 * last - i;
    }
    if (i < 0 || i >= n) return 0.0f;
    return clip->is_int16 ? 0x1p-15f * (float)((const int16_t *)clip->samples)[i]
                          : ((const float *)clip->samples)[i];
}

/* The most of the bits of |x|, which are in the order of the magnitudes, NaN above all. */
ALWAYS_INLINE uint32_t loudest(const float *restrict x, size_t n, uint32_t most)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return most;
}

/* Asks for the samples of the next frames, which come while these are computed. */
ALWAYS_INLINE void prefetch(const nac_mel_clip *clip, ptrdiff_t from, size_t n)
{
    const size_t size = clip->is_int16 ? sizeof(int16_t) : sizeof(float);
    const size_t start = from > 0 ? (size_t)from : 0;
    const size_t end = start + n < clip->n ? start + n : clip->n;
    for (size_t i = start * size; i < end * size; i += 64)
        __builtin_prefetch((const char *)clip->samples + i);
}

typedef float float4 __attribute__((vector_size(16)));

#if defined(__clang__)
#define SHUFFLE(a, b, i, j, k, m) __builtin_shufflevector(a, b, i, j, k, m)
#else
typedef int32_t int4 __attribute__((vector_size(16)));
#define SHUFFLE(a, b, i, j, k, m) __builtin_shuffle(a, b, (int4){i, j, k, m})
#endif

/* Of the rows in[0 .. 3] four values each -> four rows of `out`, `stride` floats apart. */
ALWAYS_INLINE void transpose4(const float *const in[4], float *restrict out, size_t stride)
{
    float4 a, b, c, d;
    memcpy(&a, in[0], sizeof a);
    memcpy(&b, in[1], sizeof b);
    memcpy(&c, in[2], sizeof c);
    memcpy(&d, in[3], sizeof d);
    const float4 ab0 = SHUFFLE(a, b, 0, 4, 1, 5), cd0 = SHUFFLE(c, d, 0, 4, 1, 5);
    const float4 ab2 = SHUFFLE(a, b, 2, 6, 3, 7), cd2 = SHUFFLE(c, d, 2, 6, 3, 7);
    const float4 rows[4] = {SHUFFLE(ab0, cd0, 0, 1, 4, 5), SHUFFLE(ab0, cd0, 2, 3, 6, 7),
                            SHUFFLE(ab2, cd2, 0, 1, 4, 5), SHUFFLE(ab2, cd2, 2, 3, 6, 7)};
    for (size_t i = 0; i < 4; i++) memcpy(out + i * stride, &rows[i], sizeof rows[i]);
}

/* Fills s->x with the samples from `start` on. */
ALWAYS_INLINE void gather(const nac_mel_plan *plan, const nac_mel_clip *clip,
                          const nac_mel_scratch *s, ptrdiff_t start)
{
    const size_t rows = s->rows;
    for (size_t b = 0; b < s->stride; b += 4) {
        const float *in[4];
        for (size_t j = 0; j < 4; j++) {
            const ptrdiff_t from = start + (ptrdiff_t)((b + j) * plan->hop);
            const int inside = from >= 0 && (size_t)from + rows <= clip->n;
            float *column = s->column + (b + j) * rows;
            in[j] = column;
            if (inside && !clip->is_int16) {
                in[j] = (const float *)clip->samples + from;
            } else if (inside) {
                const int16_t *samples = (const int16_t *)clip->samples + from;
                for (size_t r = 0; r < rows; r++) column[r] = 0x1p-15f * (float)samples[r];
            } else {
                for (size_t r = 0; r < rows; r++)
                    column[r] = sample(plan, clip, from + (ptrdiff_t)r);
            }
        }
        size_t r = 0;
        for (; r + 4 <= rows; r += 4) {
            const float *const four[4] = {in[0] + r, in[1] + r, in[2] + r, in[3] + r};
            transpose4(four, s->x + r * s->stride + b, s->stride);
        }
        for (; r < rows; r++)
            for (size_t j = 0; j < 4; j++) s->x[r * s->stride + b + j] = in[j][r];
    }
}

/* Bands and their levels. */
ALWAYS_INLINE void bands(const nac_mel_plan *plan, const nac_mel_scratch *s)
{
    const float *weight = plan->band_weights;
    for (size_t band = 0; band < plan->n_mels; band++) {
        const float *bins = s->power + (size_t)plan->band_start[band] * MEL_LANES;
        float *out = s->mel + band * MEL_LANES, sum[MEL_LANES] = {0};
        for (int32_t k = 0; k < plan->band_size[band]; k++, bins += MEL_LANES, weight++) {
            VECTORISE
            for (int l = 0; l < MEL_LANES; l++) sum[l] = FMA(*weight, bins[l], sum[l]);
        }
        memcpy(out, sum, sizeof sum);
    }
    if (plan->log)
        for (size_t i = 0; i < plan->n_mels * MEL_LANES; i++)
            s->mel[i] = log10_positive(s->mel[i] > plan->floor ? s->mel[i] : plan->floor);
}

/* Levels of `here` frames, scaled, to `out`; where `top` is the clip's they are yet to be raised. */
ALWAYS_INLINE void emit(const nac_mel_plan *plan, const nac_mel_clip *clip,
                        const nac_mel_scratch *s, size_t first, size_t here, float *top,
                        float *restrict out)
{
    const size_t n_mels = plan->n_mels;
    if (plan->log && plan->top != NAC_MEL_TOP_FIXED) {
        float most[MEL_LANES];
        memcpy(most, s->mel, sizeof most);
        for (size_t band = 1; band < n_mels; band++) {
            const float *level = s->mel + band * MEL_LANES;
            VECTORISE
            for (int l = 0; l < MEL_LANES; l++) most[l] = level[l] > most[l] ? level[l] : most[l];
        }
        for (size_t l = 0; l < here; l++) {
            *top = most[l] > *top ? most[l] : *top;
            most[l] = *top - plan->range;
        }
        if (plan->top == NAC_MEL_TOP_RUNNING) {
            for (size_t band = 0; band < n_mels; band++) {
                float *level = s->mel + band * MEL_LANES;
                VECTORISE
                for (int l = 0; l < MEL_LANES; l++)
                    level[l] = level[l] > most[l] ? level[l] : most[l];
            }
        }
    }
    if (plan->log) {
        const float lowest =
            plan->top == NAC_MEL_TOP_FIXED ? *top - plan->range : -__builtin_inff();
        const float scale = plan->scale, offset = plan->offset;
        for (size_t i = 0; i < n_mels * MEL_LANES; i++) {
            const float level = s->mel[i] > lowest ? s->mel[i] : lowest;
            s->mel[i] = FMA(level, scale, offset);
        }
    }
    if (!clip->frame_major) {
        for (size_t band = 0; band < n_mels; band++) {
            float *to = out + band * clip->n_frames + first;
            const float *from = s->mel + band * MEL_LANES;
            if (here == MEL_LANES)
                memcpy(to, from, MEL_LANES * sizeof *to);
            else
                for (size_t l = 0; l < here; l++) to[l] = from[l];
        }
        return;
    }
    out += first * n_mels;
    size_t band = 0;
    for (; here == MEL_LANES && band + 4 <= n_mels; band += 4) {
        const float *from = s->mel + band * MEL_LANES;
        for (size_t l = 0; l < MEL_LANES; l += 4) {
            const float *const four[4] = {from + l, from + MEL_LANES + l, from + 2 * MEL_LANES + l,
                                          from + 3 * MEL_LANES + l};
            transpose4(four, out + l * n_mels + band, n_mels);
        }
    }
    for (; band < n_mels; band++)
        for (size_t l = 0; l < here; l++) out[l * n_mels + band] = s->mel[band * MEL_LANES + l];
}

ALWAYS_INLINE int run(const nac_mel_plan *plan, const nac_mel_clip *clip, float *top, float *out,
                      void *scratch)
{
    const size_t n_fft = plan->fft.n;
    const float peak = NAC_MEL_PEAK;
    uint32_t most = 0, allowed;
    size_t scanned = clip->is_int16 ? clip->n : 0;
    nac_mel_scratch s;

    memcpy(&allowed, &peak, sizeof allowed);
    carve(plan, scratch, &s);
    for (size_t i = 0; i < n_fft; i++) {
        const size_t j = (size_t)plan->fft.order[i];
        s.at[i] = (int32_t)(j % plan->hop * s.stride + j / plan->hop);
    }
    for (size_t first = 0; first < clip->n_frames; first += MEL_LANES) {
        const size_t left = clip->n_frames - first, here = left < MEL_LANES ? left : MEL_LANES;
        const ptrdiff_t start = clip->start + (ptrdiff_t)(first * plan->hop);
        const ptrdiff_t end = start + (ptrdiff_t)((here - 1) * plan->hop + n_fft);
        if (end > (ptrdiff_t)scanned && scanned < clip->n) {
            const size_t to = (size_t)end < clip->n ? (size_t)end : clip->n;
            most = loudest((const float *)clip->samples + scanned, to - scanned, most);
            scanned = to;
        }
        gather(plan, clip, &s, start);
        prefetch(clip, end, MEL_LANES * plan->hop);
        rfft_power(&plan->fft, s.x, s.at, s.fft, s.power);
        if (plan->magnitude)
            for (size_t i = 0; i < (n_fft / 2 + 1) * MEL_LANES; i++)
                s.power[i] = __builtin_sqrtf(s.power[i]);
        bands(plan, &s);
        emit(plan, clip, &s, first, here, top, out);
    }
    if (plan->log && plan->top == NAC_MEL_TOP_CLIP) {
        /* Scaling keeps the order: what was less is less, or has become equal. */
        const float lowest = FMA(*top - plan->range, plan->scale, plan->offset);
        for (size_t i = 0; i < plan->n_mels * clip->n_frames; i++)
            out[i] = out[i] > lowest ? out[i] : lowest;
    }
    if (scanned < clip->n)
        most = loudest((const float *)clip->samples + scanned, clip->n - scanned, most);
    return most <= allowed;
}
