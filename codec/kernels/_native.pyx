# cython: boundscheck=False, wraparound=False, cdivision=True
"""Bindings of csrc/: sizes are checked here, before C sees a pointer; the GIL is released there.

Internal: `codec.rvq` and `codec.mel` are the public faces. Every function takes C-contiguous
arrays, and `isa`, one of `isas()`, for tests and benchmarks; without it the environment's
CODEC_ISA, else the widest.
"""

from libc.stdint cimport int16_t, int32_t, uint16_t, uint32_t, uint8_t

import os

import numpy as np

include "_aligned.pxi"
include "_rvq_plan.pxi"

cdef extern from "common/isa.h" nogil:
    ctypedef int nac_isa
    nac_isa nac_isa_best()

cdef extern from "common/crc32c.h" nogil:
    ctypedef struct nac_crc32c_tables:
        pass
    void nac_crc32c_init(nac_crc32c_tables *tables)
    uint32_t nac_crc32c_update(const nac_crc32c_tables *tables, uint32_t crc, const uint8_t *data, size_t n)

cdef extern from "rvq/rvq.h" nogil:
    size_t nac_rvq_scratch_size(size_t dim)
    void nac_rvq_encode(const nac_rvq_plan *plan, nac_isa isa, size_t levels, const float *latents,
                    size_t n, uint16_t *codes, float *scratch)
    void nac_rvq_encode_once(const nac_rvq_plan *plan, nac_isa isa, float *latents, size_t n,
                         uint16_t *codes, float *scratch)
    void nac_rvq_decode(const float *codebooks, size_t codewords, size_t dim, size_t levels,
                    const uint16_t *codes, size_t n, float *out)

cdef extern from "rvq/rvq_beam.h" nogil:
    enum:
        NAC_RVQ_BEAM_MOST
    size_t nac_rvq_beam_scratch_size(size_t levels, size_t dim)
    void nac_rvq_beam(const nac_rvq_plan *plan, nac_isa isa, size_t levels, size_t beam,
                      const float *latents, size_t n, uint16_t *codes, float *scratch)

cdef nac_crc32c_tables _crc32c
nac_crc32c_init(&_crc32c)


def crc32c(const uint8_t[::1] data, uint32_t crc=0):
    """The CRC-32C of what `crc` is that of, followed by `data`."""
    cdef size_t n = <size_t>data.shape[0]
    if n:
        with nogil:
            crc = nac_crc32c_update(&_crc32c, crc, &data[0], n)
    return crc


_ISA_NAMES = ("scalar", "avx2", "avx512")


def isas():
    """Names of the instruction sets that this CPU runs, narrowest first: a prefix of all."""
    return _ISA_NAMES[:<int>nac_isa_best() + 1]


cdef nac_isa _isa(object name) except *:
    """The instruction set to run on: `name`, else the environment's CODEC_ISA, else the widest."""
    name = name or os.environ.get("CODEC_ISA")
    if not name:
        return nac_isa_best()
    available = isas()
    if name == "neon" and len(available) == 1:
        name = "scalar"  # on Arm the compiler makes NEON code of that body
    if name not in available:
        raise ValueError(f"this CPU runs {', '.join(available)}, not {name}")
    return <nac_isa>available.index(name)


