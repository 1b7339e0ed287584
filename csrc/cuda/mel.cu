#include "mel_kernels.h"

using namespace mel;

int nac_cuda_mel_unpack(nac_cuda_mel_plan *cuda, const int32_t *ints, int64_t n_ints,
                        const float *floats, int64_t n_floats,
                        const int64_t sizes[NAC_CUDA_MEL_SIZES],
                        const double numbers[NAC_CUDA_MEL_NUMBERS])
{
    nac_mel_plan &plan = cuda->plan;
    nac_rfft_plan &fft = plan.fft;
    const int64_t n = sizes[0], split = sizes[1], h = sizes[2], n_mels = sizes[13];
    const int64_t columns = split > 2 ? split / 2 - 1 : 1;
    const int64_t expected[] = {n,
                                split > 1 ? 2 * h : 0,
                                sizes[11],
                                columns * h,
                                n_mels,
                                n_mels,
                                n_mels,
                                n,
                                split > 2 && h % 2 == 0 ? 2 * columns * h : 0,
                                sizes[18],
                                (h / 2 + 1) * 2,
                                sizes[20]};
    const int32_t **const of_ints[] = {&cuda->at,        &fft.places,      &fft.radices,
                                       &fft.bins,        &plan.band_start, &plan.band_size,
                                       &cuda->band_first};
    const float **const of_floats[] = {&fft.window, &fft.turns, &fft.twiddles, &fft.unpack,
                                       &plan.band_weights};

    *cuda = {};
    if (n < 3 || split * h != n || sizes[3] < 1 || sizes[4] < 0) return 0;
    for (int i = 0; i < 12; i++)
        if (sizes[9 + i] != expected[i] || expected[i] < 0) return 0;
    for (int i = 0; i < 7; i++) {
        *of_ints[i] = sizes[9 + i] ? ints : nullptr;
        ints += sizes[9 + i], n_ints -= sizes[9 + i];
    }
    for (int i = 0; i < 5; i++) {
        *of_floats[i] = sizes[16 + i] ? floats : nullptr;
        floats += sizes[16 + i], n_floats -= sizes[16 + i];
    }
    fft.n = size_t(n), fft.split = size_t(split), fft.h = size_t(h),
    fft.n_steps = size_t(sizes[11]);
    plan.hop = size_t(sizes[3]), plan.pad = size_t(sizes[4]), plan.n_mels = size_t(n_mels);
    plan.reflect = int(sizes[5]), plan.magnitude = int(sizes[6]);
    plan.log = int(sizes[7]), plan.top = int(sizes[8]);
    plan.floor = float(numbers[0]), plan.range = float(numbers[1]);
    plan.scale = float(numbers[2]), plan.offset = float(numbers[3]);
    return n_ints == 0 && n_floats == 0;
}

size_t nac_cuda_mel_shared_bytes(const nac_mel_plan *plan)
{
    return THREADS / threads_a_frame(plan->fft) * frame_size(*plan) * sizeof(float);
}

template <typename Sample>
static cudaError_t launch(const nac_cuda_mel_plan *cuda, const Sample *clips, size_t n_clips,
                          size_t n, size_t n_frames, int frame_major, float top, float *tops,
                          float *out, cudaStream_t stream)
{
    const nac_mel_plan &plan = cuda->plan;
    if (n_clips == 0 || n_frames == 0) return cudaSuccess;
    const size_t together = THREADS / threads_a_frame(plan.fft);
    const size_t blocks = n_clips * ((n_frames + together - 1) / together);
    const size_t bytes = nac_cuda_mel_shared_bytes(&plan);
    cudaError_t error = cudaFuncSetAttribute(
        frames<Sample>, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
    if (error != cudaSuccess) return error;
    LAUNCH(frames<Sample>, unsigned(blocks), THREADS, bytes, stream, *cuda, clips, n, n_frames,
           frame_major, top, tops, out);
    error = cudaGetLastError();
    if (error != cudaSuccess || !plan.log || plan.top == NAC_MEL_TOP_FIXED) return error;

    LAUNCH(find_tops, unsigned(n_clips), THREADS, THREADS * sizeof(float), stream, n_frames,
           int(plan.top == NAC_MEL_TOP_RUNNING), top, tops);
    error = cudaGetLastError();
    if (error != cudaSuccess) return error;
    const size_t levels = n_clips * n_frames * plan.n_mels;
    LAUNCH(scale, unsigned((levels + THREADS - 1) / THREADS), THREADS, 0, stream, plan, n_frames,
           levels, frame_major, tops, out);
    return cudaGetLastError();
}

cudaError_t nac_cuda_log_mel(const nac_cuda_mel_plan *plan, const void *clips, int is_int16,
                             size_t n_clips, size_t n, size_t n_frames, int frame_major, float top,
                             float *tops, float *out, cudaStream_t stream)
{
    if (is_int16)
        return launch(plan, static_cast<const int16_t *>(clips), n_clips, n, n_frames, frame_major,
                      top, tops, out, stream);
    return launch(plan, static_cast<const float *>(clips), n_clips, n, n_frames, frame_major, top,
                  tops, out, stream);
}
