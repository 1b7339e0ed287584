/* What an analysis by synthesis needs beside a model: transposed weights, and tables of its objective. */
#ifndef NAC_REFINER_H
#define NAC_REFINER_H

#include "engine/refine.h"
#include "model.h"

/* Fills *refiner, which points to the model and lives in its memory. The model has both halves. Fails if
 * its frames fit no resolution, or it codes two channels together. */
codec_status nac_refiner_make(codec_model *model, nac_refiner *refiner, nac_reason reason);

#endif
