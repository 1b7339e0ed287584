#include "rvq_kernels.h"

#include "launch.h"

using namespace rvq;

size_t nac_cuda_rvq_workspace(size_t levels, size_t codewords, size_t dim)
{
    return levels * n_panels(codewords) * PANEL * (dim + 1);
}

template <int V>
static cudaError_t launch_encode(const float *latents, size_t n, const float *codebooks,
                                 size_t levels, size_t codewords, size_t dim, const float *panels,
                                 int64_t *codes, cudaStream_t stream)
{
    const size_t bytes = tile<V>::shared_bytes(dim);
    const cudaError_t error =
        cudaFuncSetAttribute(encode<V>, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
    if (error != cudaSuccess) return error;
    const unsigned blocks = unsigned((n + tile<V>::vectors - 1) / tile<V>::vectors);
    LAUNCH(encode<V>, blocks, THREADS, bytes, stream, latents, n, codebooks, int(levels),
           int(codewords), int(dim), panels, codes);
    return cudaGetLastError();
}

cudaError_t nac_cuda_rvq_pack(const float *codebooks, size_t levels, size_t codewords, size_t dim,
                              float *workspace, cudaStream_t stream)
{
    LAUNCH(pack, unsigned(levels * n_panels(codewords)), PANEL, PANEL * PACK_STRIDE * sizeof(float),
           stream, codebooks, int(codewords), int(dim), workspace);
    return cudaGetLastError();
}

cudaError_t nac_cuda_rvq_search(const float *latents, size_t n, const float *codebooks,
                                size_t levels, size_t codewords, size_t dim,
                                const float *workspace, int64_t *codes, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    int device, multiprocessors;
    cudaError_t error = cudaGetDevice(&device);
    if (error != cudaSuccess) return error;
    error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
    if (error != cudaSuccess) return error;
    const bool wide = dim <= 256 && n > size_t(multiprocessors) * tile<1>::vectors;
    return (wide ? launch_encode<4> : launch_encode<1>)(latents, n, codebooks, levels, codewords,
                                                        dim, workspace, codes, stream);
}

cudaError_t nac_cuda_rvq_encode(const float *latents, size_t n, const float *codebooks,
                                size_t levels, size_t codewords, size_t dim, float *workspace,
                                int64_t *codes, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    const cudaError_t error =
        nac_cuda_rvq_pack(codebooks, levels, codewords, dim, workspace, stream);
    if (error != cudaSuccess) return error;
    return nac_cuda_rvq_search(latents, n, codebooks, levels, codewords, dim, workspace, codes,
                               stream);
}

cudaError_t nac_cuda_rvq_decode(const float *codebooks, size_t codewords, size_t dim, size_t levels,
                                const int64_t *codes, size_t n, float *out, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    LAUNCH(decode, unsigned((n * dim + THREADS - 1) / THREADS), THREADS, 0, stream, codebooks,
           int(codewords), int(dim), int(levels), codes, n, out);
    return cudaGetLastError();
}
