"""Opens the input and the output of a job: each may be a pipe; a file is complete or absent."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from codec.audio import READ_SUFFIXES
from codec.errors import OutputError
from codec.files.plan import SUFFIX, Job
from codec.support.atomic import check_writable, replacing, temporary_folder


@contextlib.contextmanager
def at_hand(source: Path | BinaryIO | None, consumed: bytes = b"") -> Iterator[Path]:
    """Give the path of `source`, or of a temporary copy if it is a pipe.

    consumed: what was already read of a pipe.
    """
    if isinstance(source, Path) and source.is_file():
        yield source
        return
    with opened(source or sys.stdin.buffer) as pipe, _aside() as copy:
        with copy.open("wb") as file:
            file.write(consumed)
            shutil.copyfileobj(pipe, file, 1 << 20)
        yield copy


@contextlib.contextmanager
def binary_target(job: Job, overwrite: bool) -> Iterator[BinaryIO]:
    """Open the output of `job`: a file that is complete or absent, or standard output."""
    if job.target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with replacing(job.target, overwrite=overwrite) as aside, aside.open("wb") as output:
            yield output


@contextlib.contextmanager
def audio_target(job: Job, overwrite: bool) -> Iterator[Path]:
    """Give a path to write audio to. A pipe gets the file once it is complete, as its header is
    written last."""
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
    """Give a path for a temporary file, on the disk that TMPDIR names."""
    with temporary_folder() as folder:
        yield folder / "file"


def opened(source: Path | BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open a path; a pipe is open already and stays so."""
    return source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source)


def check_nac_target(job: Job, overwrite: bool) -> None:
    """Check before any work that a .nac file can be written there. Raises OutputError."""
    check_target(job, overwrite)
    if job.target and job.target.suffix.lower() in READ_SUFFIXES:
        raise OutputError(f"{job.target} is named as audio; name it {SUFFIX}")


def check_target(job: Job, overwrite: bool) -> None:
    """Check before any work that the output can be written. Raises OutputError."""
    if job.target is None:
        if sys.stdout.isatty():
            raise OutputError("refusing to write binary data to a terminal; use -o or a pipe")
        return
    check_writable(job.target, overwrite=overwrite, source=job.source)
