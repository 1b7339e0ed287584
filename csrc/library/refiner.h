/* What an analysis by synthesis needs beside a model: transposed weights, and tables of its objective. */
#ifndef NAC_REFINER_H
#define NAC_REFINER_H

#include "engine/refine.h"
#include "model.h"

/* The refiner of a model with both halves, made when it is first asked for and freed with the model.
 * Threads may ask at once. Fails if the model's frames fit no resolution. */
codec_status nac_refiner_of(const codec_model *model, const nac_refiner **refiner,
                            nac_reason reason);

/* Where a model keeps it; NULL without memory. */
nac_refiner_slot *nac_refiner_slot_new(nac_memory *memory);
void nac_refiner_slot_clear(nac_refiner_slot *slot);

#endif
