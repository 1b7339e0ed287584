/* What encoder.cu and decoder.cu have in common on the host's side: memory, weights, the backbone, and
 * two batches at work at once. */
#ifndef NAC_CUDA_HOST_H
#define NAC_CUDA_HOST_H

#include <new>
#include <utility>
#include <vector>

#include "batches.h"
#include "engine.h"
#include "parts.h"

namespace engine {

#define TRY(call)                         \
    do {                                  \
        const int error_ = int(call);     \
        if (error_ != 0) return error_;   \
    } while (0)

/* No dimension is larger: products of three of them fit 64 bits. */
constexpr int64_t MOST = 1 << 20;
/* What a block may have of shared memory on every GPU from sm_80 on. */
constexpr size_t MOST_SHARED = 99 << 10;

inline int rounded(int64_t n, int64_t unit) { return int((n + unit - 1) / unit * unit); }
inline unsigned blocks(size_t n, size_t each) { return unsigned((n + each - 1) / each); }

/* Makes a device the current one, and in the end the caller's again. */
class on_device {
public:
    explicit on_device(int device)
    {
        if (cudaGetDevice(&before_) != cudaSuccess) before_ = -1;
        error = cudaSetDevice(device);
    }
    ~on_device()
    {
        if (before_ >= 0) (void)cudaSetDevice(before_);
    }
    on_device(const on_device &) = delete;
    on_device &operator=(const on_device &) = delete;
    cudaError_t error;

private:
    int before_;
};

/* An array of the device's memory, or of the host's that the device reads and writes by itself. */
template <typename T, bool ON_HOST>
class array {
public:
    array() = default;
    array(const array &) = delete;
    array &operator=(const array &) = delete;
    ~array()
    {
        if (at_) (void)(ON_HOST ? cudaFreeHost(at_) : cudaFree(at_));
    }
    cudaError_t allocate(size_t n)
    {
        n_ = n;
        void **at = reinterpret_cast<void **>(&at_);
        const size_t bytes = (n ? n : 1) * sizeof(T);
        return ON_HOST ? cudaMallocHost(at, bytes) : cudaMalloc(at, bytes);
    }
    T *get() const { return at_; }
    T &operator[](size_t i) const { return at_[i]; }
    size_t bytes() const { return n_ * sizeof(T); }

private:
    T *at_ = nullptr;
    size_t n_ = 0;
};
template <typename T>
using device_array = array<T, false>;
template <typename T>
using host_array = array<T, true>;

/* An array on both sides, filled by the host. */
template <typename T>
struct mirrored {
    host_array<T> host;
    device_array<T> device;
    cudaError_t allocate(size_t n)
    {
        const cudaError_t error = host.allocate(n);
        return error != cudaSuccess ? error : device.allocate(n);
    }
    cudaError_t send(size_t n, cudaStream_t stream)
    {
        if (n == 0) return cudaSuccess;
        return cudaMemcpyAsync(device.get(), host.get(), n * sizeof(T), cudaMemcpyHostToDevice,
                               stream);
    }
};

/* Hands out the arrays of `floats` in turn: engine.h has the order. */
class reader {
public:
    reader(const float *at, size_t n) : at_(at), left_(n) {}
    const float *take(size_t n)
    {
        n = (n + 3) / 4 * 4;
        const float *found = at_;
        if (n > left_) {
            wrong_ = true;
            return nullptr;
        }
        at_ += n;
        left_ -= n;
        return found;
    }
    dense take_dense(int depth, int columns, bool is_biased)
    {
        const int padded = rounded(columns, DENSE_COLUMNS);
        const float *weight = take(size_t(depth) * size_t(padded));
        return {weight, is_biased ? take(size_t(padded)) : nullptr, depth, padded};
    }
    bool is_done() const { return !wrong_ && left_ == 0; }

private:
    const float *at_;
    size_t left_;
    bool wrong_ = false;
};

/* The weights on the device, and the numbers that came with them. */
struct weights {
    device_array<float> floats;
    device_array<int32_t> ints;
    /* Copies them, and compares the checksum of what has come to `crc`. */
    int load(const int32_t *from_ints, size_t n_ints, const float *from_floats, size_t n_floats,
             uint32_t crc);
};

/* Whether `radices` make such a transform, one that fits a block's shared memory with `more` bytes. */
bool is_fft(const nac_cuda_fft_sizes &sizes, const int32_t *radices, size_t more);
fft take_fft(reader &from, const nac_cuda_fft_sizes &sizes, const int32_t *radices,
             const int32_t *on_device);

struct block {
    conv_norm conv;
    dense expand, reduce;
};

/* The chain of blocks: csrc/engine/backbone.h. */
struct backbone {
    int width, hidden, past, lookahead; /* past, lookahead: rows before and after one that it sees */
    std::vector<block> chain;
    conv_norm norm;
};
bool is_body(const nac_cuda_body_sizes &sizes);
backbone take_body(reader &from, const nac_cuda_body_sizes &sizes);

/* Times stages of the work on a stream, if `times` is there. */
class stopwatch {
public:
    stopwatch() = default;
    stopwatch(const stopwatch &) = delete;
    stopwatch &operator=(const stopwatch &) = delete;
    ~stopwatch() { drop(); }
    cudaError_t begin(nac_cuda_times *times, cudaStream_t stream);
    cudaError_t end(int stage); /* the stage that has been queued since the last call */
    cudaError_t add();          /* all of them to `times`, when the stream is done */
    void drop();

private:
    cudaError_t mark(int stage);
    nac_cuda_times *times_ = nullptr;
    cudaStream_t stream_ = nullptr;
    std::vector<std::pair<int, cudaEvent_t>> marks_;
};

/* Arrays that the backbone works in. */
struct body_arrays {
    device_array<float> x, normed, hidden;
    cudaError_t allocate(const backbone &body, size_t rows);
    size_t bytes() const { return x.bytes() + normed.bytes() + hidden.bytes(); }
};

/* y = bias + x W, or what `kind` says, with the tile that fits the number of rows. */
cudaError_t run_dense(const dense &layer, dense_kind kind, const float *x, size_t stride, int rows,
                      float *y, int y_stride, int columns, int multiprocessors,
                      cudaStream_t stream);

/* arrays.x [rows] through the chain, to arrays.normed. */
cudaError_t run_body(const backbone &body, const place *places, const body_arrays &arrays, int rows,
                     int multiprocessors, cudaStream_t stream, stopwatch &watch);

/* Lets a kernel have so much shared memory. */
template <typename Kernel>
cudaError_t allow_shared(Kernel kernel, size_t bytes)
{
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
}

/* What a batch and its arrays have in either direction. A network's lane adds its own. */
struct lane {
    cudaStream_t stream = nullptr;
    stopwatch watch;
    batch work; /* in flight; no pieces: none */
    mirrored<place> places;
    mirrored<int> kept;
    mirrored<long long> to; /* where the caller's array has each kept frame, if the device holds it */
    body_arrays body;
    cudaEvent_t sent = nullptr; /* the host's arrays are copied */
    cudaEvent_t turn = nullptr; /* of this lane's stream and the caller's */

