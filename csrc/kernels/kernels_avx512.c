/* AVX-512: 12 x 32 sums take 24 registers of 32, the weights 2, the input 1 (or the FMA's memory
 * operand). */
#include "common/isa.h"

#if NAC_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,fma,prefer-vector-width=512")
#endif
#include <immintrin.h>

#define VEC 16
#define VFMA(a, b, c) ((vec)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define VSET(x) ((vec)_mm512_set1_ps(x))
#define TILE_ROWS 12
#define TILE_PANELS 2
#define KERNELS nac_kernels_avx512
#define KERNELS_NAME "avx512"
#define KERNELS_ISA NAC_ISA_AVX512
#include "kernels_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
