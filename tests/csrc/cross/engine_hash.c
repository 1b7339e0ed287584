/* Runs the engine on numbers from a generator, with every table of kernels that the CPU has, and
 * prints a hash of all tokens and samples for each: equal lines on every machine and compiler.
 *
 * The transforms' tables are noise too: whether they are sines is no concern of equality. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/decoder.h"
#include "engine/encoder.h"
#include "engine/enhancer_stream.h"
#include "engine/postfilter_stream.h"
#include "engine/refine.h"
#include "rvq/rvq_beam.h"

enum { DIM = 40, WIDTH = 48, HIDDEN = 96, TAPS = 7, BLOCKS = 3, AHEAD = 1 };
enum { LATENT = 20, LEVELS = 3, WORDS = 150, HOP = 480, GATHER = 2, FRAMES = 12 };
enum { LONG = 960, SHORT = 240, PHASES = 160, BANDS = 32, STACK = 2, PER_FRAME = 2 };
enum { BINS = LONG / 2 + 1, SIZE = BINS + 4 * (SHORT / 2 + 1) + 2 * PHASES, BLOCK = 12 };

static uint32_t seed = 1;

static float uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(int32_t)(seed >> 8) / 8388608.0f - 1.0f; /* exact */
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(NAC_ALIGN, (bytes + NAC_ALIGN - 1) / NAC_ALIGN * NAC_ALIGN);
    if (!p) exit(1);
    return p;
}

static float *noise(size_t n, float size, float mean)
{
    float *x = memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = mean + size * uniform();
    return x;
}

static nac_dense layer(size_t depth, size_t columns, float size)
{
    const size_t width = (columns + NAC_PANEL - 1) / NAC_PANEL * NAC_PANEL;
    float *weight = noise(columns * depth, size, 0), *panels = memory(width * depth * 4);
    nac_dense_pack(weight, depth, columns, panels);
    free(weight);
    return (nac_dense){depth, width, panels, noise(width, 0.1f, 0)};
}

static nac_conv_norm norm(void)
{
    return (nac_conv_norm){DIM, WIDTH, TAPS, noise(TAPS * WIDTH, 0.5f, 0), noise(WIDTH, 0.1f, 0),
                       noise(WIDTH, 0.2f, 1), noise(WIDTH, 0.1f, 0)};
}

static nac_backbone body(void)
{
    nac_block *blocks = memory(BLOCKS * sizeof *blocks);
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = (nac_block){norm(), i < AHEAD, layer(DIM, HIDDEN, 0.3f), layer(HIDDEN, DIM, 0.1f)};
    return (nac_backbone){BLOCKS, blocks, norm(), WIDTH, HIDDEN, TAPS, AHEAD};
}

static nac_fft_plan fft(size_t n, const int32_t *radices, size_t steps)
{
    size_t length = n / 2, twiddles = 0;
    for (size_t i = 0; i < steps; i++) {
        length /= (size_t)radices[i];
        twiddles += length * (size_t)(radices[i] - 1) * 2;
    }
    return (nac_fft_plan){n, steps, radices, noise(twiddles, 1, 0), noise((n / 4 + 1) * 2, 1, 0)};
}

static uint64_t hash(uint64_t h, const void *data, size_t n)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < n; i++) h = (h ^ bytes[i]) * 1099511628211u; /* FNV-1a */
    return h;
}

/* A voice whose period glides from 200 samples to 250 and a little noise. */
static float *voice_of(size_t n)
{
    float *voice = noise(n, 0.05f, 0);
    for (size_t i = 0, at = 0, period = 200; i < n; i++, at++) {
        if (at == period) {
            at = 0;
            period++;
        }
        voice[i] += (float)at / 256.0f - 0.4f;
    }
    return voice;
}

