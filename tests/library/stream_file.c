/* Encodes float samples of a file as a stream that changes hands, decodes the codes likewise, and writes
 * both: stream_file WEIGHTS CLIP CODES SAMPLES, codes as [frames][codebooks]. */
#include <stdio.h>
#include <stdlib.h>

#include "codec.h"

#ifndef INSTRUCTION_SET
#define INSTRUCTION_SET NULL
#endif

enum { PIECE = 700, ROOM = 64, HOP = 4096 };

static void check(int status, const char *what)
{
    if (!status) return;
    fprintf(stderr, "%s: %s\n", what, codec_status_text(status));
    exit(1);
}

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (!file) check(CODEC_ERROR_IO, path);
    return file;
}

/* Another stream goes on from the state of this one, which is freed. */
static codec_encoder *passed_on(const codec_model *model, size_t levels, codec_encoder *encoder)
{
    codec_encoder *other;
    const size_t size = codec_encoder_state_size(encoder);
    void *state = malloc(size);
    check(codec_encoder_new(model, levels, &other), "new");
    check(codec_encoder_save(encoder, state, size), "save");
    check(codec_encoder_load(other, state, size), "load");
    codec_encoder_free(encoder);
    free(state);
    return other;
}

int main(int argc, char **argv)
{
    char reason[200];
    codec_model *model;
    codec_encoder *encoder;
    codec_decoder *decoder;
    codec_info info;
    static uint16_t codes[255 * ROOM];
    static float samples[2 * PIECE], out[2 * ROOM * HOP];
    size_t n, frames, made;

    if (argc != 5) return 2;
    if (codec_model_open(argv[1], INSTRUCTION_SET, &model, reason, sizeof reason))
        return fprintf(stderr, "%s\n", reason), 1;
    check(codec_model_info(model, &info, sizeof info), "info");
    const size_t levels = info.codebooks, sample = info.channels * sizeof *samples;
    check(codec_encoder_new(model, levels, &encoder), "encoder");
    check(codec_decoder_new(model, &decoder), "decoder");
    FILE *clip = open_file(argv[2], "rb"), *to = open_file(argv[3], "wb");
    FILE *back = open_file(argv[4], "wb");
    do {
        n = fread(samples, sample, PIECE, clip);
        if (n)
            check(codec_encoder_push(encoder, samples, n, codes, ROOM, &frames), "push");
        else
            check(codec_encoder_flush(encoder, codes, ROOM, &frames), "flush");
        for (size_t i = 0; i < frames; i++)
            for (size_t level = 0; level < levels; level++)
                fwrite(&codes[level * ROOM + i], sizeof *codes, 1, to);
        check(codec_decoder_push(decoder, codes, ROOM, levels, frames, out, ROOM * HOP, &made),
              "decode");
        fwrite(out, sample, made, back);
        encoder = passed_on(model, levels, encoder);
    } while (n);
    check(codec_decoder_flush(decoder, out, ROOM * HOP, &made), "end");
    fwrite(out, sample, made, back);

    fclose(clip), fclose(to);
    const int failed = fclose(back);
    codec_encoder_free(encoder);
    codec_decoder_free(decoder);
    codec_model_free(model);
    return failed != 0;
}
