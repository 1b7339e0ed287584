"""Arrays of audio: float32 [channels, samples], full scale at ±1.

What lies beyond ±1 (a float WAV may hold it) is kept for coding, and clipped only where 16-bit
samples are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import AudioError
from codec.model.limits import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from codec.support.arguments import SparseError, as_array, to_float32

Audio = npt.NDArray[np.float32]

# Floats far beyond full scale are integers stored as floats, or garbage. The network cannot code
# either. 256 is 48 dB above full scale.
MAX_PEAK = 256.0

_BLOCK_VALUES = 1 << 18  # read, resampled or written at a time, whatever a header claims


def check_sample_rate(sample_rate: int) -> None:
    """Check that `sample_rate` can be coded. Raises AudioError."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"a sample rate of {sample_rate} Hz is outside {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        )


def as_channels(audio: npt.ArrayLike) -> Audio:
    """Convert to float32 [channels, samples], full scale ±1.

    audio: [samples] or [channels, samples], as for `as_float32`.
    Raises AudioError on another shape or dtype, no samples, NaN or infinity, or a peak above
    `MAX_PEAK`.
    """
    array = native_array(audio)
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
    return as_samples(array)


def as_samples(audio: npt.ArrayLike) -> Audio:
    """Convert samples of any shape, no samples too, as `as_float32` does, and check them.

    Raises AudioError on another dtype, NaN or infinity, or a peak above `MAX_PEAK`.
    """
    array = native_array(audio)
    floats = as_float32(array)
    if array.dtype == np.int16 or not array.size:
        return floats
    # NaN and infinity pass through min and max, so two reductions find both; no temporary.
    peak = peak_of(floats)
    if not np.isfinite(peak) or not np.isfinite(floats.min()):
        raise AudioError("audio is not finite: it holds NaN or infinity")
    if peak > MAX_PEAK:
        raise AudioError(_too_loud(peak))
    return floats


def as_float32(audio: npt.ArrayLike) -> Audio:
    """Convert samples of any shape to float32 with full scale ±1, in this machine's byte order.

    audio: floats of 16, 32 or 64 bits (bfloat16 too), or int16, which is divided by 32768: a NumPy
        array of either byte order, nested lists, or a PyTorch tensor, without its gradient.
    Raises AudioError on everything else, and on float64 beyond the range of float32.
    """
    array = native_array(audio)
    if array.dtype == np.int16:
        return array.astype(np.float32) / np.float32(32768)
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise AudioError(f"audio must be floats or int16, not {array.dtype}")
    return narrowed(array)


def narrowed(floats: npt.NDArray[Any]) -> Audio:
    """Convert floats of any width to float32; NaN and infinity stay.

    Raises AudioError on numbers beyond its range, which would become infinity.
    """
    narrow = to_float32(floats)
    if floats.dtype.itemsize > 4:
        lost = floats[np.isinf(narrow) & np.isfinite(floats)]
        if lost.size:
            raise AudioError(_too_loud(peak_of(lost)))
    return narrow


def _too_loud(peak: float) -> str:
    return f"audio peaks at {peak:.6g}; full scale is 1, so scale it first"


def native_array(audio: npt.ArrayLike) -> npt.NDArray[Any]:
    """Convert `audio` to an array of any shape and dtype, in this machine's byte order.

    Raises AudioError on what is no array.
    """
    given: Any = audio
    try:
        array = as_array(given)
    except SparseError as error:
        raise AudioError(f"audio is {error}") from None
    except ValueError as error:
        if hasattr(given, "detach"):
            raise AudioError(
                f"audio must be floats or int16, not {given.dtype} on {given.device}"
            ) from None
        raise AudioError(f"audio is no array, or its channels differ in length: {error}") from None
    # `newbyteorder` gives the native type of what a big-endian file or machine wrote.
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def peak_of(audio: npt.NDArray[Any]) -> float:
    """Return the largest magnitude in `audio`, which is not empty."""
    return max(-float(audio.min()), float(audio.max()))


def as_int16(audio: Audio) -> npt.NDArray[np.int16]:
    """Convert `audio` to clipped 16-bit samples; the inverse of `as_channels` on int16."""
    scaled: Audio = np.rint(audio * np.float32(32768))
    np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype(np.int16)


def fit(audio: Audio, n_samples: int) -> Audio:
    """Cut `audio` [..., samples], or continue it with silence, to exactly `n_samples`."""
    missing = n_samples - audio.shape[-1]
    if missing <= 0:
        return audio[..., :n_samples]
    return np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, missing)])


def in_blocks(audio: Audio) -> Iterator[Audio]:
    """Cut `audio` [channels, samples] into blocks of the size in which files are read."""
    step = block_samples(len(audio))
    for start in range(0, audio.shape[1], step):
        yield audio[:, start : start + step]


def first(blocks: Iterable[Audio], n_samples: int) -> Iterator[Audio]:
    """Give the first `n_samples` of blocks [channels, samples]; all blocks are consumed."""
    for block in blocks:
        if n_samples:
            yield block[:, :n_samples]
        n_samples -= min(n_samples, block.shape[1])


def after(blocks: Iterable[Audio], n_samples: int) -> Iterator[Audio]:
    """Give what follows the first `n_samples` of blocks [channels, samples]."""
    for block in blocks:
        if block.shape[1] > n_samples:
            yield block[:, n_samples:]
        n_samples -= min(n_samples, block.shape[1])


def silence(channels: int, n_samples: int) -> Iterator[Audio]:
    """Give blocks [channels, samples] of zeros, `n_samples` in all."""
    zeros = np.zeros((channels, min(n_samples, block_samples(channels))), np.float32)
    while n_samples:
        yield zeros[:, :n_samples]
        n_samples -= min(n_samples, zeros.shape[1])


def block_samples(channels: int) -> int:
    """Return how many samples of each channel are read, resampled or written at a time."""
    return max(1, _BLOCK_VALUES // channels)
