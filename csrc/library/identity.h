/* The name of a model's weights: codec/model/identity.py in C. */
#ifndef NAC_IDENTITY_H
#define NAC_IDENTITY_H

#include "config.h"

enum { NAC_ID_BYTES = 8, NAC_TOKENS_ID_BYTES = 5 };

/* Five bytes of what decides the codes, three of the decoder: hashes of the fields of the configuration
 * and of the tensors' names, types, shapes and values, each group in the order of names. */
void nac_model_id(const nac_safetensors *file, const nac_config *config, uint8_t id[NAC_ID_BYTES]);

#endif
