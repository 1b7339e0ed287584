"""Threads that work side by side and give their results in order."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")


class Workers:
    """Threads for one file, or shared by `files` files at work at once.

    With one thread the caller does the work. With more, the caller only reads and writes.

    within: what runs the caller, if something does: when that stops, so does this.
    """

    def __init__(self, threads: int = 1, files: int = 1, within: Workers | None = None) -> None:
        self._pool: ThreadPoolExecutor | None = None
        if threads > 1:
            from concurrent.futures import ThreadPoolExecutor  # slow to import

            self._pool = ThreadPoolExecutor(threads, "codec")
        self._left = False
        self._within = within
        self.files = files
        self.in_flight = max(2, 2 * threads // files) if self._pool else 1

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def stop(self) -> None:
        """Tell calls that look at `stopped` to end."""
        self._left = True

    def stopped(self) -> bool:
        """Whether calls that still run may stop with an exception: nobody waits for a result."""
        return self._left or (self._within is not None and self._within.stopped())

    @property
    def parallel(self) -> bool:
        """Whether there are threads besides the caller's."""
        return self._pool is not None

    def run(self, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
        """Give the results of `calls` in order, at most `in_flight` of them ahead of the caller."""
        if self._pool is None:
            yield from (call() for call in calls)
        else:
            yield from in_order(self._pool, calls, self.in_flight)

    def all(self, calls: Iterable[Callable[[], T]]) -> list[T]:
        """Give the results of `calls` in order. The first that fails stops the others.

        What it raises is raised here, not what calls raise because they were stopped.
        """
        failures: list[Exception] = []

        def watched(call: Callable[[], T]) -> T:
            try:
                return call()
            except Exception as error:
                failures.append(error)
                self.stop()
                raise

        try:
            return list(self.run(functools.partial(watched, call) for call in calls))
        except Exception as error:
            if failures and failures[0] is not error:
                raise failures[0] from None
            raise


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    pool: ThreadPoolExecutor, calls: Iterable[Callable[[], T]], in_flight: int
) -> Generator[T, None, None]:
    """Give the results of `calls` in order, `in_flight` of them ahead of the caller."""
    pending: deque[Future[T]] = deque()
    try:
        for call in calls:
            pending.append(pool.submit(call))
            if len(pending) > in_flight:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
