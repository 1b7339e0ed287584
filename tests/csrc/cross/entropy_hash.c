/* Codes generated numbers with entropy models of generated numbers, on every instruction set that
 * the CPU has, and prints a hash of both payloads for each: equal lines on every machine and
 * compiler. Each payload is decoded again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entropy/prior.h"

enum { LEVELS = 6, WORDS = 200, DIM = 21, RANK = 5, CONTEXTS = 3, STATE = 32, HIDDEN = 48 };
enum { CHANNELS = 3, FRAMES = 9, SYMBOLS = CHANNELS * LEVELS * FRAMES };

static uint32_t seed = 1;

static uint32_t draw(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(NAC_ALIGN, (bytes + NAC_ALIGN - 1) / NAC_ALIGN * NAC_ALIGN);
    if (!p) exit(1);
    memset(p, 0, bytes);
    return p;
}

static float *noise(size_t n, float size)
{
    float *x = memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = size * ((float)(int32_t)draw() / 8388608.0f - 1.0f);
    return x;
}

static int8_t *bytes(size_t n)
{
    int8_t *x = memory(n);
    for (size_t i = 0; i < n; i++) x[i] = (int8_t)((int32_t)(draw() % 255) - 127);
    return x;
}

static int32_t *integers(size_t n, int32_t low, int32_t high)
{
    int32_t *x = memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = low + (int32_t)(draw() % (uint32_t)(high - low + 1));
    return x;
}

static nac_dense layer(size_t depth, size_t columns, float size)
{
    const size_t width = (columns + NAC_PANEL - 1) / NAC_PANEL * NAC_PANEL;
    float *weight = noise(columns * depth, size), *panels = memory(width * depth * 4);
    nac_dense_pack(weight, depth, columns, panels);
    free(weight);
    return (nac_dense){depth, width, panels, noise(width, 0.1f)};
}

static nac_dense *layers(size_t depth, size_t columns, float size)
{
    nac_dense *all = memory(LEVELS * sizeof *all);
    for (size_t q = 0; q < LEVELS; q++) all[q] = layer(depth, columns, size);
    return all;
}

static uint64_t hash(uint64_t h, const void *data, size_t n)
{
    const unsigned char *octets = data;
    for (size_t i = 0; i < n; i++) h = (h ^ octets[i]) * 1099511628211u; /* FNV-1a */
    return h;
}

static void code(const nac_prior *p, int by_tables, nac_chunk *c)
{
    float *scratch = memory((nac_prior_scratch(p, CHANNELS) + nac_tables_scratch(p->tables)) * 4);
    if (by_tables)
        nac_tables_code(p->tables, c, (uint32_t *)(void *)scratch);
    else
        nac_prior_code(p, c, scratch);
    free(scratch);
}

int main(void)
{
    static int32_t back[CONTEXTS] = {1, 0, 0}, source[LEVELS * CONTEXTS];
    for (int q = 0; q < LEVELS; q++)
        for (int i = 0; i < CONTEXTS; i++) source[q * CONTEXTS + i] = q - i; /* -1: none */
    source[2] = -1;
    nac_tables t = {.levels = LEVELS, .codewords = WORDS, .rank = RANK, .contexts = CONTEXTS,
                .embed = bytes(LEVELS * CONTEXTS * WORDS * RANK),
                .out = bytes(LEVELS * RANK * WORDS), .bias = integers(LEVELS * WORDS, -40000, 40000),
                .fraction_bits = integers(LEVELS, 11, 12), .back = back, .source = source};
    nac_prior p = {.tables = &t, .levels = LEVELS, .codewords = WORDS, .dim = DIM, .state = STATE,
               .hidden = HIDDEN, .input_scale = 0.8f, .codebooks = noise(LEVELS * WORDS * DIM, 1),
               .unit = noise(LEVELS, 1e-4f)};
    p.gru_input = layer(DIM + 1, 3 * STATE, 0.5f);
    p.gru_state = layer(STATE, 3 * STATE, 0.5f);
    p.from_state = layer(STATE, LEVELS * HIDDEN, 0.5f);
    p.from_sum = layers(DIM + 1, HIDDEN, 0.5f);
    p.predict = layers(HIDDEN, DIM + 1, 0.4f);
    p.out = layers(DIM + 1, WORDS, 0.7f);

    uint16_t codes[SYMBOLS], decoded[SYMBOLS];
    for (size_t i = 0; i < SYMBOLS; i++) codes[i] = (uint16_t)(draw() % WORDS);
    uint8_t *payload = memory(NAC_RANGE_BYTES(SYMBOLS));
    for (size_t i = 0; nac_kernels_at(i); i++) {
        uint64_t h = 14695981039346656037u;
        size_t size[2];
        p.k = nac_kernels_at(i);
        t.isa = p.k->isa;
        for (int by_tables = 0; by_tables < 2; by_tables++) {
            nac_range_encoder encoder;
            nac_range_decoder decoder;
            nac_chunk c = {.encoder = &encoder, .codes = codes, .channels = CHANNELS, .levels = LEVELS,
                       .frames = FRAMES};
            nac_range_encoder_init(&encoder, payload);
            code(&p, by_tables, &c);
            size[by_tables] = nac_range_encoder_finish(&encoder);
            h = hash(h, payload, size[by_tables]);
            memset(decoded, 0, sizeof decoded);
            c = (nac_chunk){.decoder = &decoder, .codes = decoded, .channels = CHANNELS,
                        .levels = LEVELS, .frames = FRAMES};
            nac_range_decoder_init(&decoder, payload, size[by_tables]);
            code(&p, by_tables, &c);
            if (memcmp(codes, decoded, sizeof codes) || !nac_range_decoder_exact(&decoder)) {
                fprintf(stderr, "%s: the round trip is not exact\n", p.k->name);
                return 1;
            }
        }
        printf("%s %zu and %zu bytes %016llx\n", p.k->name, size[0], size[1],
               (unsigned long long)h);
    }
    return 0; /* the process's end frees the rest */
}
