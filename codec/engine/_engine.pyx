# cython: boundscheck=False, wraparound=False, cdivision=True
"""Bindings of csrc/engine/: sizes are checked here, before C sees a pointer; the GIL is released.

Internal: `codec.engine.native` and `codec.engine.stream` are the public faces.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t
from libc.stdlib cimport calloc, free

import numpy as np

include "../kernels/_kernel_tables.pxi"
include "../kernels/_rvq_plan.pxi"

cdef extern from "kernels/fft.h" nogil:
    ctypedef struct nac_fft_plan:
        size_t n, n_steps
        const int32_t *radices
        const float *twiddles
        const float *unpack

cdef extern from "kernels/kernels.h" nogil:
    ctypedef struct nac_conv_norm:
        size_t dim, width, taps
        const float *weight
        const float *bias
        const float *gain
        const float *shift
    ctypedef struct nac_analysis:
        nac_fft_plan long_fft, short_fft
        const float *long_window
        const float *short_window
        const float *mean
        const float *scale
        size_t hop, per_frame, phase_bins, size
        int waveform
        size_t left, right
    ctypedef struct nac_synthesis:
        nac_fft_plan fft
        const float *window
        const int32_t *band
        const float *lower
        const float *upper
        size_t hop, per_frame, bands, noise_bin
    void elementary(int which, const float *x, size_t n, float *y)

cdef extern from "engine/backbone.h" nogil:
    ctypedef struct nac_block:
        nac_conv_norm conv
        size_t lookahead
        nac_dense expand, reduce
    ctypedef struct nac_backbone:
        size_t n_blocks
        const nac_block *blocks
        nac_conv_norm norm
        size_t width, hidden, taps, lookahead

cdef extern from "engine/encoder.h" nogil:
    ctypedef struct nac_encoder:
        const nac_kernels *k
        nac_analysis front
        size_t gather
        nac_dense embed
        nac_backbone body
        size_t stack
        nac_dense project
        size_t latent
        nac_rvq_plan rvq
        size_t block
        int stereo
        nac_analysis side
        nac_dense embed_side
    size_t nac_encoder_state_size(const nac_encoder *net)
    size_t nac_encoder_scratch(const nac_encoder *net)
    void nac_encoder_reset(const nac_encoder *net, void *state)
    int nac_encoder_valid(const nac_encoder *net, const void *state)
    size_t nac_encoder_ready(const nac_encoder *net, const void *state, size_t n)
    size_t nac_encoder_left(const nac_encoder *net, const void *state)
    int nac_encoder_done(const void *state)
    void nac_encoder_push(const nac_encoder *net, void *state, const float *audio, size_t n, size_t levels,
                      uint16_t *codes, size_t stride, float *scratch)
    void nac_encoder_flush(const nac_encoder *net, void *state, size_t levels, uint16_t *codes,
                       size_t stride, float *scratch)
    void nac_encoder_push_latents(const nac_encoder *net, void *state, const float *audio, size_t n,
                              float *latents, float *scratch)
    void nac_encoder_flush_latents(const nac_encoder *net, void *state, float *latents, float *scratch)

cdef extern from "engine/decoder.h" nogil:
    ctypedef struct nac_decoder:
        const nac_kernels *k
        const float *codebooks
        size_t levels, codewords, latent
        nac_dense embed
        size_t stack
        nac_backbone body
        nac_dense gain, shape
        nac_synthesis back
        size_t block
        int stereo
    size_t nac_decoder_state_size(const nac_decoder *net)
    size_t nac_decoder_scratch(const nac_decoder *net)
    void nac_decoder_reset(const nac_decoder *net, void *state)
    int nac_decoder_valid(const nac_decoder *net, const void *state)
    size_t nac_decoder_ready(const nac_decoder *net, const void *state, size_t n)
    size_t nac_decoder_left(const nac_decoder *net, const void *state)
    int nac_decoder_done(const void *state)
    void nac_decoder_push(const nac_decoder *net, void *state, const uint16_t *codes, size_t stride,
                      size_t n, size_t levels, float *audio, float *scratch)
    void nac_decoder_push_latents(const nac_decoder *net, void *state, const float *latents,
                                  size_t n, float *audio, float *scratch)
    void nac_decoder_flush(const nac_decoder *net, void *state, float *audio, float *scratch)


# Frames worked on at a time: a multiple of every tile, enough to use each weight often (measured:
# 1.2 x the speed of 48, and no less than 288), few enough to be small beside the weights.
BLOCK = 144
PANEL_WIDTH = NAC_PANEL


cdef class _Weights(_Buffers):
    """Owns the memory that a network's C structures point to, and fills the structures."""

    cdef nac_block *blocks
    cdef list spare  # scratch memory that no call uses at the moment

    def __dealloc__(self):
        free(self.blocks)

    cdef int load_fft(self, nac_fft_plan *plan, tables) except -1:
        cdef const int32_t[::1] radices = tables.radices
        cdef size_t n = tables.n, length = n // 2, twiddles = 0, radix
        for radix in tables.radices:
            if radix not in (2, 3, 4, 5) or length % radix:
                raise ValueError("the radices do not multiply to n / 2")
            length //= radix
            twiddles += length * (radix - 1) * 2
        if n < 4 or n % 2 or length != 1:
            raise ValueError("the radices do not multiply to n / 2")
        self.keep.append(radices)
        plan.n, plan.n_steps, plan.radices = n, radices.shape[0], &radices[0]
        plan.twiddles = self.floats(tables.twiddles, twiddles)
        plan.unpack = self.floats(tables.unpack, (n // 4 + 1) * 2)
        return 0

    cdef int load_norm(self, nac_conv_norm *layer, weights, size_t dim) except -1:
        layer.dim, layer.width = dim, _padded(dim)
        layer.gain = self.padded(weights["weight"], dim)
        layer.shift = self.padded(weights["bias"], dim)
        return 0

    cdef int load_body(self, nac_backbone *body, weights, size_t dim, size_t hidden, size_t taps,
                  size_t lookahead) except -1:
        """weights: {"blocks": [{"conv", "norm", "expand", "reduce"}], "norm"}."""
        cdef size_t n = len(weights["blocks"]), i
        cdef nac_block *b
        if dim < 1 or hidden < 1 or taps < 1 or lookahead > n or (lookahead and taps < 2):
            raise ValueError("the dimensions of the backbone make no sense")
        self.blocks = <nac_block *>calloc(n + 1, sizeof(nac_block))
        if self.blocks == NULL:
            raise MemoryError
        for i in range(n):
            b, w = &self.blocks[i], weights["blocks"][i]
            b.lookahead = i < lookahead
            self.load_norm(&b.conv, w["norm"], dim)
            b.conv.taps = taps
            if np.shape(w["conv"]["weight"]) != (taps, dim):
                raise ValueError("the taps of a convolution do not fit")
            kernel = np.zeros((taps, _padded(dim)), np.float32)
            kernel[:, :dim] = w["conv"]["weight"]
            b.conv.weight = self.floats(kernel, taps * _padded(dim))
            b.conv.bias = self.padded(w["conv"]["bias"], dim)
            self.load_dense(&b.expand, w["expand"]["weight"], w["expand"]["bias"], hidden, dim)
            self.load_dense(&b.reduce, w["reduce"]["weight"], None, dim, hidden)
        self.load_norm(&body.norm, weights["norm"], dim)
        body.n_blocks, body.blocks, body.taps, body.lookahead = n, self.blocks, taps, lookahead
        body.width, body.hidden = _padded(dim), _padded(hidden)
        return 0

    @staticmethod
    cdef int is_stereo(config) except -1:
        if config.channels not in (1, 2):
            raise ValueError(f"{config.channels} channels together; the engine has 1 and 2")
        return config.channels == 2

    cdef borrow(self, size_t floats):
        # An array: a memoryview would get one more wrapper each time it is lent.
        try:
            return self.spare.pop()
        except IndexError:
            return _aligned(floats)


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


cdef class Encoder(_Weights):
    """csrc/engine/encoder.h with its weights; immutable, so threads may share it.

    A state is an int64 array of `state_size` elements, used by one call at a time.
    """

    cdef nac_encoder net

    def __init__(self, config, tables, weights, isa=None, size_t block=BLOCK):
        """config: ModelConfig; tables, weights: as `codec.engine` prepares them."""
        cdef const float[:, :, ::1] books
        cdef float[::1] panels, half, screen
        cdef nac_encoder *net = &self.net
        self.spare = []
        net.k = _kernels(isa)
        if (config.encoder_stack < 1 or config.backbone_hop < 1 or config.hop_length < 1
                or config.hop_length % (config.backbone_hop * config.encoder_stack)):
            raise ValueError("the frames of the encoder do not fit the hop")
        net.gather = config.encoder_stack
        net.stack = config.hop_length // (config.backbone_hop * config.encoder_stack)
        net.block = _padded(block, net.stack)
        front = &net.front
        self.load_fft(&front.long_fft, tables["long_fft"])
        self.load_fft(&front.short_fft, tables["short_fft"])
        front.long_window = self.floats(tables["long_window"], front.long_fft.n)
        front.short_window = self.floats(tables["short_window"], front.short_fft.n)
        front.hop, front.phase_bins = config.backbone_hop, config.phase_bins
        cdef size_t short_hop = front.short_fft.n // 2
        if front.hop < short_hop or front.hop % short_hop or front.long_fft.n < front.hop:
            raise ValueError("the analysis windows do not fit the hop")
        if front.phase_bins > front.long_fft.n // 2:
            raise ValueError("more phase bins than bins")
        front.per_frame = front.hop // short_hop
        front.waveform = bool(config.waveform)
        front.size = (front.long_fft.n // 2 + 1
                      + front.per_frame * (front.short_fft.n // 2 + 1) + 2 * front.phase_bins
                      + front.long_fft.n * front.waveform)
        net.stereo = _Weights.is_stereo(config)
        mean, scale = (np.reshape(weights[name], (config.channels, -1)) for name in ("mean", "scale"))
        front.mean = self.floats(mean[0], front.size)
        front.scale = self.floats(scale[0], front.size)
        cdef size_t long_left = (front.long_fft.n - front.hop) // 2
        cdef size_t long_right = front.long_fft.n - front.hop - long_left
        cdef size_t short_left = (front.short_fft.n - short_hop) // 2
        cdef size_t short_right = front.short_fft.n - short_hop - short_left
        front.left = max(long_left, short_left)
        front.right = max(long_right, short_right)

        cdef size_t dim = config.encoder_dim, depth = net.gather * front.size
        embed = weights["embed"]["weight"]
        if np.shape(embed) != (dim, depth * config.channels):
            raise ValueError(f"the embedding has shape {np.shape(embed)}")
        self.load_dense(&net.embed, embed[:, :depth], weights["embed"]["bias"], dim, depth)
        if net.stereo:
            net.side = front[0]
            net.side.mean = self.floats(mean[1], front.size)
            net.side.scale = self.floats(scale[1], front.size)
            self.load_dense(&net.embed_side, embed[:, depth:], None, dim, depth)
        self.load_body(&net.body, weights["body"], dim, config.encoder_hidden, config.kernel_size,
                  config.encoder_lookahead)
        net.latent = config.latent_dim
        self.load_dense(&net.project, weights["project"]["weight"], weights["project"]["bias"],
                   net.latent, net.stack * net.body.width)

        books = np.ascontiguousarray(weights["codebooks"], np.float32)
        cdef nac_rvq_plan *rvq = &net.rvq
        if (books.shape[0] < 1 or not 1 <= books.shape[1] <= 65536
                or <size_t>books.shape[2] != net.latent or net.latent < 1):
            raise ValueError("the codebooks do not fit the latents")
        rvq.levels, rvq.codewords, rvq.dim = books.shape[0], books.shape[1], books.shape[2]
        panels = _aligned(nac_rvq_panels_size(rvq.levels, rvq.codewords, rvq.dim))
        half = _aligned(nac_rvq_half_size(rvq.levels, rvq.codewords))
        self.keep += [books, panels, half]
        rvq.codebooks, rvq.panels, rvq.half = &books[0, 0, 0], &panels[0], &half[0]
        cdef size_t screened = nac_rvq_screen_size(net.k.isa, rvq.levels, rvq.codewords, rvq.dim)
        if screened:
            screen = _aligned(screened // sizeof(float))
            self.keep.append(screen)
            rvq.screen = &screen[0]
        with nogil:
            nac_rvq_pack(rvq, self.net.k.isa)

    @property
    def isa(self):
        return self.net.k.name.decode()

    @property
    def lookahead(self):
        """Samples past the end of a token frame that its codes depend on."""
        return self.net.front.right \
            + self.net.body.lookahead * self.net.gather * self.net.front.hop

    @property
    def context(self):
        """Token frames before one that its codes depend on, rounded up."""
        cdef size_t past = self.net.body.n_blocks * (self.net.body.taps - 1)
        past -= self.net.body.lookahead
        cdef size_t hop = self.net.gather * self.net.front.hop
        past += (self.net.front.left + hop - 1) // hop
        return (past + self.net.stack - 1) // self.net.stack

    @property
    def state_size(self):
        return nac_encoder_state_size(&self.net) // 8

    cdef int64_t *memory(self, int64_t[::1] state) except NULL:
        if <size_t>state.shape[0] * 8 != nac_encoder_state_size(&self.net):
            raise ValueError("not a state of this encoder")
        return &state[0]

    cdef int check(self, int64_t[::1] state, size_t levels) except -1:
        if nac_encoder_done(self.memory(state)):
            raise ValueError("the stream has ended")
        if not 1 <= levels <= self.net.rvq.levels:
            raise ValueError("the number of codebooks is out of range")
        return 0

    def reset(self, int64_t[::1] state):
        nac_encoder_reset(&self.net, self.memory(state))

    def valid(self, int64_t[::1] state):
        """Whether `state`, from outside, is safe to run on."""
        return bool(nac_encoder_valid(&self.net, self.memory(state)))

    def ended(self, int64_t[::1] state):
        return bool(nac_encoder_done(self.memory(state)))

    def push(self, int64_t[::1] state, audio, size_t levels):
        """Codes uint16 [levels, frames that `audio` [n] or, with stereo, [2, n] completes]."""
        self.check(state, levels)
        cdef const float[::1] samples = _interleaved(audio, self.net.stereo)
        cdef size_t n = samples.shape[0] // (1 + self.net.stereo)
        cdef size_t frames = nac_encoder_ready(&self.net, &state[0], n)
        codes = np.empty((levels, frames), np.uint16)
        cdef uint16_t[:, ::1] view = codes
        cdef uint16_t *out = &view[0, 0] if frames else NULL
        if n == 0:
            return codes
        memory = self.borrow(nac_encoder_scratch(&self.net))
        cdef float[::1] scratch = memory
        with nogil:
            nac_encoder_push(&self.net, &state[0], &samples[0], n, levels, out, frames, &scratch[0])
        self.spare.append(memory)
        return codes

    def flush(self, int64_t[::1] state, size_t levels):
        """Codes of the frames that are left; the stream ends."""
        self.check(state, levels)
        cdef size_t frames = nac_encoder_left(&self.net, &state[0])
        codes = np.empty((levels, frames), np.uint16)
        cdef uint16_t[:, ::1] view = codes
        cdef uint16_t *out = &view[0, 0] if frames else NULL
        memory = self.borrow(nac_encoder_scratch(&self.net))
        cdef float[::1] scratch = memory
        with nogil:
            nac_encoder_flush(&self.net, &state[0], levels, out, frames, &scratch[0])
        self.spare.append(memory)
        return codes

    def push_latents(self, int64_t[::1] state, audio):
        """As `push`, but latents float32 [frames, latent_dim]: what the quantiser gets."""
        self.check(state, 1)
        cdef const float[::1] samples = _interleaved(audio, self.net.stereo)
        cdef size_t n = samples.shape[0] // (1 + self.net.stereo)
        cdef size_t frames = nac_encoder_ready(&self.net, &state[0], n)
        latents = np.empty((frames, self.net.latent), np.float32)
        if n == 0:
            return latents
        cdef float[:, ::1] view = latents if frames else np.empty((1, 1), np.float32)
        memory = self.borrow(nac_encoder_scratch(&self.net))
        cdef float[::1] scratch = memory
        with nogil:
            nac_encoder_push_latents(&self.net, &state[0], &samples[0], n, &view[0, 0], &scratch[0])
        self.spare.append(memory)
        return latents

    def flush_latents(self, int64_t[::1] state):
        """As `flush`, but latents float32 [frames, latent_dim]."""
        self.check(state, 1)
        cdef size_t frames = nac_encoder_left(&self.net, &state[0])
        latents = np.empty((frames, self.net.latent), np.float32)
        cdef float[:, ::1] view = latents if frames else np.empty((1, 1), np.float32)
        memory = self.borrow(nac_encoder_scratch(&self.net))
        cdef float[::1] scratch = memory
        with nogil:
            nac_encoder_flush_latents(&self.net, &state[0], &view[0, 0], &scratch[0])
        self.spare.append(memory)
        return latents

    def latents(self, audio):
        """Latents float32 [frames, latent_dim] of all of `audio`, before quantisation."""
        state = np.empty(self.state_size, np.int64)
        self.reset(state)
        return np.concatenate([self.push_latents(state, audio), self.flush_latents(state)])


cdef class Decoder(_Weights):
    """csrc/engine/decoder.h with its weights; states are as `Encoder`'s."""

    cdef nac_decoder net

    def __init__(self, config, tables, weights, isa=None, size_t block=BLOCK):
        cdef nac_decoder *net = &self.net
        self.spare = []
        net.k = _kernels(isa)
        if (config.backbone_hop < 1 or config.hop_length < 1
                or config.hop_length % config.backbone_hop):
            raise ValueError("the frames of the decoder do not fit the hop")
        net.stack = config.hop_length // config.backbone_hop
        net.block = _padded(block, net.stack)
        books = weights["codebooks"]
        if np.ndim(books) != 3 or not 1 <= books.shape[1] <= 65536:
            raise ValueError("codebooks are [Q, K, D], K at most 65536")
        net.levels, net.codewords, net.latent = books.shape
        net.codebooks = self.floats(books, net.levels * net.codewords * net.latent)

        cdef size_t dim = config.decoder_dim
        self.load_body(&net.body, weights["body"], dim, config.decoder_hidden, config.kernel_size,
                  config.decoder_lookahead)
        self.load_dense(&net.embed, weights["embed"]["weight"], weights["embed"]["bias"],
                   net.stack * net.body.width, net.latent)

        back = &net.back
        self.load_fft(&back.fft, tables["fft"])
        cdef size_t n = back.fft.n, bins = n // 2 + 1
        back.hop, back.bands = config.synthesis_hop, config.gain_bands
        if back.hop < 1 or config.backbone_hop % back.hop or n < back.hop or (n - back.hop) % 2:
            raise ValueError("the synthesis window does not fit the hop")
        back.per_frame = config.backbone_hop // back.hop
        back.noise_bin = min(max(tables["noise_bin"], 0), bins)
        back.window = self.floats(tables["window"], n)
        cdef const int32_t[::1] band = tables["band"]
        if <size_t>band.shape[0] != bins or not 0 <= min(band) <= max(band) < config.gain_bands - 1:
            raise ValueError("the bands do not fit the spectrum")
        self.keep.append(band)
        back.band = &band[0]
        back.lower = self.floats(tables["lower"], bins)
        back.upper = self.floats(tables["upper"], bins)
        net.stereo = _Weights.is_stereo(config)
        cdef size_t spectra = back.per_frame * (1 + net.stereo)
        self.load_dense(&net.gain, weights["gain"]["weight"], weights["gain"]["bias"],
                   spectra * back.bands, dim)
        self.load_dense(&net.shape, weights["shape"]["weight"], weights["shape"]["bias"],
                   spectra * bins * 2, dim)

    @property
    def isa(self):
        return self.net.k.name.decode()

    @property
    def lookahead(self):
        """Samples before the end of the last token frame that still wait for what follows."""
        return (self.net.back.fft.n - self.net.back.hop) // 2 \
            + self.net.body.lookahead * self.net.back.hop * self.net.back.per_frame

    @property
    def context(self):
        """Token frames before one that its samples depend on, rounded up."""
        cdef size_t past = self.net.body.n_blocks * (self.net.body.taps - 1)
        cdef size_t row = self.net.back.hop * self.net.back.per_frame
        past -= self.net.body.lookahead
        past = past * row + (self.net.back.fft.n - self.net.back.hop) // 2
        return (past + row * self.net.stack - 1) // (row * self.net.stack)

    @property
    def state_size(self):
        return nac_decoder_state_size(&self.net) // 8

    cdef int64_t *memory(self, int64_t[::1] state) except NULL:
        if <size_t>state.shape[0] * 8 != nac_decoder_state_size(&self.net):
            raise ValueError("not a state of this decoder")
        return &state[0]

    cdef int check(self, int64_t[::1] state) except -1:
        if nac_decoder_done(self.memory(state)):
            raise ValueError("the stream has ended")
        return 0

    def reset(self, int64_t[::1] state):
        nac_decoder_reset(&self.net, self.memory(state))

    def valid(self, int64_t[::1] state):
        """Whether `state`, from outside, is safe to run on."""
        return bool(nac_decoder_valid(&self.net, self.memory(state)))

    def ended(self, int64_t[::1] state):
        return bool(nac_decoder_done(self.memory(state)))

    def push(self, int64_t[::1] state, const uint16_t[:, ::1] codes):
        """Audio float32 [samples that are final now], with stereo [2, these], of codes [levels, n]."""
        self.check(state)
        cdef size_t levels = codes.shape[0], n = codes.shape[1]
        if not 1 <= levels <= self.net.levels:
            raise ValueError("the number of codebooks is out of range")
        if n and int(np.max(codes)) >= self.net.codewords:
            raise ValueError("a code is out of range")
        cdef size_t samples = nac_decoder_ready(&self.net, &state[0], n)
        audio = np.empty(samples * (1 + self.net.stereo), np.float32)
        if n == 0:
            return _separated(audio, self.net.stereo)
        cdef float[::1] view = audio if samples else np.empty(1, np.float32)
        memory = self.borrow(nac_decoder_scratch(&self.net))
        cdef float[::1] scratch = memory
        with nogil:
            nac_decoder_push(&self.net, &state[0], &codes[0, 0], n, n, levels, &view[0], &scratch[0])
        self.spare.append(memory)
        return _separated(audio, self.net.stereo)

    def push_latents(self, int64_t[::1] state, const float[:, ::1] latents):
        """As `push`, of latents [n, latent_dim] in place of codes."""
        self.check(state)
        cdef size_t n = latents.shape[0]
        if <size_t>latents.shape[1] != self.net.latent:
            raise ValueError("the latents have another dimension")
        cdef size_t samples = nac_decoder_ready(&self.net, &state[0], n)
        audio = np.empty(samples * (1 + self.net.stereo), np.float32)
        if n == 0:
            return _separated(audio, self.net.stereo)
        cdef float[::1] view = audio if samples else np.empty(1, np.float32)
        memory = self.borrow(nac_decoder_scratch(&self.net))
        cdef float[::1] scratch = memory
        with nogil:
            nac_decoder_push_latents(&self.net, &state[0], &latents[0, 0], n, &view[0], &scratch[0])
        self.spare.append(memory)
        return _separated(audio, self.net.stereo)

    def flush(self, int64_t[::1] state):
        """The audio that is left; the stream ends."""
        self.check(state)
        cdef size_t samples = nac_decoder_left(&self.net, &state[0])
        audio = np.empty(samples * (1 + self.net.stereo), np.float32)
        cdef float[::1] view = audio if samples else np.empty(1, np.float32)
        memory = self.borrow(nac_decoder_scratch(&self.net))
        cdef float[::1] scratch = memory
        with nogil:
            nac_decoder_flush(&self.net, &state[0], &view[0], &scratch[0])
        self.spare.append(memory)
        return _separated(audio, self.net.stereo)


cdef class Dense(_Weights):
    """One matrix product, for tests and benchmarks: weight [columns, depth], bias [columns]."""

    cdef nac_dense layer
    cdef size_t columns

    def __init__(self, weight, bias):
        self.spare = []
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
        elementary(which, &x[0], x.shape[0], &y[0])
    return out
