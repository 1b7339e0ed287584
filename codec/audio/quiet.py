"""Silences C's standard error: libmpg123 writes there, without the name of a file.

Python's own `sys.stderr` writes to the file descriptor, and is not touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_inside = 0
_streams: tuple[Any, Any, Any] | None = None  # the variable, its value, one that drops all


def _find() -> tuple[Any, Any, Any] | None:
    """Find the C library's variable `stderr`, if it has one."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.fopen.restype = ctypes.c_void_p
        dropped = library.fopen(os.devnull.encode(), b"w")
        for name in ("stderr", "__stderrp"):
            with contextlib.suppress(ValueError):
                variable = ctypes.c_void_p.in_dll(library, name)
                if dropped:
                    return variable, variable.value, dropped
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what C code writes to standard error. Threads may use it at the same time."""
    global _inside, _streams
    with _lock:
        _streams = _streams or _find()
        _inside += 1
        if _streams:
            _streams[0].value = _streams[2]
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _streams and not _inside:
                _streams[0].value = _streams[1]
