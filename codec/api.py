"""The codec as Python sees it: arrays to tokens or bytes, and back."""

from __future__ import annotations

import functools
import io
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from codec import audio as audio_
from codec.coders.base import Coder
from codec.coders.find import load_coder
from codec.engine.backend import DEFAULT_WEIGHTS, Backend, load_backend
from codec.engine.windows import decode_spans, encode_spans
from codec.errors import AudioError, BackendError, BitrateError, ModelError
from codec.model.config import ModelConfig
from codec.model.identity import same_tokens
from codec.model.receptive_field import decoder_reach
from codec.nac.layout import Header
from codec.nac.reader import Codes, Reader
from codec.nac.seek import SeekableReader
from codec.support.workers import Workers
from codec.tokens import Tokens, header_of, write_tokens

# Samples at the model's rate on either side of a stretch, for the resampler: beyond its filters and
# the blocks in which it transforms them.
RESAMPLER_MARGIN = 1 << 15


class Codec:
    """A model, ready to encode and decode. Made by `codec.load`."""

    def __init__(self, backend: Backend, weights: Path | None = None) -> None:
        self._backend = backend
        self._weights = weights
        self._coders: dict[str | int | None, Coder] = {}

    @property
    def backend(self) -> Backend:
        """What runs the network."""
        return self._backend

    @property
    def config(self) -> ModelConfig:
        """The dimensions of the model: sample and frame rate, codebooks."""
        return self._backend.config

    @property
    def model_id(self) -> bytes:
        """The 8 bytes that name the weights."""
        return self._backend.model_id

    def codebooks_for(self, bitrate: float) -> int:
        """The most codebooks that one channel can have at `bitrate` bits a second.

        Raises BitrateError below the rate of one codebook and above that of all.
        """
        config = self.config
        each, most = config.bitrate_per_codebook, config.n_codebooks
        ratio = bitrate / each + 1e-6  # for what the division misses by its last bit
        if not 1 <= ratio <= most + 2e-6:
            choices = ", ".join(f"{n * each / 1000:g}" for n in range(1, most + 1))
            raise BitrateError(
                f"{bitrate / 1000:g} kbit/s a channel is not to be had; choose from {choices}"
            )
        return int(ratio)

    def encode(
        self,
        audio: npt.ArrayLike,
        sample_rate: int,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        threads: int = 1,
    ) -> Tokens:
        """Tokens of `audio`, each channel by itself.

        audio: float32 or float64 with full scale ±1, or int16; [samples] or [channels, samples],
            1 to 255 channels. Values beyond ±1 are coded as they are.
        sample_rate: of `audio`, in Hz. Another rate than the model's is resampled (soxr, HQ).
        n_codebooks, bitrate: at most one of them; the bitrate in bits a second for one channel
            stands for the most codebooks that fit. By default all codebooks.
        threads: over which long audio and channels are spread; the tokens stay the same.

        The tokens have exactly ceil(r / config.hop_length) frames, where r = ceil(samples *
        config.sample_rate / sample_rate). Raises AudioError or BitrateError.
        """
        rate = _integer_rate(sample_rate)
        channels = audio_.as_channels(audio)
        count = self._n_codebooks(n_codebooks, bitrate)
        with Workers(_positive(threads)) as workers:
            codes = list(self.encode_blocks(audio_.in_blocks(channels), rate, count, workers))
        return Tokens(
            codes=np.concatenate(codes, axis=2),
            frame_rate=self.config.frame_rate,
            n_samples=channels.shape[1],
            sample_rate=rate,
            codebook_size=self.config.codebook_size,
            model_id=self.model_id,
        )

    def decode(self, tokens: Tokens, threads: int = 1) -> npt.NDArray[np.float32]:
        """Audio float32 [channels, tokens.n_samples] at `tokens.sample_rate`, full scale ±1.

        threads: as for `encode`; the samples stay the same.
        Raises ModelError if another model made the tokens.
        """
        header = header_of(tokens)
        step = header.frames_per_chunk
        chunks = (tokens.codes[:, :, i : i + step] for i in range(0, tokens.n_frames, step))
        audio = np.empty((tokens.channels, tokens.n_samples), np.float32)
        filled = 0
        with Workers(_positive(threads)) as workers:
            for block in self.decode_blocks(chunks, header, tokens.n_samples, workers):
                audio[:, filled : filled + block.shape[1]] = block
                filled += block.shape[1]
        return audio

    def encode_batch(
        self,
        audios: Sequence[npt.ArrayLike],
        sample_rates: int | Sequence[int],
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        threads: int = 1,
    ) -> list[Tokens]:
        """`encode` of every item, the items spread over `threads` threads.

        audios: of any lengths and numbers of channels; there is no padding. sample_rates: one for
        each, or one for all. The tokens of an item do not depend on the others, their order or
        `threads`. Raises as `encode` does, and AudioError unless there is a rate for each item.
        """
        rates = [sample_rates] * len(audios) if isinstance(sample_rates, int) else sample_rates
        if len(rates) != len(audios):
            raise AudioError(f"{len(rates)} sample rates for {len(audios)} items")
        with Workers(_positive(threads)) as workers:
            return list(
                workers.run(
                    functools.partial(self.encode, audio, rate, n_codebooks, bitrate)
                    for audio, rate in zip(audios, rates, strict=True)
                )
            )

    def decode_batch(
        self, items: Sequence[Tokens], threads: int = 1
    ) -> list[npt.NDArray[np.float32]]:
        """`decode` of every item, the items spread over `threads` threads."""
        with Workers(_positive(threads)) as workers:
            return list(workers.run(functools.partial(self.decode, tokens) for tokens in items))

    def header(
        self, channels: int, sample_rate: int, n_codebooks: int, *, live: bool = False
    ) -> Header:
        """The header of a file with codes of this model; live: its chunks are one frame long."""
        config = self.config
        rate = Fraction(config.sample_rate, config.hop_length)
        return Header.make(
            channels=channels,
            n_codebooks=n_codebooks,
            codebook_size=config.codebook_size,
            frame_rate=rate,
            sample_rate=sample_rate,
            model_id=self.model_id,
            live=live,
        )

    def coder(self, effort: str | int | None = None) -> Coder:
        """What turns codes into the bytes of a file: "raw", "fast", "best", or its number in a
        file; None for the best choice of those that this model has data for.

        Raises BackendError, FormatError, ModelError as `codec.coders.find.load_coder`.
        """
        if effort not in self._coders:
            coder = load_coder(effort, self.config.codebook_size, self._weights, self.model_id)
            self._coders[effort] = coder
        return self._coders[effort]

    def coder_of(self, header: Header) -> Coder:
        """The coder of a file. Raises ModelError unless this model, with the coder's data as they
        are here, made it."""
        self._check_model(header)
        coder = self.coder(header.coder_id)
        if coder.tables_id != header.tables_id:
            raise ModelError(
                f"coded with tables {header.tables_id.hex()}, but here are {coder.tables_id.hex()}"
            )
        return coder

    def rate_control(self, quality: float) -> Callable[[Codes], int]:
        """How many codebooks a chunk of codes needs for `quality`, 0 to 10: for a
        `codec.nac.writer.Writer`. Raises BitrateError."""
        from codec.engine.rate_control import RateControl

        return RateControl(self._backend).chooser(quality)

    def encode_blocks(
        self, blocks: Iterable[audio_.Audio], sample_rate: int, n_codebooks: int, workers: Workers
    ) -> Iterator[Codes]:
        """What `encode` does, in constant memory.

        blocks: float32 [channels, samples], one after another, of any length, checked by
            `codec.audio.as_channels`.

        Gives the codes uint16 [channels, n_codebooks, frames] a span at a time; joined they are
        those of `encode`.
        """
        resampled = audio_.resample_blocks(blocks, sample_rate, self.config.sample_rate)
        return encode_spans(self._backend, resampled, n_codebooks, workers)

    def decode_frames(
        self, chunks: Iterable[Codes], header: Header, workers: Workers
    ) -> Iterator[audio_.Audio]:
        """Audio float32 [channels, samples] at the model's rate, whole frames of it, in constant
        memory.

        chunks: codes uint16 [channels, codebooks, frames] as a `Reader` gives them, with
            its header. Raises ModelError at once if another model made the codes.
        """
        self._check_model(header)
        return decode_spans(self._backend, chunks, workers)

    def decode_blocks(
        self, chunks: Iterable[Codes], header: Header, n_samples: int, workers: Workers
    ) -> Iterator[audio_.Audio]:
        """What `decode` does, in constant memory: float32 [channels, samples], `n_samples` in all,
        from the same arguments as those of `decode_frames`."""
        decoded = self.decode_frames(chunks, header, workers)
        return self.at_rate(decoded, header.sample_rate, n_samples)

    def decode_stretch(
        self, reader: SeekableReader, start: int, stop: int, workers: Workers
    ) -> Iterator[audio_.Audio]:
        """Samples [start, stop) of a file, to the bit as `decode_blocks` gives them.

        Only the chunks are read that the network sees. Raises FormatError, ModelError.
        """
        header, config = reader.header, self.config
        hop, rate, own = config.hop_length, header.sample_rate, config.sample_rate
        length = audio_.resampled_length(header.length, rate, own)
        margin = 0 if rate == own else RESAMPLER_MARGIN
        first = max(0, start * own // rate - margin)
        last = min(length, audio_.resampled_length(stop, rate, own) + margin)
        reach = decoder_reach(config)
        frame = max(0, first // hop - reach.before)
        frame, chunks = reader.read(frame, -(-last // hop) + reach.after)
        decoded = self.decode_frames(chunks, header, workers)
        wanted = audio_.first(audio_.after(decoded, first - frame * hop), last - first)
        if rate == own:
            return audio_.first(wanted, stop - start)
        # Silence in place of what is before: the resampler's filter does not reach that far, and
        # works on blocks of samples whose phase must be that of the whole.
        lead = audio_.silence(header.channels, first)
        resampled = audio_.resample_blocks(itertools.chain(lead, wanted), own, rate, stop)
        return audio_.after(resampled, start)

    def at_rate(
        self, decoded: Iterable[audio_.Audio], sample_rate: int, n_samples: int
    ) -> Iterator[audio_.Audio]:
        """What `decode_frames` gives, at `sample_rate` and `n_samples` long."""
        own = self.config.sample_rate
        # What fills up the last frame is not of the audio, and must not be resampled into it.
        length = audio_.resampled_length(n_samples, sample_rate, own)
        return audio_.resample_blocks(audio_.first(decoded, length), own, sample_rate, n_samples)

    def compress(
        self,
        audio: npt.ArrayLike,
        sample_rate: int,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        threads: int = 1,
        *,
        effort: str | None = None,
        quality: float | None = None,
    ) -> bytes:
        """`audio` as the bytes of a .nac file; the arguments are those of `encode`, and

        effort: how the codes are packed, as for `coder`; they stay the same.
        quality: 0 to 10, in place of n_codebooks and bitrate: as many codebooks in each chunk as
            that takes.
        """
        if quality is not None and (n_codebooks, bitrate) != (None, None):
            raise BitrateError("choose a quality or a bitrate, not both")
        choose = None if quality is None else self.rate_control(quality)
        file = io.BytesIO()
        tokens = self.encode(audio, sample_rate, n_codebooks, bitrate, threads)
        write_tokens(file, tokens, self.coder(effort), choose)
        return file.getvalue()

    def decompress(
        self, data: bytes, threads: int = 1, *, start: float = 0, duration: float | None = None
    ) -> tuple[npt.NDArray[np.float32], int]:
        """Audio float32 [channels, samples] and its rate in Hz from the bytes of a .nac file.

        start, duration: in seconds, to restore that stretch only, to the bit as in the whole. Then
            damage elsewhere is not noticed.
        Raises FormatError on damaged bytes, ModelError if another model made them, AudioError if
        nothing lies in the stretch.
        """
        file = io.BytesIO(data)
        with Workers(_positive(threads)) as workers:
            if start or duration is not None:
                seekable = SeekableReader(file, self.coder_of)
                stretch = stretch_of(seekable.header, start, duration)
                blocks = list(self.decode_stretch(seekable, *stretch, workers))
                return np.concatenate(blocks, axis=1), seekable.header.sample_rate
            reader = Reader(file, self.coder_of)
            chunks = list(reader.decoded(workers))
            header = reader.finish()
            blocks = list(self.decode_blocks(chunks, header, header.length, workers))
        return np.concatenate(blocks, axis=1), header.sample_rate

    def _n_codebooks(self, n_codebooks: int | None, bitrate: float | None) -> int:
        if bitrate is not None:
            if n_codebooks is not None:
                raise BitrateError("choose a bitrate or a number of codebooks, not both")
            return self.codebooks_for(bitrate)
        if n_codebooks is None:
            return self.config.n_codebooks
        if not 1 <= n_codebooks <= self.config.n_codebooks:
            raise BitrateError(
                f"{n_codebooks} codebooks; the model has 1 to {self.config.n_codebooks}"
            )
        return operator.index(n_codebooks)

    def _check_model(self, header: Header) -> None:
        if not same_tokens(header.model_id, self.model_id):
            raise ModelError(
                f"made with model {header.model_id.hex()}, but this is {self.model_id.hex()}"
            )
        own = self.header(header.channels, header.sample_rate, self.config.n_codebooks)
        if (
            header.n_codebooks > own.n_codebooks
            or header.codebook_size != own.codebook_size
            or header.frame_rate != own.frame_rate
        ):
            raise ModelError("these tokens bear the model's name but not its dimensions")


def load(
    model: str | Path = "default", backend: Literal["native", "torch"] | Backend | None = None
) -> Codec:
    """A codec with the weights that the package ships, or those of a .safetensors file.

    model: "default" or the path of the weights.
    backend: "native", which defines the codec and is exact; "torch", equal to it up to rounding,
        and only as exact as the machine; by default the native one where it is installed and has
        all of the model's parts. Or an engine already made, used as it is.

    Raises ModelError if the weights are missing or damaged, or cannot run here, BackendError if
    the backend is unknown or not installed.
    """
    if backend is None or isinstance(backend, str):
        weights = DEFAULT_WEIGHTS if model == "default" else Path(model)
        return Codec(load_backend(weights, backend), weights)
    return Codec(backend)


def stretch_of(header: Header, start: float, duration: float | None) -> tuple[int, int]:
    """Samples [start, stop) of the file that lie in a stretch given in seconds.

    Raises AudioError if there are none.
    """
    n_samples, rate = header.n_samples or 0, header.sample_rate
    if not 0 <= start < math.inf or not 0 < (1 if duration is None else duration) < math.inf:
        raise AudioError("a stretch starts at 0 s or later and lasts longer than 0 s")
    first = min(round(start * rate), n_samples)
    last = n_samples if duration is None else min(round((start + duration) * rate), n_samples)
    if first == last:
        raise AudioError(f"nothing lies there: the audio is {n_samples / rate:.3f} s long")
    return first, last


def _integer_rate(sample_rate: int) -> int:
    try:
        rate = operator.index(sample_rate)
    except TypeError:
        raise AudioError(f"the sample rate must be whole Hz, not {sample_rate!r}") from None
    audio_.check_sample_rate(rate)
    return rate


def _positive(threads: int) -> int:
    if threads < 1:
        raise BackendError(f"{threads} threads; at least 1 is needed")
    return operator.index(threads)
