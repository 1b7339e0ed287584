"""Audio in and out: arrays, files, sample rates.

Inside, audio is float32 [channels, samples] with full scale at ±1. What lies beyond ±1 (a float
WAV may) is kept for coding, and clipped only where 16-bit samples are written.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from codec.errors import AudioError
from codec.model.limits import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE

Audio = npt.NDArray[np.float32]

# fmt: off
READ_SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au",
    ".snd", ".caf", ".w64", ".rf64",
))
# fmt: on
WRITE_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
}

# A float far beyond full scale is a file of integers kept as floats, or garbage; either way the
# network would see nothing of it. 256 is 48 dB above full scale.
MAX_PEAK = 256.0

# What libsndfile carries in most formats.
TAGS = (
    "title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright", "license",
)  # fmt: skip

# WAV counts its bytes in 32 bits; beyond that libsndfile writes RF64, the same with 64.
MAX_WAV_BYTES = 2**32 - 4096

_BLOCK_VALUES = 1 << 18  # read, resampled or written at a time, whatever a header claims
_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM: a write failed, and it does not say why
_NOT_WRITTEN = "cannot write the audio: is the disk full?"


def check_sample_rate(sample_rate: int) -> None:
    """Raises AudioError unless `sample_rate` is one that can be coded."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"a sample rate of {sample_rate} Hz is outside {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        )


def as_channels(audio: npt.ArrayLike) -> Audio:
    """`audio` as float32 [channels, samples], full scale ±1.

    audio: float32, float64 or int16 [samples] or [channels, samples]; int16 is divided by 32768.
    Raises AudioError on another shape or dtype, no samples, NaN or infinity, or a peak above
    `MAX_PEAK`.
    """
    array = np.asarray(audio)
    if array.ndim not in (1, 2):
        raise AudioError(f"audio must be [samples] or [channels, samples], not {array.ndim}-D")
    array = np.atleast_2d(array)
    channels, samples = array.shape
    if channels == 0 or samples == 0:
        raise AudioError("no audio: 0 samples")
    if channels > MAX_CHANNELS:
        raise AudioError(
            f"{channels} channels, at most {MAX_CHANNELS}; audio must be [channels, samples]"
        )
    if array.dtype == np.int16:
        return array.astype(np.float32) / np.float32(32768)
    if array.dtype not in (np.float32, np.float64):
        raise AudioError(f"audio must be float32, float64 or int16, not {array.dtype}")
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32, copy=False)
    # NaN and infinity pass through min and max, so two reductions find both; no temporary.
    peak = max(-float(floats.min()), float(floats.max()))
    if not np.isfinite(peak) or not np.isfinite(floats.min()):
        raise AudioError("audio is not finite: it holds NaN or infinity")
    if peak > MAX_PEAK:
        raise AudioError(f"audio peaks at {peak:.6g}; full scale is 1, so scale it first")
    return floats


