"""Work inside other work stops with it."""

from __future__ import annotations

import functools
import threading
import time

import pytest

from codec.support.workers import Workers


def test_work_within_other_work_stops_with_it_and_not_the_other_way() -> None:
    outer = Workers()
    inner = Workers(within=Workers(within=outer))
    alone = Workers(within=outer)
    alone.stop()
    assert (outer.stopped(), inner.stopped(), alone.stopped()) == (False, False, True)
    outer.stop()
    assert inner.stopped()


def test_the_first_failure_stops_the_others_and_is_the_one_that_is_raised() -> None:
    workers = Workers(2)
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        while not workers.stopped():
            time.sleep(0.001)
        raise RuntimeError("stopped")

    def fail() -> None:
        assert waiting.wait(60)
        raise ValueError("the cause")

    with workers, pytest.raises(ValueError, match="the cause"):
        workers.all([wait, fail])


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order(threads: int) -> None:
    with Workers(threads) as workers:
        assert workers.all(functools.partial(pow, 2, n) for n in range(20)) == [
            2**n for n in range(20)
        ]
        assert not workers.stopped()
