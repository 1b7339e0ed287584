"""One line of progress on a terminal, silence in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """A bar over the bytes of the inputs, with rate and time left, on standard error.

    Bytes, because their number is known before a file is opened. Shown only if `shown` and
    standard error is a terminal.
    """

    def __init__(self, total_bytes: int, *, shown: bool = True) -> None:
        self._bar: Any = None
        self._started = time.monotonic()
        self._seconds = 0.0
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total_bytes, unit="B", unit_scale=True, dynamic_ncols=True, file=sys.stderr
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def name(self, name: str) -> None:
        """Show which file is at work."""
        if self._bar is not None:
            self._bar.set_description(name[-32:])

    def done(self, n_bytes: int, seconds: float) -> None:
        """Count a file of `n_bytes` bytes and `seconds` seconds of audio."""
        self._seconds += seconds
        if self._bar is not None:
            speed = self._seconds / max(time.monotonic() - self._started, 1e-9)
            self._bar.set_postfix_str(f"{speed:.1f}x real time", refresh=False)
            self._bar.update(n_bytes)

    def say(self, line: str) -> None:
        """Print a line on standard error without breaking the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)
