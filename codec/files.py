"""Files: which output belongs to which input, and the work on one of them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from codec.api import Codec
from codec.atomic import check_writable, replacing
from codec.audio import READ_SUFFIXES, WRITE_FORMATS, read_audio, write_audio
from codec.container import MAGIC, Header, Reader, read_tokens, write_tokens
from codec.errors import FormatError, OutputError

SUFFIX = ".nac"


@dataclasses.dataclass(frozen=True)
class Job:
    """One input and its output; None is standard input or output."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return "standard input" if self.source is None else os.fspath(self.source)

    @property
    def n_bytes(self) -> int:
        """Size of the input, 0 if it is not known."""
        try:
            return self.source.stat().st_size if self.source else 0
        except OSError:
            return 0


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that could not be worked on, and why in one line."""

    name: str
    message: str


def plan(
    inputs: Sequence[str], output: str | None, suffixes: Collection[str], new_suffix: str
) -> tuple[list[Job], list[Failure]]:
    """The jobs for `inputs` (files, folders, "-"), and the inputs that are none.

    A file is taken whatever its name; of a folder, all files below it with one of `suffixes`,
    hidden ones left out. Outputs lie beside their inputs with `new_suffix`, or under the folder
    `output`, where what came from a folder keeps its place in it. With a single input that is a
    file, `output` may be a file or "-". Raises OutputError if many inputs have one output.
    """
    many = len(inputs) > 1 or any(Path(name).is_dir() for name in inputs if name != "-")
    folder = None if output in (None, "-") else Path(str(output))
    if many and (output == "-" or (folder and folder.exists() and not folder.is_dir())):
        raise OutputError(f"{output}: many inputs need a folder as their output")
    if folder and not many and not folder.is_dir() and not str(output).endswith(("/", os.sep)):
        return _plan_one(inputs[0], folder)

    jobs: list[Job] = []
    failures: list[Failure] = []
    owners: dict[Path, Path] = {}
    for name in inputs:
        if name == "-":
            jobs.append(Job(None, folder / f"stdin{new_suffix}" if folder else None))
            continue
        root = Path(name)
        sources = sorted(_files_below(root, suffixes)) if root.is_dir() else [root]
        if not sources:
            failures.append(Failure(name, f"no {' '.join(sorted(suffixes))} files in this folder"))
        for source in sources:
            if not source.exists():
                failures.append(Failure(name, "no such file or folder"))
                continue
            place = source.relative_to(root) if root.is_dir() else Path(source.name)
            target = (folder / place if folder else source).with_suffix(new_suffix)
            if output == "-":
                jobs.append(Job(source, None))
            elif (owner := owners.setdefault(target, source)) is not source:
                failures.append(Failure(str(source), f"{target} is already the output of {owner}"))
            else:
                jobs.append(Job(source, target))
    return jobs, failures


def _plan_one(name: str, target: Path) -> tuple[list[Job], list[Failure]]:
    source = None if name == "-" else Path(name)
    if source and not source.exists():
        return [], [Failure(name, "no such file or folder")]
    return [Job(source, target)], []


def _files_below(root: Path, suffixes: Collection[str]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(folder, name)


def compress_file(codec: Codec, job: Job, n_codebooks: int, *, overwrite: bool) -> float:
    """Compress one file of audio; its duration in seconds. No output is left on an error."""
    source: Path | BinaryIO
    if job.source and job.source.is_file():
        source = job.source
    else:  # a pipe, which cannot be gone back in
        source = io.BytesIO(job.source.read_bytes() if job.source else sys.stdin.buffer.read())
    with _opened(source) as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise FormatError("already a .nac file, which codec decompress restores")
        file.seek(0)
    _check_target(job, overwrite)
    if job.target and job.target.suffix.lower() in READ_SUFFIXES:
        raise OutputError(f"{job.target} is named as audio; name it {SUFFIX}")
    audio, rate = read_audio(source)
    tokens = codec.encode(audio, rate, n_codebooks)
    if job.target is None:
        write_tokens(sys.stdout.buffer, tokens)
        sys.stdout.buffer.flush()
    else:
        with (
            replacing(job.target, overwrite=overwrite) as aside,
            aside.open("wb") as output,
        ):
            write_tokens(output, tokens)
    return tokens.duration


def decompress_file(codec: Codec, job: Job, suffix: str, *, overwrite: bool) -> float:
    """Restore one .nac file; its duration in seconds. No output is left on an error.

    The extension of the output, or `suffix` on standard output, says which format is written.
    """
    with _opened(job.source or sys.stdin.buffer) as file:
        tokens = read_tokens(file)
    if job.target:
        suffix = job.target.suffix.lower()
        if suffix not in WRITE_FORMATS:
            known = ", ".join(WRITE_FORMATS)
            raise OutputError(f"{job.target}: cannot write {suffix or 'this'}; choose from {known}")
    _check_target(job, overwrite)
    audio = codec.decode(tokens)
    if job.target is None:
        whole = io.BytesIO()  # a header is written last, which a pipe could not take
        write_audio(whole, audio, tokens.sample_rate, suffix)
        sys.stdout.buffer.write(whole.getbuffer())
        sys.stdout.buffer.flush()
    else:
        with replacing(job.target, overwrite=overwrite) as aside:
            write_audio(aside, audio, tokens.sample_rate, suffix)
    return tokens.duration


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
