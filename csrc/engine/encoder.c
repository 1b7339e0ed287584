#include "encoder.h"

#include <string.h>

#include "common/fp_env.h"

/* A state: these integers, then how many rows of history each block has, then floats. */
enum {
    SAMPLES, /* received, of the stream itself */
    HELD,    /* samples in `audio` */
    STACKED, /* backbone frames in `frames` */
    DONE,    /* whether the stream has been flushed */
    FIELDS
};

typedef struct {
    int64_t *fields;
    nac_backbone_state body;
    float *audio;  /* [planes][window - 1]: from the first sample that the next frame sees */
    float *frames; /* [stack - 1][width] */
} parts;

/* Samples of a backbone frame, and all that it sees. */
static size_t hop_of(const nac_encoder *net) { return net->front.hop * net->gather; }

static size_t window(const nac_encoder *net)
{
    return net->front.left + hop_of(net) + net->front.right;
}

/* Signals that the network sees: the audio, or mid and side. */
static size_t planes(const nac_encoder *net) { return net->stereo ? 2 : 1; }

static parts parts_of(const nac_encoder *net, void *state)
{
    int64_t *fields = state;
    parts s = {.fields = fields, .body.have = fields + FIELDS};
    s.body.history = (float *)(s.body.have + net->body.n_blocks);
    s.audio = s.body.history + nac_backbone_history(&net->body);
    s.frames = s.audio + planes(net) * (window(net) - 1);
    return s;
}

size_t nac_encoder_state_size(const nac_encoder *net)
{
    const size_t floats = nac_backbone_history(&net->body) + planes(net) * (window(net) - 1) +
                          (net->stack - 1) * net->body.width;
    const size_t bytes = (FIELDS + net->body.n_blocks) * sizeof(int64_t) + floats * sizeof(float);
    return (bytes + 7) / 8 * 8;
}

void nac_encoder_reset(const nac_encoder *net, void *state)
{
    memset(state, 0, nac_encoder_state_size(net));
    const parts s = parts_of(net, state);
    nac_backbone_reset(&net->body, s.body);
    s.fields[HELD] = (int64_t)net->front.left;
}

int nac_encoder_valid(const nac_encoder *net, const void *state)
{
    const int64_t *fields = state;
    return fields[SAMPLES] >= 0 && fields[SAMPLES] < (int64_t)1 << 60 && fields[HELD] >= 0 &&
           fields[HELD] < (int64_t)window(net) && fields[STACKED] >= 0 &&
           fields[STACKED] < (int64_t)net->stack && (fields[DONE] == 0 || fields[DONE] == 1) &&
           nac_backbone_valid(&net->body, fields + FIELDS);
}

int nac_encoder_done(const void *state) { return ((const int64_t *)state)[DONE] != 0; }

int nac_encoder_begun(const void *state)
{
    return nac_encoder_done(state) || ((const int64_t *)state)[SAMPLES] != 0;
}

size_t nac_encoder_lookahead(const nac_encoder *net)
{
    return net->front.right + net->body.lookahead * hop_of(net);
}

size_t nac_encoder_context(const nac_encoder *net)
{
    const size_t layers = net->body.n_blocks * (net->body.taps - 1) - net->body.lookahead;
    const size_t past = layers + (net->front.left + hop_of(net) - 1) / hop_of(net);
    return (past + net->stack - 1) / net->stack;
}

/* Backbone frames whose windows are complete once n more samples are there. */
static size_t complete(const nac_encoder *net, size_t held, size_t n)
{
    const size_t around = net->front.left + net->front.right;
    return held + n < around ? 0 : (held + n - around) / hop_of(net);
}

static size_t token_frames(const nac_encoder *net, const int64_t *fields, size_t n, int flush)
{
    const size_t frames = complete(net, (size_t)fields[HELD], n);
    const size_t rows = nac_backbone_ready(&net->body, fields + FIELDS, frames, flush);
    return ((size_t)fields[STACKED] + rows) / net->stack;
}

/* Zeros that the end of the stream adds: to a whole token frame, and as far as windows reach. */
static size_t padding(const nac_encoder *net, const int64_t *fields)
{
    const size_t hop = hop_of(net) * net->stack;
    return (hop - (size_t)fields[SAMPLES] % hop) % hop + net->front.right;
}

