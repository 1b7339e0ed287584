#include "encoder.h"

#include <string.h>

#include "common/fp_env.h"

/* A state's parts, in this order in its memory. */
typedef struct {
    int64_t *samples; /* received, of the stream itself */
    int64_t *held;    /* samples in `audio` */
    int64_t *stacked; /* backbone frames in `frames` */
    int64_t *done;
    backbone_state body;
    float *audio;  /* [window - 1]: from the first sample that the next frame sees */
    float *frames; /* [stack - 1][width] */
} parts;

enum { FIELDS = 4 };

/* Samples of a backbone frame, and all that it sees. */
static size_t hop_of(const encoder *net) { return net->front.hop * net->gather; }

static size_t window(const encoder *net)
{
    return net->front.left + hop_of(net) + net->front.right;
}

static parts parts_of(const encoder *net, const void *state)
{
    int64_t *fields = (int64_t *)(uintptr_t)state;
    float *floats = (float *)(fields + FIELDS + net->body.n_blocks);
    parts s = {.samples = fields, .held = fields + 1, .stacked = fields + 2, .done = fields + 3};
    s.body.have = fields + FIELDS;
    s.body.history = floats;
    s.audio = floats + backbone_history(&net->body);
    s.frames = s.audio + window(net) - 1;
    return s;
}

size_t encoder_state_size(const encoder *net)
{
    const size_t floats = backbone_history(&net->body) + window(net) - 1 +
                          (net->stack - 1) * net->body.width;
    const size_t bytes = (FIELDS + net->body.n_blocks) * sizeof(int64_t) + floats * sizeof(float);
    return (bytes + 7) / 8 * 8;
}

void encoder_reset(const encoder *net, void *state)
{
    memset(state, 0, encoder_state_size(net));
    const parts s = parts_of(net, state);
    backbone_reset(&net->body, s.body);
    *s.held = (int64_t)net->front.left;
}

int encoder_valid(const encoder *net, const void *state)
{
    const parts s = parts_of(net, state);
    return *s.samples >= 0 && *s.samples < (int64_t)1 << 60 && *s.held >= 0 &&
           *s.held < (int64_t)window(net) && *s.stacked >= 0 && *s.stacked < (int64_t)net->stack &&
           (*s.done == 0 || *s.done == 1) && backbone_valid(&net->body, s.body);
}

int encoder_done(const encoder *net, const void *state)
{
    return *parts_of(net, state).done != 0;
}

/* Backbone frames whose windows are complete once n more samples are there. */
static size_t complete(const encoder *net, size_t held, size_t n)
{
    const size_t around = net->front.left + net->front.right;
    return held + n < around ? 0 : (held + n - around) / hop_of(net);
}

static size_t token_frames(const encoder *net, const parts *s, size_t n, int flush)
{
    const size_t frames = complete(net, (size_t)*s->held, n);
    return ((size_t)*s->stacked + backbone_ready(&net->body, s->body, frames, flush)) / net->stack;
}

/* Zeros that the end of the stream adds: to a whole token frame, and as far as windows reach. */
static size_t padding(const encoder *net, const parts *s)
{
    const size_t hop = hop_of(net) * net->stack;
    return (hop - (size_t)*s->samples % hop) % hop + net->front.right;
}

size_t encoder_ready(const encoder *net, const void *state, size_t n)
{
    const parts s = parts_of(net, state);
    return token_frames(net, &s, n, 0);
}

size_t encoder_left(const encoder *net, const void *state)
{
    const parts s = parts_of(net, state);
    return token_frames(net, &s, padding(net, &s), 1);
}

/* Where scratch memory is used for what. */
typedef struct {
    float *scratch;
    size_t audio, features, x, latents, rest; /* offsets */
    size_t size;
} layout;

static size_t aligned(size_t floats) { return (floats + 15) / 16 * 16; }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static layout layout_of(const encoder *net, float *scratch)
{
    const size_t width = net->body.width, rows = net->block + net->body.lookahead;
    const size_t tokens = rows / net->stack + 1;
    const size_t before = backbone_room_before(&net->body) + net->stack - 1;
    const size_t after = backbone_room_after(&net->body);
    layout at = {.scratch = scratch};
    size_t used = 0;

    at.audio = used;
    used += aligned(window(net) - 1 + net->block * hop_of(net));
    at.features = used;
    used += aligned(net->block * net->embed.depth);
    at.x = used + before * width;
    used += (before + rows + after) * width;
    at.latents = used;
    used += aligned(tokens * (net->project.width + net->latent));
    at.rest = used;
    /* the quantiser's codes lie before its scratch, two to a float */
    used += larger(larger(analyse_scratch(&net->front),
                          aligned(backbone_scratch(&net->body, net->block))),
                   aligned(tokens * net->rvq.levels / 2 + 1) + rvq_scratch_size(net->latent));
    at.size = used;
    return at;
}

size_t encoder_scratch(const encoder *net)
{
    return layout_of(net, NULL).size;
}

