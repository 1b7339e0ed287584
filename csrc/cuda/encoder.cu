#include <memory>

#include "analysis_kernels.h"
#include "host.h"
#include "launch.h"

using namespace engine;

namespace {

struct encoder_lane : lane {
    mirrored<span> spans;
    mirrored<int> row_span;
    mirrored<float> audio;
    device_array<float> features, latents;
    device_array<int64_t> codes;
    mirrored<uint16_t> taken; /* goes to the host */
};

/* codes [levels][frames] -> out [level * stride + to[k]], of the frames kept[k]; to: NULL for k. */
template <typename Code>
__global__ void __launch_bounds__(CODE_THREADS)
    take(const int64_t *codes, int frames, int levels, const int *kept, int n_kept,
         const long long *to, size_t stride, Code *out)
{
    const size_t i = size_t(blockIdx.x) * CODE_THREADS + threadIdx.x;
    if (i >= size_t(levels) * n_kept) return;
    const size_t level = i / n_kept, k = i % n_kept;
    out[level * stride + (to ? size_t(to[k]) : k)] = Code(codes[level * frames + kept[k]]);
}

/* What a call asks for. */
struct job {
    const float *const *audio;
    const size_t *samples;
    size_t levels;
    uint16_t *const *codes;
};

/* The same of arrays in the device's memory. */
struct device_job {
    const float *audio;
    size_t stride;
    const size_t *samples;
    size_t levels;
    int64_t *codes;
    size_t frames;
};

} // namespace

struct nac_cuda_encoder {
    int device, multiprocessors;
    nac_cuda_encoder_sizes sizes;
    weights held;
    front plan;
    dense embed, project;
    backbone body;
    const float *codebooks;
    device_array<float> panels; /* of the codebooks, as the search takes them */
    size_t frame;               /* samples of a token frame */
    size_t most;                /* token frames of a batch */
    reach around;
    encoder_lane lanes[2];

    int open(const int32_t *ints, size_t n_ints, const float *floats, size_t n_floats,
             uint32_t crc);
    int start(encoder_lane &lane, const job &work);
    int start(encoder_lane &lane, const device_job &work);
    int collect(encoder_lane &lane, const job &work);

private:
    int analyse_rows(encoder_lane &lane, const float *audio, int rows);
    int compute(encoder_lane &lane, const float *audio, size_t levels);
    template <typename Code>
    int take_codes(encoder_lane &lane, size_t levels, const long long *to, size_t stride, Code *out);
};

static bool is_encoder(const nac_cuda_encoder_sizes &s)
{
    const int64_t all[] = {s.hop,    s.per_frame, s.gather,    s.stack,
                           s.levels, s.codewords, s.latent,    s.long_fft.n,
                           s.long_fft.steps,      s.short_fft.steps};
    for (const int64_t size : all)
        if (size < 1 || size > MOST) return false;
    return is_body(s.body) && s.hop % s.per_frame == 0 && s.long_fft.n >= s.hop &&
           s.short_fft.n >= s.hop / s.per_frame && s.phase_bins >= 0 &&
           s.phase_bins <= s.long_fft.n / 2 && (s.waveform == 0 || s.waveform == 1) &&
           s.codewords <= 65536 && s.latent <= NAC_CUDA_RVQ_MAX_DIM &&
           s.hop * s.gather * s.stack <= MOST;
}

