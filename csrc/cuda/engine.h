/* The network on a GPU: csrc/engine's twin for whole items in batches. A plain C interface on CUDA's
 * runtime.
 *
 * Codes and samples are csrc/engine's, bit for bit, because the arithmetic is: every output of a matrix
 * product is one chain of fused multiply-adds over k, in order (dense_kernels.h); the FFT's butterflies,
 * the work on bins, exp, log and GELU are the CPU's own text (csrc/kernels/fft.h, bins.h, elementary.h);
 * layer norm keeps 16 partial sums and folds halves (layer_kernels.h); a sample is one chain over the
 * windows in the order of time (spectrum_kernels.h). device.h says how it must be compiled.
 *
 * Items of any lengths go side by side into a batch of at most `frames` token frames, the rows of one
 * after those of the other; a kernel knows where an item begins and ends, and sees zeros beyond, as
 * a stream does at its start and after its flush. An item longer than a batch is cut into spans, each
 * with all the frames that its own depend on. So no result depends on what else is in a batch, or on
 * its size. Two batches are at work at once: one is copied while the other computes.
 *
 * Every function returns NAC_CUDA_OK, one of the codes below, or a cudaError_t, which is positive. One
 * call at a time may use an encoder or a decoder. The caller's current device is left as it was. */
#ifndef NAC_CUDA_ENGINE_H
#define NAC_CUDA_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

enum {
    NAC_CUDA_OK = 0,
    NAC_CUDA_BAD_SIZES = -1,   /* the sizes make no network, or not one of these arrays */
    NAC_CUDA_BAD_WEIGHTS = -2, /* what the device holds has another checksum */
    NAC_CUDA_BAD_ITEM = -3,    /* an item is empty or too long, or has too many levels or a bad code */
    NAC_CUDA_NO_MEMORY = -4    /* of the host */
};

/* What a code says, in English; never NULL. */
const char *nac_cuda_message(int code);

/* GPUs that can be used: 0 where there is no driver. */
int nac_cuda_devices(int *count);

/* Multiprocessors of a device, and the most clock cycles of one in a millisecond: for the share of the
 * peak that a kernel reaches. */
int nac_cuda_speed(int device, int *multiprocessors, int *kilohertz);

/* A transform of n real samples in `steps` steps. */
typedef struct {
    int64_t n, steps;
} nac_cuda_fft_sizes;

/* Dimensions are the network's own; arrays are padded as `nac_cuda_encoder_open` says. */
typedef struct {
    int64_t dim, hidden, blocks, taps, lookahead;
} nac_cuda_body_sizes;

typedef struct {
    nac_cuda_fft_sizes long_fft, short_fft;
    int64_t hop, per_frame, phase_bins, waveform; /* as nac_analysis has them */
    int64_t gather, stack;
    nac_cuda_body_sizes body;
    int64_t levels, codewords, latent;
} nac_cuda_encoder_sizes;

typedef struct {
    int64_t levels, codewords, latent, stack;
    nac_cuda_body_sizes body;
    nac_cuda_fft_sizes fft;
    int64_t hop, per_frame, bands, noise_bin; /* as nac_synthesis has them */
} nac_cuda_decoder_sizes;

/* Milliseconds that each stage took, added up over batches. */
enum {
    NAC_CUDA_COPY_IN,
    NAC_CUDA_FRONT,  /* the encoder's features; the decoder's sum of codewords */
    NAC_CUDA_EMBED,  /* dense */
    NAC_CUDA_CONV,   /* with its norm */
    NAC_CUDA_EXPAND, /* dense, with GELU */
    NAC_CUDA_REDUCE, /* dense */
    NAC_CUDA_HEADS,  /* dense: the encoder's projection; the decoder's gains and shapes */
    NAC_CUDA_BACK,   /* the encoder's vector search; the decoder's inverse FFT and overlap-add */
    NAC_CUDA_COPY_OUT,
    NAC_CUDA_STAGES
};
typedef struct {
    double ms[NAC_CUDA_STAGES];
} nac_cuda_times;

typedef struct nac_cuda_encoder nac_cuda_encoder;
typedef struct nac_cuda_decoder nac_cuda_decoder;

