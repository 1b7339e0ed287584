#include "enhancer.h"

#include <string.h>

#include "common/fp_env.h"

_Static_assert((int)NAC_ENHANCER_AHEAD >= (int)NAC_PERIOD_LONGEST,
               "a lag after a frame's end is seen");

size_t nac_enhancer_margin(const nac_enhancer *net) { return net->plan.fft.n - net->plan.hop; }

/* Frames whose windows reach into a hop, beyond the two that it lies between, on either side. */
static size_t wings(const nac_enhancer *net) { return net->plan.fft.n / 2 / net->plan.hop - 1; }

static size_t hops_of(const nac_enhancer *net, size_t n)
{
    return (n + net->plan.hop - 1) / net->plan.hop;
}

static size_t rows_of(const nac_enhancer *net, size_t n)
{
    return hops_of(net, n) + 1 + 2 * wings(net);
}

/* Samples of all that frames see. */
static size_t length_of(const nac_enhancer *net, size_t n)
{
    return hops_of(net, n) * net->plan.hop + 2 * nac_enhancer_margin(net);
}

/* A hop is in frames up to wings + 1 before it. What a frame's network sees before it are frames, and of
 * the first of them half a window, of whose first sample the lag. */
size_t nac_enhancer_before(const nac_enhancer *net)
{
    const size_t frames = net->body.n_blocks * (net->body.taps - 1) - net->body.lookahead;
    const size_t samples = net->plan.fft.n / 2 + NAC_PERIOD_BEFORE * NAC_PERIOD_HOP;
    return wings(net) + frames + hops_of(net, samples);
}

size_t nac_enhancer_after(const nac_enhancer *net)
{
    const size_t half = net->plan.fft.n / 2;
    return wings(net) + net->body.lookahead + hops_of(net, half + NAC_ENHANCER_AHEAD);
}

/* Where scratch memory of frames is used for what. */
typedef struct {
    size_t past, future, periods, features, kept, x, factors, rest, size;
} layout;

static size_t reserve(size_t *used, size_t floats)
{
    const size_t at = *used;
    *used += nac_aligned_floats(floats);
    return at;
}

static layout layout_of(const nac_enhancer *net, size_t length, size_t rows)
{
    const size_t width = net->body.width, moments = length / NAC_PERIOD_HOP + 1;
    const size_t more = nac_backbone_room_before(&net->body) + nac_backbone_room_after(&net->body);
    size_t used = 0;
    layout at;

    at.past = reserve(&used, length);
    at.future = reserve(&used, length);
    at.periods = reserve(&used, moments * sizeof(nac_period) / sizeof(float));
    at.features = reserve(&used, rows * net->embed.depth);
    at.kept = reserve(&used, nac_kept_size(&net->plan, rows));
    at.x = reserve(&used, (more + rows) * width) + nac_backbone_room_before(&net->body) * width;
    at.factors = reserve(&used, rows * net->factors.width);
    at.rest = used;
    used += nac_aligned_floats(
        nac_larger(nac_larger(nac_periods_scratch(length), nac_enhance_scratch(&net->plan)),
                   nac_backbone_scratch(&net->body, rows)));
    at.size = used;
    return at;
}

size_t nac_enhancer_frames_scratch(const nac_enhancer *net, size_t length, size_t rows)
{
    return layout_of(net, length, rows).size;
}

/* The features of all frames, and their spectra. */
static void observe(const nac_enhancer *net, const nac_enhancer_frames *frames, const layout *at,
                    float *scratch)
{
    const nac_enhancement *plan = &net->plan;
    const size_t lead = frames->lead, depth = net->embed.depth;
    float *past = scratch + at->past, *future = scratch + at->future;
    float *features = scratch + at->features;
    nac_period *periods = (nac_period *)(void *)(scratch + at->periods);

    nac_periods(frames->audio, frames->length, periods, past, future, scratch + at->rest);
    net->k->observe(plan, frames->audio + lead, past + lead, future + lead, frames->rows, features,
                    depth, scratch + at->kept, scratch + at->rest);
    for (size_t r = 0; r < frames->rows; r++) {
        const size_t centre = lead + r * plan->hop + plan->fft.n / 2;
        const nac_period *p = periods + centre / NAC_PERIOD_HOP;
        float *last = features + r * depth + nac_features(plan);
        last[0] = (float)p->lag * (1.0f / 200.0f);
        last[1] = p->share * 4.0f;
        last[2] = p->share > 0 ? 1.0f : 0.0f;
    }
}

size_t nac_enhancer_run_frames(const nac_enhancer *net, nac_backbone_state state,
                               const nac_enhancer_frames *frames, float *mix, float *scratch)
{
    const nac_kernels *k = net->k;
    const layout at = layout_of(net, frames->length, frames->rows);
    const size_t depth = net->embed.depth, known = frames->known, rows = frames->rows - known;
    const float *features = scratch + at.features + known * depth;
    float *x = scratch + at.x;

    observe(net, frames, &at, scratch);
    k->dense(&net->embed, features, depth, rows, x);
    k->norm(&net->norm, x, rows, x);
    const size_t out =
        nac_backbone_run(&net->body, k, state, x, rows, frames->last, scratch + at.rest, &x);
    k->dense(&net->factors, x, net->body.width, out, scratch + at.factors);
    k->enhance(&net->plan, scratch + at.kept, scratch + at.factors, net->factors.width, out, mix,
               scratch + at.rest);
    return out;
}

/* Where scratch memory of a whole is used for what. */
typedef struct {
    size_t audio, history, have, mix, rest, size;
} whole_layout;

static whole_layout whole_layout_of(const nac_enhancer *net, size_t n)
{
    const size_t length = length_of(net, n);
    size_t used = 0;
    whole_layout at;

    at.audio = reserve(&used, length);
    at.history = reserve(&used, nac_backbone_history(&net->body));
    at.have = reserve(&used, net->body.n_blocks * sizeof(int64_t) / sizeof(float));
    at.mix = reserve(&used, length);
    at.rest = used;
    at.size = used + nac_enhancer_frames_scratch(net, length, rows_of(net, n));
    return at;
}

size_t nac_enhancer_scratch(const nac_enhancer *net, size_t n)
{
    return whole_layout_of(net, n).size;
}

void nac_enhancer_run(const nac_enhancer *net, const float *audio, size_t n, size_t first,
                      size_t last, float *out, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const whole_layout at = whole_layout_of(net, n);
    const size_t length = length_of(net, n), margin = nac_enhancer_margin(net);
    float *padded = scratch + at.audio, *mix = scratch + at.mix;
    const nac_backbone_state state = {(int64_t *)(void *)(scratch + at.have), scratch + at.history};
    const nac_enhancer_frames frames = {
        .audio = padded, .length = length, .rows = rows_of(net, n), .last = 1};

    memset(padded, 0, length * sizeof *padded);
    memcpy(padded + margin, audio, n * sizeof *audio);
    nac_backbone_reset(&net->body, state);
    memset(mix, 0, length * sizeof *mix);
    nac_enhancer_run_frames(net, state, &frames, mix, scratch + at.rest);
    const size_t hop = net->plan.hop, from = first * hop, to = n < last * hop ? n : last * hop;
    memcpy(out, mix + margin + from, (to - from) * sizeof *out);
    nac_fp_env_leave(caller);
}
