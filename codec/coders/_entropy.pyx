# cython: boundscheck=False, wraparound=False, cdivision=True
"""Bindings of csrc/entropy/: sizes are checked here, before C sees a pointer; the GIL is released.

Internal: `codec.coders.entropy` is the public face.
"""

from libc.stdint cimport int8_t, int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free

import numpy as np

include "../kernels/_kernel_tables.pxi"

cdef extern from "entropy/range_coder.h" nogil:
    ctypedef struct nac_range_encoder:
        pass
    ctypedef struct nac_range_decoder:
        pass
    size_t NAC_RANGE_BYTES(size_t symbols)
    void nac_range_encoder_init(nac_range_encoder *coder, uint8_t *bytes)
    size_t nac_range_encoder_finish(nac_range_encoder *coder)
    void nac_range_decoder_init(nac_range_decoder *coder, const uint8_t *bytes, size_t size)
    int nac_range_decoder_exact(const nac_range_decoder *coder)
    void nac_range_encode_symbol(nac_range_encoder *coder, const uint32_t *cumulative, uint32_t n, uint32_t k)
    uint32_t nac_range_decode_symbol(nac_range_decoder *coder, const uint32_t *cumulative, uint32_t n)

cdef extern from "entropy/coding.h" nogil:
    enum:
        NAC_WEIGHT_BITS
        NAC_MAX_CODEWORDS
    ctypedef struct nac_chunk:
        nac_range_encoder *encoder
        nac_range_decoder *decoder
        uint16_t *codes
        size_t channels, levels, frames
        uint32_t *costs

cdef extern from "entropy/tables.h" nogil:
    enum:
        NAC_MAX_CONTEXTS
        NAC_MAX_RANK
        NAC_MAX_FRACTION_BITS
    ctypedef struct nac_tables:
        int isa
        size_t levels, codewords, rank, contexts
        const int8_t *embed
        const int8_t *out
        const int32_t *bias
        const int32_t *fraction_bits
        const int32_t *back
        const int32_t *source
    size_t nac_tables_scratch(const nac_tables *model)
    void nac_tables_code(const nac_tables *model, nac_chunk *c, uint32_t *scratch)

cdef extern from "entropy/prior.h" nogil:
    ctypedef struct nac_prior:
        const nac_kernels *k
        const nac_tables *tables
        size_t levels, codewords, dim, state, hidden
        float input_scale
        nac_dense gru_input, gru_state, from_state
        const nac_dense *from_sum
        const nac_dense *predict
        const nac_dense *out
        const float *codebooks
        const float *unit
    size_t nac_prior_scratch(const nac_prior *model, size_t channels)
    void nac_prior_code(const nac_prior *model, nac_chunk *c, float *scratch)

MAX_BIAS = 1 << 24


cdef class Model:
    """A model of codes; `encode` and `decode` are safe to call from several threads."""

    cdef readonly size_t levels, codewords

    cdef void code(self, nac_chunk *c, void *scratch) noexcept nogil:
        pass

    cdef object scratch(self, size_t channels):
        raise NotImplementedError

    def encode(self, codes, costs=None):
        """bytes of codes uint16 [channels, levels, frames]. costs: None, or uint32
        [channels * levels * frames, 3] for each code's weight, the sum of weights, its frequency.
        """
        cdef uint16_t[:, :, ::1] view = np.array(codes, np.uint16, order="C")
        cdef size_t symbols = view.shape[0] * view.shape[1] * view.shape[2], size
        if symbols == 0 or <size_t>view.shape[1] > self.levels:
            raise ValueError("the codes' shape does not fit the model")
        if int(np.max(view)) >= self.codewords:
            raise ValueError("a code is beyond the codebook")
        cdef uint32_t[:, ::1] seen
        cdef uint8_t[::1] payload = np.empty(NAC_RANGE_BYTES(symbols), np.uint8)
        cdef float[::1] scratch = self.scratch(view.shape[0])
        cdef nac_range_encoder encoder
        cdef nac_chunk c
        c.encoder, c.decoder, c.codes, c.costs = &encoder, NULL, &view[0, 0, 0], NULL
        c.channels, c.levels, c.frames = view.shape[0], view.shape[1], view.shape[2]
        if costs is not None:
            seen = costs
            if <size_t>seen.shape[0] != symbols or seen.shape[1] != 3:
                raise ValueError("the costs' shape does not fit the codes")
            c.costs = &seen[0, 0]
        with nogil:
            nac_range_encoder_init(&encoder, &payload[0])
            self.code(&c, &scratch[0])
            size = nac_range_encoder_finish(&encoder)
        return bytes(payload[:size])

    def decode(self, const uint8_t[::1] payload, size_t channels, size_t levels, size_t frames):
        """The codes of a payload; None if `encode` would not have written it."""
        if not (channels and frames and 1 <= levels <= self.levels):
            raise ValueError("the shape does not fit the model")
        codes = np.empty((channels, levels, frames), np.uint16)
        cdef uint16_t[:, :, ::1] view = codes
        cdef float[::1] scratch = self.scratch(channels)
        cdef nac_range_decoder decoder
        cdef nac_chunk c
        cdef int exact
        cdef const uint8_t *first = &payload[0] if payload.shape[0] else NULL
        c.encoder, c.decoder, c.codes, c.costs = NULL, &decoder, &view[0, 0, 0], NULL
        c.channels, c.levels, c.frames = channels, levels, frames
        with nogil:
            nac_range_decoder_init(&decoder, first, payload.shape[0])
            self.code(&c, &scratch[0])
            exact = nac_range_decoder_exact(&decoder)
        return codes if exact else None


