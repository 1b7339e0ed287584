/* libcodec: a neural audio codec in C, without Python. This header is its documentation.
 *
 *     codec_model *model;
 *     char reason[200];
 *     if (codec_model_open("default.safetensors", NULL, &model, reason, sizeof reason)) ...
 *     size_t frames;
 *     uint16_t *codes = malloc(8 * codec_frames(model, n) * sizeof *codes);
 *     codec_encode(model, samples, n, 8, codes, codec_frames(model, n), &frames);
 *
 * The same samples give the same codes, and the same codes the same samples, to the bit: on every
 * processor, in pieces of any size or whole, from C or from Python.
 *
 * Audio is float, within +-1 at full scale, at the model's sample rate, of one channel. A model that codes
 * two channels together (info.channels is 2) takes and gives pairs: wherever n or a capacity counts
 * samples, these are float [n][2], left and right. Codes are uint16_t [codebooks][stride]: codes[level *
 * stride + frame]. The first k codebooks decode alone.
 *
 * Errors are returned; when a call fails, what its output pointers lead to has no meaning, and a
 * stream is as it was before. Where a call takes `message` (NULL if unwanted), it gets a reason of one
 * line that ends with a zero byte. Output sizes are checked before anything is written.
 *
 * Threads may share a codec_model and a codec_enhancer, which never change. All else serves one call at a
 * time. There is no global state, and no memory is allocated but by calls that open, make, encode or
 * decode, by those that enhance, and by codec_encoder_set_refine and codec_decoder_set_postfilter. */
#ifndef CODEC_H
#define CODEC_H

#include <stddef.h>
#include <stdint.h>

#define CODEC_VERSION "0.1.0"
#define CODEC_ABI_VERSION 1 /* changes when a program must be compiled anew; that of the soname */

#if defined(CODEC_API) /* the build's own choice */
#elif defined(__GNUC__)
#define CODEC_API __attribute__((visibility("default")))
#else
#define CODEC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum codec_status {
    CODEC_OK = 0,
    CODEC_ERROR_ARGUMENT = 1,    /* a null pointer, or a number out of its range */
    CODEC_ERROR_SIZE = 2,        /* the output does not fit the memory that it was given */
    CODEC_ERROR_MEMORY = 3,      /* no memory */
    CODEC_ERROR_IO = 4,          /* a file cannot be opened, read or written */
    CODEC_ERROR_MODEL = 5,       /* weights that are damaged, or of another model than needed */
    CODEC_ERROR_UNSUPPORTED = 6, /* valid, but this library or this processor cannot do it */
    CODEC_ERROR_AUDIO = 7,       /* samples that are not finite numbers */
    CODEC_ERROR_CODES = 8,       /* codes beyond the codebook; latents not finite, or beyond 1e30 */
    CODEC_ERROR_STATE = 9,       /* a stream that has begun, or ended; a saved state that does not fit */
    CODEC_ERROR_FORMAT = 10,     /* a .nac file that holds what no writer writes */
    CODEC_ERROR_NOT_NAC = 11,    /* not a .nac file */
    CODEC_ERROR_VERSION = 12,    /* a .nac file of a version that this library does not read */
    CODEC_ERROR_TRUNCATED = 13,  /* a file that ends too early */
    CODEC_ERROR_CHECKSUM = 14,   /* a file with bytes that were changed */
    CODEC_ERROR_PAYLOAD = 15,    /* codes in a file that its coder would not have written so */
    CODEC_ERROR_CODER = 16,      /* the file needs another coder, or other data for it */
    CODEC_ERROR_LENGTH = 17      /* samples that do not make the frames; more than a file holds */
} codec_status;

/* What a status means, in a few words; of any int. */
CODEC_API const char *codec_status_text(int status);

/* CODEC_VERSION and CODEC_ABI_VERSION of the library that runs. */
CODEC_API const char *codec_version(void);
CODEC_API int codec_abi_version(void);

/* ---- Models ---------------------------------------------------------------------------------- */

typedef struct codec_model codec_model;

