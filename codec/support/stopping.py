"""Signals that ask a long run to finish its step, save and return."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set; a second SIGINT interrupts at once."""
    event = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.set()

    if (
        threading.current_thread() is not threading.main_thread()
    ):  # only the main thread may handle signals
        yield event
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield event
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
