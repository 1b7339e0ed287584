"""How the process behaves among others: its standard streams, and the signals that end it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

from codec.errors import DataError, OutputError
from codec.support.atomic import abandon
from codec.support.holding import handler_of

# Seconds that work has to end after a signal. It ends at once, but in a library that hangs.
GRACE = 5.0
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # fmt: skip


@contextlib.contextmanager
def well_behaved() -> Iterator[None]:
    """Standard streams that can be closed and take any text, and an end at every signal."""
    use_standard_streams()
    with _ended_by_signals():
        yield


def use_standard_streams() -> None:
    """Give every standard stream that is closed a stand-in, and let none fail on a character.

    Reading or writing what is closed raises a CodecError that says so; what is for standard error
    is dropped. Descriptors 0 to 2 are taken, so that no file is opened there, to which a C library
    would write its messages.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_ClosedInput()))
    if sys.stdout is None:
        # The raw file takes each write at once, so that nothing fails again at exit.
        raw: Any = _ClosedOutput()
        sys.stdout = io.TextIOWrapper(raw, write_through=True)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 (to the end of the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _ClosedInput(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> NoReturn:
        raise DataError("it is closed")


class _ClosedOutput(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: object) -> NoReturn:
        raise OutputError("standard output is closed")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP become an exception, so that files written aside are removed.

    What is ignored when we begin (nohup) stays ignored. Should the work not end within `GRACE`
    seconds, as in a library that hangs, a thread removes those files and ends the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in held.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _terminate)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # Written by the C part of Python at once, also where the main thread is in a library.
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reading, done), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        done.set()
        os.close(writing)
        watcher.join()
        os.close(reading)
        for number, handler in held.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handler)


def _watch(reading: int, done: threading.Event) -> None:
    while data := os.read(reading, 1):
        number = data[0]
        if not _ends_us(number):
            continue
        if done.wait(GRACE):
            return
        if _ends_us(number):  # nobody, such as a training loop, took it over
            abandon()
            if number == signal.SIGINT:
                with contextlib.suppress(OSError):
                    os.write(2, b"codec: interrupted\n")
            os._exit(128 + number)


def _ends_us(number: int) -> bool:
    return handler_of(number) in (_terminate, signal.default_int_handler)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