typedef struct codec_info {
    uint32_t sample_rate;     /* samples a second */
    uint32_t hop_length;      /* samples a frame */
    uint32_t codebooks;       /* the most that a frame has */
    uint32_t codebook_size;   /* codes are below it */
    uint32_t latent_dim;      /* values of a frame before the quantiser */
    uint32_t encoder_latency; /* samples past the end of a frame before its codes come out */
    uint32_t decoder_latency; /* samples before the end of the last frame that still wait */
    uint8_t id[8];            /* of the weights: five bytes for the codes, three for the decoder */
    uint32_t channels;        /* that are coded together: 1, or 2, whose samples are pairs */
} codec_info;

/* Reads weights (safetensors, as `codec export` writes them), checks all of them and packs them.
 * instruction_set: NULL for the widest that this processor has; or scalar, avx2, avx512, neon. */
CODEC_API codec_status codec_model_open(const char *path, const char *instruction_set,
                                        codec_model **model, char *message, size_t message_size);
/* The same, of a file in memory, which is not needed afterwards. */
CODEC_API codec_status codec_model_read(const void *data, size_t size, const char *instruction_set,
                                        codec_model **model, char *message, size_t message_size);
CODEC_API void codec_model_free(codec_model *model);

/* info_size: sizeof(codec_info). A library that is newer or older fills what both know. */
CODEC_API codec_status codec_model_info(const codec_model *model, codec_info *info,
                                        size_t info_size);
CODEC_API const char *codec_model_instruction_set(const codec_model *model);

/* Frames of n samples: n / hop_length, rounded up. */
CODEC_API size_t codec_frames(const codec_model *model, size_t n);

/* ---- Whole clips ----------------------------------------------------------------------------- */

/* Encodes n samples to codec_frames(model, n) frames, at most `stride`, of 1 to info.codebooks. */
CODEC_API codec_status codec_encode(const codec_model *model, const float *samples, size_t n,
                                    size_t codebooks, uint16_t *codes, size_t stride,
                                    size_t *frames);

/* The same, with the paths of codec_encoder_set_beam and the steps of codec_encoder_set_refine; 1 and 0
 * are those of codec_encode. It returns when all is done: a stream can be stopped in between. */
CODEC_API codec_status codec_encode_refined(const codec_model *model, const float *samples,
                                            size_t n, size_t codebooks, size_t paths, size_t steps,
                                            uint16_t *codes, size_t stride, size_t *frames);

/* Decodes `frames` frames of each codebook to frames * hop_length samples, at most `capacity`. */
CODEC_API codec_status codec_decode(const codec_model *model, const uint16_t *codes, size_t stride,
                                    size_t codebooks, size_t frames, float *samples,
                                    size_t capacity, size_t *n);

/* ---- Streams --------------------------------------------------------------------------------- */

typedef struct codec_encoder codec_encoder;
typedef struct codec_decoder codec_decoder;

/* The model must outlive the stream. */
CODEC_API codec_status codec_encoder_new(const codec_model *model, size_t codebooks,
                                         codec_encoder **encoder);
CODEC_API void codec_encoder_free(codec_encoder *encoder);
CODEC_API void codec_encoder_reset(codec_encoder *encoder);

/* Searches the codes with 1 to 64 paths from the next frame on: also after a reset or a load, as the
 * state does not hold their number. A new encoder has 1: the nearest codeword of each level in turn.
 * More sound better at the same bitrate and take as many times as long for the search; 8 is a good
 * start. With more than 1, the codes of fewer codebooks are not the first of those of more. */
CODEC_API codec_status codec_encoder_set_beam(codec_encoder *encoder, size_t paths);

/* Improves the codes by 1 to 1000 steps of analysis by synthesis; a new encoder has 0, and does not. Each
 * step decodes the codes, compares the audio with the original, and searches anew with the paths of
 * codec_encoder_set_beam, whose number may change from window to window. More steps come closer to the
 * audio at the same bitrate; 20 encode the shipped model at a few times real time.
 *
 * The steps are set before the first sample, else it is CODEC_ERROR_STATE; a reset keeps them. With the
 * shipped model this takes 24 MB for each encoder, and once 20 MB that all encoders of the model share.
 * It is CODEC_ERROR_UNSUPPORTED for some lengths of frames.
 *
 * Codes come out in windows of 100 frames, each when 12 frames and info.encoder_latency, rounded up to
 * frames, of audio behind it are there. A push that completes several windows refines all of them before
 * it returns: to be able to stop in between, push up to 100 frames at a time. With steps, an encoder has
 * no latents: these calls are CODEC_ERROR_UNSUPPORTED. Its state is larger, as it holds the audio that
 * waits: 0.6 MB with the shipped model. It does not hold the steps. */
