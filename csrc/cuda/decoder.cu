#include <memory>

#include "codeword_kernels.h"
#include "host.h"
#include "synthesis_kernels.h"

using namespace engine;

namespace {

struct decoder_lane : lane {
    mirrored<uint16_t> codes, levels;
    device_array<float> latents, gains, shapes, signals;
    device_array<uint32_t> seeds;
    mirrored<float> audio;    /* goes to the host */
    mirrored<long long> from; /* where the caller's array has each frame, if the device holds it */
};

/* What a call asks for. */
struct job {
    const uint16_t *const *codes;
    const uint16_t *const *levels;
    float *const *audio;
};

/* The same of arrays in the device's memory. */
struct device_job {
    const int64_t *codes;
    size_t levels, stride;
    float *audio;
    size_t samples;
};

} // namespace

struct nac_cuda_decoder {
    int device, multiprocessors;
    nac_cuda_decoder_sizes sizes;
    weights held;
    const float *codebooks;
    dense embed, gain, shape;
    backbone body;
    back plan;
    int latent_stride, gain_width, shape_width;
    size_t frame; /* samples of a token frame */
    size_t most;  /* token frames of a batch */
    reach around;
    decoder_lane lanes[2];

    int open(const int32_t *ints, size_t n_ints, const float *floats, size_t n_floats,
             uint32_t crc);
    int start(decoder_lane &lane, const job &work);
    int start(decoder_lane &lane, const device_job &work);
    int collect(decoder_lane &lane, const job &work);

private:
    int compute(decoder_lane &lane, const long long *to, float *audio);
    size_t synthesis_bytes() const
    {
        const size_t gains = size_t(fft_together(plan.plan.n)) * size_t(plan.bands);
        return fft_shared_bytes(plan.plan.n) + gains * sizeof(float);
    }
};

static bool is_decoder(const nac_cuda_decoder_sizes &s)
{
    const int64_t all[] = {s.levels, s.codewords, s.latent, s.stack, s.fft.n,
                           s.fft.steps, s.hop, s.per_frame, s.bands};
    for (const int64_t size : all)
        if (size < 1 || size > MOST) return false;
    return is_body(s.body) && s.codewords <= 65536 && s.fft.n >= s.hop &&
           (s.fft.n - s.hop) % 2 == 0 && s.bands >= 2 && s.bands <= s.fft.n / 2 + 1 &&
           s.noise_bin >= 0 && s.noise_bin <= s.fft.n / 2 + 1 &&
           s.hop * s.per_frame * s.stack <= MOST;
}

int nac_cuda_decoder::open(const int32_t *ints, size_t n_ints, const float *floats,
                           size_t n_floats, uint32_t crc)
{
    const nac_cuda_decoder_sizes &s = sizes;
    if (!is_decoder(s) || n_ints != size_t(s.fft.steps + s.fft.n / 2 + 1) ||
        !is_fft(s.fft, ints, size_t(s.bands) * 16 * sizeof(float)))
        return NAC_CUDA_BAD_SIZES;
    const int n = int(s.fft.n), bins = n / 2 + 1, hop = int(s.hop), stack = int(s.stack);
    for (int k = 0; k < bins; k++)
        if (ints[s.fft.steps + k] < 0 || ints[s.fft.steps + k] > s.bands - 2)
            return NAC_CUDA_BAD_SIZES;
    TRY(held.load(ints, n_ints, floats, n_floats, crc));

    reader from(held.floats.get(), n_floats);
    const int dim = int(s.body.dim), latent = int(s.latent);
    codebooks = from.take(size_t(s.levels * s.codewords * s.latent));
    embed = from.take_dense(latent, stack * rounded(dim, PANEL), true);
    body = take_body(from, s.body);
    plan.plan = take_fft(from, s.fft, ints, held.ints.get());
    plan.window = from.take(size_t(n));
    plan.lower = from.take(size_t(bins));
    plan.upper = from.take(size_t(bins));
    plan.band = held.ints.get() + s.fft.steps;
    plan.hop = hop, plan.per_frame = int(s.per_frame), plan.bands = int(s.bands);
    plan.noise_bin = int(s.noise_bin);
    gain_width = rounded(int64_t(plan.per_frame) * plan.bands, PANEL);
    shape_width = rounded(int64_t(plan.per_frame) * bins * 2, PANEL);
    latent_stride = rounded(latent, 4);
    gain = from.take_dense(dim, plan.per_frame * plan.bands, true);
    shape = from.take_dense(dim, plan.per_frame * bins * 2, true);
    if (!from.is_done()) return NAC_CUDA_BAD_SIZES;

    const size_t row = size_t(hop) * size_t(plan.per_frame), over = size_t(n - hop) / 2;
    frame = row * size_t(stack);
    around.before = up(size_t(body.past) * row + over, frame);
    around.after = up(over + size_t(body.lookahead) * row, frame);
    if (most <= around.before + around.after || most > (size_t(1) << 31) / frame / 8)
        return NAC_CUDA_BAD_SIZES;

    TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    TRY(allow_shared(synthesise, synthesis_bytes()));
    for (decoder_lane &lane : lanes) {
        const size_t rows = most * size_t(stack);
        TRY(lane.open(body, most, size_t(stack)));
        TRY(lane.codes.allocate(most * size_t(s.levels)));
        TRY(lane.levels.allocate(most));
        TRY(lane.latents.allocate(most * size_t(latent_stride)));
        TRY(cudaMemsetAsync(lane.latents.get(), 0, lane.latents.bytes(), lane.stream));
        TRY(lane.seeds.allocate(rows));
        TRY(lane.gains.allocate(rows * size_t(gain_width)));
        TRY(lane.shapes.allocate(rows * size_t(shape_width)));
        TRY(lane.signals.allocate(rows * size_t(plan.per_frame) * size_t(n)));
        TRY(lane.audio.allocate(most * frame));
        TRY(lane.from.allocate(most));
    }
    return int(cudaDeviceSynchronize());
}

