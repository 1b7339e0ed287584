"""A model and what lies between it and files: blocks of audio, chunks of codes, coders.

`codec.Codec` is what users call; the commands on files and corpora work with this.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.audio.arrays import Audio, after, first, silence
from codec.audio.resample import resample_blocks, resampled_length
from codec.coders.base import Coder
from codec.engine.backend import (
    Backend,
    StreamingBackend,
    beam_search,
    load_backend,
    refinement,
)
from codec.engine.enhancer import find_enhancer, load_enhancer
from codec.engine.latents import encode_latent_spans
from codec.engine.pairs import paired, unpaired
from codec.engine.post import Post, Wanted
from codec.engine.postfilter import postfilter_at
from codec.engine.refine import MAX_STEPS, PLAIN, Search, refined_spans
from codec.engine.windows import decode_spans, encode_spans
from codec.errors import AudioError, BackendError, BitrateError, ModelError, OptionError
from codec.kernels.rvq_exact import MAX_BEAM
from codec.model.catalogue import release_at, release_of
from codec.model.config import ModelConfig
from codec.model.identity import same_tokens
from codec.model.latent_scale import LatentScale, load_latent_scale
from codec.model.receptive_field import Reach, decoder_reach
from codec.model.weights_file import WeightsFile, changed
from codec.nac.coders import Coders
from codec.nac.layout import Header
from codec.nac.seek import SeekableReader
from codec.support.arguments import as_bool, real, whole
from codec.support.types import Codes
from codec.support.workers import Workers

# Extra samples at the model's rate that are decoded on each side of a stretch, so that the
# resampler's filters and FFT blocks see there what they would see in a full decode.
RESAMPLER_MARGIN = 1 << 15


class Pipeline:
    """A model, block by block, in memory that does not grow with the audio.

    Threads may share it. weights: of `backend`, beside which the data of the entropy coders lie;
    None for a model without any.

    A pipeline of a model that the package ships decodes the files of the others that it ships too:
    `maker` is what decodes a file.
    """

    def __init__(self, backend: Backend, weights: Path | None = None) -> None:
        self.backend = backend
        self.coders = Coders(weights, backend.model_id)
        self._weights = weights
        self._shipped = weights is not None and release_at(weights) is not None

    @property
    def config(self) -> ModelConfig:
        """The dimensions of the model."""
        return self.backend.config

    @property
    def model_id(self) -> bytes:
        """The 8 bytes that name the weights."""
        return self.backend.model_id

    def codebooks_for(self, bitrate: Any) -> int:
        """Return the most codebooks that one channel can have at `bitrate` bits a second; of a
        model that codes two channels together, the bitrate is that of both.

        Raises BitrateError below the rate of one codebook and above that of all.
        """
        bitrate = real(bitrate, "the bitrate", BitrateError)
        config = self.config
        each, most = config.bitrate_per_codebook, config.n_codebooks
        ratio = bitrate / each + 1e-6  # the division may fall short by its last bit
        if not 1 <= ratio <= most + 2e-6:
            hint = ""
            if 1 <= 1000 * bitrate / each + 1e-6 <= most + 2e-6:
                hint = f"; the bitrate is in bit/s: did you mean {1000 * bitrate:g}?"
            raise BitrateError(
                f"no bitrate of {bitrate / 1000:g} kbit/s per"
                f" {'channel' if config.channels == 1 else 'two channels'}; this model has"
                f" {each / 1000:g} to {most * each / 1000:g} in steps of {each / 1000:g}{hint}"
            )
        return int(ratio)

    def n_codebooks(self, n_codebooks: Any = None, bitrate: Any = None) -> int:
        """Return the number of codebooks that is asked for, by at most one of the two.

        Raises BitrateError.
        """
        most = self.config.n_codebooks
        if bitrate is not None:
            if n_codebooks is not None:
                raise BitrateError("choose n_codebooks or a bitrate, not both")
            return self.codebooks_for(bitrate)
        if n_codebooks is None:
            return most
        count = whole(n_codebooks, "n_codebooks", BitrateError)
        if not 1 <= count <= most:
            raise BitrateError(f"{count} codebooks; the model has 1 to {most}")
        return count

    def header(
        self, channels: int, sample_rate: int, n_codebooks: int, *, live: bool = False
    ) -> Header:
        """Make the header of a file with codes of this model; live: its chunks are one frame."""
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
            together=config.channels,
        )

    def coder(self, effort: str | int | None = None) -> Coder:
        """Return what turns codes into the bytes of a file: "raw", "fast", "best", or its number
        in a file; None for the best choice of those that this model has data for.

        Raises OptionError, BackendError, FormatError, ModelError as `codec.coders.find.load_coder`.
        """
        return self.coders.named(effort, self.config.codebook_size)

    def coder_of(self, header: Header) -> Coder:
        """Return the coder of a file.

        Raises ModelError unless a model that is here made the file, with the same data for the
        coder.
        """
        return self.maker(header).coders.of(header)

    def maker(self, header: Header) -> Pipeline:
        """Return the pipeline of the model that made a file.

        That is this one, or, if it is of a model that the package ships, that of another one that
        it ships, loaded once for the process. Raises ModelError if neither made the file.
        """
        if not same_tokens(header.model_id, self.model_id):
            release = release_of(header.model_id)
            if release is None or not self._shipped:
                hint = f"; codec.load({release.name!r}) decodes it" if release else ""
                raise ModelError(
                    f"made with model {header.model_id.hex()}, but this is {self.model_id.hex()}"
                    f"{hint}"
                )
            return _opened(release.weights).maker(header)
        own = self.header(header.channels, header.sample_rate, self.config.n_codebooks)
        if (
            header.n_codebooks > own.n_codebooks
            or header.codebook_size != own.codebook_size
            or header.frame_rate != own.frame_rate
            or header.together != own.together
        ):
            raise ModelError("these tokens have the model's name but other dimensions")
        return self

    def rate_control(self, quality: Any) -> Callable[[Codes], int]:
        """Return how many codebooks a chunk of codes needs for `quality`, 0 to 10: for a
        `codec.nac.writer.Writer`. Raises BitrateError."""
        from codec.engine.rate_control import RateControl

        return RateControl(self.backend).chooser(real(quality, "the quality", BitrateError))

    def search(self, beam: Any = 1, refine: Any = 0) -> Search:
        """Return how codes are searched: by 1 to 64 paths, and refined by up to 1000 steps.

        Raises OptionError on other numbers, BackendError if this backend cannot.
        """
        paths = whole(beam, "the beam", OptionError)
        if not 1 <= paths <= MAX_BEAM:
            raise OptionError(f"a beam is 1 to {MAX_BEAM} paths, not {paths}")
        steps = whole(refine, "refine", OptionError)
        if not 0 <= steps <= MAX_STEPS:
            raise OptionError(f"refine is 0 to {MAX_STEPS} steps, not {steps}")
        if steps:
            refinement(self.backend)
        elif paths > 1:
            beam_search(self.backend)
        return Search(paths, steps)

    def encode_blocks(
        self,
        blocks: Iterable[Audio],
        sample_rate: int,
        n_codebooks: int,
        workers: Workers,
        search: Search = PLAIN,
    ) -> Iterator[Codes]:
        """Encode blocks of audio: codes uint16 [streams, n_codebooks, frames], a span at a time.

        A stream is a channel, or two channels that the model codes together.

        blocks: float32 [channels, samples], one after another, of any length, checked by
            `as_channels`. How they are cut changes no code.
        search: as `search` returned it.
        """
        resampled = resample_blocks(blocks, sample_rate, self.config.sample_rate)
        streams = paired(resampled, self.config.channels)
        if search.refine:
            beam, steps = search
            return refined_spans(self.backend, streams, n_codebooks, steps, workers, beam)
        return encode_spans(self.backend, streams, n_codebooks, workers, search.beam)

    @property
    def streaming(self) -> StreamingBackend:
        """The backend as one that codes audio while it arrives. Raises BackendError."""
        if (streaming := self.backend.streaming) is None:
            raise BackendError("this backend does not code audio while it arrives")
        return streaming

    @functools.cached_property
    def codebooks(self) -> npt.NDArray[np.float32]:
        """The codewords float32 [codebooks, codewords, dim], read-only. Raises ModelError."""
        if self._weights is None:
            raise ModelError("a model without a file of weights gives no codebooks")
        file = WeightsFile(self._weights)
        if file.model_id != self.model_id:
            raise changed(file.name)
        codebooks = file.codebooks
        codebooks.setflags(write=False)
        return codebooks

    def latent_scale(self, normalized: bool = True) -> LatentScale | None:
        """Return what latents are normalised by, None if they are not.

        Raises ModelError, OptionError if `normalized` is no truth value.
        """
        if not as_bool(normalized, "normalized", OptionError):
            return None
        if self._weights is None:
            raise ModelError("this model has no file, and no scale for latents beside it")
        return load_latent_scale(self._weights, self.model_id, self.config.latent_dim)

    def encode_latent_blocks(
        self,
        blocks: Iterable[Audio],
        sample_rate: int,
        workers: Workers,
        *,
        normalized: bool = True,
    ) -> Iterator[Audio]:
        """Encode blocks of audio to latents float32 [streams, dim, frames], a span at a time.

        The arguments are those of `encode_blocks` and of `Codec.encode_latents`. Raises at once
        BackendError, ModelError.
        """
        streaming, scale = self.streaming, self.latent_scale(normalized)
        resampled = resample_blocks(blocks, sample_rate, self.config.sample_rate)
        spans = encode_latent_spans(streaming, paired(resampled, self.config.channels), workers)
        if scale is None:
            return spans
        return (np.stack([scale.normalise(one) for one in span]) for span in spans)

    def improvement(self, post: Wanted | None) -> Post | None:
        """Return what is wanted after the decoder, or None if nothing is.

        Raises BackendError where it cannot run, ModelError if the model has no enhancer, both
        unless that is as usual.
        """
        if post == "postfilter":
            return postfilter_at(self.config.sample_rate)
        if post == "usual":
            return self._usual
        return self._enhancer if post == "enhancer" else None

    @functools.cached_property
    def _usual(self) -> Post | None:
        if self._weights is None:
            return None
        return find_enhancer(self._weights, self.model_id, self.config.sample_rate)

    @functools.cached_property
    def _enhancer(self) -> Post:
        if self._weights is None:
            raise ModelError("a model without a file of weights has no enhancer")
        return load_enhancer(self._weights, self.model_id, self.config.sample_rate)

    def decode_frames(
        self,
        chunks: Iterable[Codes],
        header: Header,
        workers: Workers,
        improvement: Post | None = None,
        skip: int = 0,
    ) -> Iterator[Audio]:
        """Decode to audio float32 [channels, samples] at the model's rate, to the end of the last
        frame.

        chunks: codes uint16 [streams, codebooks, frames] as a `Reader` gives them, with its
            header. skip: samples that are left out at the start. improvement: made of what is left,
            of each channel that the network gives: of a pair that stands for one channel, of both,
            as in a stream. Raises ModelError at once if no model that is here made the codes.
        """
        decoded = decode_spans(self.maker(header).backend, chunks, workers)
        planes = after((block.reshape(-1, block.shape[-1]) for block in decoded), skip)
        if improvement:
            planes = improvement.blocks(planes, workers)
        return unpaired(planes, header.channels, header.together)

    def decode_blocks(
        self,
        chunks: Iterable[Codes],
        header: Header,
        n_samples: int,
        workers: Workers,
        *,
        post: Wanted | None = None,
    ) -> Iterator[Audio]:
        """Decode to audio float32 [channels, samples] at the file's rate, `n_samples` in all.

        post: what improves the audio then. The other arguments are those of `decode_frames`.
        Raises at once as `decode_frames` and `improvement`.
        """
        maker = self.maker(header)
        decoded = maker.decode_frames(chunks, header, workers, maker.improvement(post))
        return maker.at_rate(decoded, header.sample_rate, n_samples)

    def at_rate(
        self, decoded: Iterable[Audio], sample_rate: int, n_samples: int
    ) -> Iterator[Audio]:
        """Resample what `decode_frames` gives to `sample_rate`, `n_samples` in all."""
        own = self.config.sample_rate
        # The last frame may be longer than the audio; the rest of it must not be resampled too.
        length = resampled_length(n_samples, sample_rate, own)
        return resample_blocks(first(decoded, length), own, sample_rate, n_samples)

    def decode_stretch(
        self,
        reader: SeekableReader,
        start: int,
        stop: int,
        workers: Workers,
        *,
        post: Wanted | None = None,
    ) -> Iterator[Audio]:
        """Decode samples [start, stop) of a file, to the bit as `decode_blocks` gives them, which
        describes `post`.

        Only the chunks that the network sees are read and decoded. At another rate than the
        model's, the resampler runs over silence from the start of the file to `start`, which takes
        time in proportion to `start`, though far less than decoding would. soxr filters by FFT in
        blocks that follow one another from the first sample, and rounds a sample by its place in
        its block; it has no documented period at which a later start would give the same bits.
        Raises FormatError, ModelError, BackendError.
        """
        header, maker = reader.header, self.maker(reader.header)
        config = maker.config
        hop, rate, own = config.hop_length, header.sample_rate, config.sample_rate
        length = resampled_length(header.length, rate, own)
        margin = 0 if rate == own else RESAMPLER_MARGIN
        begin = max(0, start * own // rate - margin)
        end = min(length, resampled_length(stop, rate, own) + margin)
        reach = decoder_reach(config)
        improvement = maker.improvement(post)
        seen = improvement.frames(hop) if improvement else Reach(0, 0)
        frame = max(0, begin // hop - reach.before - seen.before)
        frame, chunks = reader.read(frame, -(-end // hop) + reach.after + seen.after)
        at = frame * hop
        skip = -at % improvement.hop if improvement else 0
        decoded = maker.decode_frames(chunks, header, workers, improvement, skip)
        at += skip
        wanted = first(after(decoded, begin - at), end - begin)
        if rate == own:
            return first(wanted, stop - start)
        lead = silence(header.channels, begin)
        resampled = resample_blocks(itertools.chain(lead, wanted), own, rate, stop)
        return after(resampled, start)


@functools.cache
def _opened(weights: Path) -> Pipeline:
    return Pipeline(load_backend(weights, None, None), weights)


def stretch_of(header: Header, start: float, duration: float | None) -> tuple[int, int]:
    """Return the samples [first, last) of a file that lie in a stretch given in seconds.

    duration: may go beyond the end, to any length; None is to the end. Raises AudioError if there
    are none.
    """
    start = real(start, "start", AudioError)
    length = math.inf if duration is None else real(duration, "duration", AudioError)
    n_samples, rate = header.length, header.sample_rate
    if not (start >= 0 and length > 0):
        raise AudioError("a stretch starts at 0 s or later and lasts longer than 0 s")
    first, last = (round(min(time * rate, n_samples)) for time in (start, start + length))
    if first == last:
        raise AudioError(f"no audio in this stretch: the audio is {n_samples / rate:.3f} s long")
    return first, last
