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
    """Find the line outside of this package from which this thread entered it.

    Where there is none, as in a thread of ours, it is the outermost line.
    """
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and _ours(frame):
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


def _ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == _PACKAGE
