/* The model inside: what the streams, the readers of files and Python's engine need of it. */
#ifndef NAC_MODEL_H
#define NAC_MODEL_H

#include "identity.h"
#include "pack.h"

typedef struct nac_refiner_slot nac_refiner_slot;

struct codec_model {
    nac_memory memory;
    nac_config config;
    uint8_t id[NAC_ID_BYTES];
    const nac_kernels *kernels;
    const float *books; /* [n_codebooks][codebook_size][latent_dim] */
    nac_encoder encoder;
    nac_decoder decoder;
    nac_refiner_slot *refiner; /* empty until nac_refiner_of first needs it */
};

enum { NAC_ENCODER = 1, NAC_DECODER = 2 };

/* What a model is made of, and how. */
typedef struct {
    const void *data; /* a safetensors file, not needed afterwards */
    size_t size;
    const char *config; /* JSON; NULL: that of the file */
    size_t config_size;
    const float
        *books;     /* the file's codewords, which outlive the model; NULL: made from the file */
    size_t n_books; /* values of `books` */
    const char *instruction_set; /* as for codec_model_open */
    size_t block;                /* as for nac_packing */
    unsigned
        halves; /* NAC_ENCODER, NAC_DECODER: what is packed; with less than both there is no id */
} nac_model_source;

/* Makes a model for codec_model_free; on failure *model is NULL. */
codec_status nac_model_make(const nac_model_source *source, codec_model **model, nac_reason reason);

#endif
