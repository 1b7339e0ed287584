/* The kernels of csrc/cuda as functions. Pointers are to the device's memory, and C-contiguous; work
 * is queued on `stream`, and the result is that of queueing it. The caller has checked all sizes. */
#ifndef NAC_CUDA_LAUNCH_H
#define NAC_CUDA_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#if defined(CODEC_CUDA_SHIM)
#include "cuda_shim.h"
#else
#include <cuda_runtime_api.h>
#endif
#include "mel/mel.h"

#if defined(__cplusplus)
extern "C" {
#endif

/* What a block may have of shared memory on every GPU from sm_80 on. */
#define NAC_CUDA_SHARED_BYTES (99 << 10)

/* Residuals of a block lie in shared memory: those of longer vectors would not fit. */
#define NAC_CUDA_RVQ_MAX_DIM 1024

/* Floats of workspace that nac_cuda_rvq_encode needs, aligned to 16 bytes. */
size_t nac_cuda_rvq_workspace(size_t levels, size_t codewords, size_t dim);

/* The two halves of nac_cuda_rvq_encode: the codebooks into the workspace, and the search, with the
 * first `levels` codebooks of those packed, all of which have `codewords` and `dim`. */
cudaError_t nac_cuda_rvq_pack(const float *codebooks, size_t levels, size_t codewords, size_t dim,
                              float *workspace, cudaStream_t stream);
cudaError_t nac_cuda_rvq_search(const float *latents, size_t n, const float *codebooks,
                                size_t levels, size_t codewords, size_t dim,
                                const float *workspace, int64_t *codes, cudaStream_t stream);

/* latents [n][dim], codebooks [levels][codewords][dim] -> codes [levels][n], as csrc/rvq/rvq.h defines
 * them. 1 <= codewords <= 65536, 1 <= dim <= NAC_CUDA_RVQ_MAX_DIM, levels >= 1. */
cudaError_t nac_cuda_rvq_encode(const float *latents, size_t n, const float *codebooks,
                                size_t levels, size_t codewords, size_t dim, float *workspace,
                                int64_t *codes, cudaStream_t stream);

/* codes [levels][n] -> out [n][dim]; a vector with a code that is not below `codewords` is NaN. */
cudaError_t nac_cuda_rvq_decode(const float *codebooks, size_t codewords, size_t dim, size_t levels,
                                const int64_t *codes, size_t n, float *out, cudaStream_t stream);

/* nac_mel_plan's tables, in the device's memory (`order` is not read), and two more. */
typedef struct {
    nac_mel_plan plan;
    const int32_t *at;         /* [h][split]: order[r][m] + order[r][m] / 16 */
    const int32_t *band_first; /* [n_mels]: of each band's weights */
} nac_cuda_mel_plan;

/* A plan of tables that lie in the device's memory one after the other, as codec/kernels/cuda_tables.py
 * has put them there, which also says in what order sizes and numbers come. Returns 0 if they do not
 * fit each other. */
enum { NAC_CUDA_MEL_SIZES = 21, NAC_CUDA_MEL_NUMBERS = 4 };
int nac_cuda_mel_unpack(nac_cuda_mel_plan *plan, const int32_t *ints, int64_t n_ints,
                        const float *floats, int64_t n_floats,
                        const int64_t sizes[NAC_CUDA_MEL_SIZES],
                        const double numbers[NAC_CUDA_MEL_NUMBERS]);

/* Shared memory of a block; the caller checks that it is at most NAC_CUDA_SHARED_BYTES. */
size_t nac_cuda_mel_shared_bytes(const nac_mel_plan *plan);

/* clips [n_clips][n], float or int16_t, -> out [n_clips][n_mels][n_frames], or with frame_major
 * [n_clips][n_frames][n_mels], as csrc/mel/mel.h defines it; `top` is the one that is fixed, or the most
 * before the first frame. Workspace: tops [n_clips][n_frames]. Samples beyond NAC_MEL_PEAK are not looked
 * for: what they spoil is their frames, and their clip's maximum. */
cudaError_t nac_cuda_log_mel(const nac_cuda_mel_plan *plan, const void *clips, int is_int16,
                             size_t n_clips, size_t n, size_t n_frames, int frame_major, float top,
                             float *tops, float *out, cudaStream_t stream);

#if defined(__cplusplus)
}
#endif

#endif