CODEC_API codec_status codec_encoder_set_refine(codec_encoder *encoder, size_t steps, char *message,
                                                size_t message_size);

/* Frames that come out when n samples are pushed, and when the stream is flushed now. */
CODEC_API size_t codec_encoder_ready(const codec_encoder *encoder, size_t n);
CODEC_API size_t codec_encoder_left(const codec_encoder *encoder);

/* Takes n samples (n may be 0); gives the codes that are certain now. flush ends the stream: in all
 * there are as many frames as codec_encode makes. */
CODEC_API codec_status codec_encoder_push(codec_encoder *encoder, const float *samples, size_t n,
                                          uint16_t *codes, size_t stride, size_t *frames);
CODEC_API codec_status codec_encoder_flush(codec_encoder *encoder, uint16_t *codes, size_t stride,
                                           size_t *frames);

/* The same for latents float [frames][latent_dim], what the quantiser gets; capacity in frames. */
CODEC_API codec_status codec_encoder_push_latents(codec_encoder *encoder, const float *samples,
                                                  size_t n, float *latents, size_t capacity,
                                                  size_t *frames);
CODEC_API codec_status codec_encoder_flush_latents(codec_encoder *encoder, float *latents,
                                                   size_t capacity, size_t *frames);

CODEC_API codec_status codec_decoder_new(const codec_model *model, codec_decoder **decoder);
CODEC_API void codec_decoder_free(codec_decoder *decoder);
CODEC_API void codec_decoder_reset(codec_decoder *decoder);

/* Lowers the noise between the harmonics of voices if `on` is not 0, as `codec decompress --postfilter`
 * does; it is for speech. A new decoder does not. It is set before the first frame, else it is
 * CODEC_ERROR_STATE; a reset keeps it. It is CODEC_ERROR_UNSUPPORTED unless the model is for 24000 Hz.
 *
 * The samples are those of the whole for any size of the pushes, and come 20 to 25 ms later. A state then
 * holds what the filter has seen, and is for decoders with one. Of a whole clip, push all frames at once,
 * then flush. */
CODEC_API codec_status codec_decoder_set_postfilter(codec_decoder *decoder, int on, char *message,
                                                    size_t message_size);

/* Samples before the end of the last frame that still wait for what follows, at most:
 * info.decoder_latency, and what a postfilter sees ahead. */
CODEC_API size_t codec_decoder_latency(const codec_decoder *decoder);

/* Samples that come out when `frames` frames are pushed, and when the stream is flushed now. */
CODEC_API size_t codec_decoder_ready(const codec_decoder *decoder, size_t frames);
CODEC_API size_t codec_decoder_left(const codec_decoder *decoder);

/* Takes `frames` frames (0 is allowed), whose codebooks may change from call to call. */
CODEC_API codec_status codec_decoder_push(codec_decoder *decoder, const uint16_t *codes,
                                          size_t stride, size_t codebooks, size_t frames,
                                          float *samples, size_t capacity, size_t *n);
CODEC_API codec_status codec_decoder_push_latents(codec_decoder *decoder, const float *latents,
                                                  size_t frames, float *samples, size_t capacity,
                                                  size_t *n);
CODEC_API codec_status codec_decoder_flush(codec_decoder *decoder, float *samples, size_t capacity,
                                           size_t *n);

/* A stream's state as bytes of constant size, with which another stream of the same model goes on: in
 * any process, on any machine, also in Python, whose `save` gives the same bytes. An encoder must have as
 * many codebooks, and steps if the saved one had some. A load that fails changes nothing. */
CODEC_API size_t codec_encoder_state_size(const codec_encoder *encoder);
CODEC_API codec_status codec_encoder_save(const codec_encoder *encoder, void *state, size_t size);
CODEC_API codec_status codec_encoder_load(codec_encoder *encoder, const void *state, size_t size);
CODEC_API size_t codec_decoder_state_size(const codec_decoder *decoder);
CODEC_API codec_status codec_decoder_save(const codec_decoder *decoder, void *state, size_t size);
CODEC_API codec_status codec_decoder_load(codec_decoder *decoder, const void *state, size_t size);

/* ---- Enhancers ------------------------------------------------------------------------------- */

