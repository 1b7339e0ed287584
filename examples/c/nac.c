/* nac: compresses WAV to .nac files and restores it, with libcodec and without Python.
 *
 *     nac compress -m default.safetensors talk.wav talk.nac
 *     nac decompress -m default.safetensors talk.nac talk.wav
 *
 * The files are byte for byte those of `codec compress` and `codec decompress`. Audio must be at
 * the model's sample rate, as libcodec does not resample.
 *
 * A stream of codes is that of a channel or, if the model codes two channels together, of a pair: 1 and
 * 2, 3 and 4, and so on. Of an odd number of channels the last is a pair of itself, and comes back as
 * the mean of the pair. */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath */
#endif

#include <codec.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wav.h"

enum { BLOCK = 1 << 16, REASON = 256 };

typedef struct {
    const char *input, *output, *weights, *effort;
    long codebooks; /* 0: as many as the model has */
    long beam;      /* paths of the search for the codes */
    long refine;    /* steps that improve them */
    double kbps;    /* 0: not asked for */
    int postfilter; /* whether what is restored is filtered, */
    int enhance;    /* or enhanced: 1, or 0, or -1 for where the model has an enhancer */
    int force;
} options;

static const char usage[] =
    "usage: nac compress   -m MODEL [-n CODEBOOKS | -b KBPS] [--beam N] [--refine N]\n"
    "                      [--effort NAME] [-f] IN.wav OUT.nac\n"
    "       nac decompress -m MODEL [--postfilter | --[no-]enhance] [-f] IN.nac OUT.wav\n"
    "\n"
    "  -m, --model FILE    weights (.safetensors); beside it lie data of the coders (.entropy),\n"
    "                      and an enhancer (.enhancer)\n"
    "  -n, --codebooks N   number of codebooks; by default all\n"
    "  -b, --kbps RATE     kbit/s of each channel, or of each two that are coded together\n"
    "  --beam N            paths of the search for the codes, 1 to 64; by default 1. More sound\n"
    "                      better at the same bitrate and take as many times as long\n"
    "  --refine N          steps through the decoder that improve the codes, 0 to 1000; by\n"
    "                      default 0. 20 come closer to the audio, and are far slower\n"
    "  --effort NAME       lossless coding: raw, fast, best; by default fast if the model has it\n"
    "  --postfilter        lower the noise between the harmonics of voices\n"
    "  --enhance, --no-enhance\n"
    "                      improve the sound by a second network; by default if the model has one\n"
    "  -f, --force         overwrite an output that exists\n";

/* What a job holds; `release` frees all of it, whatever of it there is. */
typedef struct {
    const options *asked;
    FILE *input, *output;
    char *target; /* where the output leads, if it is a link */
    char *aside;  /* the output's name while it is not complete */
    codec_model *model;
    codec_coder *coder;
    codec_reader *reader;
    codec_writer *writer;
    codec_encoder *encoders[255];
    codec_decoder *decoders[255];
    codec_enhancer *enhancer;              /* NULL unless it is asked for */
    codec_enhancer_stream *enhancing[256]; /* of each plane */
    wav_tags tags;
    float *audio, *pairs, *enhanced;
    uint16_t *codes;
    size_t audio_room, pairs_room, enhanced_room, codes_room; /* values */
    codec_info info;
    char reason[REASON];
} job;

/* The output's name while it is not complete: a signal's handler takes no argument, so this is global. */
static _Atomic(const char *) unfinished;

static int fail(job *j, const char *reason)
{
    fprintf(stderr, "nac: %s: %s\n", j->asked->input, reason);
    return 1;
}

static int fail_status(job *j, codec_status status)
{
    return fail(j, *j->reason ? j->reason : codec_status_text(status));
}

static void release(job *j)
{
    codec_reader_free(j->reader);
    codec_writer_free(j->writer);
    for (size_t c = 0; c < 255; c++) {
        codec_encoder_free(j->encoders[c]);
        codec_decoder_free(j->decoders[c]);
    }
    for (size_t c = 0; c < 256; c++) codec_enhancer_stream_free(j->enhancing[c]);
    codec_enhancer_free(j->enhancer);
    codec_coder_free(j->coder);
    codec_model_free(j->model);
    wav_free(&j->tags);
    free(j->audio);
    free(j->pairs);
    free(j->enhanced);
    free(j->codes);
    free(j->target);
    if (j->input) fclose(j->input);
    if (j->output) fclose(j->output);
    if (j->aside) unlink(j->aside);
    unfinished = NULL;
    free(j->aside);
}

