"""The work on one file, in memory that does not grow with it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from codec.api import Codec
from codec.atomic import check_writable, replacing
from codec.audio import READ_SUFFIXES, WRITE_FORMATS, AudioReader, AudioWriter
from codec.container import MAGIC, Header, Reader, Writer
from codec.errors import FormatError, OutputError
from codec.jobs import SUFFIX, Job
from codec.spans import Workers

# Called with the seconds of audio that are done, and with those of the whole file, 0 if unknown.
Report = Callable[[float, float], None]


def compress_file(
    codec: Codec, job: Job, n_codebooks: int, workers: Workers, report: Report, *, overwrite: bool
) -> None:
    """Compress one file of audio. No output is left on an error, but on a pipe."""
    with _at_hand(job.source) as source:
        with source.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                raise FormatError("already a .nac file, which codec decompress restores")
        _check_target(job, overwrite)
        if job.target and job.target.suffix.lower() in READ_SUFFIXES:
            raise OutputError(f"{job.target} is named as audio; name it {SUFFIX}")
        with AudioReader(source) as audio:
            rate, total = audio.sample_rate, audio.claimed / audio.sample_rate
            header = codec.header(audio.channels, rate, n_codebooks)
            spans = codec.encode_blocks(audio, rate, n_codebooks, workers)
            first = next(spans)  # before any output: most files that fail do so at once
            with _binary_target(job, overwrite) as output:
                writer, frames = Writer(output, header), 0
                for codes in itertools.chain([first], spans):
                    writer.write(codes)
                    frames += codes.shape[2]
                    report(float(frames / header.frame_rate), total)
                writer.finish(audio.n_samples)


def decompress_file(
    codec: Codec, job: Job, suffix: str, workers: Workers, report: Report, *, overwrite: bool
) -> None:
    """Restore one .nac file. No output is left on an error, nor is there any on a pipe.

    The extension of the output, or `suffix` on standard output, says which format is written.
    """
    with _at_hand(job.source) as source:
        held = inspect_file(source)
        if job.target:
            suffix = job.target.suffix.lower()
            if suffix not in WRITE_FORMATS:
                known = ", ".join(WRITE_FORMATS)
                raise OutputError(
                    f"{job.target}: cannot write {suffix or 'this'}; choose from {known}"
                )
        _check_target(job, overwrite)
        with source.open("rb") as file:
            reader, rate = Reader(file), held.header.sample_rate
            blocks = codec.decode_blocks(reader, held.header, held.n_samples, workers)
            with (
                _audio_target(job, overwrite) as path,
                AudioWriter(path, rate, held.header.channels, held.n_samples, suffix) as writer,
            ):
                samples = 0
                for block in blocks:
                    writer.write(block)
                    samples += block.shape[1]
                    report(samples / rate, held.duration)
                if (reader.header, reader.n_samples) != (held.header, held.n_samples):
                    raise FormatError("it was changed while it was read")


@dataclasses.dataclass(frozen=True)
class Info:
    """What a .nac file holds."""

    header: Header
    n_samples: int  # of each channel, at header.sample_rate
    n_frames: int
    n_chunks: int
    n_bytes: int

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.n_samples / self.header.sample_rate

    @property
    def channel_bitrate(self) -> float:
        """Bits a second of the codes of one channel."""
        header = self.header
        return float(header.n_codebooks * header.bits_per_code * header.frame_rate)


def inspect_file(source: Path | None) -> Info:
    """Read one .nac file through, checksums and all. Needs no model. Raises FormatError."""
    with _opened(source or sys.stdin.buffer) as file:
        reader = Reader(file)
        for _ in reader:
            pass
        assert reader.n_samples is not None  # known once the iteration has ended
        return Info(
            reader.header, reader.n_samples, reader.n_frames, reader.n_chunks, reader.n_bytes
        )


@contextlib.contextmanager
def _at_hand(source: Path | None) -> Iterator[Path]:
    """`source` as a file that can be read again and again: a pipe's contents aside, on disk."""
    if source and source.is_file():
        yield source
        return
    with _opened(source or sys.stdin.buffer) as pipe, _aside() as copy:
        with copy.open("wb") as file:
            shutil.copyfileobj(pipe, file, 1 << 20)
        yield copy


@contextlib.contextmanager
def _binary_target(job: Job, overwrite: bool) -> Iterator[BinaryIO]:
    if job.target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with replacing(job.target, overwrite=overwrite) as aside, aside.open("wb") as output:
            yield output


@contextlib.contextmanager
def _audio_target(job: Job, overwrite: bool) -> Iterator[Path]:
    """Where to write audio, whose header is written last: a pipe gets it when it is whole."""
    if job.target:
        with replacing(job.target, overwrite=overwrite) as aside:
            yield aside
        return
    with _aside() as path:
        yield path
        with path.open("rb") as whole:
            shutil.copyfileobj(whole, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _aside() -> Iterator[Path]:
    """A path for a file that is removed again, on the disk that TMPDIR names."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="codec-") as folder:
        yield Path(folder, "file")


def _opened(source: Path | BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    return source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source)


def _check_target(job: Job, overwrite: bool) -> None:
    if job.target is None:
        if sys.stdout.isatty():
            raise OutputError("refusing to write binary data to a terminal; use -o or a pipe")
        return
    if job.source and job.target.exists() and job.target.samefile(job.source):
        raise OutputError("the output would overwrite the input")
    check_writable(job.target, overwrite=overwrite)
