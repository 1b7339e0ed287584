/* Every dimension of a model, as the weights' metadata say it: codec/model/config.py in C. */
#ifndef NAC_CONFIG_H
#define NAC_CONFIG_H

#include "safetensors.h"

/* The integers, in the order of their names, with their values where the file has none. The least and
 * the most that this library takes are wide: what fits together is found by the shapes of the weights. */
#define NAC_CONFIG_FIELDS(FIELD)            \
    FIELD(backbone_hop, 480, 1, 1 << 20)    \
    FIELD(channels, 1, 1, 2)                \
    FIELD(codebook_size, 1024, 1, 1 << 16)  \
    FIELD(decoder_blocks, 5, 0, 1 << 12)    \
    FIELD(decoder_dim, 384, 1, 1 << 16)     \
    FIELD(decoder_hidden, 1024, 1, 1 << 20) \
    FIELD(decoder_lookahead, 0, 0, 1 << 12) \
    FIELD(encoder_blocks, 4, 0, 1 << 12)    \
    FIELD(encoder_dim, 384, 1, 1 << 16)     \
    FIELD(encoder_hidden, 768, 1, 1 << 20)  \
    FIELD(encoder_lookahead, 0, 0, 1 << 12) \
    FIELD(encoder_stack, 2, 1, 1 << 12)     \
    FIELD(gain_bands, 32, 2, 1 << 15)       \
    FIELD(hop_length, 960, 1, 1 << 24)      \
    FIELD(kernel_size, 7, 1, 1 << 12)       \
    FIELD(latent_dim, 160, 1, 1 << 16)      \
    FIELD(long_fft, 960, 4, 1 << 16)        \
    FIELD(n_codebooks, 28, 1, 255)          \
    FIELD(noise_from, 4000, 0, 1 << 30)     \
    FIELD(phase_bins, 160, 0, 1 << 15)      \
    FIELD(sample_rate, 24000, 1000, 768000) \
    FIELD(short_fft, 240, 4, 1 << 16)       \
    FIELD(synthesis_fft, 960, 4, 1 << 16)   \
    FIELD(synthesis_hop, 240, 1, 1 << 16)

typedef struct {
#define NAC_CONFIG_MEMBER(name, standard, least, most) size_t name;
    NAC_CONFIG_FIELDS(NAC_CONFIG_MEMBER)
#undef NAC_CONFIG_MEMBER
    int waveform; /* whether the encoder sees samples too */
} nac_config;

/* Reads `text`, JSON, the file's metadata "config". CODEC_ERROR_UNSUPPORTED on a field that is unknown
 * or that the engine has no code for. */
codec_status nac_config_read(const char *text, size_t size, nac_config *config, nac_reason reason);

/* The only head that the engine has. */
#define NAC_CONFIG_HEAD "gain_shape"

/* A field in the order of names, for the model's id. */
typedef enum { NAC_FIELD_INTEGER, NAC_FIELD_HEAD, NAC_FIELD_FLAG } nac_config_kind;

typedef struct {
    const char *name;
    nac_config_kind kind;
    size_t value;
} nac_config_field;

enum { NAC_CONFIG_COUNT = 26 };

/* Fills fields [NAC_CONFIG_COUNT], sorted by name, and returns how many there are: without the channels if
 * that is 1, as models were named before there was such a field. */
size_t nac_config_list(const nac_config *config, nac_config_field *fields);

#endif
