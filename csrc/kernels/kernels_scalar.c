/* The reference: one fmaf at a time. Also what runs where there is no vector unit known here. */
#define VEC 1
#define VFMA(a, b, c) __builtin_fmaf(a, b, c)
#define VSET(x) (x)
#define TILE_ROWS 4
#define TILE_PANELS 1
#define KERNELS nac_kernels_scalar
#define KERNELS_NAME "scalar"
#define KERNELS_ISA NAC_ISA_SCALAR
#include "kernels_body.h"
