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
#include <mutex>
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
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorMemoryAllocation };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrClockRate };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
typedef void *cudaStream_t;
typedef void *cudaEvent_t;

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
extern std::mutex launching;

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
    const std::lock_guard<std::mutex> one_at_a_time(launching);
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

inline cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}

inline cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    *value = attribute == cudaDevAttrMultiProcessorCount ? shim::multiprocessors : 1000000;
    return cudaSuccess;
}

inline const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess                 ? "no error"
           : error == cudaErrorMemoryAllocation ? "out of memory"
                                                : "invalid argument";
}

/* Memory is full of NaN, as shared memory is. A stream's work is done when it is queued. */
inline cudaError_t cudaMalloc(void **at, size_t bytes)
{
    *at = nullptr;
    if (bytes > size_t(1) << 40 || posix_memalign(at, 256, bytes)) return cudaErrorMemoryAllocation;
    memset(*at, 0xff, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void **at, size_t bytes) { return cudaMalloc(at, bytes); }
inline cudaError_t cudaFree(void *at)
{
    free(at);
    return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void *at) { return cudaFree(at); }
inline cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t)
{
    return cudaMemcpy(to, from, bytes, kind);
}
inline cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t)
{
    memset(at, value, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, int)
{
    *stream = malloc(1);
    return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    *event = malloc(1);
    return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, int)
{
    return cudaEventCreate(event);
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, int) { return cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
/* No clock runs here: everything takes 1 ms. */
inline cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t)
{
    *ms = 1.0f;
    return cudaSuccess;
}

#endif