/* A second network, which makes decoded audio sound closer to the original, as `codec decompress
 * --enhance` does. It belongs to one model, and its weights lie beside those: default.enhancer. */
typedef struct codec_enhancer codec_enhancer;

/* Reads its weights, checks all of them and packs them; the model may be freed afterwards. It is
 * CODEC_ERROR_MODEL if they were made for another model, and CODEC_ERROR_UNSUPPORTED unless the model is
 * for 24000 Hz. instruction_set: as for codec_model_open. */
CODEC_API codec_status codec_enhancer_open(const codec_model *model, const char *path,
                                           const char *instruction_set, codec_enhancer **enhancer,
                                           char *message, size_t message_size);
/* The same, of a file in memory, which is not needed afterwards. */
CODEC_API codec_status codec_enhancer_read(const codec_model *model, const void *data, size_t size,
                                           const char *instruction_set, codec_enhancer **enhancer,
                                           char *message, size_t message_size);
CODEC_API void codec_enhancer_free(codec_enhancer *enhancer);

/* Audio of one channel, whatever the model's: of pairs, the left and the right are two. Samples come out in
 * hops of the network, 10 ms with the shipped one, each when 70 ms behind it are there. With the shipped one
 * a stream takes 40 kB, and a call while it runs 0.5 MB more for 40 ms of samples, and at most 16 MB. The
 * samples are those of the whole for any size of the pushes; larger ones take less time. The enhancer must
 * outlive the stream. */
typedef struct codec_enhancer_stream codec_enhancer_stream;

CODEC_API codec_status codec_enhancer_stream_new(const codec_enhancer *enhancer,
                                                 codec_enhancer_stream **stream);
CODEC_API void codec_enhancer_stream_free(codec_enhancer_stream *stream);
CODEC_API void codec_enhancer_stream_reset(codec_enhancer_stream *stream);

/* Samples that come out when n samples are pushed, and when the stream is flushed now. */
CODEC_API size_t codec_enhancer_stream_ready(const codec_enhancer_stream *stream, size_t n);
CODEC_API size_t codec_enhancer_stream_left(const codec_enhancer_stream *stream);

/* Takes n decoded samples (n may be 0) and gives as many in all as it took, up to `capacity` now;
 * enhanced must not overlap with samples. flush ends the stream. */
CODEC_API codec_status codec_enhancer_stream_push(codec_enhancer_stream *stream,
                                                  const float *samples, size_t n, float *enhanced,
                                                  size_t capacity, size_t *given);
CODEC_API codec_status codec_enhancer_stream_flush(codec_enhancer_stream *stream, float *enhanced,
                                                   size_t capacity, size_t *given);

/* ---- Files ----------------------------------------------------------------------------------- */

/* A .nac file holds the codes of all channels in chunks, by default of two seconds. `fast` and
 * `best` code them without loss, by data beside the weights (default.entropy); `raw` packs bits. */
typedef struct codec_coder codec_coder;
enum { CODEC_CODER_RAW = 0, CODEC_CODER_FAST = 1, CODEC_CODER_BEST = 2 };

/* Makes a coder for the codes of `model`, which must outlive it; data [size] is the content of its
 * data file, which is not needed afterwards, NULL and 0 for raw. A raw coder with model NULL is for
 * any file. Threads may share a coder, which never changes. */
CODEC_API codec_status codec_coder_open(uint32_t coder, const codec_model *model, const void *data,
                                        size_t size, codec_coder **opened, char *message,
                                        size_t message_size);
CODEC_API void codec_coder_free(codec_coder *coder);

/* What the header of a file says; docs/format.md has the limits of each. */
#define CODEC_UNKNOWN_LENGTH UINT64_MAX
enum { CODEC_HEADER_BYTES = 64 };
typedef struct codec_file_info {
    uint64_t n_samples; /* of each channel; or unknown, until the end has been read */
    uint32_t sample_rate, channels;
    uint32_t codebooks;                 /* of each chunk; the most of any if `variable` is 1 */
    uint32_t codebook_size;             /* codes are below it */
    uint32_t frame_rate, frame_divisor; /* frames a second, a fraction in lowest terms */
    uint32_t chunk_frames;              /* of all chunks but the last, which may have fewer */
    uint32_t coder, variable, metadata_bytes;
    uint32_t together; /* channels that one stream of codes carries: 1, or 2 as mid and side */
    uint8_t model_id[8], tables_id[8];
} codec_file_info;

