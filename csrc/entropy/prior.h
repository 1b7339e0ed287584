/* The best model: the tables' scores and those of a small recurrent network (codec/training/entropy/prior.py).
 *
 * Its arithmetic is that of the engine: the matrix products are the engine's, every sum has one
 * order, and nothing is left to libm. So the weights it gives the range coder are the same
 * integers on every machine, which a decoder that is to follow an encoder must have. */
#ifndef CODEC_ENTROPY_PRIOR_H
#define CODEC_ENTROPY_PRIOR_H

#include "kernels/kernels.h"
#include "coding.h"
#include "tables.h"

/* Matrices are packed for the engine; a width is a multiple of PANEL. */
typedef struct {
    const kernels *k;
    const tables *tables;
    size_t levels, codewords, dim, state, hidden; /* state and hidden are multiples of PANEL */
    float input_scale;
    dense gru_input, gru_state; /* dim + 1 or state -> 3 state: reset, update, new */
    dense from_state;           /* state -> levels * hidden */
    const dense *from_sum;      /* [levels]: dim + 1 -> hidden, only added */
    const dense *predict;       /* [levels]: hidden -> dim + 1 */
    const dense *out;           /* [levels]: dim + 1 -> codewords: the codewords and their norms */
    const float *codebooks;     /* [levels][codewords][dim] */
    const float *unit;          /* [levels]: of the tables' scores, in natural logarithms */
} prior;

/* Codes a chunk, its channels side by side. scratch: prior_scratch floats, aligned. */
size_t prior_scratch(const prior *model, size_t channels);
void prior_code(const prior *model, chunk *c, float *scratch);

#endif
