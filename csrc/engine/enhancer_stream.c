#include "enhancer_stream.h"

#include <string.h>

#include "common/fp_env.h"

/* Frames are observed when all that they see is there. Those that wait in the network for what follows are
 * observed again when they come out of it, for their spectra:
 *
 *     held  | lead |  waiting frames' hops  |  new frames' hops  | margin | ahead |
 *
 * In the beginning, lead and margin are zeros before the audio. */

/* A state: these integers, the rows that the network's blocks have, then floats: the samples held, the
 * network's history, and the margin that is added up so far. */
enum {
    HELD,  /* samples */
    EARLY, /* hops that still come out before the audio's first */
    LEFT,  /* samples that were pushed, and have not come out */
    FIELDS
};

typedef struct {
    int64_t *fields, *have;
    float *held, *history, *mix;
} parts;

static size_t lead(void) { return NAC_PERIOD_BEFORE * NAC_PERIOD_HOP; }

/* Samples that are held before a first new frame can be observed, without those of waiting ones. */
static size_t least(const nac_enhancer *net)
{
    return lead() + net->plan.fft.n + NAC_ENHANCER_AHEAD;
}

/* One sample less than the next frame needs. */
static size_t most_held(const nac_enhancer *net)
{
    return least(net) + net->body.lookahead * net->plan.hop - 1;
}

static size_t floats_of(const nac_enhancer *net)
{
    return most_held(net) + nac_backbone_history(&net->body) + nac_enhancer_margin(net);
}

size_t nac_enhancer_stream_state_size(const nac_enhancer *net)
{
    const size_t integers = FIELDS + net->body.n_blocks;
    return integers * sizeof(int64_t) + (floats_of(net) * sizeof(float) + 7) / 8 * 8;
}

static parts parts_of(const nac_enhancer *net, void *state)
{
    int64_t *fields = state, *have = fields + FIELDS;
    float *held = (float *)(void *)(have + net->body.n_blocks);
    float *history = held + most_held(net);
    return (parts){fields, have, held, history, history + nac_backbone_history(&net->body)};
}

/* Nothing is written through the result. */
static parts parts_of_const(const nac_enhancer *net, const void *state)
{
    return parts_of(net, (void *)(uintptr_t)state);
}

void nac_enhancer_stream_reset(const nac_enhancer *net, void *state)
{
    const parts p = parts_of(net, state);
    memset(state, 0, nac_enhancer_stream_state_size(net));
    nac_backbone_reset(&net->body, (nac_backbone_state){p.have, p.history});
    p.fields[HELD] = (int64_t)(lead() + nac_enhancer_margin(net));
    p.fields[EARLY] = (int64_t)(nac_enhancer_margin(net) / net->plan.hop);
}

/* New frames that can be observed when so many samples are held, `waiting` frames among them. */
static size_t observable(const nac_enhancer *net, size_t held, size_t waiting)
{
    const size_t hop = net->plan.hop, before = least(net) + waiting * hop;
    return held < before ? 0 : (held - before) / hop + 1;
}

int nac_enhancer_stream_valid(const nac_enhancer *net, const void *states, size_t channels)
{
    const parts p = parts_of_const(net, states);
    const size_t size = nac_enhancer_stream_state_size(net);
    const size_t integers = (FIELDS + net->body.n_blocks) * sizeof(int64_t);
    for (size_t i = 1; i < channels; i++)
        if (memcmp((const char *)states + i * size, states, integers) != 0) return 0;
    if (!nac_backbone_valid(&net->body, p.have)) return 0;
    const int64_t held = p.fields[HELD], early = p.fields[EARLY], left = p.fields[LEFT];
    const int64_t hop = (int64_t)net->plan.hop, margin = (int64_t)nac_enhancer_margin(net);
    if (early < 0 || early > margin / hop || held < 0 || held > (int64_t)most_held(net)) return 0;
    /* What is held are zeros, hops of frames that came out, and all that is left. */
    if (left < 0 || left != held - (int64_t)lead() - early * hop) return 0;
    const size_t waiting = nac_backbone_waiting(&net->body, p.have);
    if (waiting && !observable(net, (size_t)held, waiting - 1)) return 0;
    return !observable(net, (size_t)held, waiting);
}

/* Hops that come out of the network when n samples are pushed. */
static size_t hops_out(const nac_enhancer *net, const parts *p, size_t n)
{
    const size_t waiting = nac_backbone_waiting(&net->body, p->have);
    const size_t rows = observable(net, (size_t)p->fields[HELD] + n, waiting);
    return nac_backbone_ready(&net->body, p->have, rows, 0);
}

size_t nac_enhancer_stream_ready(const nac_enhancer *net, const void *state, size_t n)
{
    const parts p = parts_of_const(net, state);
    const size_t hops = hops_out(net, &p, n), early = (size_t)p.fields[EARLY];
    return hops < early ? 0 : (hops - early) * net->plan.hop;
}

