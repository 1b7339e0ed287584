/* CUDA on a CPU, for tests: csrc/cuda compiles with g++ against this, and runs.
 *
 * The blocks of a launch run one after the other. The threads of a block are fibres (ucontext.h)
 * that one operating system thread runs in turn, each until its next barrier: so a barrier cuts a
 * kernel into phases, and a phase runs for all threads before the next one begins. What that shows:
 *   - a barrier that not all threads of a block reach: aborts
 *   - a barrier that is missing: the order of the threads is reversed in every second phase, or in
 *     the others (shim_reversed), so that a thread that reads what another writes in the same phase
 *     meets the value from before in one of the orders
 *   - shared memory that is read before it is written: it is full of NaN when a block starts
 *   - more shared memory than a kernel has asked for: the launch fails, as it would
 * and under ASan an access outside of an array. Asynchronous copies are made when their thread waits
 * for them. A shuffle is made of two barriers: so all threads of a block must reach it.
 */
#ifndef CUDA_SHIM_H
#define CUDA_SHIM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#define __global__
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::max;
using std::min;

inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline int __float_as_int(float a)
{
    int bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
inline float __int_as_float(int bits)
{
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

/* The runtime: one device, whose memory is the host's. */
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
typedef void *cudaStream_t;

namespace shim {

constexpr size_t STACK = 1 << 16, MOST_SHARED = 99 << 10, UNASKED_SHARED = 48 << 10;

struct fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    std::vector<std::function<void()>> copies; /* that were started, and not waited for */
    bool ended;
};

extern std::vector<fibre> fibres;
extern ucontext_t scheduler;
extern std::function<void()> body;
extern std::vector<uint32_t> exchange;
extern std::map<const void *, size_t> allowed_shared;
extern cudaError_t last_error;
extern int multiprocessors, reversed;

void barrier();
void run_grid(unsigned blocks, unsigned threads, size_t shared);

template <typename Kernel, typename... Args>
void launch(Kernel kernel, unsigned blocks, unsigned threads, size_t shared, Args... args)
{
    const size_t allowed = std::max(
        UNASKED_SHARED, allowed_shared[reinterpret_cast<const void *>(kernel)]);
    if (!blocks || !threads || threads > 1024 || shared > allowed) {
        last_error = cudaErrorInvalidValue;
        return;
    }
    body = [=] { kernel(args...); };
    run_grid(blocks, threads, shared);
}

}  // namespace shim

#define LAUNCH(kernel, blocks, threads, bytes, stream, ...) \
    ((void)(stream), shim::launch(kernel, blocks, threads, bytes, __VA_ARGS__))

inline void __syncthreads() { shim::barrier(); }

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes)
{
    static_assert(sizeof(T) == 4, "one word");
    if (mask != 0xffffffffu) abort();
    memcpy(&shim::exchange[threadIdx.x], &value, sizeof value);
    shim::barrier();
    memcpy(&value, &shim::exchange[threadIdx.x ^ unsigned(lanes)], sizeof value);
    shim::barrier();
    return value;
}

inline void __pipeline_memcpy_async(void *to, const void *from, size_t size)
{
    if (uintptr_t(to) % size || uintptr_t(from) % size) abort();
    shim::fibres[threadIdx.x].copies.push_back([=] { memcpy(to, from, size); });
}
inline void __pipeline_commit() {}
inline void __pipeline_wait_prior(int groups)
{
    if (groups != 0) abort();
    for (const auto &copy : shim::fibres[threadIdx.x].copies) copy();
    shim::fibres[threadIdx.x].copies.clear();
}

/* Both are on the host's memory here, and one thread runs: nothing can come between. */
inline int atomicMax(int *address, int value)
{
    const int before = *address;
    *address = std::max(before, value);
    return before;
}

inline cudaError_t cudaGetLastError()
{
    const cudaError_t error = shim::last_error;
    shim::last_error = cudaSuccess;
    return error;
}

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel kernel, cudaFuncAttribute, int bytes)
{
    if (size_t(bytes) > shim::MOST_SHARED) return cudaErrorInvalidValue;
    shim::allowed_shared[reinterpret_cast<const void *>(kernel)] = size_t(bytes);
    return cudaSuccess;
}

inline cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int)
{
    *value = shim::multiprocessors;
    return cudaSuccess;
}

#endif
