/* Encodes a second of a tone and decodes it again, from memory to memory:
 *
 *     cc encode_buffer.c $(pkg-config --cflags --libs libcodec) -o encode_buffer
 *     ./encode_buffer default.safetensors */
#include <codec.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    codec_model *model;
    codec_info info;
    char reason[200];
    if (codec_model_open(argc > 1 ? argv[1] : "", NULL, &model, reason, sizeof reason))
        return fprintf(stderr, "%s\n", reason), 1;
    codec_model_info(model, &info, sizeof info);

    const size_t n = info.sample_rate, levels = 8, most = codec_frames(model, n);
    const size_t values = n * info.channels, room = most * info.hop_length;
    float *samples = malloc(values * sizeof *samples);
    float *back = malloc(room * info.channels * sizeof *back);
    uint16_t *codes = malloc(levels * most * sizeof *codes);
    size_t frames = 0, decoded = 0;
    for (size_t i = 0; i < values; i++) samples[i] = i / 50 % 2 ? 0.1f : -0.1f;

    int status = codec_encode(model, samples, n, levels, codes, most, &frames);
    if (!status) status = codec_decode(model, codes, most, levels, frames, back, room, &decoded);
    if (status)
        fprintf(stderr, "%s\n", codec_status_text(status));
    else
        printf("%zu samples, %zu frames of %zu codes, %zu samples\n", n, frames, levels, decoded);
    free(samples), free(back), free(codes), codec_model_free(model);
    return status;
}
