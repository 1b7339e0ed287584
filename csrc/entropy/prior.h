/* The best model: the tables' scores and those of a small recurrent network (codec/training/entropy/prior.py).
 *
 * Its arithmetic is that of the engine: the matrix products are the engine's, every sum has one
 * order, and nothing is left to libm. So the weights it gives the range coder are the same
 * integers on every machine, which a decoder that is to follow an encoder must have. */
#ifndef NAC_ENTROPY_PRIOR_H
#define NAC_ENTROPY_PRIOR_H

#include "coding.h"
#include "kernels/kernels.h"
#include "tables.h"

/* Matrices are packed for the engine; a width is a multiple of NAC_PANEL. */
typedef struct {
    const nac_kernels *k;
    const nac_tables *tables;
    size_t levels, codewords, dim, state, hidden; /* state and hidden are multiples of NAC_PANEL */
    float input_scale;
    nac_dense gru_input, gru_state; /* dim + 1 or state -> 3 state: reset, update, new */
    nac_dense from_state;           /* state -> levels * hidden */
    const nac_dense *from_sum;      /* [levels]: dim + 1 -> hidden, only added */
    const nac_dense *predict;       /* [levels]: hidden -> dim + 1 */
    const nac_dense *out;   /* [levels]: dim + 1 -> codewords: the codewords and their norms */
    const float *codebooks; /* [levels][codewords][dim] */
    const float *unit;      /* [levels]: of the tables' scores, in natural logarithms */
} nac_prior;

/* Codes a chunk, its channels side by side. scratch: nac_prior_scratch floats, aligned. */
size_t nac_prior_scratch(const nac_prior *model, size_t channels);
void nac_prior_code(const nac_prior *model, nac_chunk *c, float *scratch);

#endif
