"""Errors of the library, in the words of the command line."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from codec.errors import CodecError, OutputError
from codec.support.atomic import OutputExistsError

_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}


@contextlib.contextmanager
def filling(output: Path | str) -> Iterator[None]:
    """Name the `output` on a disk that is full, as what the system says names nothing."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.errno not in _FULL or error.filename:
            raise
        raise OutputError(f"{output}: {os.strerror(error.errno).lower()}") from error


def said(error: CodecError) -> str:
    """Say `error`, with options in place of arguments."""
    if isinstance(error, OutputExistsError):
        return "the output exists; --force overwrites it"
    return str(error)
