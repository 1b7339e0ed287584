/* Which instruction set a kernel runs on: one C body, compiled once for each set.
 *
 * A kernel is an `always_inline` body without a target, plus a wrapper for each set that carries
 * the target attribute and calls it; the compiler then vectorises the inlined body for that set.
 * The results are the same bits on every one of them, because
 *   - vectors run over outputs, never along a sum, so no sum is ever reordered;
 *   - -ffp-contract=off keeps the compiler from fusing a product and a sum on its own, and every
 *     FMA that is wanted is written as __builtin_fmaf (correctly rounded in hardware and in libm).
 */
#ifndef NAC_ISA_H
#define NAC_ISA_H

#if defined(__FAST_MATH__)
#error "-ffast-math would let the compiler reorder sums: results would depend on the machine"
#endif

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#define NAC_X86 1
#define TARGET_AVX2 __attribute__((target("avx2,fma")))
#if defined(__clang__)
#define TARGET_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#else
#define TARGET_AVX512 \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma,prefer-vector-width=512")))
#endif
/* Around functions that use AVX-512 and its int8 dot products by name: see nac_isa_has_vnni. */
#define NAC_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define NAC_VNNI_BEGIN                                                                \
    NAC_PRAGMA(clang attribute push(                                                  \
        __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma"))), \
        apply_to = function))
#define NAC_VNNI_END NAC_PRAGMA(clang attribute pop)
#else
#define NAC_VNNI_BEGIN                                                         \
    NAC_PRAGMA(GCC push_options)                                               \
    NAC_PRAGMA(GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma", \
                          "prefer-vector-width=512"))
#define NAC_VNNI_END NAC_PRAGMA(GCC pop_options)
#endif
#else
#define NAC_X86 0
#endif

/* VECTORISE goes on a loop over independent outputs: short loops would otherwise be unrolled into scalars,
 * which spill, before the vectoriser sees them. UNROLL_ROWS goes on the row loop around it in a
 * register tile, whose sums must all have constant indices to live in registers. */
#if defined(__clang__)
#define UNROLL_ROWS _Pragma("clang loop unroll(full)")
#define VECTORISE _Pragma("clang loop vectorize(enable)")
#else
#define UNROLL_ROWS _Pragma("GCC unroll 16")
#define VECTORISE _Pragma("GCC unroll 1") _Pragma("GCC ivdep")
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef enum { NAC_ISA_SCALAR, NAC_ISA_AVX2, NAC_ISA_AVX512 } nac_isa;

/* The widest set that this CPU (and its operating system) can run. */
static inline nac_isa nac_isa_best(void)
{
#if NAC_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
            return NAC_ISA_AVX512;
        return NAC_ISA_AVX2;
    }
#endif
    return NAC_ISA_SCALAR;
}

/* Whether this CPU has int8 dot products on 512-bit vectors (vpdpbusd) beside NAC_ISA_AVX512. A feature
 * of its own: what uses them is exact, so that it changes speed only. */
static inline int nac_isa_has_vnni(void)
{
#if NAC_X86
    return nac_isa_best() == NAC_ISA_AVX512 && __builtin_cpu_supports("avx512vnni");
#else
    return 0;
#endif
}

#endif