int nac_cuda_encoder::open(const int32_t *ints, size_t n_ints, const float *floats,
                           size_t n_floats, uint32_t crc)
{
    const nac_cuda_encoder_sizes &s = sizes;
    if (!is_encoder(s) || n_ints != size_t(s.long_fft.steps + s.short_fft.steps) ||
        !is_fft(s.long_fft, ints, 0) || !is_fft(s.short_fft, ints + s.long_fft.steps, 0))
        return NAC_CUDA_BAD_SIZES;
    const int long_n = int(s.long_fft.n), short_n = int(s.short_fft.n), hop = int(s.hop);
    const int short_hop = hop / int(s.per_frame);
    TRY(held.load(ints, n_ints, floats, n_floats, crc));

    reader from(held.floats.get(), n_floats);
    const int32_t *radices = held.ints.get();
    plan.long_fft = take_fft(from, s.long_fft, ints, radices);
    plan.short_fft =
        take_fft(from, s.short_fft, ints + s.long_fft.steps, radices + s.long_fft.steps);
    plan.long_window = from.take(size_t(long_n));
    plan.short_window = from.take(size_t(short_n));
    plan.hop = hop, plan.per_frame = int(s.per_frame), plan.phase_bins = int(s.phase_bins);
    plan.waveform = int(s.waveform), plan.gather = int(s.gather);
    plan.size = long_n / 2 + 1 + plan.per_frame * (short_n / 2 + 1) + 2 * plan.phase_bins +
                plan.waveform * long_n;
    plan.stride = rounded(int64_t(plan.gather) * plan.size, 4);
    plan.mean = from.take(size_t(plan.size));
    plan.scale = from.take(size_t(plan.size));
    embed = from.take_dense(plan.gather * plan.size, int(s.body.dim), true);
    body = take_body(from, s.body);
    project = from.take_dense(int(s.stack) * body.width, int(s.latent), true);
    codebooks = from.take(size_t(s.levels * s.codewords * s.latent));
    if (!from.is_done()) return NAC_CUDA_BAD_SIZES;

    const size_t row = size_t(hop) * size_t(plan.gather), stack = size_t(s.stack);
    const size_t left = size_t(std::max((long_n - hop) / 2, (short_n - short_hop) / 2));
    const size_t right = size_t(std::max(long_n - hop - (long_n - hop) / 2,
                                         short_n - short_hop - (short_n - short_hop) / 2));
    frame = row * stack;
    around.before = up(size_t(body.past) + up(left, row), stack);
    around.after = up(right + size_t(body.lookahead) * row, frame);
    if (most <= around.before + around.after || most > (size_t(1) << 31) / frame / 8)
        return NAC_CUDA_BAD_SIZES;

    TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    TRY(panels.allocate(
        nac_cuda_rvq_workspace(size_t(s.levels), size_t(s.codewords), size_t(s.latent))));
    TRY(nac_cuda_rvq_pack(codebooks, size_t(s.levels), size_t(s.codewords), size_t(s.latent),
                          panels.get(), nullptr));
    TRY(allow_shared(analyse<true>, fft_shared_bytes(long_n)));
    TRY(allow_shared(analyse<false>, fft_shared_bytes(short_n)));
    for (encoder_lane &lane : lanes) {
        TRY(lane.open(body, most, stack));
        TRY(lane.spans.allocate(most));
        TRY(lane.row_span.allocate(most * stack));
        TRY(lane.audio.allocate(most * frame));
        TRY(lane.features.allocate(most * stack * size_t(plan.stride)));
        /* What fills a row up to its stride is copied, though never used. */
        TRY(cudaMemsetAsync(lane.features.get(), 0, lane.features.bytes(), lane.stream));
        TRY(lane.latents.allocate(most * size_t(s.latent)));
        TRY(lane.codes.allocate(most * size_t(s.levels)));
        TRY(lane.taken.allocate(most * size_t(s.levels)));
    }
    return int(cudaDeviceSynchronize());
}

int nac_cuda_encoder::analyse_rows(encoder_lane &lane, const float *audio, int rows)
{
    const span *spans = lane.spans.device.get();
    const int *row_span = lane.row_span.device.get();
    float *features = lane.features.get();
    const size_t frames = size_t(rows) * size_t(plan.gather);
    const int long_n = plan.long_fft.n, short_n = plan.short_fft.n;

    LAUNCH(analyse<true>, blocks(frames, size_t(fft_together(long_n))), FFT_THREADS,
           fft_shared_bytes(long_n), lane.stream, plan, spans, row_span, audio, rows,
           fft_together(long_n), features);
    TRY(cudaGetLastError());
    LAUNCH(analyse<false>,
           blocks(frames * size_t(plan.per_frame), size_t(fft_together(short_n))), FFT_THREADS,
           fft_shared_bytes(short_n), lane.stream, plan, spans, row_span, audio, rows,
           fft_together(short_n), features);
    TRY(cudaGetLastError());
    if (!plan.waveform) return 0;
    LAUNCH(put_samples, blocks(frames, ROWS_A_BLOCK), ROW_THREADS, 0, lane.stream, plan, spans,
           row_span, audio, rows, features);
    return int(cudaGetLastError());
}

