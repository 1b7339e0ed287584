#include "decoder.h"

#include <string.h>

#include "common/fp_env.h"
#include "kernels/seeds.h"

/* A state: these integers, then how many rows of history each block has, then floats. */
enum {
    SKIP, /* samples of the windows' reach before the stream's start, still to be dropped */
    DONE, /* whether the stream has been flushed */
    FIELDS
};

typedef struct {
    int64_t *fields;
    nac_backbone_state body;
    float *tail;     /* [planes][overlap]: what the windows so far add to samples yet to come */
    uint32_t *seeds; /* [lookahead]: of the rows that wait in the backbone */
} parts;

/* Samples that a window shares with later ones. */
static size_t overlap(const nac_decoder *net) { return net->back.fft.n - net->back.hop; }

/* Samples of a window before the hop that it is centred on. */
static size_t reach(const nac_decoder *net) { return overlap(net) / 2; }

/* Signals that the network makes: the audio, or mid and side. */
static size_t planes(const nac_decoder *net) { return net->stereo ? 2 : 1; }

static size_t frame_size(const nac_decoder *net) { return net->back.hop * net->back.per_frame; }

static parts parts_of(const nac_decoder *net, void *state)
{
    int64_t *fields = state;
    parts s = {.fields = fields, .body.have = fields + FIELDS};
    s.body.history = (float *)(s.body.have + net->body.n_blocks);
    s.tail = s.body.history + nac_backbone_history(&net->body);
    s.seeds = (uint32_t *)(s.tail + planes(net) * overlap(net));
    return s;
}

size_t nac_decoder_state_size(const nac_decoder *net)
{
    const size_t words =
        nac_backbone_history(&net->body) + planes(net) * overlap(net) + net->body.lookahead;
    const size_t bytes = (FIELDS + net->body.n_blocks) * sizeof(int64_t) + words * sizeof(float);
    return (bytes + 7) / 8 * 8;
}

void nac_decoder_reset(const nac_decoder *net, void *state)
{
    memset(state, 0, nac_decoder_state_size(net));
    const parts s = parts_of(net, state);
    nac_backbone_reset(&net->body, s.body);
    s.fields[SKIP] = (int64_t)reach(net);
}

int nac_decoder_valid(const nac_decoder *net, const void *state)
{
    const int64_t *fields = state;
    return fields[SKIP] >= 0 && fields[SKIP] <= (int64_t)reach(net) &&
           (fields[DONE] == 0 || fields[DONE] == 1) &&
           nac_backbone_valid(&net->body, fields + FIELDS);
}

int nac_decoder_done(const void *state) { return ((const int64_t *)state)[DONE] != 0; }

size_t nac_decoder_lookahead(const nac_decoder *net)
{
    return reach(net) + net->body.lookahead * frame_size(net);
}

size_t nac_decoder_context(const nac_decoder *net)
{
    const size_t layers = net->body.n_blocks * (net->body.taps - 1) - net->body.lookahead;
    const size_t token = frame_size(net) * net->stack;
    return (layers * frame_size(net) + reach(net) + token - 1) / token;
}

static size_t samples(const nac_decoder *net, const int64_t *fields, size_t n, int flush)
{
    const size_t rows = nac_backbone_ready(&net->body, fields + FIELDS, n * net->stack, flush);
    const size_t final = rows * frame_size(net) + (flush ? reach(net) : 0);
    const size_t skip = (size_t)fields[SKIP];
    return final < skip ? 0 : final - skip;
}

size_t nac_decoder_ready(const nac_decoder *net, const void *state, size_t n)
{
    return samples(net, state, n, 0);
}

size_t nac_decoder_left(const nac_decoder *net, const void *state)
{
    return samples(net, state, 0, 1);
}

/* Samples that the windows of `rows` rows reach over. */
static size_t mix_of(const nac_decoder *net, size_t rows)
{
    return rows * frame_size(net) + overlap(net);
}

