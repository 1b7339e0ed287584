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
 * Audio is float, one channel, within +-1 at full scale, at the model's sample rate. Codes are
 * uint16_t [codebooks][stride]: codes[level * stride + frame]. The first k codebooks decode alone.
 *
 * Errors are returned; when a call fails, what its output pointers lead to has no meaning, and a
 * stream is as it was before. Where a call takes `message` (NULL if unwanted), it gets a reason of one
 * line that ends with a zero byte. Output sizes are checked before anything is written.
 *
 * Threads may share a codec_model, which never changes. All else serves one call at a time. There is
 * no global state, and no memory is allocated but by calls that open, make, encode or decode. */
#ifndef CODEC_H
#define CODEC_H

#include <stddef.h>
#include <stdint.h>

#define CODEC_VERSION "0.1.0"
#define CODEC_ABI_VERSION 1 /* changes when a program must be compiled anew; that of the soname */

#if defined(__GNUC__)
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
    CODEC_ERROR_STATE = 9,       /* a stream that has ended; a saved state that does not fit it */
    CODEC_ERROR_FORMAT = 10      /* not a .nac file, or a damaged one */
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

/* A stream's state as bytes of constant size, with which another stream of the same model (and number
 * of codebooks) goes on: in any process, on any machine, also in Python, whose `save` gives the same
 * bytes. A load that fails changes nothing. */
CODEC_API size_t codec_encoder_state_size(const codec_encoder *encoder);
CODEC_API codec_status codec_encoder_save(const codec_encoder *encoder, void *state, size_t size);
CODEC_API codec_status codec_encoder_load(codec_encoder *encoder, const void *state, size_t size);
CODEC_API size_t codec_decoder_state_size(const codec_decoder *decoder);
CODEC_API codec_status codec_decoder_save(const codec_decoder *decoder, void *state, size_t size);
CODEC_API codec_status codec_decoder_load(codec_decoder *decoder, const void *state, size_t size);

#ifdef __cplusplus
}
#endif

#endif
