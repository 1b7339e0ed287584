/* WAV files of plain samples, as `codec compress` reads them and `codec decompress` writes them. */
#ifndef WAV_H
#define WAV_H

#include <stdint.h>
#include <stdio.h>

enum { WAV_MAX_TAGS = 16 };

/* Keys are constants; a value is UTF-8 in memory of its own. */
typedef struct {
    const char *keys[WAV_MAX_TAGS];
    char *values[WAV_MAX_TAGS];
    size_t n;
} wav_tags;

typedef enum { WAV_U8, WAV_S16, WAV_S24, WAV_S32, WAV_F32, WAV_F64 } wav_kind;

typedef struct {
    FILE *file;
    uint64_t at, size; /* of the next byte; of the file */
    uint32_t channels, sample_rate, frame_bytes;
    wav_kind kind;
    uint64_t n_samples, claimed, read; /* of each channel: there are, are claimed, were read */
    wav_tags tags;
    const char *warning; /* NULL, or what is missing from the file or not read of it */
} wav_reader;

/* Reads the header. Returns NULL, or what is wrong in a line. The caller closes the file. */
const char *wav_open(wav_reader *wav, FILE *file);

/* Reads up to n samples of each channel into audio[channel * n + i], full scale 1; *got tells how
 * many. Returns NULL, or what is wrong: samples that are not finite or beyond 256 too. */
const char *wav_read(wav_reader *wav, float *audio, size_t n, size_t *got);

void wav_free(wav_tags *tags);

/* Keeps a copy of `value` under `key`, in place of an earlier one. Returns 0 without memory. */
int wav_set_tag(wav_tags *tags, const char *key, const char *value, size_t size);

/* The tags that WAV holds, in the order that they are written in; NULL past the last. */
const char *wav_tag_name(size_t i);

/* Writes the header of 16-bit samples at the start of `file`. Returns NULL, or what is wrong. */
const char *wav_write_header(FILE *file, uint32_t sample_rate, uint32_t channels,
                             uint64_t n_samples, const wav_tags *tags);

/* Appends n samples of each channel, audio[channel * stride + i], as 16 bits, clipped. */
const char *wav_write(FILE *file, const float *audio, size_t channels, size_t stride, size_t n);

#endif