size_t nac_encoder_ready(const nac_encoder *net, const void *state, size_t n)
{
    return token_frames(net, state, n, 0);
}

size_t nac_encoder_left(const nac_encoder *net, const void *state)
{
    return token_frames(net, state, padding(net, state), 1);
}

/* Samples of each signal in scratch memory. */
static size_t capacity_of(const nac_encoder *net)
{
    return window(net) - 1 + net->block * hop_of(net);
}

/* Where scratch memory is used for what. */
typedef struct {
    float *scratch;
    size_t audio, features, x, latents, rest; /* offsets */
    size_t size;
} layout;

static layout layout_of(const nac_encoder *net, float *scratch)
{
    const size_t width = net->body.width, rows = net->block + net->body.lookahead;
    const size_t tokens = rows / net->stack + 1;
    const size_t before = nac_backbone_room_before(&net->body) + net->stack - 1;
    const size_t after = nac_backbone_room_after(&net->body);
    layout at = {.scratch = scratch};
    size_t used = 0;

    at.audio = used;
    used += nac_aligned_floats(planes(net) * capacity_of(net));
    at.features = used;
    used += nac_aligned_floats(net->block * net->embed.depth);
    at.x = used + before * width;
    used += (before + rows + after) * width;
    at.latents = used;
    used += nac_aligned_floats(tokens * (net->project.width + net->latent));
    at.rest = used;
    /* The network first, then the quantiser, whose codes lie before its scratch, two to a float. */
    const size_t front = nac_analyse_scratch(&net->front);
    const size_t body = nac_aligned_floats(nac_backbone_scratch(&net->body, net->block));
    const size_t codes = nac_aligned_floats(tokens * net->rvq.levels / 2 + 1);
    const size_t search = nac_larger(nac_rvq_scratch_size(net->latent),
                                     nac_rvq_beam_scratch_size(net->rvq.levels, net->latent));
    used += nac_larger(nac_larger(front, body), codes + search);
    at.size = used;
    return at;
}

size_t nac_encoder_scratch(const nac_encoder *net) { return layout_of(net, NULL).size; }

/* Where results go: to `codes` if there are any, else to `latents`. */
typedef struct {
    size_t levels, beam, stride, frame;
    uint16_t *codes;
    float *latents;
} sink;

static void quantise(const nac_encoder *net, const layout *at, const float *latents, size_t n,
                     sink *to)
{
    float *rest = at->scratch + at->rest;
    uint16_t *codes = (uint16_t *)rest;
    float *more = rest + nac_aligned_floats(n * net->rvq.levels / 2 + 1);
    if (to->beam > 1)
        nac_rvq_beam(&net->rvq, net->k->isa, to->levels, to->beam, latents, n, codes, more);
    else
        nac_rvq_encode(&net->rvq, net->k->isa, to->levels, latents, n, codes, more);
    for (size_t level = 0; level < to->levels; level++)
        memcpy(to->codes + level * to->stride + to->frame, codes + level * n, n * sizeof *codes);
}

