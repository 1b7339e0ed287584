"""Audio files, read block by block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from codec.audio.arrays import Audio, as_channels, check_sample_rate
from codec.audio.content import check_unchanged, content
from codec.audio.decode import Block, open_source
from codec.audio.formats import TAGS
from codec.errors import AudioError
from codec.model.limits import MAX_CHANNELS

_ROUNDED = 0.1  # seconds by which a duration in a table may be too long without a word


class AudioReader:
    """Reads audio in any known format, in constant memory.

    Iterate over it, once, for blocks float32 [channels, samples], full scale ±1, channels in the
    order of WAVE. The format is told by content, not by name. A file object must be seekable.
    Nothing is done on the word of a header: the samples are those that are there, not the number
    that it claims. Raises AudioError, also in the iteration, on what is not audio, is damaged, or
    cannot be coded (see `as_channels`), OSError on a file that cannot be opened, or read to
    the end that it had when it was opened.

    start, duration: in seconds, to read only that stretch, as far as the file has it; a warning
        says how much that is if more than 0.1 s are missing. The samples are those of the whole
        file, but for the last bit (2^-24) of some of an MP3.
    strict: raise AudioError, at the end of the iteration, in place of a warning.

    channels, sample_rate: of the audio.
    claimed: samples of each channel that the file says it has, 0 if it does not say.
    n_samples: samples of each channel read so far.
    tags: those of `TAGS` that the file holds, and `channels`, the speakers that three channels or
        more are for, such as "FL FR FC LFE BL BR", if the file says so.
    decoder: what reads it: "codec" (plain WAV), or libsndfile or FFmpeg with its version.
    warnings: a line each on what is missing or damaged, complete when the iteration has ended.
    """

    def __init__(
        self,
        source: Path | BinaryIO,
        start: float = 0.0,
        duration: float | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self._closing = contextlib.ExitStack()
        with self._closing:
            file = (
                self._closing.enter_context(source.open("rb"))
                if isinstance(source, Path)
                else source
            )
            self._data = content(file)
            try:
                self._source = open_source(file, self._data)
            except AudioError:
                check_unchanged(self._data)
                raise
            self._closing.callback(self._source.close)
            self.channels = self._source.channels
            self.sample_rate = self._source.sample_rate
            self.claimed = self._source.claimed
            self.decoder = self._source.decoder
            self.warnings = list(self._source.warnings)
            check_sample_rate(self.sample_rate)
            if self.channels > MAX_CHANNELS:
                raise AudioError(f"{self.channels} channels, at most {MAX_CHANNELS}")
            self._closing = self._closing.pop_all()
        self.tags = {key: value for key, value in self._source.tags.items() if key in TAGS}
        if self.channels > 2 and self._source.layout:
            self.tags["channels"] = self._source.layout
        self.n_samples = 0
        self._strict = strict
        self._start = round(start * self.sample_rate)
        self._most = None if duration is None else max(1, round(duration * self.sample_rate))

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def __iter__(self) -> Iterator[Audio]:
        whole = True
        for block in self._blocks():
            if self._most is not None:
                block = block[: self._most - self.n_samples]
            self.n_samples += len(block)
            if len(block):
                yield as_channels(block.T)
            if self.n_samples == self._most:
                whole = False
                break
        if not self.n_samples:
            raise AudioError("no audio: 0 samples")
        if whole:
            self._account()
            self._account_stretch()
        self._account_damage()
        if self._strict and self.warnings:
            raise AudioError("; ".join(self.warnings))

    def _blocks(self) -> Iterator[Block]:
        """Give the blocks of the source; OSError if the file could not be read to its end."""
        try:
            for block in self._source.blocks(self._start):
                check_unchanged(self._data)
                yield block
        except AudioError:
            check_unchanged(self._data)
            raise
        check_unchanged(self._data)

    def _account(self) -> None:
        """Warn if the file had less audio than it claims."""
        there = self._start + self.n_samples
        said = self._source.warnings
        self.warnings = [text for text in said if text != "cut off"]
        if self._is_short(there):
            self.warnings.insert(0, f"cut off: {there} of {self.claimed} samples are there")
        elif "cut off" in said:
            self.warnings.insert(0, f"cut off: {there} samples are there")

    def _account_damage(self) -> None:
        """Warn of the damaged places in what was read."""
        first, last = self._start, self._start + self.n_samples
        places = [1 for at, n in self._source.damaged if at < last and at + n > first]
        if places:
            where = "one place" if len(places) == 1 else f"{len(places)} places"
            said = f"damaged: the audio cannot be decoded in {where}, and is silent there"
            self.warnings.append(said)

    def _account_stretch(self) -> None:
        """Warn if the file ends well before the stretch that was asked for."""
        if self._most is None or any(text.startswith("cut off") for text in self.warnings):
            return
        if self._most - self.n_samples > _ROUNDED * self.sample_rate:
            there, asked = (n / self.sample_rate for n in (self.n_samples, self._most))
            self.warnings.append(f"the file ends in the stretch: {there:.3f} of {asked:.3f} s")

    def _is_short(self, samples: int) -> bool:
        """Tell whether `samples` are fewer than claimed; FFmpeg may have rounded the time."""
        missing = self.claimed - samples
        if not self.decoder.startswith("FFmpeg"):
            return missing > 0
        return missing > max(0.02 * self.claimed, 0.25 * self.sample_rate)


def read_audio(source: Path | BinaryIO) -> tuple[Audio, int]:
    """Read a whole file by `AudioReader`: float32 [channels, samples], and its rate in Hz."""
    with AudioReader(source) as reader:
        return np.concatenate(list(reader), axis=1), reader.sample_rate
