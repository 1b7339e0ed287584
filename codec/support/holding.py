"""Holds signals back while C code calls Python: an exception that a handler raises there is lost.

Ctrl-C would not end the process then, and C would take the call as failed: a file as ended.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_NUMBERS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class _Holder:
    """Takes a signal in place of `handler`."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler
        self._came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._came = True

    def release(self, number: int) -> None:
        """Put the handler back, and call it if the signal came."""
        signal.signal(number, self.handler)
        if self._came:
            self.handler(number, None)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold SIGINT, SIGTERM and SIGHUP back to the end of the block, if Python handles them."""
    if threading.current_thread() is not threading.main_thread():  # which handles all signals
        yield
        return
    with contextlib.ExitStack() as ending:
        for number in _NUMBERS:
            if callable(handler := signal.getsignal(number)):
                holder = _Holder(handler)
                ending.callback(holder.release, number)
                signal.signal(number, holder)
        yield


def handler_of(number: int) -> Any:
    """Return the handler of a signal as `signal.getsignal` does; if it is held, the one held."""
    handler = signal.getsignal(number)
    while isinstance(handler, _Holder):
        handler = handler.handler
    return handler
