/* What kernels need of CUDA; g++ finds the same in the tests' host shim, tests/helpers/cuda_shim.
 *
 * So that results are the C kernels' bit for bit, csrc/cuda is compiled with -fmad=false (every
 * product and sum is rounded alone) and without -ftz (subnormals are kept) or -use_fast_math; FMAs
 * are written where they are wanted. __fmaf_rn is IEEE 754's, as is __builtin_fmaf on a CPU.
 */
#ifndef NAC_CUDA_DEVICE_H
#define NAC_CUDA_DEVICE_H

#if defined(__CUDACC__)
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>
#define LAUNCH(kernel, blocks, threads, bytes, stream, ...) \
    kernel<<<blocks, threads, bytes, stream>>>(__VA_ARGS__)
#else
#include "cuda_shim.h"
#endif

/* Of a block; every kernel lays it out for itself. */
extern __shared__ float4 shared_memory[];

#endif
