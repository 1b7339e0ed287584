"""Audio files, read block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from codec.audio.arrays import Audio, as_channels, block_samples, check_sample_rate
from codec.audio.formats import TAGS, reason
from codec.errors import AudioError
from codec.model.limits import MAX_CHANNELS


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
            raise AudioError(f"cannot read audio: {reason(error)}") from None
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
        samples = block_samples(self.channels)
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
            raise AudioError(f"cannot read audio: {reason(error)}") from None
        return block


def read_audio(source: Path | BinaryIO) -> tuple[Audio, int]:
    """All of a file that `AudioReader` reads: float32 [channels, samples], and its rate in Hz."""
    with AudioReader(source) as reader:
        return np.concatenate(list(reader), axis=1), reader.sample_rate
