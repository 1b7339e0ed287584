"""One line of progress on a terminal, silence in a pipe."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from codec.support.terminal import shown as escaped

# A terminal that is gone must not end the work.
_unheard = contextlib.suppress(OSError, ValueError)

_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
_ENDLESS = "{desc} {elapsed}"


class Stopped(BaseException):
    """Ends the work on a file in a thread, which Ctrl-C does not reach."""


class Progress:
    """A bar over all work, with the speed so far and the time left, on standard error.

    Work counts in any unit: bytes of the inputs of a command, whose number is known before a file
    is opened and which pass by the time of the audio; inputs of a corpus; steps. Shown only if
    `shown` and standard error is a terminal. Safe to share between threads.

    total: None if it is not known yet; the bar appears at `expect`.
    """

    def __init__(self, total: float | None = None, *, shown: bool = True) -> None:
        self._bar: Any = None
        self._shown = shown and sys.stderr is not None and sys.stderr.isatty()
        self._stopped = False
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._seconds = 0.0
        if total is not None:
            self.expect(total)

    def expect(self, total: float | None, done: float = 0, what: str = "") -> None:
        """Show the bar of a `total` (None: without an end) of `what`, `done` by an earlier run.

        Does nothing if the bar is shown already.
        """
        if self._shown and self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                desc=what,
                initial=done,
                bar_format=_ENDLESS if total is None else _FORMAT,
                smoothing=0,
                dynamic_ncols=True,
                file=sys.stderr,
            )

    @property
    def visible(self) -> bool:
        """Whether a bar is on the terminal."""
        return self._bar is not None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            with _unheard:
                self._bar.close()

    def start(self, name: str, n_bytes: int) -> FileProgress:
        """Begin with an input."""
        return FileProgress(self, name, n_bytes)

    def advance(self, what: str, n: float, seconds: float = 0.0) -> None:
        """Count `n` units and seconds of audio, of `what`. Raises Stopped after `stop`."""
        if self._stopped:
            raise Stopped
        if self._bar is None:
            return
        with self._lock:
            self._seconds += seconds
            if self._seconds:
                speed = self._seconds / max(time.monotonic() - self._started, 1e-9)
                what = f"{what}, {speed:.{0 if speed >= 10 else 1}f}x real time"
            with _unheard:
                self._bar.set_description_str(what, refresh=False)
                left = n if self._bar.total is None else self._bar.total - self._bar.n
                self._bar.update(min(n, left))  # beyond the end, tqdm prints a warning

    def follow(self) -> Callable[[str, float, float, float], None]:
        """Return a callback that takes what is done so far, as `codec.training.prepare` gives it.

        It is called with a name, the units done so far and in all, and the seconds of audio since
        the call before. The bar appears at the first call.
        """
        before = 0.0

        def show(what: str, so_far: float, total: float, seconds: float) -> None:
            nonlocal before
            self.expect(total, what=what)
            self.advance(what, so_far - before, seconds)
            before = so_far

        return show

    def stop(self) -> None:
        """Let every thread that reports from now on end with `Stopped`."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called: what fails from now on fails because of that."""
        return self._stopped

    def say(self, line: str) -> None:
        """Print a line on standard error without breaking the bar.

        Characters that are not printable are escaped: a name may hold any.
        """
        with self._lock, _unheard:
            if self._bar is not None:
                self._bar.write(escaped(line), file=sys.stderr)
            elif sys.stderr is not None:
                print(escaped(line), file=sys.stderr)


class FileProgress:
    """How far one input is."""

    def __init__(self, progress: Progress, name: str, n_bytes: int) -> None:
        self._progress, self._name, self._n_bytes = progress, escaped(name)[-24:], n_bytes
        self._seconds = self._bytes = 0.0

    def report(self, seconds: float, total: float) -> None:
        """`seconds` of audio are done of `total`, which is 0 if it is not known.

        A header may claim any total; nothing worse comes of it than a bar that jumps at the end.
        """
        share = min(1.0, seconds / total) if total > 0 else 0.0
        n_bytes = max(self._bytes, share * self._n_bytes)
        of = f"/{_clock(total)}" if total >= seconds else ""
        position = f"{self._name} {_clock(seconds)}{of}"
        self._progress.advance(position, n_bytes - self._bytes, seconds - self._seconds)
        self._seconds, self._bytes = seconds, n_bytes

    def say(self, line: str) -> None:
        """Print a line about the input, as `Progress.say`."""
        self._progress.say(line)

    def done(self) -> None:
        """The input is done with, well or not."""
        self._progress.advance(self._name, self._n_bytes - self._bytes, 0.0)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
