# cython: boundscheck=False, wraparound=False, cdivision=True
"""libcodec for Python: halves of a model that its C packs, and the steps of its streams.

csrc/library checks what it is given; the GIL is released. Internal: `codec.engine.native` and
`codec.engine.stream` are the public faces.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

import numpy as np

include "../kernels/_kernel_tables.pxi"

cdef extern from "engine/encoder.h" nogil:
    ctypedef struct nac_encoder:
        size_t latent
        int stereo
    size_t nac_encoder_state_size(const nac_encoder *net)
    size_t nac_encoder_scratch(const nac_encoder *net)
    size_t nac_encoder_lookahead(const nac_encoder *net)
    size_t nac_encoder_context(const nac_encoder *net)
    void nac_encoder_reset(const nac_encoder *net, void *state)
    int nac_encoder_valid(const nac_encoder *net, const void *state)
    int nac_encoder_done(const void *state)

cdef extern from "engine/decoder.h" nogil:
    ctypedef struct nac_decoder:
        size_t latent, levels
        int stereo
    size_t nac_decoder_state_size(const nac_decoder *net)
    size_t nac_decoder_scratch(const nac_decoder *net)
    size_t nac_decoder_lookahead(const nac_decoder *net)
    size_t nac_decoder_context(const nac_decoder *net)
    void nac_decoder_reset(const nac_decoder *net, void *state)
    int nac_decoder_valid(const nac_decoder *net, const void *state)
    int nac_decoder_done(const void *state)

cdef extern from "engine/postfilter.h" nogil:
    enum:
        NAC_POSTFILTER_RATE
        NAC_POSTFILTER_HOP
        NAC_POSTFILTER_BEFORE
        NAC_POSTFILTER_AFTER
    size_t nac_postfilter_scratch(size_t n)
    void nac_postfilter(const float *audio, size_t n, size_t first, size_t last, float *out,
                        float *scratch)

cdef extern from "engine/postfilter_stream.h" nogil:
    size_t nac_postfilter_stream_state_size()
    size_t nac_postfilter_stream_scratch()
    void nac_postfilter_stream_reset(void *state)
    int nac_postfilter_stream_valid(const void *states, size_t channels)
    size_t nac_postfilter_stream_ready(const void *state, size_t n)
    size_t nac_postfilter_stream_left(const void *state, size_t n)
    float *nac_postfilter_stream_push(void *state, const float *samples, size_t n, float *out,
                                      float *scratch)
    void nac_postfilter_stream_flush(void *state, float *out, float *scratch)

cdef extern from "engine/periods.h" nogil:
    enum:
        NAC_PERIOD_HOP
    ctypedef struct nac_period:
        int lag
        float share
    size_t nac_periods_scratch(size_t n)
    void nac_periods(const float *audio, size_t n, nac_period *periods, float *past, float *future,
                     float *scratch)

cdef extern from "engine/enhancer.h" nogil:
    ctypedef struct nac_enhancement:
        size_t hop
    ctypedef struct nac_enhancer:
        const nac_kernels *k
        nac_enhancement plan
    size_t nac_enhancer_before(const nac_enhancer *net)
    size_t nac_enhancer_after(const nac_enhancer *net)
    size_t nac_enhancer_scratch(const nac_enhancer *net, size_t n)
    void nac_enhancer_run(const nac_enhancer *net, const float *audio, size_t n, size_t first,
                          size_t last, float *out, float *scratch)

cdef extern from "library/stream.h" nogil:
    ctypedef struct nac_encoded:
        size_t levels
        size_t beam
        uint16_t *codes
        size_t stride
        float *latents
        size_t room
    size_t nac_stream_encodes(const nac_encoder *net, const void *state, size_t n)
    size_t nac_stream_encodes_last(const nac_encoder *net, const void *state)
    int nac_stream_encode(const nac_encoder *net, void *state, float *scratch, const float *samples,
                          size_t n, const nac_encoded *to, size_t *frames)
    int nac_stream_encode_last(const nac_encoder *net, void *state, float *scratch,
                               const nac_encoded *to, size_t *frames)
    ctypedef struct nac_coded:
        size_t frames, levels
        const uint16_t *codes
        size_t stride
        const float *latents
    size_t nac_stream_decodes(const nac_decoder *net, const void *state, size_t frames)
    size_t nac_stream_decodes_last(const nac_decoder *net, const void *state)
    int nac_stream_decode(const nac_decoder *net, void *state, float *scratch,
                          const nac_coded *source, float *samples, size_t room, size_t *n)
    int nac_stream_decode_last(const nac_decoder *net, void *state, float *scratch, float *samples,
                               size_t room, size_t *n)

cdef extern from "library/model.h" nogil:
    enum:
        CODEC_OK
        CODEC_ERROR_MEMORY
        NAC_BLOCK
        NAC_ENCODER
        NAC_DECODER
    ctypedef struct nac_reason:
        char *text
        size_t size
    ctypedef struct nac_config:
        size_t hop_length
    ctypedef struct codec_model:
        nac_config config
        const nac_kernels *kernels
        nac_encoder encoder
        nac_decoder decoder
    ctypedef struct nac_model_source:
        const void *data
        size_t size
        const char *config
        size_t config_size
        const float *books
        size_t n_books
        const char *instruction_set
        size_t block
        unsigned halves
    int nac_model_make(const nac_model_source *source, codec_model **model, nac_reason reason)
    void codec_model_free(codec_model *model)
    const char *codec_status_text(int status)

cdef extern from "library/refiner.h" nogil:
    enum:
        NAC_RVQ_BEAM_MOST
    ctypedef struct nac_refiner:
        pass
    int nac_refiner_of(const codec_model *model, const nac_refiner **refiner, nac_reason reason)
    size_t nac_refine_scratch(const nac_refiner *r, size_t tokens)
    ctypedef struct nac_refinement:
        pass
    nac_refinement nac_refine_begin(const nac_refiner *r, const float *audio, float *latents,
                                    size_t tokens, size_t levels, size_t beam, size_t steps,
                                    uint16_t *codes, float *scratch)
    int nac_refine_step(nac_refinement *of)
    double nac_difference(const nac_refiner *r, const float *audio, const float *latents,
                          size_t tokens, const uint16_t *codes, size_t levels, float *gradient,
                          float *scratch)

cdef extern from "library/refined_stream.h" nogil:
    enum:
        NAC_REFINE_SPAN
    ctypedef struct nac_refined:
        size_t hop, ahead
    nac_refined nac_refined_of(const codec_model *model, const nac_refiner *refiner)
    size_t nac_refined_state_size(const nac_refined *r)
    size_t nac_refined_scratch(const nac_refined *r)
    void nac_refined_reset(const nac_refined *r, void *state)
    int nac_refined_valid(const nac_refined *r, const void *state)
    int nac_refined_done(const void *state)
    size_t nac_refined_encodes(const nac_refined *r, const void *state, size_t n)
    size_t nac_refined_encodes_last(const nac_refined *r, const void *state)
    int nac_refined_check(const nac_refined *r, const void *state, const float *samples, size_t n,
                          const nac_encoded *to, size_t frames)
    size_t nac_refined_take(const nac_refined *r, void *state, const float *samples, size_t n)
    int nac_refined_full(const nac_refined *r, const void *state)
    nac_refinement nac_refined_begin(const nac_refined *r, void *state, float *scratch,
                                     size_t steps, const nac_encoded *to)
    size_t nac_refined_end(const nac_refined *r, void *state, float *scratch,
                           const nac_encoded *to, size_t at)

cdef extern from "engine/enhancer_stream.h" nogil:
    enum:
        NAC_ENHANCER_SPAN
    size_t nac_enhancer_stream_state_size(const nac_enhancer *net)
    void nac_enhancer_stream_reset(const nac_enhancer *net, void *state)
    int nac_enhancer_stream_valid(const nac_enhancer *net, const void *states, size_t channels)
    size_t nac_enhancer_stream_ready(const nac_enhancer *net, const void *state, size_t n)
    size_t nac_enhancer_stream_left(const nac_enhancer *net, const void *state, size_t n)
    size_t nac_enhancer_stream_scratch(const nac_enhancer *net, size_t n)
    float *nac_enhancer_stream_push(const nac_enhancer *net, void *state, const float *samples,
                                    size_t n, float *out, float *scratch)
    void nac_enhancer_stream_flush(const nac_enhancer *net, void *state, float *out,
                                   float *scratch)

cdef extern from "library/enhancer_model.h" nogil:
    ctypedef struct codec_enhancer:
        nac_enhancer net
    int nac_enhancer_read(const void *data, size_t size, const uint8_t *id,
                          const char *instruction_set, codec_enhancer **enhancer,
                          nac_reason reason)
    void codec_enhancer_free(codec_enhancer *enhancer)

cdef extern from "library/cuda_arrays.h" nogil:
    ctypedef struct nac_cuda_encoder_sizes:
        pass
    ctypedef struct nac_cuda_decoder_sizes:
        pass
    void nac_cuda_encoder_fill(const codec_model *model, nac_cuda_encoder_sizes *sizes)
    void nac_cuda_decoder_fill(const codec_model *model, nac_cuda_decoder_sizes *sizes)
    size_t nac_cuda_encoder_ints(const codec_model *model, int32_t *ints)
    size_t nac_cuda_decoder_ints(const codec_model *model, int32_t *ints)
    size_t nac_cuda_encoder_floats(const codec_model *model, float *floats)
    size_t nac_cuda_decoder_floats(const codec_model *model, float *floats)

cdef extern from "kernels/kernels.h" nogil:
    void nac_elementary(int which, const float *x, size_t n, float *y)


BLOCK = NAC_BLOCK


cdef int _check(int status) except -1:
    if status == CODEC_ERROR_MEMORY:
        raise MemoryError
    if status != CODEC_OK:
        raise ValueError(codec_status_text(status).decode())
    return 0


cdef class _Network:
    """One half of a model, packed; immutable, so threads may share it.

    A state is an int64 array of `state_size` elements, used by one call at a time.
    """

    cdef codec_model *model
    cdef const float[:, :, ::1] books  # which the model points to
    cdef size_t state_bytes, scratch_floats
    cdef list spare  # scratch memory that no call uses at the moment

    cdef int load(self, unsigned half, const unsigned char[::1] data, bytes config,
                  const float[:, :, ::1] books, isa, size_t block) except -1:
        cdef char text[256]
        cdef nac_reason reason
        cdef nac_model_source source
        cdef bytes name = b"" if isa is None else isa.encode()
        cdef int status
        text[0] = 0
        reason.text, reason.size = text, sizeof(text)
        source.size, source.data = data.shape[0], &data[0] if data.shape[0] else NULL
        source.config, source.config_size = config, len(config)
        source.n_books = books.shape[0] * books.shape[1] * books.shape[2]
        source.books = &books[0, 0, 0] if source.n_books else NULL
        source.instruction_set = NULL
        if isa is not None:
            source.instruction_set = name
        source.block, source.halves = block, half
        with nogil:
            status = nac_model_make(&source, &self.model, reason)
        if status != CODEC_OK and status != CODEC_ERROR_MEMORY:
            raise ValueError(text.decode())
        _check(status)
        self.books, self.spare = books, []
        return 0

    def __dealloc__(self):
        codec_model_free(self.model)

    @property
    def isa(self):
        return self.model.kernels.name.decode()

    @property
    def state_size(self):
        return self.state_bytes // 8

    cdef int64_t *memory(self, int64_t[::1] state) except NULL:
        if <size_t>state.shape[0] * 8 != self.state_bytes:
            raise ValueError("not a state of this half of the model")
        return &state[0]

    cdef borrow(self):
        # An array: a memoryview would get one more wrapper each time it is lent.
        try:
            return self.spare.pop()
        except IndexError:
            return _aligned(self.scratch_floats)


cdef _interleaved(audio, int stereo):
    """Audio [n], or [2, n], as C reads it: [n], or [n, 2] flattened."""
    if not stereo:
        return audio
    if np.ndim(audio) != 2 or len(audio) != 2:
        raise ValueError("the audio is not [2, samples]")
    return np.ascontiguousarray(audio.T).reshape(-1)


cdef _separated(audio, int stereo):
    """The inverse of `_interleaved`."""
    return np.ascontiguousarray(audio.reshape(-1, 2).T) if stereo else audio


cdef class Encoder(_Network):
    """The half of a model that makes codes."""

    def __cinit__(self, data, config, books, isa=None, size_t block=NAC_BLOCK):
        """data: a safetensors file; config: ModelConfig as JSON; books: float32 [Q, K, dim], its
        codewords. Raises ValueError with the reason."""
        self.load(NAC_ENCODER, data, config, books, isa, block)
        self.state_bytes = nac_encoder_state_size(&self.model.encoder)
        self.scratch_floats = nac_encoder_scratch(&self.model.encoder)

    @property
    def lookahead(self):
        """Samples past the end of a token frame that its codes depend on."""
        return nac_encoder_lookahead(&self.model.encoder)

    @property
    def context(self):
        """Token frames before one that its codes depend on, rounded up."""
        return nac_encoder_context(&self.model.encoder)

    def reset(self, int64_t[::1] state):
        nac_encoder_reset(&self.model.encoder, self.memory(state))

    def valid(self, int64_t[::1] state):
        """Whether `state`, from outside, is safe to run on."""
        return bool(nac_encoder_valid(&self.model.encoder, self.memory(state)))

    def ended(self, int64_t[::1] state):
        return bool(nac_encoder_done(self.memory(state)))

    cdef run(self, int64_t[::1] state, audio, size_t levels, size_t beam):
        """Encode `audio`, or end the stream if it is None: codes [levels, frames], or latents
        [frames, latent_dim] if `levels` is 0."""
        cdef const nac_encoder *net = &self.model.encoder
        cdef int64_t *place = self.memory(state)
        cdef const float[::1] samples
        cdef const float *first = NULL
        cdef uint16_t[:, ::1] codes
        cdef float[:, ::1] latents
        cdef size_t n = 0, frames = 0
        cdef nac_encoded to
        cdef int status, last = audio is None
        if last:
            to.room = nac_stream_encodes_last(net, place)
        else:
            samples = _interleaved(audio, net.stereo)
            n = samples.shape[0] // (1 + net.stereo)
            first = &samples[0] if n else NULL
            to.room = nac_stream_encodes(net, place, n)
        to.levels, to.beam, to.stride, to.codes, to.latents = levels, beam, to.room, NULL, NULL
        if levels:
            codes = out = np.empty((levels, to.room), np.uint16)
            to.codes = &codes[0, 0] if to.room else NULL
        else:
            latents = out = np.empty((to.room, net.latent), np.float32)
            to.latents = &latents[0, 0] if to.room else NULL
        memory = self.borrow()
        cdef float[::1] scratch = memory
        with nogil:
            if last:
                status = nac_stream_encode_last(net, place, &scratch[0], &to, &frames)
            else:
                status = nac_stream_encode(net, place, &scratch[0], first, n, &to, &frames)
        self.spare.append(memory)
        _check(status)
        return out

    def push(self, int64_t[::1] state, audio not None, size_t levels, size_t beam=1):
        """Codes uint16 [levels, frames that `audio` [n] or, with stereo, [2, n] completes], of a
        search with 1 to 64 paths."""
        return self.run(state, audio, _at_least_one(levels), beam)

    def flush(self, int64_t[::1] state, size_t levels, size_t beam=1):
        """Codes of the frames that are left; the stream ends."""
        return self.run(state, None, _at_least_one(levels), beam)

    def push_latents(self, int64_t[::1] state, audio not None):
        """As `push`, but latents float32 [frames, latent_dim]: what the quantiser gets."""
        return self.run(state, audio, 0, 1)

    def flush_latents(self, int64_t[::1] state):
        """As `flush`, but latents float32 [frames, latent_dim]."""
        return self.run(state, None, 0, 1)

    def latents(self, audio):
        """Latents float32 [frames, latent_dim] of all of `audio`, before quantisation."""
        state = np.empty(self.state_size, np.int64)
        self.reset(state)
        return np.concatenate([self.push_latents(state, audio), self.flush_latents(state)])

    def cuda_arrays(self):
        """The arguments of nac_cuda_encoder_open: sizes as bytes, ints and floats."""
        cdef nac_cuda_encoder_sizes sizes
        nac_cuda_encoder_fill(self.model, &sizes)
        cdef int32_t[::1] ints = np.empty(nac_cuda_encoder_ints(self.model, NULL), np.int32)
        cdef float[::1] floats = np.empty(nac_cuda_encoder_floats(self.model, NULL), np.float32)
        nac_cuda_encoder_ints(self.model, &ints[0])
        nac_cuda_encoder_floats(self.model, &floats[0])
        return (<const char *>&sizes)[:sizeof(sizes)], np.asarray(ints), np.asarray(floats)


cdef size_t _at_least_one(size_t levels) except 0:
    if levels == 0:
        raise ValueError("the number of codebooks is out of range")
    return levels


cdef class Decoder(_Network):
    """The half of a model that makes audio."""

    def __cinit__(self, data, config, books, isa=None, size_t block=NAC_BLOCK):
        """As for `Encoder`."""
        self.load(NAC_DECODER, data, config, books, isa, block)
        self.state_bytes = nac_decoder_state_size(&self.model.decoder)
        self.scratch_floats = nac_decoder_scratch(&self.model.decoder)

    @property
    def lookahead(self):
        """Samples before the end of the last token frame that still wait for what follows."""
        return nac_decoder_lookahead(&self.model.decoder)

    @property
    def context(self):
        """Token frames before one that its samples depend on, rounded up."""
        return nac_decoder_context(&self.model.decoder)

    def reset(self, int64_t[::1] state):
        nac_decoder_reset(&self.model.decoder, self.memory(state))

    def valid(self, int64_t[::1] state):
        """Whether `state`, from outside, is safe to run on."""
        return bool(nac_decoder_valid(&self.model.decoder, self.memory(state)))

    def ended(self, int64_t[::1] state):
        return bool(nac_decoder_done(self.memory(state)))

    cdef run(self, int64_t[::1] state, const nac_coded *source):
        """Decode `source`, or end the stream if it is NULL: audio [samples], with stereo
        [2, samples]."""
        cdef const nac_decoder *net = &self.model.decoder
        cdef int64_t *place = self.memory(state)
        cdef size_t n = 0, room
        cdef int status
        room = (nac_stream_decodes_last(net, place) if source == NULL
                else nac_stream_decodes(net, place, source.frames))
        audio = np.empty(room * (1 + net.stereo), np.float32)
        cdef float[::1] view = audio
        cdef float *first = &view[0] if room else NULL
        memory = self.borrow()
        cdef float[::1] scratch = memory
        with nogil:
            if source == NULL:
                status = nac_stream_decode_last(net, place, &scratch[0], first, room, &n)
            else:
                status = nac_stream_decode(net, place, &scratch[0], source, first, room, &n)
        self.spare.append(memory)
        _check(status)
        return _separated(audio, net.stereo)

    def push(self, int64_t[::1] state, const uint16_t[:, ::1] codes):
        """Audio float32 [samples that are final now], with stereo [2, these], of codes [levels, n]."""
        cdef nac_coded source
        source.levels, source.frames = _at_least_one(codes.shape[0]), codes.shape[1]
        source.codes, source.stride = &codes[0, 0] if source.frames else NULL, source.frames
        source.latents = NULL
        return self.run(state, &source)

    def push_latents(self, int64_t[::1] state, const float[:, ::1] latents):
        """As `push`, of latents [n, latent_dim] in place of codes."""
        cdef nac_coded source
        if <size_t>latents.shape[1] != self.model.decoder.latent:
            raise ValueError("the latents have another dimension")
        source.levels, source.frames, source.stride = 0, latents.shape[0], 0
        source.codes, source.latents = NULL, &latents[0, 0] if source.frames else NULL
        return self.run(state, &source)

    def flush(self, int64_t[::1] state):
        """The audio that is left; the stream ends."""
        return self.run(state, NULL)

    def cuda_arrays(self):
        """The arguments of nac_cuda_decoder_open: sizes as bytes, ints and floats."""
        cdef nac_cuda_decoder_sizes sizes
        nac_cuda_decoder_fill(self.model, &sizes)
        cdef int32_t[::1] ints = np.empty(nac_cuda_decoder_ints(self.model, NULL), np.int32)
        cdef float[::1] floats = np.empty(nac_cuda_decoder_floats(self.model, NULL), np.float32)
        nac_cuda_decoder_ints(self.model, &ints[0])
        nac_cuda_decoder_floats(self.model, &floats[0])
        return (<const char *>&sizes)[:sizeof(sizes)], np.asarray(ints), np.asarray(floats)


POSTFILTER_RATE = NAC_POSTFILTER_RATE
POSTFILTER_HOP = NAC_POSTFILTER_HOP
POSTFILTER_REACH = (NAC_POSTFILTER_BEFORE, NAC_POSTFILTER_AFTER)


def postfilter(const float[::1] audio, size_t first, size_t last):
    """The hops [first, last) of `audio` [samples], the last of which may be incomplete, filtered as
    csrc/engine/postfilter.h says."""
    cdef size_t n = audio.shape[0]
    if first >= last or n <= (last - 1) * NAC_POSTFILTER_HOP:
        raise ValueError("these hops are not in the audio")
    out = np.empty(min(n, last * NAC_POSTFILTER_HOP) - first * NAC_POSTFILTER_HOP, np.float32)
    cdef float[::1] y = out
    cdef float[::1] scratch = np.empty(nac_postfilter_scratch(n), np.float32)
    with nogil:
        nac_postfilter(&audio[0], n, first, last, &y[0], &scratch[0])
    return out


cdef class PostfilterStream:
    """The postfilter of streams, whose states are not kept here."""

    @property
    def state_size(self):
        """Values of the state."""
        return nac_postfilter_stream_state_size() // 8

    cdef int64_t *_place(self, int64_t[::1] state) except NULL:
        if <size_t>state.shape[0] != self.state_size:
            raise ValueError("not a state of the postfilter")
        return &state[0]

    def reset(self, int64_t[::1] state):
        """Make `state` that of a stream in which nothing was pushed."""
        nac_postfilter_stream_reset(self._place(state))

    def valid(self, int64_t[:, ::1] states):
        """Whether `states` of channels, from outside, are safe to go on from."""
        return bool(nac_postfilter_stream_valid(self._place(states[0]), states.shape[0]))

    def push(self, int64_t[::1] state, const float[::1] audio, bint last=False):
        """The samples that are final after `audio` [samples], or if it is the last, all that are
        left: joined, what `postfilter` makes of the whole."""
        cdef int64_t *place = self._place(state)
        cdef size_t n = audio.shape[0]
        out = np.empty(nac_postfilter_stream_left(place, n) if last
                       else nac_postfilter_stream_ready(place, n), np.float32)
        cdef float nowhere = 0
        cdef float[::1] y = out, scratch = np.empty(nac_postfilter_stream_scratch(), np.float32)
        cdef const float *x = &audio[0] if n else &nowhere
        cdef float *to = &y[0] if y.shape[0] else &nowhere
        with nogil:
            to = nac_postfilter_stream_push(place, x, n, to, &scratch[0])
            if last:
                nac_postfilter_stream_flush(place, to, &scratch[0])
        return out


def periods(const float[::1] audio):
    """Of audio [samples], a multiple of 120: that of a period before each sample and of a period
    after it, and every 120 samples, the end included, lag and share (csrc/engine/periods.h)."""
    cdef size_t n = audio.shape[0]
    if n == 0 or n % NAC_PERIOD_HOP:
        raise ValueError("periods are found in a whole number of hops")
    cdef size_t moments = n // NAC_PERIOD_HOP + 1
    past, future = np.empty(n, np.float32), np.empty(n, np.float32)
    found = np.empty(moments, np.dtype([("lag", np.intc), ("share", np.float32)]))
    cdef float[::1] before = past, after = future
    cdef nac_period[::1] to = found
    cdef float[::1] scratch = np.empty(nac_periods_scratch(n), np.float32)
    with nogil:
        nac_periods(&audio[0], n, &to[0], &before[0], &after[0], &scratch[0])
    return past, future, found["lag"].copy(), found["share"].copy()


cdef class Enhancer:
    """An enhancer, packed; immutable, so threads may share it.

    data: its safetensors file. Raises ValueError if it is damaged, or the instruction set missing.
    """

    cdef codec_enhancer *model

    def __cinit__(self, const unsigned char[::1] data, isa=None):
        cdef char text[256]
        cdef nac_reason reason
        cdef bytes name = b"" if isa is None else isa.encode()
        cdef const char *wanted = NULL
        text[0] = 0
        reason.text, reason.size = text, sizeof(text)
        if isa is not None:
            wanted = name
        cdef const void *first = &data[0] if data.shape[0] else NULL
        cdef size_t size = data.shape[0]
        cdef int status
        with nogil:
            status = nac_enhancer_read(first, size, NULL, wanted, &self.model, reason)
        if status != CODEC_OK and status != CODEC_ERROR_MEMORY:
            raise ValueError(text.decode())
        _check(status)

    def __dealloc__(self):
        codec_enhancer_free(self.model)

    @property
    def hop(self):
        """Samples of a stretch of audio that is enhanced by itself."""
        return self.model.net.plan.hop

    @property
    def span(self):
        """Such stretches that are best enhanced together."""
        return NAC_ENHANCER_SPAN

    @property
    def reach(self):
        """Such stretches that are seen before one, and after it."""
        return nac_enhancer_before(&self.model.net), nac_enhancer_after(&self.model.net)

    def __call__(self, const float[::1] audio, size_t first, size_t last):
        """The hops [first, last) of `audio` [samples], the last of which may be incomplete,
        enhanced as csrc/engine/enhancer.h says."""
        cdef size_t n = audio.shape[0], hop = self.hop
        if first >= last or n <= (last - 1) * hop:
            raise ValueError("these hops are not in the audio")
        out = np.empty(min(n, last * hop) - first * hop, np.float32)
        cdef float[::1] y = out
        cdef float[::1] scratch = _aligned(nac_enhancer_scratch(&self.model.net, n))
        with nogil:
            nac_enhancer_run(&self.model.net, &audio[0], n, first, last, &y[0], &scratch[0])
        return out

    @property
    def state_size(self):
        """Values of the state of a stream."""
        return nac_enhancer_stream_state_size(&self.model.net) // 8

    cdef int64_t *_place(self, int64_t[::1] state) except NULL:
        if <size_t>state.shape[0] != self.state_size:
            raise ValueError("not a state of this enhancer")
        return &state[0]

    def reset(self, int64_t[::1] state):
        """Make `state` that of a stream in which nothing was pushed."""
        nac_enhancer_stream_reset(&self.model.net, self._place(state))

    def valid(self, int64_t[:, ::1] states):
        """Whether `states` of channels, from outside, are safe to go on from."""
        cdef int64_t *first = self._place(states[0])
        return bool(nac_enhancer_stream_valid(&self.model.net, first, states.shape[0]))

    def push(self, int64_t[::1] state, const float[::1] audio, bint last=False):
        """The samples that are final after `audio` [samples], or if it is the last, all that are
        left: joined, what is made of the whole."""
        cdef const nac_enhancer *net = &self.model.net
        cdef int64_t *place = self._place(state)
        cdef size_t n = audio.shape[0]
        out = np.empty(nac_enhancer_stream_left(net, place, n) if last
                       else nac_enhancer_stream_ready(net, place, n), np.float32)
        cdef float nowhere = 0
        cdef float[::1] y = out, scratch = _aligned(nac_enhancer_stream_scratch(net, n))
        cdef const float *x = &audio[0] if n else &nowhere
        cdef float *to = &y[0] if y.shape[0] else &nowhere
        with nogil:
            to = nac_enhancer_stream_push(net, place, x, n, to, &scratch[0])
            if last:
                nac_enhancer_stream_flush(net, place, to, &scratch[0])
        return out


cdef class Refiner(_Network):
    """Both halves of a model, to improve the codes of the one by what the other makes of them.

    As an `EncoderNetwork` it gives such codes of a stream, a window at a time."""

    cdef const nac_refiner *refiner
    cdef nac_refined stream

    def __cinit__(self, data, config, books, isa=None, size_t block=NAC_BLOCK):
        """As for `Encoder`; NotImplementedError if codes of this model cannot be refined."""
        cdef char text[256]
        cdef nac_reason reason
        self.load(NAC_ENCODER | NAC_DECODER, data, config, books, isa, block)
        text[0] = 0
        reason.text, reason.size = text, sizeof(text)
        cdef int status = nac_refiner_of(self.model, &self.refiner, reason)
        if status != CODEC_OK and status != CODEC_ERROR_MEMORY:
            raise NotImplementedError(text.decode())
        _check(status)
        self.stream = nac_refined_of(self.model, self.refiner)
        self.state_bytes = nac_refined_state_size(&self.stream)

    @property
    def lookahead(self):
        """Samples past the end of the first token frame of a window that its codes wait for."""
        return (NAC_REFINE_SPAN - 1 + self.stream.ahead) * self.stream.hop

    def reset(self, int64_t[::1] state):
        nac_refined_reset(&self.stream, self.memory(state))

    def valid(self, int64_t[::1] state):
        """Whether `state`, from outside, is that of a stream."""
        return bool(nac_refined_valid(&self.stream, self.memory(state)))

    def ended(self, int64_t[::1] state):
        return bool(nac_refined_done(self.memory(state)))

    cdef run(self, int64_t[::1] state, audio, size_t levels, size_t beam, size_t steps):
        """As that of `Encoder`, of refined codes. If it is interrupted between steps, `state` is
        what it was."""
        cdef const nac_refined *r = &self.stream
        cdef int64_t *place = self.memory(state)
        cdef int stereo = self.model.encoder.stereo
        cdef const float[::1] samples
        cdef const float *first = NULL
        cdef uint16_t[:, ::1] codes
        cdef float[::1] scratch
        cdef int64_t[::1] copy
        cdef size_t n = 0, at = 0, taken
        cdef nac_encoded to
        cdef nac_refinement under_way
        cdef int last = audio is None
        if last:
            to.room = nac_refined_encodes_last(r, place)
        else:
            samples = _interleaved(audio, stereo)
            n = samples.shape[0] // (1 + stereo)
            first = &samples[0] if n else NULL
            to.room = nac_refined_encodes(r, place, n)
        to.levels, to.beam, to.stride, to.codes, to.latents = levels, beam, to.room, NULL, NULL
        codes = out = np.empty((levels, to.room), np.uint16)
        to.codes = &codes[0, 0] if to.room else NULL
        _check(nac_refined_check(r, place, first, n, &to, to.room))
        if not to.room:
            nac_refined_take(r, place, first, n)
            if last:
                nac_refined_end(r, place, NULL, &to, 0)
            return out
        copy = np.array(state)
        place = &copy[0]
        scratch = _aligned(nac_refined_scratch(r))
        while n or last:
            with nogil:
                taken = nac_refined_take(r, place, first, n)
            if n:
                first += taken * (1 + stereo)
                n -= taken
            if not last and not nac_refined_full(r, place):
                break
            with nogil:
                under_way = nac_refined_begin(r, place, &scratch[0], steps, &to)
            _all_steps(&under_way, None)
            at += nac_refined_end(r, place, &scratch[0], &to, at)
            last = 0
        state[:] = copy
        return out

    def push(self, int64_t[::1] state, audio not None, size_t levels, size_t beam, size_t steps):
        """Codes uint16 [levels, frames of the windows that `audio` [n] completes], refined by so
        many steps, each of which searches with 1 to 64 paths.

        Between steps Python handles signals; if one raises, `state` is what it was."""
        return self.run(state, audio, _at_least_one(levels), beam, steps)

    def flush(self, int64_t[::1] state, size_t levels, size_t beam, size_t steps):
        """Codes of the frames that are left; the stream ends."""
        return self.run(state, None, _at_least_one(levels), beam, steps)

    cdef size_t check(self, const float[::1] samples, const float[:, ::1] latents,
                      size_t levels) except 0:
        """The number of frames, if all fits together."""
        cdef size_t frames = latents.shape[0]
        if frames == 0 or frames > MOST_REFINED:
            raise ValueError(f"1 to {MOST_REFINED} frames can be refined together")
        if <size_t>latents.shape[1] != self.model.decoder.latent:
            raise ValueError("the latents have another dimension")
        cdef size_t wanted = frames * self.model.config.hop_length
        if <size_t>samples.shape[0] != wanted * (1 + self.model.encoder.stereo):
            raise ValueError("the latents are not those of the audio")
        if levels == 0 or levels > self.model.decoder.levels:
            raise ValueError("the number of codebooks is out of range")
        return frames

    def refine(self, audio, const float[:, ::1] latents, size_t levels, size_t steps,
               size_t beam=1, stopped=None):
        """Codes uint16 [levels, frames] of `audio` [frames * hop_length], with stereo [2, these],
        whose latents are [frames, latent_dim], after so many steps of analysis by synthesis, each
        of which searches with 1 to 64 paths.

        Between steps Python handles signals, and RuntimeError is raised once `stopped()` is true."""
        cdef const float[::1] samples = _interleaved(audio, self.model.encoder.stereo)
        cdef size_t frames = self.check(samples, latents, levels)
        if beam < 1 or beam > NAC_RVQ_BEAM_MOST:
            raise ValueError("the number of paths is out of range")
        cdef float[:, ::1] moved = np.array(latents)
        out = np.empty((levels, frames), np.uint16)
        cdef uint16_t[:, ::1] codes = out
        cdef float[::1] scratch = _aligned(nac_refine_scratch(self.refiner, frames))
        cdef nac_refinement under_way
        with nogil:
            under_way = nac_refine_begin(self.refiner, &samples[0], &moved[0, 0], frames, levels,
                                         beam, steps, &codes[0, 0], &scratch[0])
        _all_steps(&under_way, stopped)
        return out

    def difference(self, audio, const float[:, ::1] latents, const uint16_t[:, ::1] codes):
        """What is minimised, at `codes` [levels, frames], but for the commitment, and its
        derivative by the quantised latents, float32 [frames, latent_dim]; for tests."""
        cdef const float[::1] samples = _interleaved(audio, self.model.encoder.stereo)
        cdef size_t levels = codes.shape[0], frames = self.check(samples, latents, levels)
        if <size_t>codes.shape[1] != frames or np.max(codes) >= self.books.shape[1]:
            raise ValueError("the codes are not those of the latents")
        out = np.empty((frames, latents.shape[1]), np.float32)
        cdef float[:, ::1] gradient = out
        cdef float[::1] scratch = _aligned(nac_refine_scratch(self.refiner, frames))
        cdef double loss
        with nogil:
            loss = nac_difference(self.refiner, &samples[0], &latents[0, 0], frames, &codes[0, 0],
                                  levels, &gradient[0, 0], &scratch[0])
        return loss, out


cdef int _all_steps(nac_refinement *under_way, stopped) except -1:
    """Let Python handle signals before each step; RuntimeError once `stopped()` is true."""
    cdef int more = 1
    while more:
        PyErr_CheckSignals()
        if stopped is not None and stopped():
            raise RuntimeError("the refinement was stopped")
        with nogil:
            more = nac_refine_step(under_way)
    return 0


MOST_REFINED = 4096  # frames: scratch memory grows with them


cdef class Dense(_Buffers):
    """One matrix product, for tests and benchmarks: weight [columns, depth], bias [columns]."""

    cdef nac_dense layer
    cdef size_t columns

    def __init__(self, weight, bias):
        self.columns = weight.shape[0]
        self.load_dense(&self.layer, weight, bias, weight.shape[0], weight.shape[1])

    def __call__(self, const float[:, ::1] x, isa=None, add=None):
        """x [rows, depth] -> bias + x W^T, or add + x W^T, [rows, columns]."""
        cdef const nac_kernels *k = _kernels(isa)
        cdef size_t rows = x.shape[0]
        if rows == 0 or <size_t>x.shape[1] != self.layer.depth:
            raise ValueError("x does not fit the weights")
        out = np.zeros((rows, self.layer.width), np.float32)
        if add is not None:
            out[:, :self.columns] = add
        cdef float[:, ::1] y = out
        cdef int adds = add is not None
        with nogil:
            if adds:
                k.dense_add(&self.layer, &x[0, 0], self.layer.depth, rows, &y[0, 0])
            else:
                k.dense(&self.layer, &x[0, 0], self.layer.depth, rows, &y[0, 0])
        return out[:, :self.columns]


def elementwise(name, const float[::1] x):
    """"exp", "log" or "gelu" of x as the kernels compute them; for tests."""
    cdef int which = ("exp", "log", "gelu").index(name)
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] y = out
    if x.shape[0]:
        nac_elementary(which, &x[0], x.shape[0], &y[0])
    return out
