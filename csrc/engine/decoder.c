#include "decoder.h"

#include <string.h>

#include "common/fp_env.h"

/* A state's parts, in this order in its memory. */
typedef struct {
    int64_t *skip; /* samples of the windows' reach before the stream's start, still to be dropped */
    int64_t *done;
    backbone_state body;
    float *tail;     /* [overlap]: what the windows so far add to samples yet to come */
    uint32_t *seeds; /* [lookahead]: of the rows that wait in the backbone */
} parts;

enum { FIELDS = 2 };

/* Samples that a window shares with later ones. */
static size_t overlap(const decoder *net) { return net->back.fft.n - net->back.hop; }

/* Samples of a window before the hop that it is centred on. */
static size_t reach(const decoder *net) { return overlap(net) / 2; }

static size_t frame_size(const decoder *net) { return net->back.hop * net->back.per_frame; }

static parts parts_of(const decoder *net, const void *state)
{
    int64_t *fields = (int64_t *)(uintptr_t)state;
    parts s = {.skip = fields, .done = fields + 1};
    s.body.have = fields + FIELDS;
    s.body.history = (float *)(fields + FIELDS + net->body.n_blocks);
    s.tail = s.body.history + backbone_history(&net->body);
    s.seeds = (uint32_t *)(s.tail + overlap(net));
    return s;
}

size_t decoder_state_size(const decoder *net)
{
    const size_t words = backbone_history(&net->body) + overlap(net) + net->body.lookahead;
    const size_t bytes = (FIELDS + net->body.n_blocks) * sizeof(int64_t) + words * sizeof(float);
    return (bytes + 7) / 8 * 8;
}

void decoder_reset(const decoder *net, void *state)
{
    memset(state, 0, decoder_state_size(net));
    const parts s = parts_of(net, state);
    backbone_reset(&net->body, s.body);
    *s.skip = (int64_t)reach(net);
}

int decoder_valid(const decoder *net, const void *state)
{
    const parts s = parts_of(net, state);
    return *s.skip >= 0 && *s.skip <= (int64_t)reach(net) && (*s.done == 0 || *s.done == 1) &&
           backbone_valid(&net->body, s.body);
}

int decoder_done(const decoder *net, const void *state)
{
    return *parts_of(net, state).done != 0;
}

static size_t samples(const decoder *net, const parts *s, size_t n, int flush)
{
    const size_t rows = backbone_ready(&net->body, s->body, n * net->stack, flush);
    const size_t final = rows * frame_size(net) + (flush ? reach(net) : 0);
    return final < (size_t)*s->skip ? 0 : final - (size_t)*s->skip;
}

size_t decoder_ready(const decoder *net, const void *state, size_t n)
{
    const parts s = parts_of(net, state);
    return samples(net, &s, n, 0);
}

size_t decoder_left(const decoder *net, const void *state)
{
    const parts s = parts_of(net, state);
    return samples(net, &s, 0, 1);
}

/* Where scratch memory is used for what. */
typedef struct {
    float *scratch;
    size_t codes, latents, seeds, x, gains, shapes, audio, rest; /* offsets */
    size_t size;
} layout;

static size_t aligned(size_t floats) { return (floats + 15) / 16 * 16; }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static layout layout_of(const decoder *net, float *scratch)
{
    const size_t rows = net->block + net->body.lookahead, tokens = net->block / net->stack;
    const size_t before = backbone_room_before(&net->body) * net->body.width;
    const size_t after = backbone_room_after(&net->body) * net->body.width;
    layout at = {.scratch = scratch};
    size_t used = 0;

    at.codes = used;
    used += aligned(tokens * net->levels / 2 + 1);
    at.latents = used;
    used += aligned(tokens * net->latent);
    at.seeds = used;
    used += aligned(rows);
    at.x = used + before;
    used += before + rows * net->body.width + after;
    at.gains = used;
    used += rows * net->gain.width;
    at.shapes = used;
    used += rows * net->shape.width;
    at.audio = used;
    used += aligned(rows * frame_size(net) + overlap(net));
    at.rest = used;
    used += aligned(larger(synthesise_scratch(&net->back),
                           backbone_scratch(&net->body, net->block)));
    at.size = used;
    return at;
}

