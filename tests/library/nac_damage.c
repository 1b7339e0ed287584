/* Reads a file again and again, damaged in every way there is: bits, cuts, and fields under
 * checksums that are made right again. Built with ASan and UBSan by test_nac_damage.py.
 *
 *     nac_damage MODEL.safetensors MODEL.entropy FILE.nac ... */
#include <codec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"

typedef struct {
    const codec_coder *coder;
    uint16_t *codes;
    size_t room;
    size_t refused, accepted;
} reading;

static void *load(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) exit(2);
    *size = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, file) != *size) exit(2);
    fclose(file);
    return data;
}

/* All chunks from here to the end. */
static codec_status drain(reading *of, codec_reader *reader)
{
    codec_status status = CODEC_OK;
    for (size_t frames = 1, codebooks; status == CODEC_OK && frames;)
        status = codec_reader_next(reader, of->codes, of->room, &codebooks, &frames);
    return status;
}

/* Opens a copy of exactly that size, so that a byte read beyond it is noticed; reads it front to
 * back, then from every eighth frame on. */
static codec_status attempt(reading *of, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) exit(2);
    memcpy(copy, data, size);
    codec_reader *reader = NULL;
    codec_status status = codec_reader_open_memory(copy, size, &reader);
    for (size_t i = 0; status == CODEC_OK && i < codec_reader_tags(reader); i++) {
        codec_tag tag;
        if (codec_reader_tag(reader, i, &tag) != CODEC_OK || !*tag.key || !*tag.value) abort();
    }
    if (status == CODEC_OK) status = codec_reader_use(reader, of->coder);
    if (status == CODEC_OK) {
        const codec_file_info *info = codec_reader_info(reader);
        const size_t room = (size_t)codec_file_streams(info) * info->codebooks * info->chunk_frames;
        if (room > of->room) {
            of->codes = realloc(of->codes, room * sizeof *of->codes);
            if (!of->codes) exit(2);
            of->room = room;
        }
        status = drain(of, reader);
        for (uint64_t frame = 0; frame < 200; frame += 8)
            if (codec_reader_seek(reader, frame) == CODEC_OK) drain(of, reader);
    }
    codec_reader_free(reader);
    free(copy);
    if (status == CODEC_OK)
        of->accepted++;
    else
        of->refused++;
    return status;
}

static void seal(const nac_crc32c_tables *crc, uint8_t *data, size_t start, size_t stop)
{
    const uint32_t sum = nac_crc32c_update(crc, 0, data + start, stop - start);
    for (size_t i = 0; i < 4; i++) data[stop + i] = (uint8_t)(sum >> 8 * i);
}

static void try_all(reading *of, const nac_crc32c_tables *crc, const uint8_t *data, size_t size)
{
    static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff};
    uint8_t *changed = malloc(size);
    if (!changed || attempt(of, data, size) != CODEC_OK) exit(3);
    memcpy(changed, data, size);
    for (size_t n = 0; n < size; n++)
        if (attempt(of, data, n) == CODEC_OK) exit(4);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        changed[bit / 8] = (uint8_t)(data[bit / 8] ^ 1u << bit % 8);
        if (attempt(of, changed, size) == CODEC_OK) exit(5);
        changed[bit / 8] = data[bit / 8];
    }
    /* Fields of the header, of the first chunk and of the trailer, and two at a time. */
    const size_t body = 64 + (data[56] ? data[56] + 4u : 0);
    const size_t payload = data[body + 8] | (size_t)data[body + 9] << 8, end = size - 96;
    for (size_t at = 8; at < 60; at++)
        for (size_t other = 8; other < 60; other += 3)
            for (size_t v = 0; v < sizeof values; v++) {
                changed[at] = values[v];
                changed[other] = (uint8_t)(changed[other] + (at + v) % 3 - 1);
                seal(crc, changed, 0, 60);
                attempt(of, changed, size);
                memcpy(changed + end + 4, changed, 64);
                seal(crc, changed, end, end + 84);
                attempt(of, changed, size);
                memcpy(changed, data, size);
            }
    for (size_t at = body + 4; at < body + 20 + payload; at++)
        for (size_t v = 0; v < sizeof values; v++) {
            changed[at] = values[v];
            const uint32_t head = nac_crc32c_update(crc, 0, changed + body, 16);
            const uint32_t sum = nac_crc32c_update(crc, head, changed + body + 20, payload);
            for (size_t i = 0; i < 4; i++) changed[body + 16 + i] = (uint8_t)(sum >> 8 * i);
            attempt(of, changed, size);
            memcpy(changed, data, size);
        }
    for (size_t at = end + 68; at < end + 84; at++)
        for (size_t v = 0; v < sizeof values; v++) {
            changed[at] = values[v];
            seal(crc, changed, end, end + 84);
            attempt(of, changed, size);
            changed[at] = data[at];
        }
    free(changed);
}

int main(int argc, char **argv)
{
    nac_crc32c_tables crc;
    codec_model *model = NULL;
    char reason[200] = "";
    size_t size;
    nac_crc32c_init(&crc);
    if (argc < 4 || codec_model_open(argv[1], NULL, &model, reason, sizeof reason)) return 2;
    void *data = load(argv[2], &size);
    for (int i = 3; i < argc; i++) {
        codec_coder *coder = NULL;
        size_t n;
        uint8_t *file = load(argv[i], &n);
        const uint32_t number = file[11];
        if (codec_coder_open(number, model, number ? data : NULL, number ? size : 0, &coder, reason,
                             sizeof reason)) {
            fprintf(stderr, "%s\n", reason);
            return 2;
        }
        reading of = {.coder = coder};
        try_all(&of, &crc, file, n);
        printf("coder %u: %zu refused, %zu read\n", (unsigned)number, of.refused, of.accepted);
        free(of.codes);
        codec_coder_free(coder);
        free(file);
    }
    free(data);
    codec_model_free(model);
    return 0;
}
