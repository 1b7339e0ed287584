"""Ctrl-C at a chosen line of the package, where a signal could strike."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def interrupted_at(line: int | None, *names: str) -> Iterator[None]:
    """Raise KeyboardInterrupt at the `line`-th line, from 1, that runs in the files of `names`.

    The exception ends here. Nothing is raised if fewer lines run, or if `line` is None.
    """
    left = line

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith(names):
            return None
        if event == "line" and left is not None:
            left -= 1
            if not left:
                left = None
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    except KeyboardInterrupt:
        if line is None:
            raise
    finally:
        sys.settrace(before)