size_t decoder_scratch(const decoder *net)
{
    return layout_of(net, NULL).size;
}

/* Seeds of the signs of n token frames, one for each row: a hash of the frame's codes (FNV-1a,
 * modulo 2^32), counted up within the frame. They do not depend on where in a stream it stands. */
static void draw(const decoder *net, const uint16_t *codes, size_t n, size_t levels,
                 uint32_t *seeds)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t key = 0x811c9dc5u;
        for (size_t level = 0; level < levels; level++)
            key = (key ^ codes[level * n + i]) * 0x01000193u;
        for (size_t row = 0; row < net->stack; row++)
            seeds[i * net->stack + row] = key + (uint32_t)row;
    }
}

/* The network on n token frames whose latents lie at at->latents, and whose seeds lie at at->seeds
 * after room for those of the rows that wait. Returns the end of its audio. */
static float *run(const decoder *net, const parts *s, const layout *at, size_t n, int flush,
                  float *audio)
{
    const kernels *k = net->k;
    float *x = at->scratch + at->x, *rest = at->scratch + at->rest;
    float *gains = at->scratch + at->gains, *shapes = at->scratch + at->shapes;
    float *mix = at->scratch + at->audio;
    uint32_t *seeds = (uint32_t *)(at->scratch + at->seeds);

    memcpy(seeds, s->seeds, backbone_waiting(&net->body, s->body) * sizeof *seeds);
    k->dense(&net->embed, at->scratch + at->latents, net->latent, n, x);
    const size_t rows = backbone_run(&net->body, k, s->body, x, n * net->stack, flush, rest, &x);
    if (!flush)
        memcpy(s->seeds, seeds + rows, backbone_waiting(&net->body, s->body) * sizeof *seeds);
    k->dense(&net->gain, x, net->body.width, rows, gains);
    k->dense(&net->shape, x, net->body.width, rows, shapes);

    const size_t fresh = rows * frame_size(net);
    memcpy(mix, s->tail, overlap(net) * sizeof *mix);
    memset(mix + overlap(net), 0, fresh * sizeof *mix);
    k->synthesise(&net->back, shapes, net->shape.width, gains, net->gain.width, seeds, rows, mix,
                  rest);
    memcpy(s->tail, mix + fresh, overlap(net) * sizeof *mix);

    const size_t final = fresh + (flush ? reach(net) : 0);
    const size_t skip = (size_t)*s->skip < final ? (size_t)*s->skip : final;
    memcpy(audio, mix + skip, (final - skip) * sizeof *audio);
    *s->skip -= (int64_t)skip;
    return audio + (final - skip);
}

void decoder_push(const decoder *net, void *state, const uint16_t *codes, size_t stride, size_t n,
                  size_t levels, float *audio, float *scratch)
{
    const fp_env caller = fp_env_enter();
    const parts s = parts_of(net, state);
    const layout at = layout_of(net, scratch);
    const size_t most = net->block / net->stack;
    uint16_t *chosen = (uint16_t *)(scratch + at.codes);
    uint32_t *seeds = (uint32_t *)(scratch + at.seeds);

    for (size_t done = 0; done < n;) {
        const size_t here = n - done < most ? n - done : most;
        for (size_t level = 0; level < levels; level++)
            memcpy(chosen + level * here, codes + level * stride + done, here * sizeof *codes);
        rvq_decode(net->codebooks, net->codewords, net->latent, levels, chosen, here,
                   scratch + at.latents);
        draw(net, chosen, here, levels, seeds + backbone_waiting(&net->body, s.body));
        audio = run(net, &s, &at, here, 0, audio);
        done += here;
    }
    fp_env_leave(caller);
}

void decoder_flush(const decoder *net, void *state, float *audio, float *scratch)
{
    const fp_env caller = fp_env_enter();
    const parts s = parts_of(net, state);
    const layout at = layout_of(net, scratch);
    run(net, &s, &at, 0, 1, audio);
    *s.done = 1;
    fp_env_leave(caller);
}