int nac_cuda_encoder::start(encoder_lane &lane, const job &work)
{
    const size_t stack = size_t(sizes.stack), levels = work.levels, n_kept = lane.work.kept;
    size_t at = 0, row = 0, n_spans = 0;
    for (const piece &p : lane.work.pieces) {
        const size_t begin = p.from * frame, end = std::min(p.to * frame, work.samples[p.item]);
        const size_t rows = (p.to - p.from) * stack;
        lane.spans.host[n_spans] = {(long long)at, int(end - begin), int(row)};
        for (size_t r = 0; r < rows; r++) lane.row_span.host[row++] = int(n_spans);
        memcpy(&lane.audio.host[at], work.audio[p.item] + begin, (end - begin) * sizeof(float));
        at += end - begin;
        n_spans++;
    }
    TRY(lane.spans.send(n_spans, lane.stream));
    TRY(lane.row_span.send(row, lane.stream));
    TRY(lane.audio.send(at, lane.stream));
    TRY(lane.send_plan(stack));
    TRY(lane.watch.end(NAC_CUDA_COPY_IN));

    TRY(compute(lane, lane.audio.device.get(), levels));
    TRY(take_codes(lane, levels, nullptr, n_kept, lane.taken.device.get()));
    TRY(lane.watch.end(NAC_CUDA_BACK));
    TRY(cudaMemcpyAsync(lane.taken.host.get(), lane.taken.device.get(),
                        levels * n_kept * sizeof(uint16_t), cudaMemcpyDeviceToHost, lane.stream));
    return int(lane.watch.end(NAC_CUDA_COPY_OUT));
}

int nac_cuda_encoder::start(encoder_lane &lane, const device_job &work)
{
    const size_t stack = size_t(sizes.stack);
    size_t row = 0, n_spans = 0;
    for (const piece &p : lane.work.pieces) {
        const size_t begin = p.from * frame, end = std::min(p.to * frame, work.samples[p.item]);
        const size_t rows = (p.to - p.from) * stack;
        lane.spans.host[n_spans] = {(long long)(p.item * work.stride + begin), int(end - begin),
                                    int(row)};
        for (size_t r = 0; r < rows; r++) lane.row_span.host[row++] = int(n_spans);
        n_spans++;
    }
    TRY(lane.spans.send(n_spans, lane.stream));
    TRY(lane.row_span.send(row, lane.stream));
    TRY(lane.send_targets(work.levels * work.frames, 1));
    TRY(lane.send_plan(stack));
    TRY(compute(lane, work.audio, work.levels));
    return take_codes(lane, work.levels, lane.to.device.get(), work.frames, work.codes);
}

template <typename Code>
int nac_cuda_encoder::take_codes(encoder_lane &lane, size_t levels, const long long *to,
                                 size_t stride, Code *out)
{
    const size_t n_kept = lane.work.kept;
    LAUNCH(take<Code>, blocks(levels * n_kept, CODE_THREADS), CODE_THREADS, 0, lane.stream,
           lane.codes.get(), int(lane.work.frames), int(levels), lane.kept.device.get(),
           int(n_kept), to, stride, out);
    return int(cudaGetLastError());
}

/* The samples of the lane's spans, in `audio`, to codes [levels][frames of the batch]. */
int nac_cuda_encoder::compute(encoder_lane &lane, const float *audio, size_t levels)
{
    const size_t stack = size_t(sizes.stack);
    const int frames = int(lane.work.frames), rows = int(lane.work.frames * stack);
    const int latent = int(sizes.latent);
    TRY(analyse_rows(lane, audio, rows));
    TRY(lane.watch.end(NAC_CUDA_FRONT));
    TRY(run_dense(embed, DENSE_PLAIN, lane.features.get(), size_t(plan.stride), rows,
                  lane.body.x.get(), body.width, body.width, multiprocessors, lane.stream));
    TRY(lane.watch.end(NAC_CUDA_EMBED));
    TRY(run_body(body, lane.places.device.get(), lane.body, rows, multiprocessors, lane.stream,
                 lane.watch));
    TRY(run_dense(project, DENSE_PLAIN, lane.body.normed.get(), stack * size_t(body.width), frames,
                  lane.latents.get(), latent, latent, multiprocessors, lane.stream));
    TRY(lane.watch.end(NAC_CUDA_HEADS));
    TRY(nac_cuda_rvq_search(lane.latents.get(), size_t(frames), codebooks, levels,
                            size_t(sizes.codewords), size_t(latent), panels.get(),
                            lane.codes.get(), lane.stream));
    return NAC_CUDA_OK;
}

