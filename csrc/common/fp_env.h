/* The floating-point mode that results are defined in: round to nearest, subnormals kept.
 *
 * Any library in the process may have switched flush-to-zero on for the thread (those linked with
 * -ffast-math do so when they are loaded, and torch.set_flush_denormal does on request), which
 * would change bits. A kernel's entry enters the defined mode and restores the caller's at the end.
 */
#ifndef NAC_FP_ENV_H
#define NAC_FP_ENV_H

#include <stdint.h>

#if defined(__SSE__)
#include <xmmintrin.h>

typedef unsigned int nac_fp_env;

static inline nac_fp_env nac_fp_env_enter(void)
{
    const nac_fp_env caller = _mm_getcsr();
    _mm_setcsr(0x1f80); /* the state at reset: all exceptions masked, nearest, no FTZ, no DAZ */
    return caller;
}

static inline void nac_fp_env_leave(nac_fp_env caller) { _mm_setcsr(caller); }

#elif defined(__aarch64__)

typedef uint64_t nac_fp_env;

static inline nac_fp_env nac_fp_env_enter(void)
{
    nac_fp_env caller;
    const uint64_t reset = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(caller) : : "memory");
    __asm__ volatile("msr fpcr, %0" : : "r"(reset) : "memory");
    return caller;
}

static inline void nac_fp_env_leave(nac_fp_env caller)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(caller) : "memory");
}

#else

typedef int nac_fp_env;
static inline nac_fp_env nac_fp_env_enter(void) { return 0; }
static inline void nac_fp_env_leave(nac_fp_env caller) { (void)caller; }

#endif

#endif