/* Fills in what `codec compress` writes for audio at the model's rate: chunks of two seconds, or
 * of one frame if `live`, and an unknown length. */
CODEC_API codec_status codec_file_describe(const codec_model *model, uint32_t channels,
                                           uint32_t codebooks, int live, codec_file_info *info);

/* Streams of codes: channels / together, rounded up. */
CODEC_API uint32_t codec_file_streams(const codec_file_info *info);

typedef struct codec_tag {
    const char *key, *value; /* UTF-8 */
} codec_tag;

typedef struct codec_reader codec_reader;

/* Gives up to n bytes, as many as have arrived; returns how many, 0 at the end, -1 on failure. */
typedef int64_t codec_read(void *user, void *bytes, size_t n);
/* The same, from any offset of something that has a size. */
typedef int64_t codec_read_at(void *user, uint64_t offset, void *bytes, size_t n);

/* Reads the header and the tags; chunks follow, front to back, in constant memory. */
CODEC_API codec_status codec_reader_open(codec_read *read, void *user, codec_reader **reader);
CODEC_API codec_status codec_reader_open_at(codec_read_at *read, uint64_t size, void *user,
                                            codec_reader **reader);
CODEC_API codec_status codec_reader_open_memory(const void *data, size_t size,
                                                codec_reader **reader);
CODEC_API void codec_reader_free(codec_reader *reader);
CODEC_API const codec_file_info *codec_reader_info(const codec_reader *reader);
CODEC_API size_t codec_reader_tags(const codec_reader *reader);
/* Tag i, NULL past the last; it lives as long as the reader. */
CODEC_API codec_status codec_reader_tag(const codec_reader *reader, size_t i, codec_tag *tag);

/* Chooses the coder, before the first chunk; it must outlive the reader. */
CODEC_API codec_status codec_reader_use(codec_reader *reader, const codec_coder *coder);

/* Decodes the next chunk to codes [streams][codebooks][frames], for which there must be room for
 * streams * codebooks * chunk_frames of info, else it is CODEC_ERROR_SIZE. At the end of the file *frames is 0; only then every
 * byte of it has been checked. After a failure every call fails so. */
CODEC_API codec_status codec_reader_next(codec_reader *reader, uint16_t *codes, size_t capacity,
                                         size_t *codebooks, size_t *frames);
CODEC_API uint64_t codec_reader_frame(const codec_reader *reader); /* the first that comes next */

/* Goes to the chunk that holds `frame`, by the index at the end of the file; only what is read from
 * then on is checked. Where there is no such frame, or the trailer or the index is damaged, the reader
 * stays where it is. Not for a reader of codec_reader_open. */
CODEC_API codec_status codec_reader_seek(codec_reader *reader, uint64_t frame);

typedef struct codec_writer codec_writer;

/* Takes all of n bytes; returns 0, or anything else on failure. */
typedef int codec_write(void *user, const void *bytes, size_t n);

/* Writes the header and the tags that the format can hold. info's coder and metadata are filled in;
 * the coder must outlive the writer. */
CODEC_API codec_status codec_writer_open(const codec_file_info *info, const codec_coder *coder,
                                         const codec_tag *tags, size_t n_tags, codec_write *write,
                                         void *user, codec_writer **writer);
CODEC_API void codec_writer_free(codec_writer *writer);

/* Appends `frames` frames, any number: codes[(stream * info.codebooks + level) * stride + frame].
 * Each chunk is written as soon as it is full. Behind a short chunk it is CODEC_ERROR_STATE. */
CODEC_API codec_status codec_writer_write(codec_writer *writer, const uint16_t *codes,
                                          size_t stride, size_t frames);
/* Appends a whole chunk of codes [streams][codebooks][frames], of a number of codebooks of its own
 * if info.variable is 1. */
CODEC_API codec_status codec_writer_write_chunk(codec_writer *writer, const uint16_t *codes,
                                                size_t codebooks, size_t frames);
/* Writes the last chunk, the index and the trailer. If header is not NULL, it gets the header with
 * the length, which may replace the first 64 bytes where that can be done. */
CODEC_API codec_status codec_writer_finish(codec_writer *writer, uint64_t n_samples,
                                           uint8_t header[CODEC_HEADER_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
