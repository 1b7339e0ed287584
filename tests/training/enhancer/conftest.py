"""What tests of an enhancer's training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.random_weights import SMALL, write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 24 kHz with random weights."""
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors", SMALL)
