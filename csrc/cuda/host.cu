#include "host.h"

#include "dense_kernels.h"
#include "layer_kernels.h"

extern "C" {
#include "common/crc32c.h"
}

namespace engine {

int weights::load(const int32_t *from_ints, size_t n_ints, const float *from_floats,
                  size_t n_floats, uint32_t crc)
{
    TRY(ints.allocate(n_ints));
    TRY(cudaMemcpy(ints.get(), from_ints, n_ints * sizeof *from_ints, cudaMemcpyHostToDevice));
    TRY(floats.allocate(n_floats));
    TRY(cudaMemcpy(floats.get(), from_floats, n_floats * sizeof *from_floats,
                   cudaMemcpyHostToDevice));
    std::vector<float> back(std::min(n_floats, size_t(1) << 20));
    nac_crc32c_tables tables;
    nac_crc32c_init(&tables);
    uint32_t found = 0;
    for (size_t i = 0; i < n_floats; i += back.size()) {
        const size_t bytes = std::min(back.size(), n_floats - i) * sizeof(float);
        TRY(cudaMemcpy(back.data(), floats.get() + i, bytes, cudaMemcpyDeviceToHost));
        found = nac_crc32c_update(&tables, found, reinterpret_cast<uint8_t *>(back.data()), bytes);
    }
    return found == crc ? NAC_CUDA_OK : NAC_CUDA_BAD_WEIGHTS;
}

bool is_fft(const nac_cuda_fft_sizes &sizes, const int32_t *radices, size_t more)
{
    if (sizes.n < 4 || sizes.n % 2 || 2 * size_t(sizes.n) * sizeof(float) + more > MOST_SHARED)
        return false;
    int64_t length = sizes.n / 2;
    for (int64_t i = 0; i < sizes.steps; i++) {
        if (radices[i] < 2 || radices[i] > 5 || length % radices[i]) return false;
        length /= radices[i];
    }
    return length == 1;
}

fft take_fft(reader &from, const nac_cuda_fft_sizes &sizes, const int32_t *radices,
             const int32_t *on_device)
{
    size_t twiddles = 0, length = size_t(sizes.n) / 2;
    for (int64_t i = 0; i < sizes.steps; i++) {
        length /= size_t(radices[i]);
        twiddles += 2 * length * size_t(radices[i] - 1);
    }
    const float *w = from.take(twiddles);
    return {int(sizes.n), int(sizes.steps), on_device, w, from.take(size_t(sizes.n / 4 + 1) * 2)};
}

bool is_body(const nac_cuda_body_sizes &s)
{
    return s.dim >= 1 && s.dim <= MOST && s.hidden >= 1 && s.hidden <= MOST && s.blocks >= 0 &&
           s.blocks <= 1024 && s.taps >= 1 && s.taps <= 1024 && s.lookahead >= 0 &&
           s.lookahead <= s.blocks && (s.lookahead == 0 || s.taps >= 2) &&
           size_t(ROWS_A_BLOCK) * row_stride(rounded(s.dim, PANEL)) * sizeof(float) <= MOST_SHARED;
}

backbone take_body(reader &from, const nac_cuda_body_sizes &sizes)
{
    const int dim = int(sizes.dim), width = rounded(dim, PANEL), taps = int(sizes.taps);
    const int hidden = rounded(sizes.hidden, PANEL);
    backbone body = {};
    body.width = width;
    body.hidden = hidden;
    body.lookahead = int(sizes.lookahead);
    body.past = int(sizes.blocks) * (taps - 1) - body.lookahead;
    for (int i = 0; i < int(sizes.blocks); i++) {
        block b = {};
        b.conv = {dim, width, taps, i < body.lookahead, nullptr, nullptr, nullptr, nullptr};
        b.conv.weight = from.take(size_t(taps) * width);
        b.conv.bias = from.take(size_t(width));
        b.conv.gain = from.take(size_t(width));
        b.conv.shift = from.take(size_t(width));
        b.expand = from.take_dense(dim, int(sizes.hidden), true);
        b.reduce = from.take_dense(int(sizes.hidden), dim, false);
        body.chain.push_back(b);
    }
    body.norm = {dim, width, 0, 0, nullptr, nullptr, nullptr, nullptr};
    body.norm.gain = from.take(size_t(width));
    body.norm.shift = from.take(size_t(width));
    return body;
}

cudaError_t stopwatch::begin(nac_cuda_times *times, cudaStream_t stream)
{
    drop();
    times_ = times;
    stream_ = stream;
    return times_ ? mark(-1) : cudaSuccess;
}

cudaError_t stopwatch::end(int stage) { return times_ ? mark(stage) : cudaSuccess; }

cudaError_t stopwatch::mark(int stage)
{
    cudaEvent_t event;
    const cudaError_t error = cudaEventCreate(&event);
    if (error != cudaSuccess) return error;
    marks_.push_back({stage, event});
    return cudaEventRecord(event, stream_);
}

cudaError_t stopwatch::add()
{
    for (size_t i = 1; i < marks_.size(); i++) {
        float ms = 0.0f;
        const cudaError_t error =
            cudaEventElapsedTime(&ms, marks_[i - 1].second, marks_[i].second);
        if (error != cudaSuccess) return error;
        times_->ms[marks_[i].first] += double(ms);
    }
    drop();
    return cudaSuccess;
}

void stopwatch::drop()
{
    for (const auto &mark : marks_) (void)cudaEventDestroy(mark.second);
    marks_.clear();
}

cudaError_t body_arrays::allocate(const backbone &body, size_t rows)
{
    cudaError_t error = x.allocate(rows * size_t(body.width));
    if (error == cudaSuccess) error = normed.allocate(rows * size_t(body.width));
    if (error == cudaSuccess) error = hidden.allocate(rows * size_t(body.hidden));
    return error;
}

template <int V>
static cudaError_t launch_dense(const dense &layer, dense_kind kind, const float *x, size_t stride,
                                int rows, float *y, int y_stride, int columns, cudaStream_t stream)
{
    const unsigned tiles =
        blocks(size_t(rows), dense_tile<V>::rows) * unsigned(layer.padded / DENSE_COLUMNS);
    LAUNCH(product<V>, tiles, DENSE_THREADS, dense_tile<V>::shared_bytes, stream, layer, x, stride,
           rows, kind, y, y_stride, columns);
    return cudaGetLastError();
}

cudaError_t run_dense(const dense &layer, dense_kind kind, const float *x, size_t stride, int rows,
                      float *y, int y_stride, int columns, int multiprocessors, cudaStream_t stream)
{
    const size_t across = size_t(layer.padded / DENSE_COLUMNS), busy = size_t(multiprocessors);
    const auto launch = across * blocks(size_t(rows), 128) >= 2 * busy ? launch_dense<8>
                        : across * blocks(size_t(rows), 64) >= busy    ? launch_dense<4>
                                                                       : launch_dense<1>;
    return launch(layer, kind, x, stride, rows, y, y_stride, columns, stream);
}

static cudaError_t run_norm(const conv_norm &layer, const place *places, const float *x, int rows,
                            float *y, cudaStream_t stream)
{
    const size_t bytes = size_t(ROWS_A_BLOCK) * row_stride(layer.width) * sizeof(float);
    LAUNCH(normalise, blocks(size_t(rows), ROWS_A_BLOCK), ROW_THREADS, bytes, stream, layer, places,
           x, rows, y);
    return cudaGetLastError();
}

cudaError_t run_body(const backbone &body, const place *places, const body_arrays &arrays, int rows,
                     int multiprocessors, cudaStream_t stream, stopwatch &watch)
{
    float *x = arrays.x.get(), *normed = arrays.normed.get(), *hidden = arrays.hidden.get();
    const int width = body.width;
    for (const block &b : body.chain) {
        cudaError_t error = run_norm(b.conv, places, x, rows, normed, stream);
        if (error == cudaSuccess) error = watch.end(NAC_CUDA_CONV);
        if (error == cudaSuccess)
            error = run_dense(b.expand, DENSE_GELU, normed, size_t(width), rows, hidden,
                              body.hidden, body.hidden, multiprocessors, stream);
        if (error == cudaSuccess) error = watch.end(NAC_CUDA_EXPAND);
        if (error == cudaSuccess)
            error = run_dense(b.reduce, DENSE_ADD, hidden, size_t(body.hidden), rows, x, width,
                              width, multiprocessors, stream);
        if (error == cudaSuccess) error = watch.end(NAC_CUDA_REDUCE);
        if (error != cudaSuccess) return error;
    }
    const cudaError_t error = run_norm(body.norm, places, x, rows, normed, stream);
    return error != cudaSuccess ? error : watch.end(NAC_CUDA_CONV);
}

int lane::open(const backbone &net, size_t frames, size_t stack)
{
    TRY(allow_shared(normalise, size_t(ROWS_A_BLOCK) * row_stride(net.width) * sizeof(float)));
    TRY(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (cudaEvent_t *event : {&sent, &turn})
        TRY(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
    TRY(places.allocate(frames * stack));
    TRY(kept.allocate(frames));
    TRY(to.allocate(frames));
    return body.allocate(net, frames * stack);
}

int lane::send_plan(size_t stack)
{
    size_t row = 0, frame = 0, n_kept = 0;
    for (const piece &p : work.pieces) {
        const size_t rows = (p.to - p.from) * stack;
        for (size_t r = 0; r < rows; r++) places.host[row++] = {int(r), int(rows - 1 - r)};
        for (size_t i = p.first; i < p.last; i++) kept.host[n_kept++] = int(frame + i - p.from);
        frame += p.to - p.from;
    }
    TRY(places.send(row, stream));
    TRY(kept.send(n_kept, stream));
    return int(cudaEventRecord(sent, stream));
}

cudaError_t lane::send_targets(size_t stride, size_t step)
{
    size_t at = 0;
    for (const piece &p : work.pieces)
        for (size_t i = p.first; i < p.last; i++)
            to.host[at++] = (long long)(p.item * stride + i * step);
    return to.send(at, stream);
}

int lane::follow(cudaStream_t caller)
{
    TRY(cudaEventRecord(turn, caller));
    return int(cudaStreamWaitEvent(stream, turn, 0));
}

int lane::lead(cudaStream_t caller)
{
    TRY(cudaEventRecord(turn, stream));
    return int(cudaStreamWaitEvent(caller, turn, 0));
}

} // namespace engine

const char *nac_cuda_message(int code)
{
    switch (code) {
    case NAC_CUDA_OK: return "no error";
    case NAC_CUDA_BAD_SIZES: return "the sizes make no network that fits these arrays";
    case NAC_CUDA_BAD_WEIGHTS: return "the weights on the device have another checksum";
    case NAC_CUDA_BAD_ITEM: return "an item is empty, too long, or has bad codes";
    case NAC_CUDA_NO_MEMORY: return "no memory is left";
    default: return cudaGetErrorString(cudaError_t(code));
    }
}

int nac_cuda_devices(int *count)
{
    *count = 0;
    const cudaError_t error = cudaGetDeviceCount(count);
    if (error != cudaSuccess) *count = 0;
    return int(error);
}

int nac_cuda_speed(int device, int *multiprocessors, int *kilohertz)
{
    TRY(cudaDeviceGetAttribute(multiprocessors, cudaDevAttrMultiProcessorCount, device));
    return int(cudaDeviceGetAttribute(kilohertz, cudaDevAttrClockRate, device));
}
