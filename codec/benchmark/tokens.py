"""Measure what tokens are worth to a language model.

How evenly they are used, how well they can be predicted, and whether audio that sounds the same has
the same tokens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.api import Codec
from codec.audio import resample
from codec.benchmark.peers.ffmpeg import Ffmpeg
from codec.engine.native import NativeBackend
from codec.engine.stream import StreamEncoder
from codec.errors import BackendError, ModelError, PeerError
from codec.nac.layout import CHUNK_SECONDS
from codec.quality.pair import Audio
from codec.support.types import Codes

CHUNKINGS = (17, 960, 24_000)  # samples
SHIFT = 1  # sample
NOISE_DB = -60.0  # RMS relative to the clip
GAIN_DB = 0.1
MP3_KBPS = "320"

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Level:
    """The use of one codebook on all clips.

    used: fraction of its codewords that occur. perplexity: 2 to the power of the entropy of their
    frequencies, at most the codebook size. Bits per code: order_0 by these frequencies, tables and
    prior by the codec's entropy coders (None if the weights have none).
    """

    number: int  # from 1, coarsest first
    used: float
    perplexity: float
    order_0: float
    tables: float | None
    prior: float | None


@dataclasses.dataclass(frozen=True)
class Change:
    """An inaudible change of the audio.

    kept: fraction of each level's codes that stay the same. In a residual quantiser a code stays
    only if the codes before it stay, except by chance.
    """

    name: str
    kept: list[float]


@dataclasses.dataclass(frozen=True)
class TokenQuality:
    """The measurements of all clips.

    frame_rate: in Hz. changes_left_out: changes whose tool is not installed, and why. chunkings:
    sizes of the pieces pushed, in samples, with the fraction of codes that stay; 1 by design.
    """

    model_id: str
    clips: int
    frames: int
    frame_rate: float
    codebook_size: int
    levels: list[Level]
    changes: list[Change]
    changes_left_out: dict[str, str]
    chunkings: dict[int, float]

    def bits_per_second(self, coder: str, levels: int) -> float:
        """Return bit/s of the first `levels` codebooks: "raw", "order_0", "tables" or "prior"."""
        if coder == "raw":
            return self.frame_rate * levels * math.ceil(math.log2(self.codebook_size))
        bits = [getattr(level, coder) for level in self.levels[:levels]]
        return self.frame_rate * float(sum(bits))


def token_quality(
    codec: Codec, clips: Sequence[Audio], done: Callable[[], None] = lambda: None
) -> TokenQuality:
    """Measure `clips`, float32 [samples] at the model's rate. done: called after each clip."""
    config, levels = codec.config, codec.config.n_codebooks
    changes, left_out = _changes(config.sample_rate)
    coders = _coders(codec)
    every: list[Codes] = []
    bits = {name: np.zeros(levels) for name in coders}
    kept = {name: np.zeros(levels) for name in changes}
    native = codec.backend if isinstance(codec.backend, NativeBackend) else None
    chunked = dict.fromkeys(CHUNKINGS if native else (), 0)
    for clip in clips:
        codes = codec.encode(clip, config.sample_rate).codes[0]
        every.append(codes)
        for name, change in changes.items():
            other = codec.encode(change(clip), config.sample_rate).codes[0]
            kept[name] += (other[:, : codes.shape[1]] == codes).sum(axis=1)
        for size in chunked:
            assert native is not None
            chunked[size] += int((_streamed(native, clip, size) == codes).sum())
        for name, coder in coders.items():
            for chunk in _chunks(codes, config.frame_rate):
                bits[name] += coder.costs(chunk)[2][0].sum(axis=1, dtype=np.float64)
        done()
    joined = np.concatenate(every, axis=1)
    frames = joined.shape[1]
    shares = [codebook_use(row, config.codebook_size) for row in joined]
    order_0 = order_0_bits(joined, config.codebook_size) / frames
    return TokenQuality(
        codec.model_id.hex(),
        len(clips),
        frames,
        float(config.frame_rate),
        config.codebook_size,
        [
            Level(
                number + 1,
                *shares[number],
                float(order_0[number]),
                *(
                    float(bits[name][number] / frames) if name in coders else None
                    for name in ("tables", "prior")
                ),
            )
            for number in range(levels)
        ],
        [Change(name, (found / frames).tolist()) for name, found in kept.items()],
        left_out,
        {size: count / joined.size for size, count in chunked.items()},
    )


