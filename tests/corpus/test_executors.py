"""Who leaves the rows does not wait for those under way."""

from __future__ import annotations

import pytest

import codec
from codec.corpus.executors import threads
from codec.corpus.items import Item
from codec.corpus.places import LocalFile
from codec.corpus.rows import Settings
from tests.helpers.mean_backend import Endless


def test_refinements_under_way_are_stopped(wav):
    backend = Endless()
    item = Item("a.wav", LocalFile(wav("a.wav", 30_000)))

    def items():
        yield item
        assert backend.started.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(threads(2)(codec.load(backend=backend), Settings(2, refine=1), items()))
    assert backend.stopped.is_set()