/* ---- Files: an output is complete or absent ---- */

/* Ends the process by the signal itself, as if nothing handled it, once the handler has returned. */
static void remove_unfinished(int number)
{
    const char *name = unfinished;
    if (name) unlink(name);
    raise(number);
}

/* Those by which a user ends a command. */
static sigset_t endings(void)
{
    sigset_t all;
    sigemptyset(&all);
    sigaddset(&all, SIGHUP);
    sigaddset(&all, SIGINT);
    sigaddset(&all, SIGTERM);
    return all;
}

/* Handles them, but for what the caller ignores, as nohup does. */
static void handle_endings(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction action = {.sa_handler = remove_unfinished, .sa_flags = (int)SA_RESETHAND};
    action.sa_mask = endings();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is then an error of the write */
}

/* Makes a file of that name, which a signal removes from then on. Returns -1 on failure. */
static int create_unfinished(const char *name)
{
    const sigset_t all = endings();
    sigset_t before;
    sigprocmask(SIG_BLOCK, &all, &before); /* else one between the two lines leaves the file */
    const int file = open(name, O_RDWR | O_CREAT | O_EXCL, 0666), failed = errno;
    if (file >= 0) unfinished = name;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    return file;
}

static int open_input(job *j)
{
    struct stat found;
    j->input = fopen(j->asked->input, "rb");
    if (!j->input) return fail(j, strerror(errno));
    if (fstat(fileno(j->input), &found) != 0 || !S_ISREG(found.st_mode))
        return fail(j, "not a regular file");
    return 0;
}

static int open_output(job *j)
{
    const char *target = j->asked->output;
    struct stat found, input;
    if (lstat(target, &found) == 0 && S_ISLNK(found.st_mode)) { /* what it leads to is replaced */
        j->target = realpath(target, NULL);
        if (!j->target) return fail(j, "the output is a link that leads nowhere");
        target = j->target;
    }
    const size_t size = strlen(target) + 64;
    if (stat(target, &found) == 0) {
        if (fstat(fileno(j->input), &input) != 0) return fail(j, strerror(errno));
        if (found.st_dev == input.st_dev && found.st_ino == input.st_ino)
            return fail(j, "the output would overwrite the input");
        if (!S_ISREG(found.st_mode)) return fail(j, "the output is not a regular file");
        if (!j->asked->force) return fail(j, "the output exists; --force overwrites it");
    }
    char *name = malloc(size);
    if (!name) return fail(j, "out of memory");
    const char *slash = strrchr(target, '/');
    const int folder = slash ? (int)(slash - target) + 1 : 0;
    snprintf(name, size, "%.*s.nac-%ld.part", folder, target, (long)getpid());
    const int file = create_unfinished(name);
    if (file < 0) {
        free(name);
        return fail(j, strerror(errno));
    }
    j->aside = name;
    j->output = fdopen(file, "w+b");
    return j->output ? 0 : fail(j, strerror(errno));
}

/* Gives the output its name, once it is on the disk. */
static int close_output(job *j)
{
    int failed = fflush(j->output) != 0 || fsync(fileno(j->output)) != 0;
    failed |= fclose(j->output) != 0;
    j->output = NULL;
    const char *target = j->target ? j->target : j->asked->output;
    if (failed || rename(j->aside, target) != 0) return fail(j, strerror(errno));
    unfinished = NULL;
    free(j->aside);
    j->aside = NULL;
    return 0;
}

static int write_bytes(void *user, const void *bytes, size_t n)
{
    return fwrite(bytes, 1, n, user) != n;
}

static int64_t read_bytes(void *user, void *bytes, size_t n)
{
    const size_t got = fread(bytes, 1, n, user);
    return got < n && ferror((FILE *)user) ? -1 : (int64_t)got;
}

/* ---- The model and its coders ---- */