def codebook_use(codes: Codes, codebook_size: int) -> tuple[float, float]:
    """Return the fraction of codewords that occur in `codes` [frames], and their perplexity."""
    counts = np.bincount(codes, minlength=codebook_size)
    shares = counts[counts > 0] / codes.size
    return len(shares) / codebook_size, float(np.exp(-(shares * np.log(shares)).sum()))


def order_0_bits(codes: Codes, codebook_size: int) -> Floats:
    """Return bits per code of each level of `codes` [levels, frames] by the codes' frequencies.

    Corrected for the number of frames: few frames fit themselves too well (Miller & Madow 1955).
    """
    bits = np.zeros(len(codes))
    for level, row in enumerate(codes):
        counts = np.bincount(row, minlength=codebook_size)
        used = counts[counts > 0]
        bits[level] = (used * (np.log2(row.size) - np.log2(used))).sum()
        bits[level] += (len(used) - 1) / (2 * np.log(2))
    return bits


def _changes(sample_rate: int) -> tuple[dict[str, Callable[[Audio], Audio]], dict[str, str]]:
    """Return the changed versions of a clip by name."""

    def shifted(clip: Audio) -> Audio:
        later: Audio = np.pad(clip, (SHIFT, 0))[:-SHIFT]
        return later

    def noisy(clip: Audio) -> Audio:
        generator = np.random.Generator(np.random.Philox(0))
        level = np.sqrt(np.square(clip, dtype=np.float64).mean()) * 10 ** (NOISE_DB / 20)
        noise = level * generator.standard_normal(len(clip))
        return np.asarray(clip + noise, np.float32)

    def louder(clip: Audio) -> Audio:
        return np.asarray(clip * 10 ** (GAIN_DB / 20), np.float32)

    changes: dict[str, Callable[[Audio], Audio]] = {
        f"shift of {SHIFT} sample": shifted,
        f"noise at {NOISE_DB:g} dB": noisy,
        f"gain of {GAIN_DB:g} dB": louder,
    }
    name = f"MP3 at {MP3_KBPS} kbit/s"
    try:
        mp3 = Ffmpeg("mp3", "MP3", "libmp3lame", ".mp3", 48_000, (MP3_KBPS,))
    except PeerError as error:
        return changes, {name: str(error)}

    def through_mp3(clip: Audio) -> Audio:
        coded = mp3.encode(resample(clip, sample_rate, 48_000), MP3_KBPS)
        decoded = mp3.decode(coded.data, MP3_KBPS)
        back: Audio = resample(decoded, 48_000, sample_rate, len(clip))
        return back

    return {**changes, name: through_mp3}, {}


def _coders(codec: Codec) -> dict[str, Any]:
    """Return the coders that the weights have data for, with their `costs`."""
    found = {}
    for name, effort in (("tables", "fast"), ("prior", "best")):
        with contextlib.suppress(BackendError, ModelError):
            found[name] = codec.pipeline.coder(effort)
    return found


def _chunks(codes: Codes, frame_rate: float) -> Iterator[Codes]:
    """Cut codes into chunks as a file has them."""
    frames = round(CHUNK_SECONDS * frame_rate)
    for at in range(0, codes.shape[1], frames):
        yield np.ascontiguousarray(codes[None, :, at : at + frames])


def _streamed(backend: NativeBackend, clip: Audio, size: int) -> Codes:
    encoder = StreamEncoder(backend)
    parts = [encoder.push(clip[at : at + size]) for at in range(0, len(clip), size)]
    return np.concatenate([*parts, encoder.flush()], axis=-1)
