# cython: boundscheck=False, wraparound=False, cdivision=True
"""Bindings of csrc/: sizes are checked here, before C sees a pointer; the GIL is released there.

Internal: `codec.rvq` and `codec.mel` are the public faces. Every function takes C-contiguous
arrays, and `isa`, one of `isas()`, for tests and benchmarks; the default is the widest.
"""

from libc.stdint cimport int32_t, uint16_t, uintptr_t

import numpy as np

cdef extern from "isa.h" nogil:
    ctypedef int codec_isa
    codec_isa isa_best()

cdef extern from "rvq.h" nogil:
    enum:
        RVQ_ALIGN
    ctypedef struct rvq_plan:
        size_t levels, codewords, dim
        const float *codebooks
        float *panels
        float *half
        void *screen
    size_t rvq_panels_size(size_t levels, size_t codewords, size_t dim)
    size_t rvq_half_size(size_t levels, size_t codewords)
    size_t rvq_screen_size(codec_isa isa, size_t levels, size_t codewords, size_t dim)
    size_t rvq_scratch_size(size_t dim)
    void rvq_pack(const rvq_plan *plan, codec_isa isa)
    void rvq_encode(const rvq_plan *plan, codec_isa isa, size_t levels, const float *latents,
                    size_t n, uint16_t *codes, float *scratch)
    void rvq_encode_once(const rvq_plan *plan, codec_isa isa, float *latents, size_t n,
                         uint16_t *codes, float *scratch)
    void rvq_decode(const float *codebooks, size_t codewords, size_t dim, size_t levels,
                    const uint16_t *codes, size_t n, float *out)

_ISA_NAMES = ("base", "avx2", "avx512")


def isas():
    """Names of the instruction sets that this CPU runs, narrowest first: a prefix of all."""
    return _ISA_NAMES[:<int>isa_best() + 1]


cdef codec_isa _isa(object name) except *:
    if name is None:
        return isa_best()
    available = isas()
    if name not in available:
        raise ValueError(f"this CPU runs {', '.join(available)}, not {name}")
    return <codec_isa>available.index(name)


