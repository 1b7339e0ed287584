#include "refined_stream.h"

#include <string.h>

enum { SPAN = NAC_REFINE_SPAN, MARGIN = NAC_REFINE_MARGIN };

/* A state: these integers, then floats, the audio from the frame first_held(START) on. */
enum {
    SAMPLES, /* received */
    START,   /* frames before the window that comes next */
    DONE,    /* whether the stream has been flushed */
    FIELDS
};

static size_t planes(const nac_refined *r) { return r->net->stereo ? 2 : 1; }
static size_t samples_of(const void *state) { return (size_t)((const int64_t *)state)[SAMPLES]; }
static size_t start_of(const void *state) { return (size_t)((const int64_t *)state)[START]; }
static float *audio_of(void *state) { return (float *)((int64_t *)state + FIELDS); }

nac_refined nac_refined_of(const codec_model *model, const nac_refiner *refiner)
{
    const nac_encoder *net = &model->encoder;
    const size_t hop = model->config.hop_length, lookahead = nac_encoder_lookahead(net);
    return (nac_refined){.net = net,
                         .refiner = refiner,
                         .hop = hop,
                         .before = MARGIN + nac_encoder_context(net),
                         .ahead = MARGIN + (lookahead + hop - 1) / hop};
}

/* The most frames that are held, and that are refined together. */
static size_t room(const nac_refined *r) { return r->before + SPAN + r->ahead; }
static size_t most_refined(const nac_refined *r) { return MARGIN + SPAN + r->ahead; }

size_t nac_refined_state_size(const nac_refined *r)
{
    const size_t audio = room(r) * r->hop * planes(r) * sizeof(float);
    return (FIELDS * sizeof(int64_t) + audio + 7) / 8 * 8;
}

void nac_refined_reset(const nac_refined *r, void *state)
{
    memset(state, 0, nac_refined_state_size(r));
}

int nac_refined_done(const void *state) { return ((const int64_t *)state)[DONE] != 0; }

int nac_refined_begun(const void *state)
{
    return nac_refined_done(state) || samples_of(state) != 0;
}

/* ---- Where a window lies ---- */

/* The first frame that is held, and the first that is refined, with the window at `start`. */
static size_t first_held(const nac_refined *r, size_t start)
{
    return start < r->before ? 0 : start - r->before;
}

static size_t first_refined(size_t start) { return start < MARGIN ? 0 : start - MARGIN; }

/* Samples received when the window at `start` can be refined. */
static size_t full(const nac_refined *r, size_t start)
{
    return (start + SPAN + r->ahead) * r->hop;
}

int nac_refined_full(const nac_refined *r, const void *state)
{
    return samples_of(state) == full(r, start_of(state));
}

int nac_refined_valid(const nac_refined *r, const void *state)
{
    const int64_t *fields = state;
    const int64_t most = (int64_t)1 << 60;
    if (fields[SAMPLES] < 0 || fields[SAMPLES] > most || fields[START] < 0 ||
        fields[START] > most / (int64_t)r->hop || (fields[DONE] != 0 && fields[DONE] != 1))
        return 0;
    const size_t samples = samples_of(state), start = start_of(state);
    if (start % SPAN || samples >= full(r, start) || (start && samples < full(r, start - SPAN)))
        return 0;
    const size_t held = samples - first_held(r, start) * r->hop;
    return nac_all_finite((const float *)(fields + FIELDS), held * planes(r));
}

/* Frames [first, last) are refined, and the codes of [start, stop) given. */
typedef struct {
    size_t first, start, stop, last;
} window;

static window window_of(const nac_refined *r, const void *state)
{
    const size_t start = start_of(state), frames = (samples_of(state) + r->hop - 1) / r->hop;
    window w = {first_refined(start), start, frames, frames};
    if (nac_refined_full(r, state)) {
        w.stop = start + SPAN;
        w.last = w.stop + MARGIN;
    }
    return w;
}

size_t nac_refined_encodes(const nac_refined *r, const void *state, size_t n)
{
    if (nac_refined_done(state)) return 0;
    if (n > NAC_MOST) return SIZE_MAX;
    const size_t samples = samples_of(state) + n, least = full(r, start_of(state));
    return samples < least ? 0 : ((samples - least) / (SPAN * r->hop) + 1) * SPAN;
}

size_t nac_refined_encodes_last(const nac_refined *r, const void *state)
{
    const window w = window_of(r, state);
    return nac_refined_done(state) ? 0 : w.stop - w.start;
}

codec_status nac_refined_check(const nac_refined *r, const void *state, const float *samples,
                               size_t n, const nac_encoded *to, size_t frames)
{
    if (!to->levels) return CODEC_ERROR_UNSUPPORTED; /* latents are not refined, codes are */
    return nac_stream_check(r->net, nac_refined_done(state), samples, n, to, frames);
}

/* ---- Refining it ---- */

/* Where scratch memory is used for what. */
typedef struct {
    float *latents;  /* [room][net->latent], from the first frame that is held on */
    uint16_t *codes; /* [levels][frames that are refined] */
    float *state;    /* of the encoder */
    float *rest;
    size_t size;
} layout;