/* The network on `rows` backbone frames whose samples lie at at->audio. */
static void run(const nac_encoder *net, const parts *s, const layout *at, size_t rows, int flush,
                sink *to)
{
    const nac_kernels *k = net->k;
    const size_t width = net->body.width, stacked = (size_t)s->fields[STACKED];
    float *features = at->scratch + at->features, *rest = at->scratch + at->rest;
    float *x = at->scratch + at->x;

    k->analyse(&net->front, at->scratch + at->audio, rows * net->gather, features, rest);
    k->dense(&net->embed, features, net->embed.depth, rows, x);
    if (net->stereo) {
        k->analyse(&net->side, at->scratch + at->audio + capacity_of(net), rows * net->gather,
                   features, rest);
        k->dense_add(&net->embed_side, features, net->embed_side.depth, rows, x);
    }
    rows = nac_backbone_run(&net->body, k, s->body, x, rows, flush, rest, &x);

    x -= stacked * width;
    memcpy(x, s->frames, stacked * width * sizeof *x);
    rows += stacked;
    const size_t n = rows / net->stack, over = rows % net->stack;
    memcpy(s->frames, x + n * net->stack * width, over * width * sizeof *x);
    s->fields[STACKED] = (int64_t)over;
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

/* Appends n samples, zeros if audio is NULL, to the signals at buffer, each of which holds `held`. */
static void take(const nac_encoder *net, float *buffer, size_t plane, size_t held,
                 const float *audio, size_t n)
{
    float *mid = buffer + held, *side = mid + plane;
    if (!audio) {
        memset(mid, 0, n * sizeof *mid);
        if (net->stereo) memset(side, 0, n * sizeof *side);
    } else if (!net->stereo) {
        memcpy(mid, audio, n * sizeof *mid);
    } else {
        for (size_t i = 0; i < n; i++) {
            mid[i] = 0.5f * audio[2 * i] + 0.5f * audio[2 * i + 1];
            side[i] = 0.5f * audio[2 * i] - 0.5f * audio[2 * i + 1];
        }
    }
}

/* Takes n samples, zeros if audio is NULL, and runs the network on every frame they complete. */
static void feed(const nac_encoder *net, const parts *s, const float *audio, size_t n,
                 float *scratch, sink *to)
{
    const layout at = layout_of(net, scratch);
    const size_t hop = hop_of(net), kept = window(net) - 1, capacity = capacity_of(net);
    size_t held = (size_t)s->fields[HELD];
    const int few = complete(net, held, n) == 0; /* no frame: the samples only join the others */
    float *buffer = few ? s->audio : scratch + at.audio;
    const size_t plane = few ? kept : capacity;

    for (size_t p = 0; !few && p < planes(net); p++)
        memcpy(buffer + p * plane, s->audio + p * kept, held * sizeof *buffer);
    while (n > 0) {
        const size_t here = n < capacity - held ? n : capacity - held;
        take(net, buffer, plane, held, audio, here);
        if (audio) audio += planes(net) * here;
        held += here;
        n -= here;
        const size_t rows = few ? 0 : complete(net, held, 0);
        if (rows == 0) continue;
        run(net, s, &at, rows, 0, to);
        held -= rows * hop;
        for (size_t p = 0; p < planes(net); p++)
            memmove(buffer + p * plane, buffer + p * plane + rows * hop, held * sizeof *buffer);
    }
    for (size_t p = 0; !few && p < planes(net); p++)
        memcpy(s->audio + p * kept, buffer + p * plane, held * sizeof *buffer);
    s->fields[HELD] = (int64_t)held;
}

static void push(const nac_encoder *net, void *state, const float *audio, size_t n, float *scratch,
                 sink to)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const parts s = parts_of(net, state);
    feed(net, &s, audio, n, scratch, &to);
    s.fields[SAMPLES] += (int64_t)n;
    nac_fp_env_leave(caller);
}

static void flush(const nac_encoder *net, void *state, float *scratch, sink to)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const parts s = parts_of(net, state);
    const layout at = layout_of(net, scratch);
    feed(net, &s, NULL, padding(net, s.fields), scratch, &to);
    run(net, &s, &at, 0, 1, &to);
    s.fields[DONE] = 1;
    nac_fp_env_leave(caller);
}

void nac_encoder_push(const nac_encoder *net, void *state, const float *audio, size_t n,
                      size_t levels, size_t beam, uint16_t *codes, size_t stride, float *scratch)
{
    push(net, state, audio, n, scratch, (sink){levels, beam, stride, 0, codes, NULL});
}

void nac_encoder_flush(const nac_encoder *net, void *state, size_t levels, size_t beam,
                       uint16_t *codes, size_t stride, float *scratch)
{
    flush(net, state, scratch, (sink){levels, beam, stride, 0, codes, NULL});
}

void nac_encoder_push_latents(const nac_encoder *net, void *state, const float *audio, size_t n,
                              float *latents, float *scratch)
{
    push(net, state, audio, n, scratch, (sink){0, 0, 0, 0, NULL, latents});
}

void nac_encoder_flush_latents(const nac_encoder *net, void *state, float *latents, float *scratch)
{
    flush(net, state, scratch, (sink){0, 0, 0, 0, NULL, latents});
}