int nac_cuda_decoder::start(decoder_lane &lane, const job &work)
{
    const size_t most_levels = size_t(sizes.levels), stack = size_t(sizes.stack);
    size_t at = 0;
    for (const piece &p : lane.work.pieces) {
        const size_t n = p.to - p.from;
        memcpy(&lane.codes.host[at * most_levels], work.codes[p.item] + p.from * most_levels,
               n * most_levels * sizeof(uint16_t));
        memcpy(&lane.levels.host[at], work.levels[p.item] + p.from, n * sizeof(uint16_t));
        at += n;
    }
    TRY(lane.codes.send(at * most_levels, lane.stream));
    TRY(lane.levels.send(at, lane.stream));
    TRY(lane.send_plan(stack));
    TRY(lane.watch.end(NAC_CUDA_COPY_IN));

    float *audio = lane.audio.device.get();
    TRY(compute(lane, nullptr, audio));
    TRY(lane.watch.end(NAC_CUDA_BACK));
    TRY(cudaMemcpyAsync(lane.audio.host.get(), audio, lane.work.kept * frame * sizeof(float),
                        cudaMemcpyDeviceToHost, lane.stream));
    return int(lane.watch.end(NAC_CUDA_COPY_OUT));
}

int nac_cuda_decoder::start(decoder_lane &lane, const device_job &work)
{
    const size_t frames = lane.work.frames;
    size_t at = 0;
    for (const piece &p : lane.work.pieces)
        for (size_t i = p.from; i < p.to; i++)
            lane.from.host[at++] = (long long)(p.item * work.levels * work.stride + i);
    TRY(lane.from.send(frames, lane.stream));
    TRY(lane.send_targets(work.samples, frame));
    TRY(lane.send_plan(size_t(sizes.stack)));
    LAUNCH(gather_codes, blocks(frames * work.levels, CODE_THREADS), CODE_THREADS, 0, lane.stream,
           work.codes, lane.from.device.get(), work.stride, int(frames), int(work.levels),
           int(sizes.codewords), int(sizes.levels), lane.codes.device.get(),
           lane.levels.device.get());
    TRY(cudaGetLastError());
    return compute(lane, lane.to.device.get(), work.audio);
}

/* The lane's codes to samples of the frames that count: where `to` has it, or one after the other. */
int nac_cuda_decoder::compute(decoder_lane &lane, const long long *to, float *audio)
{
    const size_t most_levels = size_t(sizes.levels), stack = size_t(sizes.stack);
    const size_t at = lane.work.frames;
    const int frames = int(at), rows = int(at * stack), latent = int(sizes.latent);
    const uint16_t *codes = lane.codes.device.get(), *levels = lane.levels.device.get();
    LAUNCH(sum_codewords, blocks(at * size_t(latent), CODE_THREADS), CODE_THREADS, 0, lane.stream,
           codebooks, int(sizes.codewords), latent, codes, int(most_levels), levels, frames,
           latent_stride, lane.latents.get());
    TRY(cudaGetLastError());
    LAUNCH(draw, blocks(at, CODE_THREADS), CODE_THREADS, 0, lane.stream, codes, int(most_levels),
           levels, frames, int(stack), lane.seeds.get());
    TRY(cudaGetLastError());
    TRY(lane.watch.end(NAC_CUDA_FRONT));

    const int embedded = int(stack) * body.width;
    TRY(run_dense(embed, DENSE_PLAIN, lane.latents.get(), size_t(latent_stride), frames,
                  lane.body.x.get(), embedded, embedded, multiprocessors, lane.stream));
    TRY(lane.watch.end(NAC_CUDA_EMBED));
    TRY(run_body(body, lane.places.device.get(), lane.body, rows, multiprocessors, lane.stream,
                 lane.watch));
    TRY(run_dense(gain, DENSE_PLAIN, lane.body.normed.get(), size_t(body.width), rows,
                  lane.gains.get(), gain_width, gain_width, multiprocessors, lane.stream));
    TRY(run_dense(shape, DENSE_PLAIN, lane.body.normed.get(), size_t(body.width), rows,
                  lane.shapes.get(), shape_width, shape_width, multiprocessors, lane.stream));
    TRY(lane.watch.end(NAC_CUDA_HEADS));

    const int together = fft_together(plan.plan.n);
    LAUNCH(synthesise, blocks(size_t(rows) * size_t(plan.per_frame), size_t(together)),
           FFT_THREADS, synthesis_bytes(), lane.stream, plan, lane.shapes.get(), shape_width,
           lane.gains.get(), gain_width, lane.seeds.get(), rows, together, lane.signals.get());
    TRY(cudaGetLastError());
    const size_t samples = lane.work.kept * frame;
    LAUNCH(overlap_add, blocks(samples, FFT_THREADS), FFT_THREADS, 0, lane.stream, plan,
           lane.places.device.get(), lane.kept.device.get(), samples, int(stack),
           lane.signals.get(), to, audio);
    return int(cudaGetLastError());
}