/* Copies the network to `device`, and reserves memory for batches of `frames` token frames, more than
 * a frame depends on. crc: CRC-32C of `floats`, which what the device then holds must have.
 *
 * ints: the radices of the transforms. floats: these arrays, each filled up with zeros to 4 floats. A
 * vector over columns is filled up to 16, and a matrix [depth][columns] to 128 columns:
 *     encoder  twiddles and unpack of the long and the short transform, their windows; mean, scale;
 *              embed; body; project (128 columns, as its rows are a token frame's rows, each filled up
 *              to 16); codebooks [levels][codewords][latent]
 *     decoder  codebooks; embed (columns as project's rows); body; twiddles, unpack, window, lower,
 *              upper; gain, shape.                                      Its ints go on with `band`.
 *     body     for each block: conv [taps][16s], its bias, gain, shift; expand, reduce; then gain, shift
 * A dense layer is its matrix and, but for `reduce`, its bias, filled up to 128 too. */
int nac_cuda_encoder_open(const nac_cuda_encoder_sizes *sizes, const int32_t *ints, size_t n_ints,
                          const float *floats, size_t n_floats, uint32_t crc, int device,
                          size_t frames, nac_cuda_encoder **encoder);
int nac_cuda_decoder_open(const nac_cuda_decoder_sizes *sizes, const int32_t *ints, size_t n_ints,
                          const float *floats, size_t n_floats, uint32_t crc, int device,
                          size_t frames, nac_cuda_decoder **decoder);

/* NULL is allowed. */
void nac_cuda_encoder_close(nac_cuda_encoder *encoder);
void nac_cuda_decoder_close(nac_cuda_decoder *decoder);

/* Bytes of the device's memory that are held. */
size_t nac_cuda_encoder_bytes(const nac_cuda_encoder *encoder);
size_t nac_cuda_decoder_bytes(const nac_cuda_decoder *decoder);

/* Item i: audio[i] [samples[i]] -> codes[i] [levels][ceil(samples[i] / hop of a token frame)], on the
 * host. times: NULL, or what is added to; then one batch is at work at a time. After an error the
 * arrays of codes hold nothing of use. */
int nac_cuda_encoder_run(nac_cuda_encoder *encoder, const float *const *audio,
                         const size_t *samples, size_t items, size_t levels,
                         uint16_t *const *codes, nac_cuda_times *times);

/* Item i: codes[i] [frames][levels of the decoder], level by level of a frame, of which levels[i]
 * [frames] count, at least 1, -> audio[i] [frames * hop of a token frame]. */
int nac_cuda_decoder_run(nac_cuda_decoder *decoder, const uint16_t *const *codes,
                         const uint16_t *const *levels, const size_t *frames, size_t items,
                         float *const *audio, nac_cuda_times *times);

/* The same for arrays in the device's memory, without a wait for the GPU. `stream` is a cudaStream_t
 * of that device: the work begins after what was queued there before, and what is queued there later
 * begins after the work. The call only waits where the host's plan of a batch would overwrite one that
 * is not copied yet. It cannot be captured in a CUDA graph. After an error of the sizes nothing is
 * queued; after any other what the arrays hold is of no use.
 *
 * audio [items][stride], of which samples[i] (0 to stride) of item i count -> codes [items][levels]
 * [frames]. What lies beyond an item's frames is not written. Samples must be finite. */
int nac_cuda_encoder_queue(nac_cuda_encoder *encoder, const float *audio, size_t stride,
                           const size_t *samples, size_t items, size_t levels, int64_t *codes,
                           size_t frames, void *stream);

/* codes [items][levels][stride], of which frames[i] (0 to stride) of item i count -> audio [items]
 * [samples]. What lies beyond an item's frames is not written. A code that is not in the codebook
 * counts as one that is. */
int nac_cuda_decoder_queue(nac_cuda_decoder *decoder, const int64_t *codes, size_t levels,
                           size_t stride, const size_t *frames, size_t items, float *audio,
                           size_t samples, void *stream);

#if defined(__cplusplus)
}
#endif

#endif
