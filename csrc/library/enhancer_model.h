/* The weights of an enhancer, packed. */
#ifndef NAC_ENHANCER_MODEL_H
#define NAC_ENHANCER_MODEL_H

#include "engine/enhancer.h"
#include "memory.h"
#include "status.h"

typedef struct {
    nac_memory memory;
    nac_enhancer net;
} nac_enhancer_model;

/* Reads a safetensors file, not needed afterwards. Its metadata "config" has the dimensions, as
 * codec/model/enhancer_config.py writes them. instruction_set: as for codec_model_open. Free with
 * nac_enhancer_free; on failure *model is NULL. */
codec_status nac_enhancer_read(const void *data, size_t size, const char *instruction_set,
                               nac_enhancer_model **model, nac_reason reason);
void nac_enhancer_free(nac_enhancer_model *model);

#endif