cdef class Tables(Model):
    """embed int8 [levels, contexts, codewords, rank], out int8 [levels, rank, codewords], bias
    int32 [levels, codewords], fraction_bits int32 [levels]; back int32 [contexts] and source int32
    [levels, contexts] say which code each context is."""

    cdef nac_tables model
    cdef tuple keep

    def __init__(self, embed, out, bias, fraction_bits, back, source, isa=None):
        cdef const int8_t[:, :, :, ::1] e = embed
        cdef const int8_t[:, :, ::1] o = out
        cdef const int32_t[:, ::1] b = bias
        cdef const int32_t[::1] f = fraction_bits
        cdef const int32_t[::1] past = back
        cdef const int32_t[:, ::1] s = source
        cdef size_t levels = e.shape[0], contexts = e.shape[1], n = e.shape[2], rank = e.shape[3]
        if not (levels and 1 <= contexts <= NAC_MAX_CONTEXTS and 2 <= n <= NAC_MAX_CODEWORDS
                and 1 <= rank <= NAC_MAX_RANK):
            raise ValueError("tables beyond the limits")
        if (np.shape(out) != (levels, rank, n) or np.shape(bias) != (levels, n)
                or np.shape(fraction_bits) != (levels,) or np.shape(back) != (contexts,)
                or np.shape(source) != (levels, contexts)):
            raise ValueError("the tables do not fit each other")
        if (np.min(fraction_bits) < 0 or np.max(fraction_bits) > NAC_MAX_FRACTION_BITS
                or np.min(bias) < -MAX_BIAS or np.max(bias) > MAX_BIAS):
            raise ValueError("tables beyond the limits")
        # a context is coded before the code that it predicts, for any number of levels
        for q in range(levels):
            for i in range(contexts):
                if past[i] not in (0, 1) or s[q, i] < -1 or s[q, i] >= <int>q + past[i]:
                    raise ValueError("a context is not known in time")
        self.levels, self.codewords = levels, n
        self.keep = (e, o, b, f, past, s)
        self.model.isa = _kernels(isa).isa
        self.model.levels, self.model.codewords = levels, n
        self.model.rank, self.model.contexts = rank, contexts
        self.model.embed, self.model.out = &e[0, 0, 0, 0], &o[0, 0, 0]
        self.model.bias, self.model.fraction_bits = &b[0, 0], &f[0]
        self.model.back, self.model.source = &past[0], &s[0, 0]

    cdef void code(self, nac_chunk *c, void *scratch) noexcept nogil:
        nac_tables_code(&self.model, c, <uint32_t *>scratch)

    cdef object scratch(self, size_t channels):
        return _aligned(nac_tables_scratch(&self.model))