static int fail_weights(const job *j, const char *path, codec_status status)
{
    if (status == CODEC_ERROR_IO) /* it names the file */
        fprintf(stderr, "nac: %s\n", j->reason);
    else
        fprintf(stderr, "nac: %s: %s\n", path, j->reason);
    return 1;
}

static int open_model(job *j)
{
    const char *path = j->asked->weights;
    const codec_status status = codec_model_open(path, NULL, &j->model, j->reason, REASON);
    if (status != CODEC_OK) return fail_weights(j, path, status);
    codec_model_info(j->model, &j->info, sizeof j->info);
    return 0;
}

/* The name of a file beside the weights, model.safetensors -> model.entropy; NULL without memory. */
static char *beside(const options *asked, const char *suffix)
{
    const size_t n = strlen(asked->weights);
    char *path = malloc(n + strlen(suffix) + 1);
    if (!path) return NULL;
    memcpy(path, asked->weights, n + 1);
    char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    strcpy(dot && (!slash || dot > slash) ? dot : path + n, suffix);
    return path;
}

static int open_enhancer(job *j)
{
    char *path = beside(j->asked, ".enhancer");
    if (!path) return fail(j, "out of memory");
    FILE *there = fopen(path, "rb");
    const int without = j->asked->enhance < 0 && !there && errno == ENOENT;
    if (there) fclose(there);
    codec_status status = CODEC_OK;
    if (!without)
        status = codec_enhancer_open(j->model, path, NULL, &j->enhancer, j->reason, REASON);
    if (status != CODEC_OK) {
        if (j->asked->enhance < 0)
            strncat(j->reason, "; --no-enhance does without", REASON - 1 - strlen(j->reason));
        fail_weights(j, path, status);
    }
    free(path);
    return status != CODEC_OK;
}

