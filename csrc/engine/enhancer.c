#include "enhancer.h"

#include <string.h>

#include "common/fp_env.h"
#include "periods.h"

/* Samples that frames reach over before the audio's start and after its last hop's end: a sample is in all
 * frames whose centre is nearer than half a window. */
static size_t margin(const nac_enhancer *net) { return net->plan.fft.n - net->plan.hop; }

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
    return hops_of(net, n) * net->plan.hop + 2 * margin(net);
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
    const size_t seen = nac_larger(NAC_PERIOD_LONGEST, (NAC_PERIOD_AFTER + 1) * NAC_PERIOD_HOP);
    return wings(net) + net->body.lookahead + hops_of(net, net->plan.fft.n / 2 + seen);
}

/* Where scratch memory is used for what. */
typedef struct {
    float *scratch;
    size_t audio, past, future, periods, features, kept, x, history, have, factors, mix, rest;
    size_t size;
} layout;

static size_t reserve(size_t *used, size_t floats)
{
    const size_t at = *used;
    *used += nac_aligned_floats(floats);
    return at;
}

static layout layout_of(const nac_enhancer *net, size_t n, float *scratch)
{
    const size_t rows = rows_of(net, n), length = length_of(net, n), width = net->body.width;
    const size_t moments = length / NAC_PERIOD_HOP + 1;
    layout at = {.scratch = scratch};
    size_t used = 0;

    at.audio = reserve(&used, length);
    at.past = reserve(&used, length);
    at.future = reserve(&used, length);
    at.periods = reserve(&used, moments * sizeof(nac_period) / sizeof(float));
    at.features = reserve(&used, rows * net->embed.depth);
    at.kept = reserve(&used, nac_kept_size(&net->plan, rows));
    at.x = reserve(&used, (nac_backbone_room_before(&net->body) + rows +
                           nac_backbone_room_after(&net->body)) *
                              width) +
           nac_backbone_room_before(&net->body) * width;
    at.history = reserve(&used, nac_backbone_history(&net->body));
    at.have = reserve(&used, net->body.n_blocks * sizeof(int64_t) / sizeof(float));
    at.factors = reserve(&used, rows * net->factors.width);
    at.mix = reserve(&used, length);
    at.rest = used;
    used += nac_aligned_floats(
        nac_larger(nac_larger(nac_periods_scratch(length), nac_enhance_scratch(&net->plan)),
                   nac_backbone_scratch(&net->body, rows)));
    at.size = used;
    return at;
}

size_t nac_enhancer_scratch(const nac_enhancer *net, size_t n)
{
    return layout_of(net, n, NULL).size;
}

/* The features of all frames, and their spectra. */
static void observe(const nac_enhancer *net, const layout *at, size_t rows, size_t length)
{
    const nac_enhancement *plan = &net->plan;
    float *audio = at->scratch + at->audio, *past = at->scratch + at->past;
    float *future = at->scratch + at->future, *features = at->scratch + at->features;
    nac_period *periods = (nac_period *)(void *)(at->scratch + at->periods);
    const size_t depth = net->embed.depth;

    nac_periods(audio, length, periods, past, future, at->scratch + at->rest);
    net->k->observe(plan, audio, past, future, rows, features, depth, at->scratch + at->kept,
                    at->scratch + at->rest);
    for (size_t r = 0; r < rows; r++) {
        const nac_period *p = periods + (plan->fft.n / 2 + r * plan->hop) / NAC_PERIOD_HOP;
        float *last = features + r * depth + nac_features(plan);
        last[0] = (float)p->lag * (1.0f / 200.0f);
        last[1] = p->share * 4.0f;
        last[2] = p->share > 0 ? 1.0f : 0.0f;
    }
}

void nac_enhancer_run(const nac_enhancer *net, const float *audio, size_t n, size_t first,
                      size_t last, float *out, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const nac_kernels *k = net->k;
    const layout at = layout_of(net, n, scratch);
    const size_t rows = rows_of(net, n), length = length_of(net, n), hop = net->plan.hop;
    float *x = scratch + at.x, *mix = scratch + at.mix;
    nac_backbone_state state = {(int64_t *)(void *)(scratch + at.have), scratch + at.history};

    memset(scratch + at.audio, 0, length * sizeof *scratch);
    memcpy(scratch + at.audio + margin(net), audio, n * sizeof *audio);
    observe(net, &at, rows, length);
    k->dense(&net->embed, scratch + at.features, net->embed.depth, rows, x);
    k->norm(&net->norm, x, rows, x);
    nac_backbone_reset(&net->body, state);
    nac_backbone_run(&net->body, k, state, x, rows, 1, scratch + at.rest, &x);
    k->dense(&net->factors, x, net->body.width, rows, scratch + at.factors);
    memset(mix, 0, length * sizeof *mix);
    k->enhance(&net->plan, scratch + at.kept, scratch + at.factors, net->factors.width, rows, mix,
               scratch + at.rest);
    const size_t from = first * hop, to = n < last * hop ? n : last * hop;
    memcpy(out, mix + margin(net) + from, (to - from) * sizeof *out);
    nac_fp_env_leave(caller);
}