cdef _aligned(size_t floats):
    """Uninitialised float32 memory whose address is a multiple of RVQ_ALIGN."""
    memory = np.empty(floats + RVQ_ALIGN // 4, np.float32)
    cdef uintptr_t address = memory.ctypes.data
    cdef size_t skip = (-address % RVQ_ALIGN) // 4
    return memory[skip:skip + floats]


cdef class RvqPlan:
    """Codebooks float32 [Q, K, D] packed for the search; immutable, so threads may share it.

    Without `screen`, which changes no code, packing is faster and searching slower.
    """

    cdef rvq_plan plan
    cdef const float[:, :, ::1] codebooks  # these own the memory that `plan` points to
    cdef float[::1] panels, half, screen
    cdef list spare  # scratch memory that no call uses at the moment

    def __cinit__(self, const float[:, :, ::1] codebooks, isa=None, bint screen=True):
        cdef codec_isa chosen = _isa(isa)
        cdef size_t levels = codebooks.shape[0]
        cdef size_t codewords = codebooks.shape[1]
        cdef size_t dim = codebooks.shape[2]
        if not (levels and dim and 1 <= codewords <= 65536):
            raise ValueError("codebooks are [Q, K, D] with Q, D >= 1 and 1 <= K <= 65536")
        self.codebooks = codebooks
        self.panels = _aligned(rvq_panels_size(levels, codewords, dim))
        self.half = _aligned(rvq_half_size(levels, codewords))
        self.plan = rvq_plan(
            levels, codewords, dim, &codebooks[0, 0, 0], &self.panels[0], &self.half[0], NULL
        )
        self.spare = []
        cdef size_t screened = rvq_screen_size(chosen, levels, codewords, dim) if screen else 0
        if screened:
            self.screen = _aligned(screened // sizeof(float))
            self.plan.screen = &self.screen[0]
        with nogil:
            rvq_pack(&self.plan, chosen)

    @property
    def screened(self):
        """Whether integer arithmetic goes before the search, as CPU and codebooks allow."""
        return self.plan.screen != NULL

    def encode(self, const float[:, ::1] latents, size_t levels, isa=None):
        """latents [N, D] -> codes uint16 [levels, N], of the first `levels` codebooks."""
        cdef size_t n = latents.shape[0]
        cdef codec_isa chosen = _isa(isa)
        if <size_t>latents.shape[1] != self.plan.dim or not 1 <= levels <= self.plan.levels:
            raise ValueError("latents or levels do not fit the codebooks")
        codes = np.empty((levels, n), np.uint16)
        if n == 0:
            return codes
        cdef uint16_t[:, ::1] out = codes
        try:
            memory = self.spare.pop()
        except IndexError:
            memory = _aligned(rvq_scratch_size(self.plan.dim))
        cdef float[::1] scratch = memory
        with nogil:
            rvq_encode(&self.plan, chosen, levels, &latents[0, 0], n, &out[0, 0], &scratch[0])
        self.spare.append(memory)  # the array: a memoryview would be wrapped anew each time
        return codes


def encode_rvq_once(const float[:, ::1] latents, const float[:, :, ::1] codebooks, isa=None):
    """What `RvqPlan(codebooks).encode(latents, Q)` gives, sooner if the latents are few."""
    cdef size_t levels = codebooks.shape[0], codewords = codebooks.shape[1]
    cdef size_t dim = codebooks.shape[2], n = latents.shape[0]
    cdef codec_isa chosen = _isa(isa)
    if not (levels and dim and 1 <= codewords <= 65536 and <size_t>latents.shape[1] == dim):
        raise ValueError("latents do not fit the codebooks, or these are not [Q, K, D]")
    codes = np.empty((levels, n), np.uint16)
    if n == 0:
        return codes
    cdef uint16_t[:, ::1] out = codes
    cdef float[:, ::1] residual = np.array(latents)
    cdef float[::1] panels = _aligned(rvq_panels_size(1, codewords, dim))
    cdef float[::1] half = _aligned(rvq_half_size(1, codewords))
    cdef float[::1] scratch = _aligned(rvq_scratch_size(dim))
    cdef rvq_plan plan = rvq_plan(
        levels, codewords, dim, &codebooks[0, 0, 0], &panels[0], &half[0], NULL
    )
    with nogil:
        rvq_encode_once(&plan, chosen, &residual[0, 0], n, &out[0, 0], &scratch[0])
    return codes


def decode_rvq(const uint16_t[:, ::1] codes, const float[:, :, ::1] codebooks):
    """codes [levels, N] -> float32 [N, D]; every code must be below K (IndexError)."""
    cdef size_t levels = codes.shape[0], n = codes.shape[1]
    cdef size_t codewords = codebooks.shape[1], dim = codebooks.shape[2]
    if not 1 <= levels <= <size_t>codebooks.shape[0] or not dim:
        raise ValueError("codes do not fit the codebooks")
    out = np.empty((n, dim), np.float32)
    if n == 0:
        return out
    if int(np.max(codes)) >= codewords:
        raise IndexError("a code is not below the number of codewords")
    cdef float[:, ::1] rows = out
    with nogil:
        rvq_decode(&codebooks[0, 0, 0], codewords, dim, levels, &codes[0, 0], n, &rows[0, 0])
    return out


cdef extern from "fft.h" nogil:
    ctypedef struct fft_plan:
        size_t n, n_steps
        const int32_t *radices
        const float *twiddles
        const float *unpack

cdef extern from "mel.h" nogil:
    ctypedef struct mel_plan:
        fft_plan fft
        size_t hop, n_mels
        const float *window
        const int32_t *band_start
        const int32_t *band_size
        const float *band_weights
    size_t mel_scratch_size(const mel_plan *plan)
    void mel_run(const mel_plan *plan, codec_isa isa, const float *audio, size_t n, float *out,
                 float *scratch)
    void mel_log10(const float *x, size_t n, float *out)


cdef class MelPlan:
    """A log-mel front end from `codec.kernels.mel_tables.MelTables`; threads may share it."""

    cdef mel_plan plan
    cdef const float[::1] window, twiddles, weights  # own the memory that `plan` points to
    cdef const float[:, ::1] unpack
    cdef const int32_t[::1] radices, start, size

    def __cinit__(self, tables):
        self.window, self.twiddles, self.unpack = tables.window, tables.twiddles, tables.unpack
        self.radices, self.start, self.size = tables.radices, tables.band_start, tables.band_size
        self.weights = tables.band_weights
        cdef Py_ssize_t half = self.window.shape[0] // 2, length = half, total = 0, weights = 0
        cdef Py_ssize_t i, radix
        for i in range(self.radices.shape[0]):
            radix = self.radices[i]
            if radix not in (2, 3, 4, 5) or length % radix:
                raise ValueError("the radices do not multiply to n_fft / 2")
            length //= radix
            total += length * (radix - 1) * 2
        for i in range(self.size.shape[0]):
            if self.start[i] < 0 or self.size[i] < 0 or self.start[i] + self.size[i] > half + 1:
                raise ValueError("a band reaches past the spectrum")
            weights += self.size[i]
        if not (
            length == 1
            and half >= 2
            and self.window.shape[0] == 2 * half
            and self.twiddles.shape[0] == total
            and self.unpack.shape[0] == half // 2 + 1
            and self.unpack.shape[1] == 2
            and self.start.shape[0] == self.size.shape[0] >= 1
            and self.weights.shape[0] == weights
            and tables.hop_length >= 1
        ):
            raise ValueError("the tables do not fit each other")
        self.plan.fft = fft_plan(2 * half, self.radices.shape[0], &self.radices[0],
                                 &self.twiddles[0], &self.unpack[0, 0])
        self.plan.hop, self.plan.n_mels = tables.hop_length, self.start.shape[0]
        self.plan.window, self.plan.band_weights = &self.window[0], &self.weights[0]
        self.plan.band_start, self.plan.band_size = &self.start[0], &self.size[0]

    def __call__(self, const float[:, ::1] clips, isa=None):
        """clips [B, samples] -> float32 [B, n_mels, samples // hop]."""
        cdef size_t n = clips.shape[1], frames = n // self.plan.hop
        cdef Py_ssize_t b
        cdef codec_isa chosen = _isa(isa)
        mel = np.empty((clips.shape[0], self.plan.n_mels, frames), np.float32)
        if mel.size == 0:
            return mel
        cdef float[:, :, ::1] out = mel
        cdef float[::1] scratch = _aligned(mel_scratch_size(&self.plan))
        with nogil:
            for b in range(clips.shape[0]):
                mel_run(&self.plan, chosen, &clips[b, 0], n, &out[b, 0, 0], &scratch[0])
        return mel


def log10(const float[::1] x):
    """log10 of positive, normal, finite values as the mel kernels compute it; for tests."""
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] y = out
    if x.shape[0]:
        with nogil:
            mel_log10(&x[0], x.shape[0], &y[0])
    return out
