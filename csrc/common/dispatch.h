/* One instance of an always-inlined body for each instruction set, and the choice between them.
 *
 * INSTANCE(suffix, target) is a macro of the including file that defines its functions with the
 * suffix and the target attribute. NAC_CHOOSE(name, isa) is the function of that instruction set. */
#ifndef NAC_DISPATCH_H
#define NAC_DISPATCH_H

#include "isa.h"

#if NAC_X86
#define NAC_INSTANCES(INSTANCE) \
    INSTANCE(scalar, )          \
    INSTANCE(avx2, TARGET_AVX2) \
    INSTANCE(avx512, TARGET_AVX512)
#define NAC_CHOOSE(name, isa) \
    ((isa) == NAC_ISA_AVX512 ? name##_avx512 : (isa) == NAC_ISA_AVX2 ? name##_avx2 : name##_scalar)
#else
#define NAC_INSTANCES(INSTANCE) INSTANCE(scalar, )
#define NAC_CHOOSE(name, isa) ((void)(isa), name##_scalar)
#endif

#endif