/* Of a voice, filtered, which a stream must give too. */
static uint64_t filtered(void)
{
    enum { HOPS = 40, N = HOPS * NAC_POSTFILTER_HOP };
    float *voice = voice_of(N), *y = memory(N * sizeof *y);
    float *scratch = memory(nac_postfilter_scratch(N) * sizeof *scratch);
    nac_postfilter(voice, N, 0, HOPS, y, scratch);
    const uint64_t h = hash(14695981039346656037u, y, N * sizeof *y);
    if (memcmp(voice, y, N * sizeof *y) == 0) exit(1); /* nothing was filtered */
    void *state = memory(nac_postfilter_stream_state_size());
    float *room = memory(nac_postfilter_stream_scratch() * sizeof *room);
    float *z = memory(N * sizeof *z), *end = z;
    nac_postfilter_stream_reset(state);
    for (size_t at = 0; at < N; at += 700)
        end = nac_postfilter_stream_push(state, voice + at, N - at < 700 ? N - at : 700, end, room);
    nac_postfilter_stream_flush(state, end, room);
    if (memcmp(y, z, N * sizeof *y)) exit(1);
    free(z);
    free(room);
    free(state);
    free(voice);
    free(y);
    free(scratch);
    return h;
}

/* A voice of n samples, enhanced in pieces of `piece` samples to y. */
static void enhance_pieces(const nac_enhancer *net, const float *voice, size_t n, size_t piece,
                           float *y)
{
    void *state = memory(nac_enhancer_stream_state_size(net));
    float *scratch = memory(nac_enhancer_stream_scratch(net, piece) * sizeof *scratch);
    nac_enhancer_stream_reset(net, state);
    for (size_t at = 0; at < n; at += piece)
        y = nac_enhancer_stream_push(net, state, voice + at, n - at < piece ? n - at : piece, y,
                                     scratch);
    nac_enhancer_stream_flush(net, state, y, scratch);
    free(state);
    free(scratch);
}

/* Of a voice, enhanced whole, in two parts, and in pieces, by an enhancer with `net`'s weights. */
static uint64_t enhanced(const nac_enhancer *net, const float *voice, size_t hops)
{
    const size_t hop = net->plan.hop, n = hops * hop, half = hops / 2;
    const size_t before = nac_enhancer_before(net), after = nac_enhancer_after(net);
    float *y = memory(n * sizeof *y), *z = memory(n * sizeof *z);
    float *scratch = memory(nac_enhancer_scratch(net, n) * sizeof *scratch);
    nac_enhancer_run(net, voice, n, 0, hops, y, scratch);
    nac_enhancer_run(net, voice, (half + after) * hop, 0, half, z, scratch);
    nac_enhancer_run(net, voice + (half - before) * hop, n - (half - before) * hop, before,
                     hops - half + before, z + half * hop, scratch);
    if (memcmp(y, z, n * sizeof *y) || memcmp(y, voice, n * sizeof *y) == 0) exit(1);
    enhance_pieces(net, voice, n, 1001, z);
    if (memcmp(y, z, n * sizeof *y)) exit(1);
    const uint64_t h = hash(14695981039346656037u, y, n * sizeof *y);
    free(y);
    free(z);
    free(scratch);
    return h;
}

static nac_resolution resolution(size_t n, nac_fft_plan plan, size_t bands, int complex, int loud)
{
    int *band = memory((n / 2 + 1) * sizeof *band);
    for (size_t k = 0; k <= n / 2; k++) band[k] = (int)(k * (bands - 1) / (n / 2 + 1));
    const size_t bins = n / 2 + 1;
    return (nac_resolution){plan, noise(n, 0.5f, 0.5f), n / 4, bands, band,
                            noise(bins, 0.5f, 0.5f), noise(bins, 0.5f, 0.5f),
                            complex ? noise(bins, 0.5f, 1) : NULL,
                            loud ? noise(bands, 10, 20) : NULL};
}

/* Layers of the shapes that the derivative needs: whose weights are transposed makes no difference here. */
static nac_refiner refiner(const nac_decoder *dec, const nac_rvq_plan *rvq)
{
    static const int32_t of_480[] = {5, 4, 4, 3, 2}, of_240[] = {5, 4, 4, 3}, of_120[] = {5, 4, 3, 2};
    nac_dense *expand = memory(BLOCKS * sizeof *expand), *reduce = memory(BLOCKS * sizeof *reduce);
    for (size_t i = 0; i < BLOCKS; i++) {
        expand[i] = layer(HIDDEN, DIM, 0.1f);
        reduce[i] = layer(WIDTH, HIDDEN, 0.3f);
    }
    return (nac_refiner){.net = dec, .rvq = rvq,
                         .embed_back = layer(STACK * WIDTH, LATENT, 0.3f),
                         .gain_back = layer(dec->gain.width, DIM, 0.3f),
                         .shape_back = layer(dec->shape.width, DIM, 0.3f),
                         .expand_back = expand, .reduce_back = reduce,
                         .at = {resolution(960, fft(960, of_480, 5), 80, 1, 0),
                                resolution(480, fft(480, of_240, 4), 64, 1, 0),
                                resolution(240, fft(240, of_120, 4), 40, 0, 0)},
                         .loud = resolution(960, fft(960, of_480, 5), 49, 0, 1)};
}