def as_int16(audio: Audio) -> npt.NDArray[np.int16]:
    """16-bit samples of `audio`, clipped; the inverse of `as_channels` on int16."""
    scaled: Audio = np.rint(audio * np.float32(32768))
    np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype(np.int16)


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """ceil(n_samples * to_rate / from_rate): the shortest that covers the whole duration."""
    return -(-n_samples * to_rate // from_rate)


def resample_blocks(
    blocks: Iterable[Audio],
    from_rate: int,
    to_rate: int,
    n_samples: int | Callable[[], int] | None = None,
) -> Iterator[Audio]:
    """Blocks [channels, samples] of any length at another rate, by soxr at its quality HQ.

    Gives `n_samples` in all, by default `resampled_length` of what there was; as a function it is
    asked after the last block, and must not be less than what was given by then. How the audio was
    cut into blocks changes no bit: soxr filters sample by sample, each channel by itself. It
    rounds the length itself, and takes what follows the end for silence; zeros appended here let
    it run on as far as we need and change nothing before.
    """
    taken = given = channels = 0
    stream = None
    if from_rate != to_rate:
        import soxr
    for block in itertools.chain.from_iterable(map(in_blocks, blocks)):
        channels, taken = len(block), taken + block.shape[1]
        if from_rate != to_rate:
            stream = stream or soxr.ResampleStream(from_rate, to_rate, channels, quality="HQ")
            block = _chunk(stream, block)
        if isinstance(n_samples, int):
            block = block[:, : n_samples - given]
        given += block.shape[1]
        if block.shape[1]:
            yield block
    if not channels:
        return
    if callable(n_samples):
        n_samples = n_samples()
    if n_samples is None:
        n_samples = resampled_length(taken, from_rate, to_rate)
    rest = np.zeros((channels, 0), np.float32)
    if stream:
        tail = np.zeros((channels, -(-from_rate // to_rate) + 1), np.float32)
        rest = _chunk(stream, tail, last=True)
    if n_samples > given:
        yield fit(rest, n_samples - given)


def _chunk(stream: Any, block: Audio, last: bool = False) -> Audio:
    # soxr takes [samples], or [samples, channels]
    interleaved = np.ascontiguousarray(block.T)
    if len(block) == 1:
        interleaved = interleaved[:, 0]
    resampled: Audio = stream.resample_chunk(interleaved, last=last)
    return np.atleast_2d(resampled.T)


def resample(audio: Audio, from_rate: int, to_rate: int, n_samples: int | None = None) -> Audio:
    """One channel [samples] at another rate: `resample_blocks` of one block."""
    blocks = resample_blocks([audio[None]], from_rate, to_rate, n_samples)
    joined: Audio = np.concatenate([audio[None, :0], *blocks], axis=1)[0]
    return joined


def fit(audio: Audio, n_samples: int) -> Audio:
    """`audio` [..., samples] cut, or continued with silence, to exactly `n_samples`."""
    missing = n_samples - audio.shape[-1]
    if missing <= 0:
        return audio[..., :n_samples]
    return np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, missing)])


def in_blocks(audio: Audio) -> Iterator[Audio]:
    """`audio` [channels, samples] in blocks as small as those that files are read in."""
    step = _block_samples(len(audio))
    for start in range(0, audio.shape[1], step):
        yield audio[:, start : start + step]


def first(blocks: Iterable[Audio], n_samples: int) -> Iterator[Audio]:
    """The first `n_samples` of blocks [channels, samples], all of which are taken."""
    for block in blocks:
        if n_samples:
            yield block[:, :n_samples]
        n_samples -= min(n_samples, block.shape[1])


def after(blocks: Iterable[Audio], n_samples: int) -> Iterator[Audio]:
    """What follows the first `n_samples` of blocks [channels, samples]."""
    for block in blocks:
        if block.shape[1] > n_samples:
            yield block[:, n_samples:]
        n_samples -= min(n_samples, block.shape[1])


def silence(channels: int, n_samples: int) -> Iterator[Audio]:
    """Blocks [channels, samples] of zeros, `n_samples` in all."""
    zeros = np.zeros((channels, min(n_samples, _block_samples(channels))), np.float32)
    while n_samples:
        yield zeros[:, :n_samples]
        n_samples -= min(n_samples, zeros.shape[1])


def _block_samples(channels: int) -> int:
    return max(1, _BLOCK_VALUES // channels)


class AudioReader:
    """Reads audio in any format libsndfile knows, in constant memory.

    Iterate over it, once, for blocks float32 [channels, samples], full scale ±1. The format is
    told by content, not by name. A file object must be seekable. Nothing is done on the word of
    a header: the samples are those that are there, not the number that it claims. Raises
    AudioError, also in the iteration, on what is not audio, is damaged, or cannot be coded (see
    `as_channels`), OSError on a file that cannot be opened.

    start, duration: in seconds, to read that stretch only, or what there is of it.
    """

    def __init__(
        self, source: Path | BinaryIO, start: float = 0.0, duration: float | None = None
    ) -> None:
        import soundfile

        class Sequential(soundfile.SoundFile):  # type: ignore[misc]
            """soundfile seeks after every block, which a FLAC of unknown length (a pipe's)
            refuses."""

            def seekable(self) -> bool:
                return False

        self._error = soundfile.LibsndfileError
        if isinstance(source, Path):
            with source.open("rb"):  # for an OSError that says why
                pass
        try:
            self._file = Sequential(os.fspath(source) if isinstance(source, Path) else source)
        except self._error as error:
            raise AudioError(f"cannot read audio: {_reason(error)}") from None
        except TypeError:
            # soundfile asks for the rate and channels of a file named .raw.
            raise AudioError("raw samples without a header cannot be read") from None
        self.channels = int(self._file.channels)
        self.sample_rate = int(self._file.samplerate)
        self.claimed = int(self._file.frames)  # samples, as the header says: 0 or huge from pipes
        self.n_samples = 0  # read so far, of each channel
        self.tags: dict[str, str] = {
            key: value for key, value in self._file.copy_metadata().items() if key in TAGS
        }
        try:
            check_sample_rate(self.sample_rate)
            if self.channels > MAX_CHANNELS:
                raise AudioError(f"{self.channels} channels, at most {MAX_CHANNELS}")
            if start:
                self._seek(round(start * self.sample_rate))
        except AudioError:
            self._file.close()
            raise
        self._left = None if duration is None else max(1, round(duration * self.sample_rate))

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Audio]:
        while len(block := self._read(self._next())):
            self.n_samples += len(block)
            yield as_channels(block.T)
        if not self.n_samples:
            raise AudioError("no audio: 0 samples")

    def _next(self) -> int:
        """Samples to read now."""
        samples = _block_samples(self.channels)
        return samples if self._left is None else min(samples, self._left - self.n_samples)

    def _seek(self, sample: int) -> None:
        try:
            self._file.seek(sample)
        except self._error:
            raise AudioError(
                f"cannot read from sample {sample}: the audio ends before, or cannot be sought in"
            ) from None

    def _read(self, samples: int) -> npt.NDArray[np.float32]:
        try:
            block: npt.NDArray[np.float32] = self._file.read(samples, "float32", always_2d=True)
        except self._error as error:
            raise AudioError(f"cannot read audio: {_reason(error)}") from None
        return block


def read_audio(source: Path | BinaryIO) -> tuple[Audio, int]:
    """All of a file that `AudioReader` reads: float32 [channels, samples], and its rate in Hz."""
    with AudioReader(source) as reader:
        return np.concatenate(list(reader), axis=1), reader.sample_rate


class AudioWriter:
    """Writes audio block by block, in the format of `suffix`, a key of `WRITE_FORMATS`.

    tags: those of `TAGS` that the format can hold are kept.

    WAV and FLAC take 16-bit samples, clipped at full scale; a WAV that `n_samples` make too long
    for its 32-bit sizes becomes RF64. A file object must be in memory, as libsndfile cannot pass
    on what goes wrong in one.
    Raises AudioError if the format cannot hold so many channels or such a rate, or the disk is
    full.
    """

    def __init__(
        self,
        target: Path | io.BytesIO,
        sample_rate: int,
        channels: int,
        n_samples: int,
        suffix: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        import soundfile

        container, self._subtype = WRITE_FORMATS[suffix]
        if container == "WAV" and 2 * channels * n_samples > MAX_WAV_BYTES:
            container = "RF64"
        self._error = soundfile.LibsndfileError
        self._what = f"{channels} channels at {sample_rate} Hz as {suffix}"
        name = os.fspath(target) if isinstance(target, Path) else target
        with self._reasons():
            self._file = soundfile.SoundFile(
                name, "w", sample_rate, channels, self._subtype, format=container
            )
            for key in TAGS:
                if tags and key in tags:
                    setattr(self._file, key, tags[key])

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        quiet = contextlib.suppress(AudioError) if kind else contextlib.nullcontext()
        with quiet, self._reasons():
            self._file.close()

    def write(self, audio: Audio) -> None:
        """Append `audio` float32 [channels, samples]."""
        for block in in_blocks(audio):
            values = as_int16(block) if self._subtype == "PCM_16" else np.clip(block, -1, 1)
            with self._reasons():
                self._file.write(values.T)

    @contextlib.contextmanager
    def _reasons(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            if error.code == _SYSTEM_ERROR:
                raise AudioError(_NOT_WRITTEN) from None
            raise AudioError(f"cannot write {self._what}: {_reason(error)}") from None
        except AssertionError:
            # soundfile asserts that all was written; libsndfile gives no reason when it was not.
            raise AudioError(_NOT_WRITTEN) from None


def write_audio(target: Path | io.BytesIO, audio: Audio, sample_rate: int, suffix: str) -> None:
    """All of `audio` [channels, samples] by `AudioWriter`."""
    channels, samples = audio.shape
    with AudioWriter(target, sample_rate, channels, samples, suffix) as writer:
        writer.write(audio)


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip()
    return text.removeprefix("Error :").strip().rstrip(".").splitlines()[0].lower()