int nac_cuda_decoder::collect(decoder_lane &lane, const job &work)
{
    TRY(cudaStreamSynchronize(lane.stream));
    TRY(lane.watch.add());
    size_t at = 0;
    for (const piece &p : lane.work.pieces) {
        const size_t n = (p.last - p.first) * frame;
        memcpy(work.audio[p.item] + p.first * frame, &lane.audio.host[at], n * sizeof(float));
        at += n;
    }
    lane.work = {};
    return 0;
}

int nac_cuda_decoder_open(const nac_cuda_decoder_sizes *sizes, const int32_t *ints, size_t n_ints,
                          const float *floats, size_t n_floats, uint32_t crc, int device,
                          size_t frames, nac_cuda_decoder **decoder)
{
    return guarded([&] {
        *decoder = nullptr;
        const on_device guard(device);
        TRY(guard.error);
        std::unique_ptr<nac_cuda_decoder> made(new nac_cuda_decoder());
        made->device = device;
        made->sizes = *sizes;
        made->most = frames;
        TRY(made->open(ints, n_ints, floats, n_floats, crc));
        *decoder = made.release();
        return int(NAC_CUDA_OK);
    });
}

void nac_cuda_decoder_close(nac_cuda_decoder *decoder)
{
    if (!decoder) return;
    const on_device guard(decoder->device);
    delete decoder;
}

size_t nac_cuda_decoder_bytes(const nac_cuda_decoder *decoder)
{
    size_t bytes = decoder->held.floats.bytes();
    for (const decoder_lane &lane : decoder->lanes)
        bytes += lane.bytes() + lane.codes.device.bytes() + lane.levels.device.bytes() +
                 lane.latents.bytes() + lane.seeds.bytes() + lane.gains.bytes() +
                 lane.shapes.bytes() + lane.signals.bytes() + lane.audio.device.bytes() +
                 lane.from.device.bytes();
    return bytes;
}

/* Whether every code and number of levels of an item is in range: they address memory. */
static bool is_item(const nac_cuda_decoder_sizes &sizes, const uint16_t *codes,
                    const uint16_t *levels, size_t frames)
{
    const size_t most = size_t(sizes.levels);
    for (size_t i = 0; i < frames; i++) {
        if (levels[i] < 1 || levels[i] > most) return false;
        for (size_t level = 0; level < levels[i]; level++)
            if (codes[i * most + level] >= sizes.codewords) return false;
    }
    return true;
}

int nac_cuda_decoder_run(nac_cuda_decoder *decoder, const uint16_t *const *codes,
                         const uint16_t *const *levels, const size_t *frames, size_t items,
                         float *const *audio, nac_cuda_times *times)
{
    return guarded([&] {
        const nac_cuda_decoder_sizes &sizes = decoder->sizes;
        for (size_t i = 0; i < items; i++)
            if (frames[i] < 1 || frames[i] > size_t(1) << 40 ||
                !is_item(sizes, codes[i], levels[i], frames[i]))
                return int(NAC_CUDA_BAD_ITEM);
        const on_device guard(decoder->device);
        TRY(guard.error);
        const std::vector<size_t> lengths(frames, frames + items);
        return run_batches(*decoder, plan_batches(lengths, decoder->most, decoder->around),
                           job{codes, levels, audio}, times);
    });
}

int nac_cuda_decoder_queue(nac_cuda_decoder *decoder, const int64_t *codes, size_t levels,
                           size_t stride, const size_t *frames, size_t items, float *audio,
                           size_t samples, void *stream)
{
    return guarded([&] {
        if (levels < 1 || levels > size_t(decoder->sizes.levels) || stride > size_t(1) << 40)
            return int(NAC_CUDA_BAD_ITEM);
        const std::vector<size_t> lengths(frames, frames + items);
        for (const size_t n : lengths)
            if (n > stride || n * decoder->frame > samples) return int(NAC_CUDA_BAD_ITEM);
        const on_device guard(decoder->device);
        TRY(guard.error);
        return queue_batches(*decoder, plan_batches(lengths, decoder->most, decoder->around),
                             device_job{codes, levels, stride, audio, samples},
                             cudaStream_t(stream));
    });
}
