#include "cuda_shim.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;
alignas(16) float4 shared_memory[shim::MOST_SHARED / sizeof(float4)];

extern "C" {
void shim_reversed(int odd) { shim::reversed = odd; }
void shim_multiprocessors(int count) { shim::multiprocessors = count; }
}

namespace shim {

std::vector<fibre> fibres;
ucontext_t scheduler;
std::function<void()> body;
std::vector<uint32_t> exchange;
std::map<const void *, size_t> allowed_shared;
cudaError_t last_error = cudaSuccess;
int multiprocessors = 1, reversed = 0;
std::mutex launching;

#if defined(__SANITIZE_ADDRESS__)
static const void *scheduler_stack;
static size_t scheduler_size;
#endif

static void to_scheduler(fibre &self)
{
#if defined(__SANITIZE_ADDRESS__)
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(self.ended ? nullptr : &fake, scheduler_stack, scheduler_size);
    swapcontext(&self.context, &scheduler);
    __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_size);
#else
    swapcontext(&self.context, &scheduler);
#endif
}

static void to_fibre(fibre &next)
{
#if defined(__SANITIZE_ADDRESS__)
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, next.stack.get(), STACK);
    swapcontext(&scheduler, &next.context);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    swapcontext(&scheduler, &next.context);
#endif
}

static void start()
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
    fibre &self = fibres[threadIdx.x];
    body();
    self.ended = true;
    to_scheduler(self);
}

static void prepare(fibre &f)
{
    if (!f.stack) f.stack.reset(new char[STACK]);
    f.ended = false;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = STACK;
    f.context.uc_link = nullptr;
    makecontext(&f.context, start, 0);
}

void barrier() { to_scheduler(fibres[threadIdx.x]); }

void run_grid(unsigned blocks, unsigned threads, size_t shared)
{
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    fibres.resize(std::max<size_t>(fibres.size(), threads));
    exchange.resize(fibres.size());
    for (unsigned block = 0; block < blocks; block++) {
        blockIdx = {block, 0, 0};
        memset(static_cast<void *>(shared_memory), 0xff, sizeof shared_memory);
#if defined(__SANITIZE_ADDRESS__)
        const char *end = reinterpret_cast<const char *>(shared_memory) + sizeof shared_memory;
        const size_t beyond = sizeof shared_memory - shared;
        __asan_poison_memory_region(end - beyond, beyond);
#else
        (void)shared;
#endif
        for (unsigned t = 0; t < threads; t++) prepare(fibres[t]);
        for (unsigned phase = 0, ended = 0; !ended; phase++) {
            for (unsigned i = 0; i < threads; i++) {
                const unsigned t = phase % 2 == unsigned(reversed) ? i : threads - 1 - i;
                threadIdx = {t, 0, 0};
                to_fibre(fibres[t]);
                ended += fibres[t].ended;
            }
            if (ended && ended != threads) {
                fputs("a barrier was reached by some threads of a block only\n", stderr);
                abort();
            }
        }
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(shared_memory, sizeof shared_memory);
#endif
    }
}

}  // namespace shim