/* Where scratch memory is used for what. */
typedef struct {
    float *scratch;
    size_t codes, latents, seeds, x, gains, shapes, audio, rest; /* offsets */
    size_t size;
} layout;

static layout layout_of(const nac_decoder *net, float *scratch)
{
    const size_t rows = net->block + net->body.lookahead, tokens = net->block / net->stack;
    const size_t before = nac_backbone_room_before(&net->body) * net->body.width;
    const size_t after = nac_backbone_room_after(&net->body) * net->body.width;
    layout at = {.scratch = scratch};
    size_t used = 0;

    at.codes = used;
    used += nac_aligned_floats(tokens * net->levels / 2 + 1);
    at.latents = used;
    used += nac_aligned_floats(tokens * net->latent);
    at.seeds = used;
    used += nac_aligned_floats(rows);
    at.x = used + before;
    used += before + rows * net->body.width + after;
    at.gains = used;
    used += rows * net->gain.width;
    at.shapes = used;
    used += rows * net->shape.width;
    at.audio = used;
    used += nac_aligned_floats(planes(net) * mix_of(net, rows));
    at.rest = used;
    used += nac_aligned_floats(nac_larger(nac_synthesise_scratch(&net->back),
                                          nac_backbone_scratch(&net->body, net->block)));
    at.size = used;
    return at;
}

size_t nac_decoder_scratch(const nac_decoder *net) { return layout_of(net, NULL).size; }

void nac_decoder_seeds(const nac_decoder *net, const uint16_t *codes, size_t n, size_t levels,
                       uint32_t *seeds)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t key = SEED_START;
        for (size_t level = 0; level < levels; level++) key = seed_with(key, codes[level * n + i]);
        for (size_t row = 0; row < net->stack; row++)
            seeds[i * net->stack + row] = key + (uint32_t)row;
    }
}

/* Seeds for frames of latents, which have no codes: a hash of their bits. */
static void draw_latents(const nac_decoder *net, const float *latents, size_t n, uint32_t *seeds)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t key = 0x811c9dc5u;
        for (size_t j = 0; j < net->latent; j++) {
            uint32_t bits;
            memcpy(&bits, latents + i * net->latent + j, sizeof bits);
            key = (key ^ bits) * 0x01000193u;
        }
        for (size_t row = 0; row < net->stack; row++)
            seeds[i * net->stack + row] = key + (uint32_t)row;
    }
}

/* With the mid's own, both would have the same signs. */
void nac_decoder_side_seeds(const uint32_t *seeds, size_t rows, uint32_t *side)
{
    for (size_t i = 0; i < rows; i++) side[i] = seed_with(seeds[i], SEED_SIDE);
}

size_t nac_decoder_shapes(const nac_decoder *net)
{
    return net->back.per_frame * 2 * (net->back.fft.n / 2 + 1);
}

size_t nac_decoder_gains(const nac_decoder *net) { return net->back.per_frame * net->back.bands; }

/* Writes n samples of the signals at mix. Returns where the next ones go. */
static float *give(const nac_decoder *net, const float *mix, size_t plane, size_t n, float *audio)
{
    if (!net->stereo) {
        memcpy(audio, mix, n * sizeof *audio);
        return audio + n;
    }
    const float *mid = mix, *side = mix + plane;
    for (size_t i = 0; i < n; i++) {
        audio[2 * i] = mid[i] + side[i];
        audio[2 * i + 1] = mid[i] - side[i];
    }
    return audio + 2 * n;
}

/* The network on n token frames whose latents lie at at->latents, and whose seeds lie at at->seeds
 * after room for those of the rows that wait. Returns the end of its audio. */
