# cython: boundscheck=False, wraparound=False, cdivision=True
"""Bindings of csrc/: sizes are checked here, before C sees a pointer; the GIL is released there.

Internal: `codec.rvq` and `codec.mel` are the public faces. Every function takes C-contiguous
arrays, and `isa`, one of `isas()`, for tests and benchmarks; the default is the widest.
"""

from libc.stdint cimport uint16_t, uintptr_t

import numpy as np

cdef extern from "isa.h" nogil:
    ctypedef int codec_isa
    codec_isa isa_best()

cdef extern from "rvq.h" nogil:
    enum:
        RVQ_ALIGN
    ctypedef struct rvq_plan:
        size_t levels, codewords, dim
        float *panels
        float *half
    size_t rvq_panels_size(size_t levels, size_t codewords, size_t dim)
    size_t rvq_half_size(size_t levels, size_t codewords)
    size_t rvq_scratch_size(size_t dim)
    void rvq_pack(const rvq_plan *plan, const float *codebooks)
    void rvq_encode(const rvq_plan *plan, codec_isa isa, size_t levels, const float *latents,
                    size_t n, uint16_t *codes, float *scratch)
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
    """Codebooks float32 [Q, K, D] packed for the search; immutable, so threads may share it."""

    cdef rvq_plan plan
    cdef float[::1] panels, half  # own the memory that `plan` points to

    def __cinit__(self, const float[:, :, ::1] codebooks):
        cdef size_t levels = codebooks.shape[0]
        cdef size_t codewords = codebooks.shape[1]
        cdef size_t dim = codebooks.shape[2]
        if not (levels and dim and 1 <= codewords <= 65536):
            raise ValueError("codebooks are [Q, K, D] with Q, D >= 1 and 1 <= K <= 65536")
        self.panels = _aligned(rvq_panels_size(levels, codewords, dim))
        self.half = _aligned(rvq_half_size(levels, codewords))
        self.plan = rvq_plan(levels, codewords, dim, &self.panels[0], &self.half[0])
        with nogil:
            rvq_pack(&self.plan, &codebooks[0, 0, 0])

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
        cdef float[::1] scratch = _aligned(rvq_scratch_size(self.plan.dim))
        with nogil:
            rvq_encode(&self.plan, chosen, levels, &latents[0, 0], n, &out[0, 0], &scratch[0])
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
