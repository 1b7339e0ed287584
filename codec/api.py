"""The codec as Python sees it: arrays to tokens or bytes, and back."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from codec.adapters import adapter_named, open_adapter
from codec.audio.arrays import Audio, as_channels, check_sample_rate, in_blocks, peak_of
from codec.audio.loudness import loudness_warning
from codec.audio.resample import resample_blocks
from codec.engine.backend import (
    Backend,
    BatchBackend,
    load_backend,
)
from codec.engine.latents import (
    LatentStreamDecoder,
    LatentStreamEncoder,
    check_latents,
    decode_latent_spans,
    restored,
)
from codec.engine.pairs import unpaired
from codec.engine.post import Wanted, wanted
from codec.engine.refine import PLAIN, Search
from codec.engine.stream import StreamDecoder, StreamEncoder
from codec.errors import (
    AudioError,
    BackendError,
    BitrateError,
    FormatError,
    OptionError,
    TokensError,
)
from codec.model.catalogue import DEFAULT_MODEL
from codec.model.config import ModelConfig
from codec.model.location import check_reopened, weights_name, weights_path
from codec.nac.reader import Reader
from codec.nac.seek import SeekableReader
from codec.pipeline import Pipeline, stretch_of
from codec.support.arguments import as_bool, real, shown, whole
from codec.support.immutable import Immutable
from codec.support.warning import Place, caller, warn
from codec.support.workers import Workers
from codec.tokens import Tokens, as_codes, header_of, write_tokens


class Codec(Immutable):
    """A model, ready to encode and decode. Made by `codec.load`.

    Threads may share it. It pickles and copies by the path of its weights, so it goes into
    multiprocessing pools, DataLoader workers and `datasets.map` as it is.
    """

    def __init__(self, backend: Backend, weights: Path | None = None) -> None:
        self._weights = weights
        self._pipeline = Pipeline(backend, weights)

    def __repr__(self) -> str:
        return f"<codec.Codec {self.model_id.hex()} on {type(self.backend).__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        weights = None if self._weights is None else weights_name(self._weights)
        return _reopened, (self.backend, weights, self.model_id)

    @property
    def backend(self) -> Backend:
        """What runs the network."""
        return self._pipeline.backend

    @property
    def config(self) -> ModelConfig:
        """The dimensions of the model: sample and frame rate, codebooks."""
        return self._pipeline.config

    @property
    def model_id(self) -> bytes:
        """The 8 bytes that name the weights."""
        return self._pipeline.model_id

    @property
    def codebooks(self) -> npt.NDArray[np.float32]:
        """The codewords, float32 [n_codebooks, codebook_size, latent_dim], read-only.

        A frame's codes stand for the sum of their codewords, on the scale of
        `encode_latents(normalized=False)`; `codec.rvq` makes one of the other. Raises ModelError
        if the model has no file of weights.
        """
        return self._pipeline.codebooks

    @property
    def pipeline(self) -> Pipeline:
        """What the commands on files and corpora work with: plumbing, which may change."""
        return self._pipeline

    def codebooks_for(self, bitrate: float) -> int:
        """Return the most codebooks that one channel can have at `bitrate` bits a second; of a
        model that codes two channels together, the bitrate is that of both.

        Raises BitrateError below the rate of one codebook and above that of all.
        """
        return self._pipeline.codebooks_for(bitrate)

    def encode(
        self,
        audio: npt.ArrayLike,
        sample_rate: int,
        *,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        beam: int = 1,
        refine: int = 0,
        threads: int = 1,
    ) -> Tokens:
        """Encode `audio` to tokens, each channel by itself, or two together if the model does so.

        A model with `config.channels` = 2 takes the first two channels as left and right, then the
        next two; a last one without a partner is coded as if it were both, and comes back as the
        mean of what is decoded for both.

        audio: float32 or float64 with full scale ±1, or int16; [samples] or [channels, samples],
            1 to 255 channels; a NumPy array, lists, or a PyTorch tensor on any device. Values
            beyond ±1 are coded as they are, with a CodecWarning if any is beyond ±2: the network
            does not follow such audio, so scale it first. Fewer samples than channels give a
            CodecWarning too: the array is probably [samples, channels].
        sample_rate: of `audio`, in Hz. Another rate than the model's is resampled (soxr, HQ).
        n_codebooks, bitrate: at most one of them; the bitrate, in bits a second of one channel,
            stands for the most codebooks that fit. By default all codebooks.
        beam: 1 to find the nearest codeword of each level in turn; up to 64 paths of a beam search,
            which finds codewords that add up closer to the audio, and takes about as many times as
            long. Such codes depend on the number of codebooks: those of fewer are not the first
            of those of more. Any decoder reads them.
        refine: 0, or up to 1000 gradient steps through the decoder, by which what the codes decode
            to comes closer to the audio, most with a beam in each step. It is far slower: 20 steps
            run at a few times real time. What is said of a beam's codes holds for these too.
        threads: over which long audio and channels are spread; the tokens stay the same.

        The tokens have exactly ceil(r / config.hop_length) frames, where r = ceil(samples *
        config.sample_rate / sample_rate). Integers may be of any type, NumPy's and floats without
        a fraction too. Raises AudioError, BitrateError or OptionError; BackendError if the backend
        has no beam search, or cannot refine: the native one has and can, on the CPU.
        """
        rate = _sample_rate(sample_rate)
        count = self._pipeline.n_codebooks(n_codebooks, bitrate)
        search = self._pipeline.search(beam, refine)
        channels = _checked(audio)
        with Workers(_threads(threads)) as workers:
            return self._encoded(channels, rate, count, search, workers)

    def _encoded(
        self, channels: Audio, rate: int, count: int, search: Search, workers: Workers
    ) -> Tokens:
        blocks = in_blocks(channels)
        codes = list(self._pipeline.encode_blocks(blocks, rate, count, workers, search))
        return Tokens(
            codes=np.concatenate(codes, axis=2),
            frame_rate=self.config.frame_rate,
            n_samples=channels.shape[1],
            sample_rate=rate,
            codebook_size=self.config.codebook_size,
            model_id=self.model_id,
            together=self.config.channels,
            lone=len(channels) % self.config.channels != 0,
        )

    def decode(
        self,
        tokens: Tokens,
        *,
        postfilter: bool = False,
        enhance: bool = False,
        threads: int = 1,
    ) -> npt.NDArray[np.float32]:
        """Decode to audio float32 [channels, tokens.n_samples] at `tokens.sample_rate`.

        Full scale is ±1. postfilter: lower the noise between the harmonics of voices, by their
        period, which is found in the decoded audio (as in AMR-WB+, 3GPP TS 26.290, 6.1.3); it is
        for speech. enhance: improve the audio by the network beside the model's weights, a second
        stage of the decoder (csrc/engine/enhancer.h). threads: as for `encode`; the samples stay
        the same.
        Raises ModelError if a model that is not here made them, or has no enhancer, TokensError on
        what is not Tokens, OptionError on both at once, BackendError on either without the native
        engine and on a postfilter of a model not of 24 kHz.
        """
        if not isinstance(tokens, Tokens):
            raise TokensError(
                f"decode takes Tokens, not {type(tokens).__name__}; model.tokens(codes) makes them"
            )
        post = wanted(postfilter=postfilter, enhance=enhance)
        header = header_of(tokens)
        step = header.frames_per_chunk
        chunks = (tokens.codes[:, :, i : i + step] for i in range(0, tokens.n_frames, step))
        audio = np.empty((tokens.channels, tokens.n_samples), np.float32)
        filled = 0
        with Workers(_threads(threads)) as workers:
            for block in self._pipeline.decode_blocks(
                chunks, header, tokens.n_samples, workers, post=post
            ):
                audio[:, filled : filled + block.shape[1]] = block
                filled += block.shape[1]
        return audio

    def tokens(
        self,
        codes: npt.ArrayLike,
        *,
        sample_rate: int | None = None,
        n_samples: int | None = None,
        lone: bool = False,
    ) -> Tokens:
        """Make Tokens of this model from bare codes, such as a language model makes.

        codes: integers of any dtype, [codebooks, frames] or [streams, codebooks, frames]; a NumPy
            array, lists, or a PyTorch tensor on any device. A stream is a channel, or two channels
            of a model that codes them together.
        sample_rate: of the audio to decode to, in Hz; by default the model's.
        n_samples: of each channel at that rate; by default the most that the frames hold.
        lone: as for `Tokens`: of a model that codes two channels together, the last stream is that
            of a single channel.

        Raises TokensError on other shapes and dtypes, on a code outside the codebook, on no frames,
        and on more codebooks than the model has.
        """
        array = as_codes(codes, self.config.n_codebooks, self.config.codebook_size)
        rate = self.config.sample_rate if sample_rate is None else _sample_rate(sample_rate)
        if n_samples is None:
            hop, own = self.config.hop_length, self.config.sample_rate
            n_samples = array.shape[2] * hop * rate // own
        return Tokens(
            codes=array,
            frame_rate=self.config.frame_rate,
            n_samples=n_samples,
            sample_rate=rate,
            codebook_size=self.config.codebook_size,
            model_id=self.model_id,
            together=self.config.channels,
            lone=lone,
        )

    def encode_batch(
        self,
        audios: Iterable[npt.ArrayLike],
        sample_rates: int | Iterable[int],
        *,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        beam: int = 1,
        refine: int = 0,
        threads: int = 1,
    ) -> list[Tokens]:
        """`encode` every item, the items spread over `threads` threads.

        audios: of any lengths and numbers of channels; there is no padding. sample_rates: one for
        each, or one for all. The tokens of an item do not depend on the others, their order or
        `threads`. Raises as `encode` does, naming the item, and AudioError unless there is a rate
        for each.
        """
        items = _items(audios, "audios", AudioError)
        if isinstance(sample_rates, str | bytes) or not _iterable(sample_rates):
            rates = [_sample_rate(sample_rates)] * len(items)
        else:
            rates = [_sample_rate(rate) for rate in _items(sample_rates, "rates", AudioError)]
        if len(rates) != len(items):
            raise AudioError(f"{len(rates)} sample rates for {len(items)} items")
        count = self._pipeline.n_codebooks(n_codebooks, bitrate)
        search = self._pipeline.search(beam, refine)
        place = caller()  # a thread cannot tell
        with Workers(_threads(threads)) as workers:
            if isinstance(self.backend, BatchBackend):
                return self._encode_at_once(self.backend, items, rates, count, workers, place)

            def one(number: int, audio: npt.ArrayLike, rate: int) -> Tokens:
                channels = _checked_item(number, audio, place)
                return self._encoded(channels, rate, count, search, Workers(within=workers))

            return workers.all(
                functools.partial(one, number, audio, rate)
                for number, (audio, rate) in enumerate(zip(items, rates, strict=True))
            )

    def decode_batch(
        self,
        items: Iterable[Tokens],
        *,
        postfilter: bool = False,
        enhance: bool = False,
        threads: int = 1,
    ) -> list[npt.NDArray[np.float32]]:
        """`decode` every item, the items spread over `threads` threads."""
        found = _items(items, "items", TokensError)
        post = wanted(postfilter=postfilter, enhance=enhance)
        with Workers(_threads(threads)) as workers:
            if isinstance(self.backend, BatchBackend) and all(map(self._is_own, found)):
                return self._decode_at_once(self.backend, found, workers, post)
            decode = functools.partial(self.decode, postfilter=postfilter, enhance=enhance)
            return workers.all(functools.partial(decode, tokens) for tokens in found)

    def _is_own(self, tokens: Tokens) -> bool:
        """Whether this backend decodes the tokens, rather than that of another model."""
        return (
            isinstance(tokens, Tokens)
            and self._pipeline.maker(header_of(tokens)).backend is self.backend
        )

    def _encode_at_once(
        self,
        backend: BatchBackend,
        items: list[Any],
        rates: list[int],
        n_codebooks: int,
        workers: Workers,
        place: Place,
    ) -> list[Tokens]:
        """`encode_batch` at `place`, where threads only resample."""
        own = self.config.sample_rate

        def prepare(number: int, audio: npt.ArrayLike, rate: int) -> tuple[int, Audio]:
            channels = _checked_item(number, audio, place)
            blocks = resample_blocks(in_blocks(channels), rate, own)
            return channels.shape[1], np.concatenate(list(blocks), axis=1)

        pairs = enumerate(zip(items, rates, strict=True))
        ready = list(workers.run(functools.partial(prepare, n, *pair) for n, pair in pairs))
        audios = [channel for _, channels in ready for channel in channels]
        codes = iter(backend.encode_many(audios, n_codebooks))
        return [
            Tokens(
                codes=np.stack([next(codes) for _ in channels]),
                frame_rate=self.config.frame_rate,
                n_samples=n_samples,
                sample_rate=rate,
                codebook_size=self.config.codebook_size,
                model_id=self.model_id,
            )
            for (n_samples, channels), rate in zip(ready, rates, strict=True)
        ]

    def _decode_at_once(
        self, backend: BatchBackend, items: list[Tokens], workers: Workers, post: Wanted | None
    ) -> list[npt.NDArray[np.float32]]:
        """`decode_batch` of this model's tokens, where threads only filter and resample."""
        improvement = self._pipeline.improvement(post)
        decoded = iter(backend.decode_many([codes for tokens in items for codes in tokens.codes]))
        audios = [np.stack([next(decoded) for _ in tokens.codes]) for tokens in items]

        def finish(tokens: Tokens, audio: Audio) -> npt.NDArray[np.float32]:
            decoded: Iterable[Audio] = [audio]
            if improvement:
                decoded = improvement.blocks(decoded, Workers())
            blocks = self._pipeline.at_rate(decoded, tokens.sample_rate, tokens.n_samples)
            return np.concatenate(list(blocks), axis=1)

        pairs = zip(items, audios, strict=True)
        return list(workers.run(functools.partial(finish, *pair) for pair in pairs))

    def compress(
        self,
        audio: npt.ArrayLike,
        sample_rate: int,
        *,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        quality: float | None = None,
        beam: int = 1,
        refine: int = 0,
        effort: str | None = None,
        threads: int = 1,
    ) -> bytes:
        """Compress `audio` to the bytes of a .nac file; the arguments are those of `encode`, and

        quality: 0 to 10, in place of n_codebooks and bitrate: each chunk gets as many codebooks as
            that takes.
        effort: how the codes are packed: "raw", "fast", "best"; the codes stay the same. By
            default "fast" where the model has data for it.
        Raises as `encode` does, and OptionError on an unknown effort.
        """
        if quality is not None and (n_codebooks, bitrate) != (None, None):
            raise BitrateError("choose one of quality, n_codebooks and bitrate, not two")
        if not isinstance(effort, str | None):
            raise OptionError(f"effort is raw, fast or best, not {shown(effort)}")
        coder = self._pipeline.coder(effort)
        choose = None if quality is None else self._pipeline.rate_control(quality)
        tokens = self.encode(
            audio,
            sample_rate,
            n_codebooks=n_codebooks,
            bitrate=bitrate,
            beam=beam,
            refine=refine,
            threads=threads,
        )
        file = io.BytesIO()
        write_tokens(file, tokens, coder, choose)
        return file.getvalue()

    def decompress(
        self,
        data: bytes | bytearray | memoryview,
        *,
        start: float = 0,
        duration: float | None = None,
        postfilter: bool = False,
        enhance: bool = False,
        threads: int = 1,
    ) -> tuple[npt.NDArray[np.float32], int]:
        """Decompress the bytes of a .nac file to audio float32 [channels, samples] and its rate.

        start, duration: in seconds, to restore that stretch only, to the bit as in the whole; it
            ends with the audio at the latest. Then damage elsewhere is not noticed.
        postfilter, enhance: as for `decode`.
        The model that made them decodes them, if it is this one or both are in `codec.models()`.
        Raises FormatError on damaged bytes, ModelError if another model made them, AudioError if
        nothing lies in the stretch.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise FormatError(
                f"decompress takes the bytes of a .nac file, not {type(data).__name__};"
                " pathlib.Path(name).read_bytes() reads them"
            )
        post = wanted(postfilter=postfilter, enhance=enhance)
        file = io.BytesIO(bytes(data))  # a memoryview may have steps
        pipeline = self._pipeline
        with Workers(_threads(threads)) as workers:
            if duration is not None or real(start, "start", AudioError):
                seekable = SeekableReader(file, pipeline.coder_of)
                stretch = stretch_of(seekable.header, start, duration)
                blocks = list(pipeline.decode_stretch(seekable, *stretch, workers, post=post))
                return np.concatenate(blocks, axis=1), seekable.header.sample_rate
            reader = Reader(file, pipeline.coder_of)
            chunks = list(reader.decoded(workers))
            header = reader.finish()
            blocks = list(pipeline.decode_blocks(chunks, header, header.length, workers, post=post))
        return np.concatenate(blocks, axis=1), header.sample_rate

    def encode_latents(
        self,
        audio: npt.ArrayLike,
        sample_rate: int,
        *,
        normalized: bool = True,
        threads: int = 1,
    ) -> npt.NDArray[np.float32]:
        """Encode `audio` to continuous latents float32 [channels, dim, frames].

        Of a model that codes two channels together they are [pairs, dim, frames].

        They are what the quantiser gets, `config.latent_dim` values a frame, at the frame rate of
        the tokens. audio, sample_rate, threads: as for `encode`.
        normalized: to mean 0 and deviation 1 in each dimension, over the corpus that the model's
            scale was fitted on; else as the network gives them.

        The same audio gives the same bits on every machine. Raises as `encode` does, ModelError if
        the model has no scale, and BackendError on another backend than the native one.
        """
        rate = _sample_rate(sample_rate)
        channels = _checked(audio)
        with Workers(_threads(threads)) as workers:
            spans = self._pipeline.encode_latent_blocks(
                in_blocks(channels), rate, workers, normalized=normalized
            )
            return np.concatenate(list(spans), axis=2)

    def decode_latents(
        self,
        latents: npt.ArrayLike,
        *,
        sample_rate: int | None = None,
        n_samples: int | None = None,
        normalized: bool = True,
        threads: int = 1,
    ) -> npt.NDArray[np.float32]:
        """Decode continuous latents to audio float32 [channels, samples].

        Of a model that codes two channels together, each latent gives two channels.

        latents: floats, [dim, frames] or [channels, dim, frames], as `encode_latents` gives them
            or a generative model makes them. normalized: whether they are.
        sample_rate, n_samples: as for `tokens`. threads: as for `encode`.

        The same latents give the same bits on every machine. Raises TokensError on other shapes
        and dtypes and on values that are not finite or too large, ModelError if the model has no
        scale, BackendError on another backend than the native one.
        """
        config = self.config
        rate = config.sample_rate if sample_rate is None else _sample_rate(sample_rate)
        streaming, scale = self._pipeline.streaming, self._pipeline.latent_scale(normalized)
        array = check_latents(latents, config)
        frames = array.shape[2]
        if not frames:
            raise TokensError("no latents: 0 frames")
        most = frames * config.hop_length * rate // config.sample_rate
        length = most if n_samples is None else whole(n_samples, "n_samples", TokensError)
        if not 1 <= length <= most:
            raise TokensError(f"{length} samples; {frames} frames hold 1 to {most}")
        if scale:
            array = np.stack([restored(one, scale) for one in array])
        with Workers(_threads(threads)) as workers:
            spans = decode_latent_spans(streaming, [array], workers)
            decoded = unpaired(spans, len(array) * config.channels, config.channels)
            blocks = list(self._pipeline.at_rate(decoded, rate, length))
        return np.concatenate(blocks, axis=1)

    @overload
    def stream_encoder(
        self,
        *,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        beam: int = 1,
        refine: int = 0,
        latents: Literal[False] = False,
    ) -> StreamEncoder: ...

    @overload
    def stream_encoder(
        self, *, latents: Literal[True], normalized: bool = True
    ) -> LatentStreamEncoder: ...

    def stream_encoder(
        self,
        *,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        beam: int = 1,
        refine: int = 0,
        latents: bool = False,
        normalized: bool = True,
    ) -> StreamEncoder | LatentStreamEncoder:
        """Open a stream that encodes one channel at the model's rate while it arrives.

        Of a model that codes two channels together it has two: pushed and given as [2, samples].

        n_codebooks, bitrate, beam, refine: as for `encode`. Streams share the weights of this
            codec. With `refine` codes come out in windows of 100 frames, each when the audio of
            half a second behind it is there; that push takes as long as the steps of a window.
        latents: give continuous latents, as `encode_latents` does, in place of codes. normalized:
            as there.
        Raises BitrateError, OptionError, or BackendError if the backend does not stream: the native
        one does; ModelError if the model has no scale for its latents.
        """
        search = self._pipeline.search(beam, refine)
        if as_bool(latents, "latents", OptionError):
            if (n_codebooks, bitrate, search) != (None, None, PLAIN):
                raise BitrateError(
                    "latents have no codebooks: leave out n_codebooks, bitrate, beam and refine"
                )
            return LatentStreamEncoder(
                self._pipeline.streaming, self._pipeline.latent_scale(normalized)
            )
        count = self._pipeline.n_codebooks(n_codebooks, bitrate)
        return StreamEncoder(self._pipeline.streaming, count, search.beam, search.refine)

    @overload
    def stream_decoder(
        self, *, postfilter: bool = False, enhance: bool = False, latents: Literal[False] = False
    ) -> StreamDecoder: ...

    @overload
    def stream_decoder(
        self,
        *,
        postfilter: bool = False,
        enhance: bool = False,
        latents: Literal[True],
        normalized: bool = True,
    ) -> LatentStreamDecoder: ...

    def stream_decoder(
        self,
        *,
        postfilter: bool = False,
        enhance: bool = False,
        latents: bool = False,
        normalized: bool = True,
    ) -> StreamDecoder | LatentStreamDecoder:
        """Open a stream that decodes one channel at the model's rate while its codes arrive.

        Of a model that codes two channels together it has two: pushed and given as [2, samples].

        postfilter, enhance: as for `decode`, whose samples the stream's are then, with the default
        model later by 20 ms or by 75 ms. latents: take continuous latents in place of codes.
        normalized: whether they are.
        Raises BackendError if the backend does not stream: the native one does; ModelError if the
        model has no scale for its latents; and as `decode` on what cannot improve the audio.
        """
        post = self._pipeline.improvement(wanted(postfilter=postfilter, enhance=enhance))
        if as_bool(latents, "latents", OptionError):
            scale = self._pipeline.latent_scale(normalized)
            return LatentStreamDecoder(self._pipeline.streaming, scale, post)
        return StreamDecoder(self._pipeline.streaming, post)


def load(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    backend: Literal["native", "torch"] | Backend | None = None,
    device: Any = None,
) -> Codec:
    """Load a model that the package ships, or that of a .safetensors file.

    model: "default", the name of a model in `codec.models()`, or the path of weights. Whichever of
        the shipped models is loaded, it decodes the tokens and files of all of them. Or
        "NAME:SOURCE" for another codec from a folder or the local cache of the Hugging Face hub:
        "encodec:", "mimi:", "dac:", "snac:" or "xcodec2:" (see `codec.adapters`).
    backend: "native", which defines the codec and is exact; "torch", equal to it up to rounding,
        and only as exact as the machine; by default the native one where it is installed and has
        all of the model's layers. Or a `Backend` already made, which is used as it is.
    device: by default the CPU. "cuda" or "cuda:1" runs the native engine on a GPU, with the same
        bits, where codec was installed with CODEC_CUDA=1. The torch backend takes what
        `torch.device` does: "cpu", "cuda", "mps".

    Raises ModelError if the weights are missing or damaged, or cannot run here, BackendError if
    the backend or the device is unknown or not available.
    """
    if backend is None and (adapter := adapter_named(model)):
        return Codec(open_adapter(*adapter, device))
    if backend is None or isinstance(backend, str):
        weights = weights_path(model)
        return Codec(load_backend(weights, backend, device), weights)
    if not isinstance(backend, Backend):
        raise BackendError(
            f"backend is native, torch or a codec.engine.backend.Backend, not {shown(backend)}"
        )
    if device is not None:
        raise BackendError("choose a device or a backend that is made already, not both")
    return Codec(backend)


def _reopened(backend: Backend, weights: str | None, model_id: bytes) -> Codec:
    check_reopened(backend.model_id, model_id)
    return Codec(backend, None if weights is None else weights_path(weights))


def _checked(audio: npt.ArrayLike, place: Place | None = None) -> Audio:
    """Convert `audio` as `as_channels` does, and warn at `place` of what is probably a mistake."""
    channels = as_channels(audio)
    count, samples = channels.shape
    if samples < count:
        warn(
            f"{count} channels of {samples} samples: audio is [channels, samples], perhaps this is"
            " the other way round",
            place,
        )
    if loud := loudness_warning(peak_of(channels)):
        warn(loud, place)
    return channels


def _checked_item(number: int, audio: npt.ArrayLike, place: Place) -> Audio:
    """Convert one of several audios as `_checked` does; an error says which one it is."""
    try:
        return _checked(audio, place)
    except AudioError as error:
        raise AudioError(f"item {number}: {error}") from None


def _sample_rate(sample_rate: Any) -> int:
    rate = whole(sample_rate, "the sample rate", AudioError)
    check_sample_rate(rate)
    return rate


def _threads(threads: Any) -> int:
    count = whole(threads, "threads", OptionError)
    if count < 1:
        raise OptionError(f"{count} threads; at least 1 is needed")
    return count


def _iterable(value: Any) -> bool:
    return hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0


def _items(values: Any, name: str, error: Callable[[str], Exception]) -> list[Any]:
    if isinstance(values, str | bytes) or not _iterable(values):
        raise error(f"{name} must be a list, not {shown(values)}")
    return list(values)