/* Where results go: to `codes` if there are any, else to `latents`. */
typedef struct {
    size_t levels, stride, frame;
    uint16_t *codes;
    float *latents;
} sink;

static void quantise(const encoder *net, const layout *at, const float *latents, size_t n,
                     sink *to)
{
    float *rest = at->scratch + at->rest;
    uint16_t *codes = (uint16_t *)rest;
    float *more = rest + aligned(n * net->rvq.levels / 2 + 1);
    rvq_encode(&net->rvq, net->k->isa, to->levels, latents, n, codes, more);
    for (size_t level = 0; level < to->levels; level++)
        memcpy(to->codes + level * to->stride + to->frame, codes + level * n, n * sizeof *codes);
}

/* The network on `rows` backbone frames whose samples lie at at->audio. */
static void run(const encoder *net, const parts *s, const layout *at, size_t rows, int flush,
                sink *to)
{
    const kernels *k = net->k;
    const size_t width = net->body.width, stacked = (size_t)*s->stacked;
    float *features = at->scratch + at->features, *rest = at->scratch + at->rest;
    float *x = at->scratch + at->x;

    k->analyse(&net->front, at->scratch + at->audio, rows * net->gather, features, rest);
    k->dense(&net->embed, features, net->embed.depth, rows, x);
    rows = backbone_run(&net->body, k, s->body, x, rows, flush, rest, &x);

    x -= stacked * width;
    memcpy(x, s->frames, stacked * width * sizeof *x);
    rows += stacked;
    const size_t n = rows / net->stack, over = rows % net->stack;
    memcpy(s->frames, x + n * net->stack * width, over * width * sizeof *x);
    *s->stacked = (int64_t)over;
    if (n == 0) return;

    float *latents = at->scratch + at->latents, *packed = latents + n * net->project.width;
    k->dense(&net->project, x, net->stack * width, n, latents);
    if (to->latents) packed = to->latents + to->frame * net->latent;
    for (size_t i = 0; i < n; i++)
        memcpy(packed + i * net->latent, latents + i * net->project.width,
               net->latent * sizeof *packed);
    if (to->codes) quantise(net, at, packed, n, to);
    to->frame += n;
}

/* Takes n samples, zeros if audio is NULL, and runs the network on every frame they complete. */
static void feed(const encoder *net, const parts *s, const float *audio, size_t n, float *scratch,
                 sink *to)
{
    const layout at = layout_of(net, scratch);
    const size_t hop = hop_of(net), capacity = window(net) - 1 + net->block * hop;
    size_t held = (size_t)*s->held;
    const int few = complete(net, held, n) == 0; /* no frame: the samples only join the others */
    float *buffer = few ? s->audio : scratch + at.audio;

    if (!few) memcpy(buffer, s->audio, held * sizeof *buffer);
    while (n > 0) {
        const size_t here = n < capacity - held ? n : capacity - held;
        if (audio) {
            memcpy(buffer + held, audio, here * sizeof *buffer);
            audio += here;
        } else {
            memset(buffer + held, 0, here * sizeof *buffer);
        }
        held += here;
        n -= here;
        const size_t rows = few ? 0 : complete(net, held, 0);
        if (rows == 0) continue;
        run(net, s, &at, rows, 0, to);
        held -= rows * hop;
        memmove(buffer, buffer + rows * hop, held * sizeof *buffer);
    }
    if (!few) memcpy(s->audio, buffer, held * sizeof *buffer);
    *s->held = (int64_t)held;
}

static void push(const encoder *net, void *state, const float *audio, size_t n, float *scratch,
                 sink to)
{
    const fp_env caller = fp_env_enter();
    const parts s = parts_of(net, state);
    feed(net, &s, audio, n, scratch, &to);
    *s.samples += (int64_t)n;
    fp_env_leave(caller);
}

static void flush(const encoder *net, void *state, float *scratch, sink to)
{
    const fp_env caller = fp_env_enter();
    const parts s = parts_of(net, state);
    const layout at = layout_of(net, scratch);
    feed(net, &s, NULL, padding(net, &s), scratch, &to);
    run(net, &s, &at, 0, 1, &to);
    *s.done = 1;
    fp_env_leave(caller);
}

void encoder_push(const encoder *net, void *state, const float *audio, size_t n, size_t levels,
                  uint16_t *codes, size_t stride, float *scratch)
{
    push(net, state, audio, n, scratch, (sink){levels, stride, 0, codes, NULL});
}

void encoder_flush(const encoder *net, void *state, size_t levels, uint16_t *codes, size_t stride,
                   float *scratch)
{
    flush(net, state, scratch, (sink){levels, stride, 0, codes, NULL});
}

void encoder_push_latents(const encoder *net, void *state, const float *audio, size_t n,
                          float *latents, float *scratch)
{
    push(net, state, audio, n, scratch, (sink){0, 0, 0, NULL, latents});
}

void encoder_flush_latents(const encoder *net, void *state, float *latents, float *scratch)
{
    flush(net, state, scratch, (sink){0, 0, 0, NULL, latents});
}