int nac_cuda_encoder::collect(encoder_lane &lane, const job &work)
{
    TRY(cudaStreamSynchronize(lane.stream));
    TRY(lane.watch.add());
    size_t at = 0;
    for (const piece &p : lane.work.pieces) {
        const size_t n = p.last - p.first, frames = up(work.samples[p.item], frame);
        for (size_t level = 0; level < work.levels; level++)
            memcpy(work.codes[p.item] + level * frames + p.first,
                   &lane.taken.host[level * lane.work.kept + at], n * sizeof(uint16_t));
        at += n;
    }
    lane.work = {};
    return 0;
}

int nac_cuda_encoder_open(const nac_cuda_encoder_sizes *sizes, const int32_t *ints, size_t n_ints,
                          const float *floats, size_t n_floats, uint32_t crc, int device,
                          size_t frames, nac_cuda_encoder **encoder)
{
    return guarded([&] {
        *encoder = nullptr;
        const on_device guard(device);
        TRY(guard.error);
        std::unique_ptr<nac_cuda_encoder> made(new nac_cuda_encoder());
        made->device = device;
        made->sizes = *sizes;
        made->most = frames;
        TRY(made->open(ints, n_ints, floats, n_floats, crc));
        *encoder = made.release();
        return int(NAC_CUDA_OK);
    });
}

void nac_cuda_encoder_close(nac_cuda_encoder *encoder)
{
    if (!encoder) return;
    const on_device guard(encoder->device);
    delete encoder;
}

size_t nac_cuda_encoder_bytes(const nac_cuda_encoder *encoder)
{
    size_t bytes = encoder->held.floats.bytes() + encoder->panels.bytes();
    for (const encoder_lane &lane : encoder->lanes)
        bytes += lane.bytes() + lane.spans.device.bytes() + lane.row_span.device.bytes() +
                 lane.audio.device.bytes() + lane.features.bytes() + lane.latents.bytes() +
                 lane.codes.bytes() + lane.taken.device.bytes();
    return bytes;
}

int nac_cuda_encoder_run(nac_cuda_encoder *encoder, const float *const *audio,
                         const size_t *samples, size_t items, size_t levels,
                         uint16_t *const *codes, nac_cuda_times *times)
{
    return guarded([&] {
        if (levels < 1 || levels > size_t(encoder->sizes.levels)) return int(NAC_CUDA_BAD_ITEM);
        std::vector<size_t> frames(items);
        for (size_t i = 0; i < items; i++) {
            if (samples[i] < 1 || samples[i] > size_t(1) << 48) return int(NAC_CUDA_BAD_ITEM);
            frames[i] = up(samples[i], encoder->frame);
        }
        const on_device guard(encoder->device);
        TRY(guard.error);
        return run_batches(*encoder, plan_batches(frames, encoder->most, encoder->around),
                           job{audio, samples, levels, codes}, times);
    });
}

int nac_cuda_encoder_queue(nac_cuda_encoder *encoder, const float *audio, size_t stride,
                           const size_t *samples, size_t items, size_t levels, int64_t *codes,
                           size_t frames, void *stream)
{
    return guarded([&] {
        if (levels < 1 || levels > size_t(encoder->sizes.levels) || stride > size_t(1) << 48)
            return int(NAC_CUDA_BAD_ITEM);
        std::vector<size_t> lengths(items);
        for (size_t i = 0; i < items; i++) {
            lengths[i] = up(samples[i], encoder->frame);
            if (samples[i] > stride || lengths[i] > frames) return int(NAC_CUDA_BAD_ITEM);
        }
        const on_device guard(encoder->device);
        TRY(guard.error);
        return queue_batches(*encoder, plan_batches(lengths, encoder->most, encoder->around),
                             device_job{audio, stride, samples, levels, codes, frames},
                             cudaStream_t(stream));
    });
}
