/* The same layers by the CPU's scalar kernels. */
#include "kernels/kernels.h"

extern const nac_kernels nac_kernels_scalar;

/* x has the rows before and after that a stream would: see csrc/engine/backbone.h. */
void scalar_conv_norm(size_t dim, size_t width, size_t taps, const float *weight, const float *bias,
                      const float *gain, const float *shift, const float *x, size_t rows, float *y)
{
    const nac_conv_norm layer = {dim, width, taps, weight, bias, gain, shift};
    nac_kernels_scalar.conv_norm(&layer, x, rows, y);
}
