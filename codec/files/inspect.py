"""Shows what a .nac file holds, and finds damage in it."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from pathlib import Path

from codec.errors import FormatError
from codec.files.endpoints import at_hand, opened
from codec.nac.layout import Header
from codec.nac.reader import FindCoder, Reader, own_coder
from codec.nac.salvage import Survey, mapped, read_run, survey


@dataclasses.dataclass(frozen=True)
class Info:
    """What a .nac file holds."""

    header: Header
    tags: dict[str, str]
    n_samples: int  # of each channel, at header.sample_rate
    n_frames: int
    n_chunks: int
    n_bytes: int
    payload_bytes: int
    level_frames: tuple[int, ...]  # for each codebook, frames that have it
    level_bytes: tuple[int, ...] | None = None  # of the payloads; None: not asked for

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.n_samples / self.header.sample_rate

    @property
    def code_seconds(self) -> float:
        """Seconds of audio in the frames; the last frame may reach beyond the audio."""
        return float(self.n_frames / self.header.frame_rate)

    @property
    def n_codebooks(self) -> float:
        """Mean number of codebooks of a frame."""
        return sum(self.level_frames) / self.n_frames

    @property
    def channel_bitrate(self) -> float:
        """Bits per second of one stream's codes without entropy coding: those of one channel, or
        of two that are coded together."""
        return self.n_codebooks * self.header.bits_per_code * float(self.header.frame_rate)

    @property
    def coded_bitrate(self) -> float:
        """Bits per second that the codes of one stream take in the file."""
        return 8 * self.payload_bytes / self.header.streams / self.code_seconds

    @property
    def level_bitrates(self) -> list[float] | None:
        """Bits per second that each codebook of one stream takes in the file."""
        if self.level_bytes is None:
            return None
        seconds = self.header.streams * self.code_seconds
        return [8 * n / seconds for n in self.level_bytes]


def inspect_file(source: Path | None, level_coder: FindCoder | None = None) -> Info:
    """Read one .nac file to its end and check it. Raises FormatError.

    Needs no model. level_coder: to tell how many bytes each codebook takes, by coding every chunk
    with one codebook after another.
    """
    with opened(source or sys.stdin.buffer) as file:
        reader = Reader(file)
        most = reader.header.n_codebooks
        payload, frames, levels = 0, [0] * most, [0] * most
        for chunk in reader.chunks():
            payload += len(chunk.payload)
            for level in range(chunk.n_codebooks):
                frames[level] += chunk.frames
            if level_coder:
                coder = level_coder(reader.header)
                codes = coder.decode(
                    chunk.payload, reader.header.streams, chunk.n_codebooks, chunk.frames
                )
                sizes = [len(coder.encode(codes[:, : k + 1])) for k in range(codes.shape[1])]
                for level, (before, size) in enumerate(itertools.pairwise([0, *sizes])):
                    levels[level] += size - before
        header = reader.finish()
        return Info(
            header, reader.tags, header.length, reader.n_frames, reader.n_chunks,
            reader.n_bytes, payload, tuple(frames), tuple(levels) if level_coder else None,
        )  # fmt: skip


def verify_file(source: Path | None, find_coder: FindCoder = own_coder) -> Survey:
    """Check one .nac file for damage: the checksums, the order of its parts, every code.

    Raises FormatError if nothing in it can be read.
    """
    with at_hand(source) as path, mapped(path) as data:
        found = survey(data)
        problems = list(found.problems)
        for run in found.runs:
            try:
                for _ in read_run(data, found.header, run, find_coder):
                    pass
            except FormatError as error:
                problems.append(str(error))
        return dataclasses.replace(found, problems=tuple(problems))
