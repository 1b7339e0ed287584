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

#include "enhance.h"

#include "gradients.h"
#include "objective.h"

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
    .observe = run_observe,
    .enhance = run_enhance,
    .conv_norm_kept = run_conv_norm_kept,
    .norm_back = run_norm_back,
    .conv_back = run_conv_back,
    .gelu_back = run_gelu_back,
    .synthesise_back = run_synthesise_back,
    .describe = run_describe,
    .compare = run_compare,
    .describe_loudness = run_describe_loudness,
    .compare_loudness = run_compare_loudness,
};