    lane() = default;
    lane(const lane &) = delete;
    lane &operator=(const lane &) = delete;
    ~lane()
    {
        if (stream) (void)cudaStreamSynchronize(stream);
        for (cudaEvent_t event : {sent, turn})
            if (event) (void)cudaEventDestroy(event);
        if (stream) (void)cudaStreamDestroy(stream);
    }
    int open(const backbone &net, size_t frames, size_t stack);
    /* Waits until the host's arrays may be written: a call that does not wait may have left them. */
    cudaError_t ready() { return cudaEventSynchronize(sent); }
    /* Fills places and kept from `work`, and sends them, as the last of what is sent. */
    int send_plan(size_t stack);
    /* Fills `to` and sends it: frame f of an item is at item * stride + f * step of an array. */
    cudaError_t send_targets(size_t stride, size_t step);
    /* What is queued here next begins after what is queued on the caller's stream, or the reverse. */
    int follow(cudaStream_t caller);
    int lead(cudaStream_t caller);
    size_t bytes() const
    {
        return body.bytes() + places.device.bytes() + kept.device.bytes() + to.device.bytes();
    }
};

/* After an error: waits for what is at work, and forgets it. */
template <typename Net>
void give_up(Net &net)
{
    for (auto &lane : net.lanes) {
        (void)cudaStreamSynchronize(lane.stream);
        lane.watch.drop();
        lane.work = {};
    }
}

/* Runs all batches: net.start(lane, batch) queues one, net.collect(lane) takes its results. */
template <typename Net, typename Job>
int run_batches(Net &net, std::vector<batch> &&batches, const Job &job, nac_cuda_times *times)
{
    int error = 0;
    for (size_t i = 0; i < batches.size() && !error; i++) {
        auto &lane = net.lanes[times ? 0 : i % 2];
        if (!lane.work.pieces.empty()) error = net.collect(lane, job);
        if (error) break;
        lane.work = std::move(batches[i]);
        error = lane.ready();
        if (!error) error = lane.watch.begin(times, lane.stream);
        if (!error) error = net.start(lane, job);
    }
    for (size_t i = 0; i < 2 && !error; i++) { /* the older first, if two are at work */
        auto &lane = net.lanes[times ? i : (batches.size() + i) % 2];
        if (!lane.work.pieces.empty()) error = net.collect(lane, job);
    }
    if (error) give_up(net);
    return error;
}

/* Queues all batches between what the caller's stream has and what it gets; waits for none. */
template <typename Net, typename Job>
int queue_batches(Net &net, std::vector<batch> &&batches, const Job &job, cudaStream_t caller)
{
    int error = 0;
    const size_t used = std::min(batches.size(), size_t(2));
    for (size_t i = 0; i < used && !error; i++) error = net.lanes[i].follow(caller);
    for (size_t i = 0; i < batches.size() && !error; i++) {
        auto &lane = net.lanes[i % 2];
        error = lane.ready();
        if (!error) error = lane.watch.begin(nullptr, lane.stream);
        lane.work = std::move(batches[i]);
        if (!error) error = net.start(lane, job);
        lane.work = {};
    }
    for (size_t i = 0; i < used && !error; i++) error = net.lanes[i].lead(caller);
    if (error) give_up(net);
    return error;
}

/* `work` with what C++ throws as a code. */
template <typename Work>
int guarded(Work &&work)
{
    try {
        return work();
    } catch (const std::bad_alloc &) {
        return NAC_CUDA_NO_MEMORY;
    } catch (...) {
        return NAC_CUDA_BAD_SIZES;
    }
}

} // namespace engine

#endif