size_t nac_enhancer_stream_left(const nac_enhancer *net, const void *state, size_t n)
{
    return (size_t)parts_of_const(net, state).fields[LEFT] + n;
}

/* Rows and samples that a pass over at most n new samples has. */
typedef struct {
    size_t rows, room;
} extent;

static extent extent_of(const nac_enhancer *net, size_t n)
{
    const size_t hop = net->plan.hop, most = NAC_ENHANCER_SPAN * hop;
    /* A flush adds zeros to a whole hop, then what the last frames see. */
    const size_t end = hop + nac_enhancer_margin(net) + NAC_ENHANCER_AHEAD;
    const size_t room = most_held(net) + (n < most ? n : most) + end;
    return (extent){observable(net, room, 0), room};
}

size_t nac_enhancer_stream_scratch(const nac_enhancer *net, size_t n)
{
    const extent e = extent_of(net, n);
    const size_t mix = e.rows * net->plan.hop + net->plan.fft.n;
    return nac_aligned_floats(e.room) + nac_aligned_floats(mix) +
           nac_enhancer_frames_scratch(net, e.room, e.rows);
}

/* Enhances what can be of the samples that are held in `audio`, and drops of them what is not needed any
 * more. Returns the end of what it gives to out, up to all that is left. */
static float *pass(const nac_enhancer *net, const parts *p, float *audio, int last, float *out,
                   float *mix, float *scratch)
{
    const size_t hop = net->plan.hop, margin = nac_enhancer_margin(net);
    const size_t waiting = nac_backbone_waiting(&net->body, p->have);
    const size_t held = (size_t)p->fields[HELD], rows = waiting + observable(net, held, waiting);
    if (rows == waiting && !last) return out;
    const nac_enhancer_frames frames = {.audio = audio,
                                        .length = least(net) + (rows - 1) * hop,
                                        .lead = lead(),
                                        .rows = rows,
                                        .known = waiting,
                                        .last = last};
    memcpy(mix, p->mix, margin * sizeof *mix);
    memset(mix + margin, 0, rows * hop * sizeof *mix);
    const size_t hops = nac_enhancer_run_frames(net, (nac_backbone_state){p->have, p->history},
                                                &frames, mix, scratch);
    memcpy(p->mix, mix + hops * hop, margin * sizeof *mix);
    memmove(audio, audio + hops * hop, (held - hops * hop) * sizeof *audio);
    p->fields[HELD] -= (int64_t)(hops * hop);

    const size_t early = hops < (size_t)p->fields[EARLY] ? hops : (size_t)p->fields[EARLY];
    const size_t done = (hops - early) * hop, left = (size_t)p->fields[LEFT];
    const size_t given = done < left ? done : left;
    p->fields[EARLY] -= (int64_t)early;
    p->fields[LEFT] -= (int64_t)given;
    if (given == 0) return out; /* which may be NULL */
    memcpy(out, mix + early * hop, given * sizeof *out);
    return out + given;
}

float *nac_enhancer_stream_push(const nac_enhancer *net, void *state, const float *samples,
                                size_t n, float *out, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const parts p = parts_of(net, state);
    const extent e = extent_of(net, n);
    const size_t most = NAC_ENHANCER_SPAN * net->plan.hop;
    float *audio = scratch, *mix = audio + nac_aligned_floats(e.room);
    float *rest = mix + nac_aligned_floats(e.rows * net->plan.hop + net->plan.fft.n);

    memcpy(audio, p.held, (size_t)p.fields[HELD] * sizeof *audio);
    while (n > 0) {
        const size_t here = n < most ? n : most;
        memcpy(audio + p.fields[HELD], samples, here * sizeof *audio);
        p.fields[HELD] += (int64_t)here;
        p.fields[LEFT] += (int64_t)here;
        samples += here;
        n -= here;
        out = pass(net, &p, audio, 0, out, mix, rest);
    }
    memcpy(p.held, audio, (size_t)p.fields[HELD] * sizeof *audio);
    nac_fp_env_leave(caller);
    return out;
}

void nac_enhancer_stream_flush(const nac_enhancer *net, void *state, float *out, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const parts p = parts_of(net, state);
    const size_t hop = net->plan.hop, left = (size_t)p.fields[LEFT];
    if (left > 0) {
        const extent e = extent_of(net, 0);
        float *audio = scratch, *mix = audio + nac_aligned_floats(e.room);
        float *rest = mix + nac_aligned_floats(e.rows * hop + net->plan.fft.n);
        const size_t held = (size_t)p.fields[HELD];
        /* The last frame begins where the last hop, made whole, does. */
        const size_t zeros = (hop - left % hop) % hop + least(net) - hop - lead();
        memcpy(audio, p.held, held * sizeof *audio);
        memset(audio + held, 0, zeros * sizeof *audio);
        p.fields[HELD] += (int64_t)zeros;
        pass(net, &p, audio, 1, out, mix, rest);
    }
    nac_enhancer_stream_reset(net, state);
    nac_fp_env_leave(caller);
}