cdef class RvqPlan:
    """Codebooks float32 [Q, K, D] packed for the search; immutable, so threads may share it.

    Without `screen`, which changes no code, packing is faster and searching slower.
    """

    cdef nac_rvq_plan plan
    cdef const float[:, :, ::1] codebooks  # these own the memory that `plan` points to
    cdef float[::1] panels, half, screen
    cdef list spare  # scratch memory that no call uses at the moment

    def __cinit__(self, const float[:, :, ::1] codebooks, isa=None, bint screen=True):
        cdef nac_isa chosen = _isa(isa)
        cdef size_t levels = codebooks.shape[0]
        cdef size_t codewords = codebooks.shape[1]
        cdef size_t dim = codebooks.shape[2]
        if not (levels and dim and 1 <= codewords <= 65536):
            raise ValueError("codebooks are [Q, K, D] with Q, D >= 1 and 1 <= K <= 65536")
        self.codebooks = codebooks
        self.panels = _aligned(nac_rvq_panels_size(levels, codewords, dim))
        self.half = _aligned(nac_rvq_half_size(levels, codewords))
        self.plan = nac_rvq_plan(
            levels, codewords, dim, &codebooks[0, 0, 0], &self.panels[0], &self.half[0], NULL
        )
        self.spare = []
        cdef size_t screened = nac_rvq_screen_size(chosen, levels, codewords, dim) if screen else 0
        if screened:
            self.screen = _aligned(screened // sizeof(float))
            self.plan.screen = &self.screen[0]
        with nogil:
            nac_rvq_pack(&self.plan, chosen)

    @property
    def screened(self):
        """Whether integer arithmetic goes before the search, as CPU and codebooks allow."""
        return self.plan.screen != NULL

    def encode(self, const float[:, ::1] latents, size_t levels, isa=None):
        """latents [N, D] -> codes uint16 [levels, N], of the first `levels` codebooks."""
        cdef size_t n = latents.shape[0]
        cdef nac_isa chosen = _isa(isa)
        if <size_t>latents.shape[1] != self.plan.dim or not 1 <= levels <= self.plan.levels:
            raise ValueError("latents or levels do not fit the codebooks")
        codes = np.empty((levels, n), np.uint16)
        if n == 0:
            return codes
        cdef uint16_t[:, ::1] out = codes
        try:
            memory = self.spare.pop()
        except IndexError:
            memory = _aligned(nac_rvq_scratch_size(self.plan.dim))
        cdef float[::1] scratch = memory
        with nogil:
            nac_rvq_encode(&self.plan, chosen, levels, &latents[0, 0], n, &out[0, 0], &scratch[0])
        self.spare.append(memory)  # the array: a memoryview would be wrapped anew each time
        return codes


    def encode_beam(self, const float[:, ::1] latents, size_t levels, size_t beam, isa=None):
        """As `encode`, by a search with 2 to NAC_RVQ_BEAM_MOST paths."""
        cdef size_t n = latents.shape[0]
        cdef nac_isa chosen = _isa(isa)
        if <size_t>latents.shape[1] != self.plan.dim or not 1 <= levels <= self.plan.levels:
            raise ValueError("latents or levels do not fit the codebooks")
        if not 2 <= beam <= NAC_RVQ_BEAM_MOST:
            raise ValueError("no such number of paths")
        codes = np.empty((levels, n), np.uint16)
        if n == 0:
            return codes
        cdef uint16_t[:, ::1] out = codes
        cdef float[::1] scratch = _aligned(nac_rvq_beam_scratch_size(levels, self.plan.dim))
        with nogil:
            nac_rvq_beam(
                &self.plan, chosen, levels, beam, &latents[0, 0], n, &out[0, 0], &scratch[0]
            )
        return codes


def encode_rvq_once(const float[:, ::1] latents, const float[:, :, ::1] codebooks, isa=None):
    """What `RvqPlan(codebooks).encode(latents, Q)` gives, sooner if the latents are few."""
    cdef size_t levels = codebooks.shape[0], codewords = codebooks.shape[1]
    cdef size_t dim = codebooks.shape[2], n = latents.shape[0]
    cdef nac_isa chosen = _isa(isa)
    if not (levels and dim and 1 <= codewords <= 65536 and <size_t>latents.shape[1] == dim):
        raise ValueError("latents do not fit the codebooks, or these are not [Q, K, D]")
    codes = np.empty((levels, n), np.uint16)
    if n == 0:
        return codes
    cdef uint16_t[:, ::1] out = codes
    cdef float[:, ::1] residual = np.array(latents)
    cdef float[::1] panels = _aligned(nac_rvq_panels_size(1, codewords, dim))
    cdef float[::1] half = _aligned(nac_rvq_half_size(1, codewords))
    cdef float[::1] scratch = _aligned(nac_rvq_scratch_size(dim))
    cdef nac_rvq_plan plan = nac_rvq_plan(
        levels, codewords, dim, &codebooks[0, 0, 0], &panels[0], &half[0], NULL
    )
    with nogil:
        nac_rvq_encode_once(&plan, chosen, &residual[0, 0], n, &out[0, 0], &scratch[0])
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
        nac_rvq_decode(&codebooks[0, 0, 0], codewords, dim, levels, &codes[0, 0], n, &rows[0, 0])
    return out


cdef extern from "mel/mel.h" nogil:
    ctypedef struct nac_rfft_plan:
        size_t n, split, h, n_steps
        const int32_t *order
        const float *window
        const float *turns
        const int32_t *places
        const int32_t *radices
        const float *twiddles
        const float *unpack
        const int32_t *bins
    ctypedef struct nac_mel_plan:
        nac_rfft_plan fft
        size_t hop, pad, n_mels
        const int32_t *band_start
        const int32_t *band_size
        const float *band_weights
        int reflect, magnitude, log, top
        float floor, range, scale, offset
    ctypedef struct nac_mel_clip:
        const void *samples
        int is_int16
        size_t n
        ptrdiff_t start
        size_t n_frames
        int frame_major
    size_t nac_mel_scratch_size(const nac_mel_plan *plan)
    int nac_mel_run(const nac_mel_plan *plan, nac_isa isa, const nac_mel_clip *clip, float *top, float *out,
                void *scratch)
    void nac_mel_log10(const float *x, size_t n, float *out)


cdef class MelPlan:
    """A log-mel front end from `codec.kernels.mel_tables.MelTables`; threads may share it."""

    cdef nac_mel_plan plan
    cdef list owned  # the memory that `plan` points to

    cdef const float *_floats(self, table, tuple shape) except? NULL:
        cdef const float[::1] view = self._flat(table, np.float32, shape)
        return &view[0] if view.shape[0] else NULL

    cdef const int32_t *_ints(self, table, tuple shape, int limit) except? NULL:
        flat = self._flat(table, np.int32, shape)
        if flat.size and not 0 <= flat.min() <= flat.max() < limit:
            raise ValueError("an index in the tables is out of range")
        cdef const int32_t[::1] view = flat
        return &view[0] if view.shape[0] else NULL

    def _flat(self, table, dtype, tuple shape):
        if table.dtype != dtype or table.shape != shape:
            raise ValueError("the tables do not fit each other")
        flat = np.array(table).reshape(-1)
        self.owned.append(flat)
        return flat

    def __cinit__(self, tables):
        fft = tables.fft
        cdef int n = fft.n, split = fft.split
        if not (3 <= n <= 1 << 16 and split in (1, 2, 4, 8, 16) and n % split == 0 and n > split):
            raise ValueError("no such transform")
        cdef int h = n // split, half = split // 2, length = h, total = 0
        for radix in fft.radices.tolist():
            if radix not in (2, 3, 4, 5) or length % radix:
                raise ValueError("the radices do not multiply to n / split")
            length //= radix
            total += (length - 1) * (radix - 1) * 2
        if length != 1:
            raise ValueError("the radices do not multiply to n / split")
        cdef int n_mels = tables.band_start.size
        sizes = tables.band_size.astype(np.int64)
        if not (
            n_mels >= 1
            and sizes.shape == (n_mels,)
            and (tables.band_start + sizes <= n // 2 + 1).all()
            and 1 <= tables.hop_length < 1 << 31
            and tables.pad in (0, n // 2)
            and tables.top in (0, 1, 2)
            and tables.floor > 0
        ):
            raise ValueError("the tables do not fit each other")
        self.owned = []
        self.plan.fft.n, self.plan.fft.split, self.plan.fft.h = n, split, h
        self.plan.fft.n_steps = fft.radices.size
        self.plan.fft.order = self._ints(fft.order, (h, split), n)
        self.plan.fft.window = self._floats(fft.window, (h, split))
        self.plan.fft.turns = self._floats(
            fft.turns, (h, 0 if h % 2 else max(half - 1, 0), 2)
        )
        self.plan.fft.places = self._ints(fft.places, (h, 2 if split > 1 else 0), 2 * h)
        self.plan.fft.radices = self._ints(fft.radices, (fft.radices.size,), 6)
        self.plan.fft.twiddles = self._floats(fft.twiddles, (total,))
        self.plan.fft.unpack = self._floats(fft.unpack, (h // 2 + 1, 2))
        self.plan.fft.bins = self._ints(fft.bins, (max(half - 1, 1), h), n // 2 + 2)
        self.plan.hop, self.plan.pad, self.plan.n_mels = tables.hop_length, tables.pad, n_mels
        self.plan.band_start = self._ints(tables.band_start, (n_mels,), n // 2 + 2)
        self.plan.band_size = self._ints(tables.band_size, (n_mels,), n // 2 + 2)
        self.plan.band_weights = self._floats(tables.band_weights, (sizes.sum(),))
        self.plan.reflect, self.plan.magnitude = tables.reflect, tables.magnitude
        self.plan.log, self.plan.top = tables.log, tables.top
        self.plan.floor, self.plan.range = tables.floor, tables.range
        self.plan.scale, self.plan.offset = tables.scale, tables.offset

    def __call__(self, clips, Py_ssize_t start, float[::1] tops, float[:, :, ::1] out,
                 bint frame_major=False, isa=None):
        """clips float32 or int16 [B, samples] -> out [B, n_mels, frames] or [B, frames, n_mels].

        The first frame is samples `start` on, tops [B] the maxima so far. False if samples are not
        finite or too loud.
        """
        cdef nac_isa chosen = _isa(isa)
        cdef bint fine = True
        cdef Py_ssize_t b, step
        cdef const float[:, :] floats
        cdef const int16_t[:, :] ints
        cdef const char *first
        cdef nac_mel_clip clip
        if clips.dtype == np.int16:
            ints = clips
            first = <const char *>&ints[0, 0] if clips.size else NULL
        else:
            floats = clips
            first = <const char *>&floats[0, 0] if clips.size else NULL
        if not (
            len(clips) == out.shape[0] == tops.shape[0]
            and (clips.shape[1] <= 1 or clips.strides[1] == clips.itemsize)
            and <size_t>out.shape[2 if frame_major else 1] == self.plan.n_mels
            and -(1 << 40) < start < 1 << 40
        ):
            raise ValueError("the arrays do not fit the plan")
        step = clips.strides[0]
        clip.is_int16, clip.n, clip.start = clips.dtype == np.int16, clips.shape[1], start
        clip.n_frames, clip.frame_major = out.shape[1 if frame_major else 2], frame_major
        cdef float nothing = 0
        cdef float[::1] scratch = _aligned(nac_mel_scratch_size(&self.plan) // sizeof(float))
        with nogil:
            for b in range(out.shape[0]):
                clip.samples = first + b * step
                if not nac_mel_run(&self.plan, chosen, &clip, &tops[b],
                               &out[b, 0, 0] if clip.n_frames else &nothing, &scratch[0]):
                    fine = False
                    break
        return fine


def log10(const float[::1] x):
    """log10 of positive, normal, finite values as the mel kernels compute it; for tests."""
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] y = out
    if x.shape[0]:
        with nogil:
            nac_mel_log10(&x[0], x.shape[0], &y[0])
    return out