cdef class Prior(Model):
    """Tables and a network; parts: the fields of codec.coders.data.Prior by name; codebooks
    float32 [levels, codewords, dim]; unit float32 [levels]."""

    cdef nac_prior model
    cdef nac_dense *layers
    cdef Tables tables
    cdef _Buffers buffers

    def __cinit__(self):
        self.layers = NULL

    def __dealloc__(self):
        free(self.layers)

    def __init__(self, Tables tables, parts, codebooks, unit, isa=None):
        cdef size_t levels = tables.levels, n = tables.codewords, q
        cdef _Buffers b
        if np.shape(codebooks)[:2] != (levels, n) or np.ndim(codebooks) != 3:
            raise ValueError("the codebooks do not fit the tables")
        cdef size_t dim = np.shape(codebooks)[2], inputs = dim + 1
        cdef size_t state = np.shape(parts["gru_state"])[1], hidden = np.shape(parts["bias"])[1]
        if not dim or state % NAC_PANEL or hidden % NAC_PANEL or not state or not hidden:
            raise ValueError(f"states and hidden units come in multiples of {NAC_PANEL}")
        self.buffers, self.tables = _Buffers(), tables
        self.levels, self.codewords = levels, n
        self.layers = <nac_dense *>calloc(3 * levels, sizeof(nac_dense))
        if self.layers == NULL:
            raise MemoryError
        b = self.buffers
        b.load_dense(&self.model.gru_input, parts["gru_input"], parts["gru_input_bias"], 3 * state,
                     inputs)
        b.load_dense(&self.model.gru_state, parts["gru_state"], parts["gru_state_bias"], 3 * state,
                     state)
        b.load_dense(&self.model.from_state, np.reshape(parts["from_state"], (-1, state)),
                     np.reshape(parts["bias"], -1), levels * hidden, state)
        for q in range(levels):
            b.load_dense(&self.layers[q], parts["from_sum"][q], None, hidden, inputs)
            b.load_dense(&self.layers[levels + q], parts["predict"][q], parts["centre"][q], inputs,
                         hidden)
            out = np.concatenate([codebooks[q], parts["norms"][q][:, None]], axis=1)
            b.load_dense(&self.layers[2 * levels + q], out, np.zeros(n, np.float32), n, inputs)
        self.model.k, self.model.tables = _kernels(isa), &tables.model
        self.model.levels, self.model.codewords, self.model.dim = levels, n, dim
        self.model.state, self.model.hidden = state, hidden
        self.model.input_scale = parts["input_scale"][0]
        self.model.from_sum = self.layers
        self.model.predict, self.model.out = self.layers + levels, self.layers + 2 * levels
        self.model.codebooks = b.floats(codebooks, levels * n * dim)
        self.model.unit = b.floats(unit, levels)

    cdef void code(self, nac_chunk *c, void *scratch) noexcept nogil:
        nac_prior_code(&self.model, c, <float *>scratch)

    cdef object scratch(self, size_t channels):
        return _aligned(nac_prior_scratch(&self.model, channels))


def range_encode(const uint32_t[:, ::1] weights, const uint16_t[::1] symbols):
    """bytes of symbols [n], the i-th with the weights [i]. For tests."""
    cdef size_t i, size, n = symbols.shape[0]
    cdef uint32_t[:, ::1] sums = _sums(weights, n)
    if n and int(np.max(symbols)) >= weights.shape[1]:
        raise ValueError("a symbol without a weight")
    cdef uint8_t[::1] payload = np.empty(NAC_RANGE_BYTES(n), np.uint8)
    cdef nac_range_encoder encoder
    nac_range_encoder_init(&encoder, &payload[0])
    for i in range(n):
        nac_range_encode_symbol(&encoder, &sums[i, 0], <uint32_t>weights.shape[1], symbols[i])
    size = nac_range_encoder_finish(&encoder)
    return bytes(payload[:size])


def range_decode(const uint32_t[:, ::1] weights, const uint8_t[::1] payload):
    """Symbols uint16 [n] that the payload makes with weights [n, K], and whether it is exact."""
    cdef size_t i, n = weights.shape[0]
    cdef uint32_t[:, ::1] sums = _sums(weights, n)
    symbols = np.zeros(n, np.uint16)
    cdef uint16_t[::1] view = symbols
    cdef nac_range_decoder decoder
    nac_range_decoder_init(&decoder, &payload[0] if payload.shape[0] else NULL, payload.shape[0])
    for i in range(n):
        view[i] = <uint16_t>nac_range_decode_symbol(&decoder, &sums[i, 0], <uint32_t>weights.shape[1])
    return symbols, bool(nac_range_decoder_exact(&decoder))


cdef _sums(weights, size_t n):
    if np.shape(weights)[0] != n or not 1 <= np.shape(weights)[1] <= NAC_MAX_CODEWORDS:
        raise ValueError("weights are [symbols, 1 to 4096]")
    sums = np.zeros((n, np.shape(weights)[1] + 1), np.uint64)
    np.cumsum(weights, axis=1, dtype=np.uint64, out=sums[:, 1:])
    if n and not 0 < sums[:, -1].min() <= sums[:, -1].max() < 1 << 32:
        raise ValueError("weights add up to 1 to 2^32 - 1")
    return sums.astype(np.uint32)
