"""Audio in and out: arrays, files, sample rates.

Inside, audio is float32 [channels, samples] with full scale at ±1. What lies beyond ±1 (a float
WAV may) is kept for coding, and clipped only where 16-bit samples are written.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from codec.errors import AudioError
from codec.tokens import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE

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

# WAV counts its bytes in 32 bits; beyond that libsndfile writes RF64, the same with 64.
MAX_WAV_BYTES = 2**32 - 4096

_BLOCK_VALUES = 1 << 20  # read or written at a time, whatever a header claims
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


def resample(audio: Audio, from_rate: int, to_rate: int, n_samples: int | None = None) -> Audio:
    """One channel [samples] at another rate, by soxr at its quality HQ.

    Gives `n_samples`, by default `resampled_length`. soxr itself rounds the length, and takes
    what follows the end for silence; zeros appended here let it run on as far as we need and
    change nothing before.
    """
    if n_samples is None:
        n_samples = resampled_length(len(audio), from_rate, to_rate)
    if from_rate == to_rate:
        return fit(audio, n_samples)
    import soxr

    tail = np.zeros(-(-from_rate // to_rate) + 1, np.float32)
    resampled: Audio = soxr.resample(np.concatenate([audio, tail]), from_rate, to_rate, "HQ")
    return fit(resampled, n_samples)


def fit(audio: Audio, n_samples: int) -> Audio:
    """`audio` [samples] cut, or continued with silence, to exactly `n_samples`."""
    missing = n_samples - len(audio)
    return audio[:n_samples] if missing <= 0 else np.pad(audio, (0, missing))


def read_audio(source: Path | BinaryIO) -> tuple[Audio, int]:
    """Audio float32 [channels, samples] and its rate in Hz, in any format libsndfile knows.

    The format is told by content, not by name. A file object must be seekable. Memory grows with
    the samples that are there, not with the number that a header claims. Raises AudioError on
    what is not audio, is damaged, or cannot be coded (see `as_channels`), OSError on a file that
    cannot be opened.
    """
    import soundfile

    class Sequential(soundfile.SoundFile):  # type: ignore[misc]
        """soundfile seeks after every block, which a FLAC of unknown length (a pipe's) refuses."""

        def seekable(self) -> bool:
            return False

    if isinstance(source, Path):
        with source.open("rb"):  # for an OSError that says why
            pass
    try:
        with Sequential(os.fspath(source) if isinstance(source, Path) else source) as file:
            channels, rate = int(file.channels), int(file.samplerate)
            check_sample_rate(rate)
            if channels > MAX_CHANNELS:
                raise AudioError(f"{channels} channels, at most {MAX_CHANNELS}")
            blocks = []
            while len(block := file.read(_BLOCK_VALUES // channels, "float32", always_2d=True)):
                blocks.append(block.T)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"cannot read audio: {_reason(error)}") from None
    except TypeError:
        # soundfile asks for the rate and channels of a file named .raw.
        raise AudioError("raw samples without a header cannot be read") from None
    if not blocks:
        raise AudioError("no audio: 0 samples")
    return as_channels(np.concatenate(blocks, axis=1)), rate


def write_audio(target: Path | io.BytesIO, audio: Audio, sample_rate: int, suffix: str) -> None:
    """Write `audio` [channels, samples] in the format of `suffix`, a key of `WRITE_FORMATS`.

    WAV and FLAC take 16-bit samples, clipped at full scale. A file object must be in memory, as
    libsndfile cannot pass on what goes wrong in one.
    Raises AudioError if the format cannot hold so many channels or such a rate, or the disk is
    full.
    """
    import soundfile

    container, subtype = WRITE_FORMATS[suffix]
    channels, samples = audio.shape
    if container == "WAV" and 2 * channels * samples > MAX_WAV_BYTES:
        container = "RF64"
    name = os.fspath(target) if isinstance(target, Path) else target
    try:
        with soundfile.SoundFile(
            name, "w", sample_rate, channels, subtype, format=container
        ) as file:
            step = max(1, _BLOCK_VALUES // channels)
            for start in range(0, samples, step):
                block = audio[:, start : start + step].T
                file.write(as_int16(block) if subtype == "PCM_16" else np.clip(block, -1, 1))
    except soundfile.LibsndfileError as error:
        if error.code == _SYSTEM_ERROR:
            raise AudioError(_NOT_WRITTEN) from None
        raise AudioError(
            f"cannot write {channels} channels at {sample_rate} Hz as {suffix}: {_reason(error)}"
        ) from None
    except AssertionError:
        # soundfile asserts that all was written; libsndfile gives no reason when it was not.
        raise AudioError(_NOT_WRITTEN) from None


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip()
    return text.removeprefix("Error :").strip().rstrip(".").splitlines()[0].lower()
