/* NEON of aarch64, which has 32 registers: 6 x 16 sums take 24, the weights 4, the input 1. */
#if defined(__aarch64__)
#include <arm_neon.h>

#define VEC 4
#define VFMA(a, b, c) ((vec)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define VSET(x) ((vec)vdupq_n_f32(x))
#define TILE_ROWS 6
#define TILE_PANELS 1
#define KERNELS nac_kernels_neon
#define KERNELS_NAME "neon"
#define KERNELS_ISA NAC_ISA_SCALAR
#include "kernels_body.h"
#endif
