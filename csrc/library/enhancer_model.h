/* The weights of an enhancer, packed. */
#ifndef NAC_ENHANCER_MODEL_H
#define NAC_ENHANCER_MODEL_H

#include "engine/enhancer_stream.h"
#include "identity.h"

struct codec_enhancer {
    nac_memory memory;
    nac_enhancer net;
};

/* Reads a safetensors file, not needed afterwards. Its metadata "config" has the dimensions, as
 * codec/model/enhancer_config.py writes them, and "model" the id of its model in hexadecimal digits, which is
 * checked unless `id` is NULL. instruction_set: as for codec_model_open. Free with codec_enhancer_free;
 * on failure *enhancer is NULL. */
codec_status nac_enhancer_read(const void *data, size_t size, const uint8_t id[NAC_ID_BYTES],
                               const char *instruction_set, codec_enhancer **enhancer,
                               nac_reason reason);

#endif
