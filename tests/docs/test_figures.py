"""The committed figures are those of the shipped model."""

from __future__ import annotations

import pytest

import codec
from bench.figures import FOLDER, network, overview

pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

REMEDY = "the configuration or the weights have changed: run python -m bench.figures"


def test_the_overview_shows_the_shipped_model() -> None:
    assert (FOLDER / "overview.svg").read_text(encoding="utf-8") == overview(codec.load()), REMEDY


def test_the_network_shows_the_shipped_configuration() -> None:
    shown = network(codec.load().config)
    assert (FOLDER / "network.svg").read_text(encoding="utf-8") == shown, REMEDY
