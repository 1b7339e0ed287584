/* The kernels of csrc/cuda for torch's CUDA tensors; codec/kernels/cuda_ops.py defines the operators. */
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "launch.h"

namespace {

at::Tensor nac_rvq_encode(const at::Tensor &latents, const at::Tensor &codebooks)
{
    TORCH_CHECK_VALUE(latents.dim() == 2 && codebooks.dim() == 3 && codebooks.numel() > 0 &&
                          latents.size(1) == codebooks.size(2),
                      "latents are [N, D] and codebooks [Q, K, D], none 0, not ", latents.sizes(),
                      " and ", codebooks.sizes());
    TORCH_CHECK_VALUE(latents.scalar_type() == at::kFloat && codebooks.scalar_type() == at::kFloat,
                      "latents and codebooks are float32");
    TORCH_CHECK_VALUE(latents.device() == codebooks.device(),
                      "latents and codebooks are not on the same device");
    const int64_t n = latents.size(0), levels = codebooks.size(0), codewords = codebooks.size(1),
                  dim = codebooks.size(2);
    TORCH_CHECK_VALUE(codewords <= 65536, "codebooks have at most 65536 codewords, not ",
                      codewords);
    TORCH_CHECK_VALUE(dim <= NAC_CUDA_RVQ_MAX_DIM, "on CUDA vectors have at most ",
                      NAC_CUDA_RVQ_MAX_DIM, " dimensions, not ", dim);

    const c10::cuda::CUDAGuard guard(latents.device());
    const at::Tensor x = latents.contiguous(), books = codebooks.contiguous();
    const at::Tensor workspace =
        at::empty({int64_t(nac_cuda_rvq_workspace(size_t(levels), size_t(codewords), size_t(dim)))},
                  x.options());
    at::Tensor codes = at::empty({levels, n}, x.options().dtype(at::kLong));
    C10_CUDA_CHECK(nac_cuda_rvq_encode(
        x.const_data_ptr<float>(), size_t(n), books.const_data_ptr<float>(), size_t(levels),
        size_t(codewords), size_t(dim), workspace.mutable_data_ptr<float>(),
        codes.mutable_data_ptr<int64_t>(), c10::cuda::getCurrentCUDAStream()));
    return codes;
}

at::Tensor nac_rvq_decode(const at::Tensor &codes, const at::Tensor &codebooks)
{
    TORCH_CHECK_VALUE(codes.dim() == 2 && codebooks.dim() == 3 && codebooks.numel() > 0 &&
                          codes.size(0) >= 1 && codes.size(0) <= codebooks.size(0),
                      "codes are [1 to Q, N] and codebooks [Q, K, D], none 0, not ", codes.sizes(),
                      " and ", codebooks.sizes());
    TORCH_CHECK_VALUE(codes.scalar_type() == at::kLong && codebooks.scalar_type() == at::kFloat,
                      "codes are int64 and codebooks float32");
    TORCH_CHECK_VALUE(codes.device() == codebooks.device(),
                      "codes and codebooks are not on the same device");
    const int64_t levels = codes.size(0), n = codes.size(1), dim = codebooks.size(2);

    const c10::cuda::CUDAGuard guard(codes.device());
    const at::Tensor tokens = codes.contiguous(), books = codebooks.contiguous();
    at::Tensor out = at::empty({n, dim}, books.options());
    C10_CUDA_CHECK(
        nac_cuda_rvq_decode(books.const_data_ptr<float>(), size_t(books.size(1)), size_t(dim),
                            size_t(levels), tokens.const_data_ptr<int64_t>(), size_t(n),
                            out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
    return out;
}

/* The tables are those of codec/kernels/cuda_tables.py; `top` as in nac_cuda_log_mel. */
at::Tensor log_mel(const at::Tensor &clips, const at::Tensor &ints, const at::Tensor &floats,
                   at::IntArrayRef sizes, at::ArrayRef<double> numbers, double top,
                   int64_t n_frames, bool frame_major)
{
    TORCH_CHECK_VALUE(clips.dim() == 2 && clips.size(1) > 0, "audio is [B, samples], not ",
                      clips.sizes());
    const bool is_int16 = clips.scalar_type() == at::kShort;
    TORCH_CHECK_VALUE(is_int16 || clips.scalar_type() == at::kFloat, "audio is float32 or int16");
    TORCH_CHECK_VALUE(ints.scalar_type() == at::kInt && floats.scalar_type() == at::kFloat &&
                          ints.is_contiguous() && floats.is_contiguous() &&
                          ints.device() == clips.device() && floats.device() == clips.device() &&
                          sizes.size() == NAC_CUDA_MEL_SIZES &&
                          numbers.size() == NAC_CUDA_MEL_NUMBERS && n_frames >= 0,
                      "the tables do not fit the audio");
    nac_cuda_mel_plan plan;
    TORCH_CHECK_VALUE(nac_cuda_mel_unpack(&plan, ints.const_data_ptr<int32_t>(), ints.numel(),
                                          floats.const_data_ptr<float>(), floats.numel(),
                                          sizes.data(), numbers.data()),
                      "the tables do not fit each other");
    const int64_t n_mels = int64_t(plan.plan.n_mels);
    TORCH_CHECK_VALUE(nac_cuda_mel_shared_bytes(&plan.plan) <= NAC_CUDA_SHARED_BYTES,
                      "on CUDA n_fft = ", sizes[0],
                      " is too long: a frame does not fit into shared memory");

    const c10::cuda::CUDAGuard guard(clips.device());
    const at::Tensor audio = clips.contiguous();
    const int64_t batch = audio.size(0);
    at::Tensor tops = at::empty({batch, n_frames}, floats.options());
    at::Tensor out = frame_major ? at::empty({batch, n_frames, n_mels}, floats.options())
                                 : at::empty({batch, n_mels, n_frames}, floats.options());
    C10_CUDA_CHECK(nac_cuda_log_mel(
        &plan, audio.const_data_ptr(), is_int16, size_t(batch), size_t(audio.size(1)),
        size_t(n_frames), frame_major, float(top), tops.mutable_data_ptr<float>(),
        out.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
    return out;
}

} // namespace

TORCH_LIBRARY_IMPL(codec, CUDA, m)
{
    m.impl("rvq_encode", nac_rvq_encode);
    m.impl("rvq_decode", nac_rvq_decode);
    m.impl("_log_mel", log_mel);
}
