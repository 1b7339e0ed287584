"""Decode one audio file to mono or stereo int16 at a sample rate, and measure it on the way.

Needs numpy, soundfile and soxr only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import soxr

from codec.audio import AudioReader
from codec.errors import AudioError, DataError
from codec.support.shortage import is_shortage

FULL_SCALE = 32_768
PEAK_LIMIT = 4.0  # lossy decoders overshoot full scale a little; more is not audio at this scale

# Bands of the average spectrum that tell a full-band recording, in Hz. The gaps keep the skirts of
# an 8 kHz low-pass and of the resampler's own out of both.
BODY_BAND = (4_000.0, 7_000.0)
UPPER_BAND = (8_500.0, 11_000.0)
# The power density of the upper band under that of the body from which a file counts as full-band.
# Measured on 23 sources: -17 dB and more where there is real treble, -57 dB and less where not.
FULL_BAND_DB = -35.0
SPECTRUM_SIZE = 1024


class Unusable(Exception):
    """An audio file to leave out; the message, of one line, says why.

    unread: whether the file could not be read, so that its audio may be lost.
    """

    def __init__(self, message: str, unread: bool = False) -> None:
        super().__init__(message)
        self.unread = unread


def decode(path: Path, audio: IO[bytes], sample_rate: int, channels: int = 1) -> dict[str, Any]:
    """Write the samples of `path` to `audio` as little-endian int16, from where it stands.

    channels: 1, the average of the file's channels; or 2, left and right in turn, the first two
        channels of the file, or twice that of a file of one.

    Returns what an AudioEntry says of them: samples, source_sample_rate, source_channels,
    full_band, peak and rms, and `warning` if something of the file is missing or damaged. Raises
    Unusable if the file is unreadable, empty, silent, not finite or far over full scale; `audio`
    may have some of its samples by then.
    """
    try:
        return _decode(path, audio, sample_rate, channels)
    except (AudioError, DataError) as error:
        raise Unusable(str(error)) from error


def _decode(path: Path, audio: IO[bytes], sample_rate: int, channels: int) -> dict[str, Any]:
    spectrum = Spectrum()
    samples, peak, energy = 0, 0.0, 0.0
    with _reading(path) as reader:
        for block in _blocks(reader, sample_rate, channels):
            if not np.isfinite(block).all():
                raise DataError("it has samples that are not finite")
            peak = max(peak, float(np.abs(block).max(initial=0)))
            if peak > PEAK_LIMIT:
                raise DataError(f"its peak is {peak:.3g} times full scale")
            spectrum.add(block if block.ndim == 1 else block.mean(axis=1))
            samples += len(block)
            energy += float(np.square(block, dtype=np.float64).sum())
            scaled = np.rint(block * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1)
            audio.write(scaled.astype("<i2").tobytes())
        if not samples:
            raise DataError("it is empty")
        if peak * FULL_SCALE <= 0.5:
            raise DataError("it is silent")
        entry = {
            "samples": samples,
            "source_sample_rate": reader.sample_rate,
            "source_channels": reader.channels,
            "full_band": is_full_band(spectrum, sample_rate),
            "peak": round(peak, 6),
            "rms": round((energy / (samples * channels)) ** 0.5, 6),
        }
        return entry | ({"warning": "; ".join(reader.warnings)} if reader.warnings else {})


def _unread(error: OSError) -> OSError | Unusable:
    """Return what to raise: of what the machine is short of, the error, which ends the work."""
    if is_shortage(error):
        return error
    return Unusable((error.strerror or str(error)).lower(), unread=True)


def _reading(path: Path) -> AudioReader:
    try:
        return AudioReader(path)
    except OSError as error:
        raise _unread(error) from error


def _blocks(
    reader: AudioReader, sample_rate: int, channels: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Read the file as [samples], or [samples, 2], in blocks of some seconds at most."""
    own = reader.sample_rate
    stream = (
        soxr.ResampleStream(own, sample_rate, channels, dtype="float32", quality="VHQ")
        if own != sample_rate
        else None
    )
    blocks = iter(reader)
    while True:
        try:
            block = next(blocks, None)
        except OSError as error:
            raise _unread(error) from error
        if block is None:
            break
        mixed = block.mean(axis=0) if channels == 1 else as_pair(block).T
        yield mixed if stream is None else stream.resample_chunk(np.ascontiguousarray(mixed))
    if stream is not None:
        nothing = np.zeros((0,) if channels == 1 else (0, channels), np.float32)
        yield stream.resample_chunk(nothing, last=True)


def as_pair(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Give two channels [2, samples]: the first two of `audio` [channels, samples], or its one."""
    return audio[:2] if len(audio) > 1 else np.repeat(audio, 2, axis=0)


class Spectrum:
    """The average power spectrum of a signal that arrives in pieces, however it is cut."""

    def __init__(self) -> None:
        self._window = np.hanning(SPECTRUM_SIZE + 1)[:-1].astype(np.float32)
        self._rest = np.zeros(0, np.float32)
        self._power = np.zeros(SPECTRUM_SIZE // 2 + 1)

    def add(self, piece: npt.NDArray[np.float32]) -> None:
        joined = np.concatenate([self._rest, piece])
        whole = len(joined) // SPECTRUM_SIZE * SPECTRUM_SIZE
        frames = joined[:whole].reshape(-1, SPECTRUM_SIZE) * self._window
        self._power += np.square(np.abs(np.fft.rfft(frames, axis=1))).sum(axis=0)
        self._rest = joined[whole:]

    def band(self, low: float, high: float, sample_rate: int) -> float:
        """Compute the mean power of the bins from `low` to `high` Hz, in the same unit for all."""
        bins = np.fft.rfftfreq(SPECTRUM_SIZE, 1 / sample_rate)
        chosen = (bins >= low) & (bins < high)
        return float(self._power[chosen].mean()) if chosen.any() else 0.0


def is_full_band(spectrum: Spectrum, sample_rate: int) -> bool:
    """Tell whether the average power density in 8.5-11 kHz is within 35 dB of that in 4-7 kHz.

    A recording that was once sampled at 16 kHz has next to nothing there, at any rate it is stored
    at. Always false below a sample rate of 22 kHz.
    """
    if sample_rate < 2 * UPPER_BAND[1]:
        return False
    upper = spectrum.band(*UPPER_BAND, sample_rate)
    return upper > 0 and upper >= spectrum.band(*BODY_BAND, sample_rate) * 10 ** (FULL_BAND_DB / 10)