static layout layout_of(const nac_refined *r, float *scratch)
{
    layout at;
    size_t used = 0;
    at.latents = nac_take_floats(scratch, &used, room(r) * r->net->latent);
    at.codes =
        (uint16_t *)nac_take_floats(scratch, &used, most_refined(r) * r->net->rvq.levels / 2 + 1);
    at.state = nac_take_floats(scratch, &used, nac_encoder_state_size(r->net) / sizeof(float));
    const size_t refinement = nac_refine_scratch(r->refiner, most_refined(r));
    at.rest = nac_take_floats(scratch, &used, nac_larger(nac_encoder_scratch(r->net), refinement));
    at.size = used;
    return at;
}

size_t nac_refined_scratch(const nac_refined *r) { return layout_of(r, NULL).size; }

size_t nac_refined_take(const nac_refined *r, void *state, const float *samples, size_t n)
{
    const size_t start = start_of(state), missing = full(r, start) - samples_of(state);
    const size_t here = n < missing ? n : missing;
    const size_t held = samples_of(state) - first_held(r, start) * r->hop;
    if (here)
        memcpy(audio_of(state) + held * planes(r), samples, here * planes(r) * sizeof *samples);
    ((int64_t *)state)[SAMPLES] += (int64_t)here;
    return here;
}

/* The latents of all frames that are held. Those of the window depend on none before these. */
static void encode_held(const nac_refined *r, const float *audio, size_t held, const layout *at)
{
    nac_encoder_reset(r->net, at->state);
    const size_t ready = nac_encoder_ready(r->net, at->state, held);
    nac_encoder_push_latents(r->net, at->state, audio, held, at->latents, at->rest);
    nac_encoder_flush_latents(r->net, at->state, at->latents + ready * r->net->latent, at->rest);
}

nac_refinement nac_refined_begin(const nac_refined *r, void *state, float *scratch, size_t steps,
                                 const nac_encoded *to)
{
    const layout at = layout_of(r, scratch);
    const window w = window_of(r, state);
    const size_t origin = first_held(r, w.start), held = samples_of(state) - origin * r->hop;
    const size_t wanted = (w.last - origin) * r->hop;
    float *audio = audio_of(state);
    if (wanted > held) /* the last frame is continued by silence */
        memset(audio + held * planes(r), 0, (wanted - held) * planes(r) * sizeof *audio);
    encode_held(r, audio, held, &at);
    const size_t skip = w.first - origin;
    return nac_refine_begin(r->refiner, audio + skip * r->hop * planes(r),
                            at.latents + skip * r->net->latent, w.last - w.first, to->levels,
                            to->beam, steps, at.codes, at.rest);
}

/* Forgets all but what the window at `stop` needs before it, and what follows. */
static void forget(const nac_refined *r, void *state, size_t stop)
{
    int64_t *fields = state;
    const size_t origin = first_held(r, start_of(state)), next = first_held(r, stop);
    const size_t gone = (next - origin) * r->hop, left = samples_of(state) - next * r->hop;
    float *audio = audio_of(state);
    memmove(audio, audio + gone * planes(r), left * planes(r) * sizeof *audio);
    fields[START] = (int64_t)stop;
}

size_t nac_refined_end(const nac_refined *r, void *state, float *scratch, const nac_encoded *to,
                       size_t at)
{
    const window w = window_of(r, state);
    const size_t frames = w.stop - w.start;
    if (frames) {
        const uint16_t *codes = layout_of(r, scratch).codes + (w.start - w.first);
        for (size_t level = 0; level < to->levels; level++)
            memcpy(to->codes + level * to->stride + at, codes + level * (w.last - w.first),
                   frames * sizeof *codes);
    }
    if (nac_refined_full(r, state))
        forget(r, state, w.stop);
    else
        ((int64_t *)state)[DONE] = 1;
    return frames;
}

static size_t refine(const nac_refined *r, void *state, float *scratch, size_t steps,
                     const nac_encoded *to, size_t at)
{
    nac_refinement of = nac_refined_begin(r, state, scratch, steps, to);
    while (nac_refine_step(&of)) continue;
    return nac_refined_end(r, state, scratch, to, at);
}

codec_status nac_refined_encode(const nac_refined *r, void *state, float *scratch, size_t steps,
                                const float *samples, size_t n, const nac_encoded *to,
                                size_t *frames)
{
    if (!frames) return CODEC_ERROR_ARGUMENT;
    const size_t ready = nac_refined_encodes(r, state, n);
    const codec_status status = nac_refined_check(r, state, samples, n, to, ready);
    if (status) return status;
    for (size_t at = 0; n > 0;) {
        const size_t here = nac_refined_take(r, state, samples, n);
        samples += here * planes(r);
        n -= here;
        if (nac_refined_full(r, state)) at += refine(r, state, scratch, steps, to, at);
    }
    *frames = ready;
    return CODEC_OK;
}

codec_status nac_refined_encode_last(const nac_refined *r, void *state, float *scratch,
                                     size_t steps, const nac_encoded *to, size_t *frames)
{
    if (!frames) return CODEC_ERROR_ARGUMENT;
    const size_t left = nac_refined_encodes_last(r, state);
    const codec_status status = nac_refined_check(r, state, NULL, 0, to, left);
    if (status) return status;
    if (left)
        refine(r, state, scratch, steps, to, 0);
    else
        nac_refined_end(r, state, scratch, to, 0);
    *frames = left;
    return CODEC_OK;
}