int main(void)
{
    static const int32_t of_480[] = {5, 4, 4, 3, 2}, of_120[] = {5, 4, 3, 2};
    float *books = noise(LEVELS * WORDS * LATENT, 1, 0);
    nac_encoder enc = {.gather = GATHER, .stack = 1, .latent = LATENT, .block = BLOCK};
    enc.front = (nac_analysis){.long_fft = fft(LONG, of_480, 5), .short_fft = fft(SHORT, of_120, 4),
                           .long_window = noise(LONG, 0.1f, 0),
                           .short_window = noise(SHORT, 0.1f, 0), .mean = noise(SIZE + LONG, 1, 0),
                           .scale = noise(SIZE + LONG, 0.1f, 0.3f), .hop = HOP, .per_frame = 4,
                           .phase_bins = PHASES, .size = SIZE + LONG, .waveform = 1, .left = 240,
                           .right = 240};
    enc.embed = layer(GATHER * (SIZE + LONG), DIM, 0.03f);
    enc.body = body();
    enc.project = layer(WIDTH, LATENT, 0.5f);
    enc.rvq = (nac_rvq_plan){LEVELS, WORDS, LATENT, books,
                         memory(nac_rvq_panels_size(LEVELS, WORDS, LATENT) * sizeof(float)),
                         memory(nac_rvq_half_size(LEVELS, WORDS) * sizeof(float)), NULL};
    nac_decoder dec = {.codebooks = books, .levels = LEVELS, .codewords = WORDS, .latent = LATENT,
                   .stack = STACK, .block = BLOCK};
    dec.embed = layer(LATENT, STACK * WIDTH, 0.3f);
    dec.body = body();
    dec.gain = layer(DIM, PER_FRAME * BANDS, 0.3f);
    dec.shape = layer(DIM, PER_FRAME * BINS * 2, 0.3f);
    int *band = memory(BINS * sizeof *band);
    for (int k = 0; k < BINS; k++) band[k] = k * (BANDS - 1) / BINS;
    dec.back = (nac_synthesis){fft(LONG, of_480, 5), noise(LONG, 0.001f, 0), band, noise(BINS, 1, 0),
                           noise(BINS, 1, 0), HOP / PER_FRAME, PER_FRAME, BANDS, 160};

    const size_t samples = FRAMES * HOP * GATHER - 123;
    float *latents = noise(FRAMES * LATENT, 1, 0);
    float *audio = noise(samples, 0.5f, 0), *out = memory((FRAMES + 1) * 960 * sizeof *out);
    uint16_t *codes = memory(LEVELS * FRAMES * sizeof *codes);
    const nac_refiner refine = refiner(&dec, &enc.rvq);
    const float *original = noise(FRAMES * HOP * STACK, 0.5f, 0);
    const uint64_t post = filtered();
    enum { WIDE = 200, NARROW = 100, HOPS = 60 };
    nac_enhancer enhancer = {
        .plan = {fft(LONG, of_480, 5), noise(LONG, 0.5f, 0.5f), noise(LONG, 0.0001f, 0.0006f), band,
                 noise(BINS, 0.5f, 0.5f), noise(BINS, 0.5f, 0.5f), 240, BANDS, WIDE, NARROW},
        .embed = layer(BINS + 6 * NARROW + 4, DIM, 0.03f), .norm = norm(), .body = body(),
        .factors = layer(WIDTH, 2 * WIDE + 4 * NARROW + BANDS, 0.1f)};
    const float *voice = voice_of(HOPS * 240);
    for (size_t i = 0; nac_kernels_at(i); i++) {
        enc.k = dec.k = enhancer.k = nac_kernels_at(i);
        const uint64_t clean = enhanced(&enhancer, voice, HOPS);
        const size_t screen = nac_rvq_screen_size(enc.k->isa, LEVELS, WORDS, LATENT);
        enc.rvq.screen = screen ? memory(screen) : NULL;
        nac_rvq_pack(&enc.rvq, enc.k->isa);
        float *more = memory(nac_rvq_beam_scratch_size(LEVELS, LATENT) * sizeof *more);
        uint16_t *searched = memory(LEVELS * FRAMES * sizeof *searched);
        nac_rvq_beam(&enc.rvq, enc.k->isa, LEVELS, 7, latents, FRAMES, searched, more);
        uint16_t *refined = memory(LEVELS * FRAMES * sizeof *refined);
        float *moved = memory(FRAMES * LATENT * sizeof *moved);
        float *derivative = memory(FRAMES * LATENT * sizeof *derivative);
        float *room = memory(nac_refine_scratch(&refine, FRAMES) * sizeof *room);
        memcpy(moved, latents, FRAMES * LATENT * sizeof *moved);
        nac_refinement steps =
            nac_refine_begin(&refine, original, moved, FRAMES, LEVELS, 4, 5, refined, room);
        while (nac_refine_step(&steps)) continue;
        const double difference = nac_difference(&refine, original, latents, FRAMES, refined,
                                                 LEVELS, derivative, room);
        void *state = memory(nac_encoder_state_size(&enc) + nac_decoder_state_size(&dec));
        float *scratch = memory((nac_encoder_scratch(&enc) + nac_decoder_scratch(&dec)) * sizeof *scratch);
        size_t frames = 0;
        nac_encoder_reset(&enc, state);
        for (size_t at = 0; at < samples; at += 1700) {
            const size_t n = samples - at < 1700 ? samples - at : 1700;
            const size_t ready = nac_encoder_ready(&enc, state, n);
            nac_encoder_push(&enc, state, audio + at, n, LEVELS, 1, codes + frames, FRAMES, scratch);
            frames += ready;
        }
        const size_t left = nac_encoder_left(&enc, state);
        nac_encoder_flush(&enc, state, LEVELS, 1, codes + frames, FRAMES, scratch);
        nac_decoder_reset(&dec, state);
        const size_t made = nac_decoder_ready(&dec, state, FRAMES);
        nac_decoder_push(&dec, state, codes, FRAMES, FRAMES, LEVELS, out, scratch);
        const size_t rest = nac_decoder_left(&dec, state);
        nac_decoder_flush(&dec, state, out + made, scratch);

        uint64_t h = hash(14695981039346656037u, codes, LEVELS * FRAMES * sizeof *codes);
        h = hash(h, out, (made + rest) * sizeof *out);
        h = hash(h, searched, LEVELS * FRAMES * sizeof *searched);
        h = hash(h, refined, LEVELS * FRAMES * sizeof *refined);
        h = hash(h, moved, FRAMES * LATENT * sizeof *moved);
        h = hash(h, &difference, sizeof difference);
        h = hash(h, derivative, FRAMES * LATENT * sizeof *derivative);
        h = hash(h, &post, sizeof post);
        h = hash(h, &clean, sizeof clean);
        /* what all inputs gave alike would prove nothing */
        float low = out[0], high = out[0];
        size_t changes = 0;
        for (size_t at = 1; at < LEVELS * FRAMES; at++) changes += codes[at] != codes[at - 1];
        for (size_t at = 0; at < made + rest; at++) {
            low = out[at] < low ? out[at] : low;
            high = out[at] > high ? out[at] : high;
        }
        if (!(low < 0 && high > 0 && high < 1e6f && changes > FRAMES)) {
            fprintf(stderr, "no signal: %g to %g, %zu changes of code\n", (double)low, (double)high,
                    changes);
            return 1;
        }
        printf("%s %zu frames %zu samples %016llx\n", nac_kernels_at(i)->name, frames + left,
               made + rest, (unsigned long long)h);
        free(more);
        free(searched);
        free(refined);
        free(moved);
        free(derivative);
        free(room);
        free(state);
        free(scratch);
    }
    return 0; /* the process's end frees the rest */
}
