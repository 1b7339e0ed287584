/* The data of a model's entropy coders, model.entropy: read, checked and packed; the twin of
 * codec/coders/data.py and of the classes of codec/coders/_entropy.pyx. */
#ifndef NAC_ENTROPY_DATA_H
#define NAC_ENTROPY_DATA_H

#include "entropy/prior.h"
#include "memory.h"
#include "status.h"

/* What the codes that are coded come from; codebooks [levels][codewords][dim] outlive the coder. */
typedef struct {
    const nac_kernels *kernels;
    size_t levels, codewords, dim;
    const float *codebooks;
    const uint8_t *id; /* of the model: the data must be of one that makes the same codes */
} nac_entropy_model;

/* Fills in `tables` from the content of a data file, and `prior`, which may be NULL, with memory of
 * `memory`. Both must stay where they are. */
codec_status nac_entropy_load(const void *data, size_t size, const nac_entropy_model *model,
                              nac_tables *tables, nac_prior *prior, nac_memory *memory,
                              nac_reason reason);

#endif