/* The content of the file beside the weights; NULL without. */
static void *coder_data(const options *asked, size_t *size)
{
    char *path = beside(asked, ".entropy");
    if (!path) return NULL;
    FILE *file = fopen(path, "rb");
    free(path);
    if (!file) return NULL;
    void *data = NULL;
    if (fseeko(file, 0, SEEK_END) == 0 && ftello(file) > 0) {
        *size = (size_t)ftello(file);
        data = malloc(*size);
        rewind(file);
        if (data && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    fclose(file);
    return data;
}

static int open_coder(job *j, uint32_t number)
{
    size_t size = 0;
    void *data = number == CODEC_CODER_RAW ? NULL : coder_data(j->asked, &size);
    if (number != CODEC_CODER_RAW && !data) {
        snprintf(j->reason, REASON, "the model has no data for its coders");
        return 1;
    }
    const codec_status status =
        codec_coder_open(number, j->model, data, size, &j->coder, j->reason, REASON);
    free(data);
    return status != CODEC_OK;
}

/* The coder that is asked for; without a wish fast, or raw if the model has no data for it. */
static int choose_coder(job *j)
{
    static const char *const names[] = {"raw", "fast", "best"};
    if (!j->asked->effort) {
        if (open_coder(j, CODEC_CODER_FAST) == 0) return 0;
        *j->reason = 0;
        return open_coder(j, CODEC_CODER_RAW) ? fail(j, j->reason) : 0;
    }
    for (uint32_t i = 0; i < 3; i++)
        if (strcmp(j->asked->effort, names[i]) == 0)
            return open_coder(j, i) ? fail(j, j->reason) : 0;
    return fail(j, "--effort is one of raw, fast, best");
}

/* The number of codebooks that is asked for, as `codec compress` finds it; 0 if there is none. */
static uint32_t choose_codebooks(job *j)
{
    const codec_info *info = &j->info;
    uint32_t bits = 0;
    while ((info->codebook_size - 1) >> bits) bits++;
    const double each = (double)info->sample_rate / info->hop_length * bits;
    const double ratio = 1000 * j->asked->kbps / each + 1e-6; /* a division may fall short */
    if (j->asked->kbps != 0) {
        if (ratio >= 1 && ratio <= info->codebooks + 2e-6) return (uint32_t)ratio;
        fprintf(stderr, "nac: no %g kbit/s per %s; this model has %g to %g\n", j->asked->kbps,
                info->channels == 1 ? "channel" : "two channels", each / 1000,
                each * info->codebooks / 1000);
        return 0;
    }
    if (j->asked->codebooks == 0) return info->codebooks;
    if (j->asked->codebooks >= 1 && j->asked->codebooks <= (long)info->codebooks)
        return (uint32_t)j->asked->codebooks;
    fprintf(stderr, "nac: %ld codebooks; the model has 1 to %u\n", j->asked->codebooks,
            (unsigned)info->codebooks);
    return 0;
}

static int check_rate(job *j, uint32_t sample_rate)
{
    if (sample_rate == j->info.sample_rate) return 0;
    snprintf(j->reason, REASON, "%u Hz: this command does not resample, and the model is for %u Hz",
             (unsigned)sample_rate, (unsigned)j->info.sample_rate);
    return fail(j, j->reason);
}

/* Makes room for `count` samples, or codes. */
static int reserve_floats(job *j, float **floats, size_t *room, size_t count)
{
    if (count <= *room) return 0;
    float *larger = realloc(*floats, count * sizeof *larger);
    if (!larger) return fail(j, "out of memory");
    *floats = larger;
    *room = count;
    return 0;
}

static int reserve_audio(job *j, size_t count)
{
    return reserve_floats(j, &j->audio, &j->audio_room, count);
}

static int reserve_pairs(job *j, size_t count)
{
    return reserve_floats(j, &j->pairs, &j->pairs_room, count);
}

static int reserve_codes(job *j, size_t count)
{
    if (count <= j->codes_room) return 0;
    uint16_t *larger = realloc(j->codes, count * sizeof *larger);
    if (!larger) return fail(j, "out of memory");
    j->codes = larger;
    j->codes_room = count;
    return 0;
}

/* ---- Streams of channels ---- */

static size_t streams_of(const job *j, size_t channels)
{
    return (channels + j->info.channels - 1) / j->info.channels;
}

/* The n samples that stream i takes, out of audio [channels][stride]. */
static const float *stream_input(job *j, size_t channels, size_t i, const float *audio,
                                 size_t stride, size_t n)
{
    if (j->info.channels == 1) return audio + i * stride;
    const float *left = audio + 2 * i * stride;
    const float *right = 2 * i + 1 < channels ? left + stride : left;
    for (size_t k = 0; k < n; k++) {
        j->pairs[2 * k] = left[k];
        j->pairs[2 * k + 1] = right[k];
    }
    return j->pairs;
}

/* Puts the n pairs that stream i gave into audio [planes][stride]. */
static void put_pairs(const job *j, size_t i, float *audio, size_t stride, size_t n)
{
    float *left = audio + 2 * i * stride, *right = left + stride;
    for (size_t k = 0; k < n; k++) left[k] = j->pairs[2 * k], right[k] = j->pairs[2 * k + 1];
}

/* The channels that come out of the network: one more than there are if the last is a pair. */
static size_t planes_of(const job *j, size_t channels)
{
    return j->info.channels * streams_of(j, channels);
}

/* ---- Compress ---- */

/* Encodes n samples of each channel, or the end if audio is NULL, and writes the codes. */
static int encode(job *j, size_t channels, size_t codebooks, const float *audio, size_t stride,
                  size_t n)
{
    const size_t streams = streams_of(j, channels);
    const size_t room =
        audio ? codec_encoder_ready(j->encoders[0], n) : codec_encoder_left(j->encoders[0]);
    size_t frames = 0;
    codec_status status = CODEC_OK;
    if (reserve_codes(j, streams * codebooks * (room + 1)) || reserve_pairs(j, 2 * n)) return 1;
    for (size_t i = 0; i < streams && status == CODEC_OK; i++) {
        uint16_t *codes = j->codes + i * codebooks * room;
        status = audio ? codec_encoder_push(j->encoders[i],
                                            stream_input(j, channels, i, audio, stride, n), n,
                                            codes, room, &frames)
                       : codec_encoder_flush(j->encoders[i], codes, room, &frames);
    }
    if (status == CODEC_OK) status = codec_writer_write(j->writer, j->codes, room, frames);
    return status == CODEC_OK ? 0 : fail_status(j, status);
}

static int start_file(job *j, const wav_reader *wav, uint32_t codebooks)
{
    codec_file_info file;
    codec_tag tags[WAV_MAX_TAGS];
    codec_status status = codec_file_describe(j->model, wav->channels, codebooks, 0, &file);
    for (size_t i = 0; i < j->tags.n; i++)
        tags[i] = (codec_tag){.key = j->tags.keys[i], .value = j->tags.values[i]};
    if (status == CODEC_OK)
        status =
            codec_writer_open(&file, j->coder, tags, j->tags.n, write_bytes, j->output, &j->writer);
    for (size_t i = 0; i < streams_of(j, wav->channels) && status == CODEC_OK; i++) {
        status = codec_encoder_new(j->model, codebooks, &j->encoders[i]);
        if (status == CODEC_OK)
            status = codec_encoder_set_beam(j->encoders[i], (size_t)j->asked->beam);
        if (status == CODEC_OK)
            status = codec_encoder_set_refine(j->encoders[i], (size_t)j->asked->refine, j->reason,
                                              REASON);
    }
    return status == CODEC_OK ? 0 : fail_status(j, status);
}

static int compress(job *j)
{
    wav_reader wav;
    uint8_t header[CODEC_HEADER_BYTES];
    if (open_input(j)) return 1;
    const char *problem = wav_open(&wav, j->input);
    j->tags = wav.tags;
    if (problem) return fail(j, problem);
    if (open_model(j) || check_rate(j, wav.sample_rate)) return 1;
    if (wav.channels > 255) return fail(j, "more than 255 channels");
    const uint32_t codebooks = choose_codebooks(j);
    if (!codebooks || choose_coder(j) || open_output(j) || start_file(j, &wav, codebooks)) return 1;

    const size_t step = BLOCK / wav.channels;
    if (reserve_audio(j, step * wav.channels)) return 1;
    for (size_t got = 1; got;) {
        problem = wav_read(&wav, j->audio, step, &got);
        if (problem) return fail(j, problem);
        if (got && encode(j, wav.channels, codebooks, j->audio, step, got)) return 1;
    }
    if (encode(j, wav.channels, codebooks, NULL, 0, 0)) return 1;
    const codec_status status = codec_writer_finish(j->writer, wav.n_samples, header);
    if (status != CODEC_OK) return fail_status(j, status);
    if (fseeko(j->output, 0, SEEK_SET) != 0 || write_bytes(j->output, header, sizeof header))
        return fail(j, strerror(errno));
    if (wav.warning) fprintf(stderr, "nac: %s: warning: %s\n", j->asked->input, wav.warning);
    return close_output(j);
}

/* ---- Decompress ---- */

static int fail_chunk(job *j, codec_status status)
{
    const codec_file_info *file = codec_reader_info(j->reader);
    snprintf(j->reason, REASON, "at chunk %llu: %s",
             (unsigned long long)(codec_reader_frame(j->reader) / file->chunk_frames),
             codec_status_text(status));
    return fail(j, j->reason);
}

/* Writes up to *left samples of audio [planes][stride], which has n of each. */
static int write_audio(job *j, float *audio, size_t channels, size_t stride, size_t n,
                       uint64_t *left)
{
    if (n > *left) n = (size_t)*left;
    *left -= n;
    if (planes_of(j, channels) > channels) {
        float *last = audio + (channels - 1) * stride;
        for (size_t k = 0; k < n; k++) last[k] = (last[k] + last[stride + k]) * 0.5f;
    }
    const char *problem = wav_write(j->output, audio, channels, stride, n);
    return problem ? fail(j, problem) : 0;
}

/* Enhances n samples of audio [planes][stride], or the end if audio is NULL, and writes what comes. */
static int enhance(job *j, const float *audio, size_t channels, size_t stride, size_t n,
                   uint64_t *left)
{
    const size_t room = audio ? codec_enhancer_stream_ready(j->enhancing[0], n)
                              : codec_enhancer_stream_left(j->enhancing[0]);
    const size_t planes = planes_of(j, channels);
    size_t given = 0;
    codec_status status = CODEC_OK;
    if (reserve_floats(j, &j->enhanced, &j->enhanced_room, planes * (room + 1))) return 1;
    for (size_t c = 0; c < planes && status == CODEC_OK; c++) {
        float *to = j->enhanced + c * room;
        status = audio ? codec_enhancer_stream_push(j->enhancing[c], audio + c * stride, n, to,
                                                    room, &given)
                       : codec_enhancer_stream_flush(j->enhancing[c], to, room, &given);
    }
    if (status != CODEC_OK) return fail_status(j, status);
    return write_audio(j, j->enhanced, channels, room, given, left);
}

/* Decodes frames of a chunk, or the end if there are none, and writes up to *left samples. */
static int decode(job *j, size_t channels, size_t codebooks, size_t frames, uint64_t *left)
{
    const size_t room =
        frames ? codec_decoder_ready(j->decoders[0], frames) : codec_decoder_left(j->decoders[0]);
    const int paired = j->info.channels == 2;
    size_t n = 0;
    codec_status status = CODEC_OK;
    if (reserve_audio(j, planes_of(j, channels) * (room + 1)) || reserve_pairs(j, 2 * (room + 1)))
        return 1;
    for (size_t i = 0; i < streams_of(j, channels) && status == CODEC_OK; i++) {
        const uint16_t *codes = j->codes + i * codebooks * frames;
        float *audio = paired ? j->pairs : j->audio + i * room;
        status = frames ? codec_decoder_push(j->decoders[i], codes, frames, codebooks, frames,
                                             audio, room, &n)
                        : codec_decoder_flush(j->decoders[i], audio, room, &n);
        if (status == CODEC_OK && paired) put_pairs(j, i, j->audio, room, n);
    }
    if (status != CODEC_OK) return fail_status(j, status);
    if (!j->enhancer) return write_audio(j, j->audio, channels, room, n, left);
    if (enhance(j, j->audio, channels, room, n, left)) return 1;
    return frames ? 0 : enhance(j, NULL, channels, 0, 0, left);
}

static int start_audio(job *j, const codec_file_info *file)
{
    codec_status status = codec_reader_use(j->reader, j->coder);
    if (status == CODEC_ERROR_MODEL) return fail(j, "made with another model");
    for (size_t i = 0; i < codec_file_streams(file) && status == CODEC_OK; i++) {
        status = codec_decoder_new(j->model, &j->decoders[i]);
        if (status == CODEC_OK)
            status = codec_decoder_set_postfilter(j->decoders[i], j->asked->postfilter, j->reason,
                                                  REASON);
    }
    if (status == CODEC_OK && j->asked->enhance && !j->asked->postfilter && open_enhancer(j))
        return 1;
    const size_t planes = j->enhancer ? planes_of(j, file->channels) : 0;
    for (size_t c = 0; c < planes && status == CODEC_OK; c++)
        status = codec_enhancer_stream_new(j->enhancer, &j->enhancing[c]);
    if (status != CODEC_OK) return fail_status(j, status);
    for (size_t i = 0; i < codec_reader_tags(j->reader); i++) {
        codec_tag tag;
        if (codec_reader_tag(j->reader, i, &tag) != CODEC_OK) continue;
        for (size_t k = 0; wav_tag_name(k); k++)
            if (strcmp(tag.key, wav_tag_name(k)) == 0 &&
                !wav_set_tag(&j->tags, wav_tag_name(k), tag.value, strlen(tag.value)))
                return fail(j, "out of memory");
    }
    return 0;
}

static int decompress(job *j)
{
    if (open_input(j)) return 1;
    codec_status status = codec_reader_open(read_bytes, j->input, &j->reader);
    if (status != CODEC_OK) return fail_status(j, status);
    const codec_file_info *file = codec_reader_info(j->reader);
    if (open_model(j)) return 1;
    if (open_coder(j, file->coder)) return fail(j, j->reason);
    if (check_rate(j, file->sample_rate) || start_audio(j, file) || open_output(j)) return 1;

    /* The length of what came through a pipe is known at its end. */
    const int known = file->n_samples != CODEC_UNKNOWN_LENGTH;
    uint64_t left = file->n_samples;
    const size_t room = (size_t)codec_file_streams(file) * file->codebooks * file->chunk_frames;
    if (reserve_codes(j, room)) return 1;
    const char *problem = wav_write_header(j->output, file->sample_rate, file->channels,
                                           known ? file->n_samples : 0, &j->tags);
    const off_t start = ftello(j->output);
    for (size_t frames = 1; !problem && frames;) {
        size_t codebooks = 0;
        status = codec_reader_next(j->reader, j->codes, room, &codebooks, &frames);
        if (status != CODEC_OK) return fail_chunk(j, status);
        if (decode(j, file->channels, codebooks, frames, &left)) return 1;
    }
    if (!problem && !known && fseeko(j->output, 0, SEEK_SET) == 0)
        problem = wav_write_header(j->output, file->sample_rate, file->channels, file->n_samples,
                                   &j->tags);
    if (problem) return fail(j, problem);
    const off_t end = start + (off_t)(2 * file->channels * file->n_samples);
    if (fflush(j->output) != 0 || ftruncate(fileno(j->output), end) != 0)
        return fail(j, strerror(errno));
    return close_output(j);
}

/* ---- The command line ---- */

static int wrong(const char *reason)
{
    fprintf(stderr, "nac: %s\n\n%s", reason, usage);
    return 2;
}

int main(int argc, char **argv)
{
    options asked = {.beam = 1, .enhance = -1};
    const char *names[2];
    int n_names = 0;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc < 2) return wrong("compress or decompress?");
    const int to_nac = strcmp(argv[1], "compress") == 0;
    if (!to_nac && strcmp(argv[1], "decompress") != 0) return wrong("compress or decompress?");
    for (int i = 2; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        char *end = NULL;
        if (strcmp(word, "-f") == 0 || strcmp(word, "--force") == 0) {
            asked.force = 1;
            continue;
        }
        if (!to_nac && strcmp(word, "--postfilter") == 0) {
            asked.postfilter = 1;
            continue;
        }
        if (!to_nac && (strcmp(word, "--enhance") == 0 || strcmp(word, "--no-enhance") == 0)) {
            asked.enhance = word[2] == 'e';
            continue;
        }
        if (word[0] != '-') {
            if (n_names == 2) return wrong("one input and one output");
            names[n_names++] = word;
            continue;
        }
        if (!value) return wrong("an option without its value, or unknown");
        if (strcmp(word, "-m") == 0 || strcmp(word, "--model") == 0)
            asked.weights = value;
        else if (to_nac && strcmp(word, "--effort") == 0)
            asked.effort = value;
        else if (to_nac && (strcmp(word, "-n") == 0 || strcmp(word, "--codebooks") == 0)) {
            asked.codebooks = strtol(value, &end, 10);
            if (*end || end == value || asked.codebooks < 1)
                return wrong("-n takes a number from 1");
        } else if (to_nac && strcmp(word, "--beam") == 0) {
            asked.beam = strtol(value, &end, 10);
            if (*end || end == value || asked.beam < 1 || asked.beam > 64)
                return wrong("--beam takes a number from 1 to 64");
        } else if (to_nac && strcmp(word, "--refine") == 0) {
            asked.refine = strtol(value, &end, 10);
            if (*end || end == value || asked.refine < 0 || asked.refine > 1000)
                return wrong("--refine takes a number from 0 to 1000");
        } else if (to_nac && (strcmp(word, "-b") == 0 || strcmp(word, "--kbps") == 0)) {
            asked.kbps = strtod(value, &end);
            if (*end || end == value || !(asked.kbps > 0)) return wrong("-b takes kbit/s");
        } else
            return wrong("an unknown option");
        i++;
    }
    if (asked.codebooks && asked.kbps != 0) return wrong("choose --kbps or --codebooks, not both");
    if (asked.postfilter && asked.enhance > 0)
        return wrong("choose --postfilter or --enhance, not both");
    if (!asked.weights) return wrong("--model names the weights");
    if (n_names < 2) return wrong("one input and one output");
    asked.input = names[0];
    asked.output = names[1];
    job j = {.asked = &asked};
    handle_endings();
    const int failed = to_nac ? compress(&j) : decompress(&j);
    release(&j);
    return failed;
}
