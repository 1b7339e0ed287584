/* The model inside: what the streams and the readers of files need of it. */
#ifndef NAC_MODEL_H
#define NAC_MODEL_H

#include "identity.h"
#include "pack.h"

struct codec_model {
    nac_memory memory;
    nac_config config;
    uint8_t id[NAC_ID_BYTES];
    const nac_kernels *kernels;
    const float *books; /* [n_codebooks][codebook_size][latent_dim] */
    nac_encoder encoder;
    nac_decoder decoder;
};

/* The most samples, frames or values that a call takes, so that no size in bytes overflows. */
#define NAC_MOST ((size_t)1 << 40)

/* Whether n samples are finite numbers. */
int nac_finite(const float *samples, size_t n);

/* Whether all codes [levels][stride], n of each, are below `codewords`. */
int nac_codes_fit(const uint16_t *codes, size_t stride, size_t levels, size_t n, size_t codewords);

/* Whether latents [n] are within +-1e30, beyond which sums of squares in the decoder may overflow. */
int nac_latents_fit(const float *latents, size_t n);

#endif