static float *run(const nac_decoder *net, const parts *s, const layout *at, size_t n, int flush,
                  float *audio)
{
    const nac_kernels *k = net->k;
    float *x = at->scratch + at->x, *rest = at->scratch + at->rest;
    float *gains = at->scratch + at->gains, *shapes = at->scratch + at->shapes;
    float *mix = at->scratch + at->audio;
    uint32_t *seeds = (uint32_t *)(at->scratch + at->seeds);

    memcpy(seeds, s->seeds, nac_backbone_waiting(&net->body, s->body.have) * sizeof *seeds);
    k->dense(&net->embed, at->scratch + at->latents, net->latent, n, x);
    const size_t rows =
        nac_backbone_run(&net->body, k, s->body, x, n * net->stack, flush, rest, &x);
    if (!flush)
        memcpy(s->seeds, seeds + rows,
               nac_backbone_waiting(&net->body, s->body.have) * sizeof *seeds);
    k->dense(&net->gain, x, net->body.width, rows, gains);
    k->dense(&net->shape, x, net->body.width, rows, shapes);

    const size_t fresh = rows * frame_size(net);
    for (size_t p = 0; p < planes(net); p++) {
        float *signal = mix + p * mix_of(net, rows), *tail = s->tail + p * overlap(net);
        if (p == 1) nac_decoder_side_seeds(seeds, rows, seeds);
        memcpy(signal, tail, overlap(net) * sizeof *mix);
        memset(signal + overlap(net), 0, fresh * sizeof *mix);
        k->synthesise(&net->back, shapes + p * nac_decoder_shapes(net), net->shape.width,
                      gains + p * nac_decoder_gains(net), net->gain.width, seeds, rows, signal,
                      rest);
        memcpy(tail, signal + fresh, overlap(net) * sizeof *mix);
    }

    const size_t final = fresh + (flush ? reach(net) : 0);
    const size_t skip = (size_t)s->fields[SKIP] < final ? (size_t)s->fields[SKIP] : final;
    s->fields[SKIP] -= (int64_t)skip;
    return give(net, mix + skip, mix_of(net, rows), final - skip, audio);
}

void nac_decoder_push(const nac_decoder *net, void *state, const uint16_t *codes, size_t stride,
                      size_t n, size_t levels, float *audio, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const parts s = parts_of(net, state);
    const layout at = layout_of(net, scratch);
    const size_t most = net->block / net->stack;
    uint16_t *chosen = (uint16_t *)(scratch + at.codes);
    uint32_t *seeds = (uint32_t *)(scratch + at.seeds);

    for (size_t done = 0; done < n;) {
        const size_t here = n - done < most ? n - done : most;
        for (size_t level = 0; level < levels; level++)
            memcpy(chosen + level * here, codes + level * stride + done, here * sizeof *codes);
        nac_rvq_decode(net->codebooks, net->codewords, net->latent, levels, chosen, here,
                       scratch + at.latents);
        nac_decoder_seeds(net, chosen, here, levels,
                          seeds + nac_backbone_waiting(&net->body, s.body.have));
        audio = run(net, &s, &at, here, 0, audio);
        done += here;
    }
    nac_fp_env_leave(caller);
}

void nac_decoder_push_latents(const nac_decoder *net, void *state, const float *latents, size_t n,
                              float *audio, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const parts s = parts_of(net, state);
    const layout at = layout_of(net, scratch);
    const size_t most = net->block / net->stack;
    uint32_t *seeds = (uint32_t *)(scratch + at.seeds);

    for (size_t done = 0; done < n;) {
        const size_t here = n - done < most ? n - done : most;
        memcpy(scratch + at.latents, latents + done * net->latent,
               here * net->latent * sizeof *latents);
        draw_latents(net, scratch + at.latents, here,
                     seeds + nac_backbone_waiting(&net->body, s.body.have));
        audio = run(net, &s, &at, here, 0, audio);
        done += here;
    }
    nac_fp_env_leave(caller);
}

void nac_decoder_flush(const nac_decoder *net, void *state, float *audio, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const parts s = parts_of(net, state);
    const layout at = layout_of(net, scratch);
    run(net, &s, &at, 0, 1, audio);
    s.fields[DONE] = 1;
    nac_fp_env_leave(caller);
}
