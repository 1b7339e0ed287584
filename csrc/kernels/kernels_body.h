/* One table of kernels. Included after VEC, VFMA, VSET, TILE_ROWS, TILE_PANELS, KERNELS (the
 * table's name), KERNELS_NAME and KERNELS_ISA are defined and the target is set. */
#include <string.h>

#include "bins.h"
#include "elementary.h"
#include "kernels.h"

#include "dense.h"
#include "fold.h"
#include "layers.h"
#include "spectrum.h"

const nac_kernels KERNELS = {
    .name = KERNELS_NAME,
    .isa = KERNELS_ISA,
    .dense = run_dense,
    .dense_add = run_dense_add,
    .conv_norm = run_conv_norm,
    .norm = run_norm,
    .gelu = run_gelu,
    .analyse = run_analyse,
    .synthesise = run_synthesise,
};
