#include "postfilter_stream.h"

#include <stdint.h>
#include <string.h>

enum {
    HOP = NAC_POSTFILTER_HOP,
    BEFORE = NAC_POSTFILTER_BEFORE,
    AFTER = NAC_POSTFILTER_AFTER,
    KEPT = (BEFORE + AFTER + 1) * HOP, /* samples that a state has room for */
    SPAN = 64,                         /* hops that are filtered at once at most */
    ROOM = (BEFORE + SPAN + AFTER) * HOP
};

/* A state: these integers, then the samples. */
enum {
    HELD, /* samples that are there, fewer than PAST, one and AFTER hops */
    PAST, /* hops of them that came out already, at most BEFORE */
    FIELDS
};

static const float *kept(const void *state)
{
    return (const float *)((const int64_t *)state + FIELDS);
}

size_t nac_postfilter_stream_state_size(void)
{
    return (FIELDS * sizeof(int64_t) + KEPT * sizeof(float) + 7) / 8 * 8;
}

size_t nac_postfilter_stream_scratch(void) { return ROOM + nac_postfilter_scratch(ROOM); }

void nac_postfilter_stream_reset(void *state)
{
    memset(state, 0, nac_postfilter_stream_state_size());
}

int nac_postfilter_stream_valid(const void *states, size_t channels)
{
    const int64_t *first = states, held = first[HELD], past = first[PAST];
    for (size_t i = 1; i < channels; i++) {
        const int64_t *other = first + i * (nac_postfilter_stream_state_size() / sizeof *other);
        if (other[HELD] != held || other[PAST] != past) return 0;
    }
    return past >= 0 && past <= BEFORE && held >= past * HOP && held < (past + 1 + AFTER) * HOP;
}

/* Hops that can be filtered when so many samples are held, and so many hops of them came out. */
static size_t complete(size_t held, size_t past)
{
    const size_t hops = held / HOP;
    return hops < past + AFTER ? 0 : hops - past - AFTER;
}

size_t nac_postfilter_stream_ready(const void *state, size_t n)
{
    const int64_t *fields = state;
    return complete((size_t)fields[HELD] + n, (size_t)fields[PAST]) * HOP;
}

size_t nac_postfilter_stream_left(const void *state, size_t n)
{
    const int64_t *fields = state;
    return (size_t)fields[HELD] + n - (size_t)fields[PAST] * HOP;
}

float *nac_postfilter_stream_push(void *state, const float *samples, size_t n, float *out,
                                  float *scratch)
{
    int64_t *fields = state;
    size_t held = (size_t)fields[HELD], past = (size_t)fields[PAST];
    float *x = scratch;
    memcpy(x, kept(state), held * sizeof *x);
    while (n > 0) {
        const size_t here = n < ROOM - held ? n : ROOM - held;
        memcpy(x + held, samples, here * sizeof *x);
        samples += here;
        n -= here;
        held += here;
        const size_t hops = complete(held, past);
        if (hops == 0) continue;
        nac_postfilter(x, held, past, past + hops, out, scratch + ROOM);
        out += hops * HOP;
        past += hops;
        if (past > BEFORE) {
            const size_t gone = (past - BEFORE) * HOP;
            held -= gone;
            past = BEFORE;
            memmove(x, x + gone, held * sizeof *x);
        }
    }
    fields[HELD] = (int64_t)held;
    fields[PAST] = (int64_t)past;
    memcpy(fields + FIELDS, x, held * sizeof *x);
    return out;
}

void nac_postfilter_stream_flush(void *state, float *out, float *scratch)
{
    const int64_t *fields = state;
    const size_t held = (size_t)fields[HELD], past = (size_t)fields[PAST];
    if (held > past * HOP)
        nac_postfilter(kept(state), held, past, (held + HOP - 1) / HOP, out, scratch);
    nac_postfilter_stream_reset(state);
}
