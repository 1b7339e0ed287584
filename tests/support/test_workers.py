"""Work inside other work stops with it."""

from __future__ import annotations

from codec.support.workers import Workers


def test_work_within_other_work_stops_with_it_and_not_the_other_way() -> None:
    outer = Workers()
    inner = Workers(within=Workers(within=outer))
    alone = Workers(within=outer)
    alone.stop()
    assert (outer.stopped(), inner.stopped(), alone.stopped()) == (False, False, True)
    outer.stop()
    assert inner.stopped()
