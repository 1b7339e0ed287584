/* AVX2 and FMA: 6 x 16 sums take 12 registers of 16, the weights 2, the input 1. */
#include "common/isa.h"

#if NAC_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#include <immintrin.h>

#define VEC 8
#define VFMA(a, b, c) ((vec)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define VSET(x) ((vec)_mm256_set1_ps(x))
#define TILE_ROWS 6
#define TILE_PANELS 1
#define KERNELS nac_kernels_avx2
#define KERNELS_NAME "avx2"
#define KERNELS_ISA NAC_ISA_AVX2
#include "kernels_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
