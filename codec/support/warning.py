"""Warn at a line of the caller's code, however deep in this package the cause is found."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any, NamedTuple

from codec.errors import CodecWarning

_PACKAGE = __name__.partition(".")[0]


class Place(NamedTuple):
    """A line of code, as `warnings.warn_explicit` takes it."""

    filename: str
    line: int
    module: str
    registry: dict[Any, Any]  # of the warnings that were shown, by which a line warns once


def caller() -> Place:
    """Find the line from which this thread entered this package.

    In a thread of ours it is a line of the standard library's, and in a command the outermost one.
    """
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and _passed(frame):
        frame = frame.f_back
    known = frame.f_globals
    return Place(
        frame.f_code.co_filename,
        frame.f_lineno,
        known.get("__name__", "<unknown>"),
        known.setdefault("__warningregistry__", {}),
    )


def warn(message: str, place: Place | None = None) -> None:
    """Give a CodecWarning at `place`, by default the `caller`'s."""
    filename, line, module, registry = place or caller()
    warnings.warn_explicit(message, CodecWarning, filename, line, module, registry)


def _passed(frame: FrameType) -> bool:
    """Whether a frame is of this package, or of what stands between two of its own."""
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in (_PACKAGE, "contextlib", "functools")
