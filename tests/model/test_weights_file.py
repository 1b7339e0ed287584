"""A file of weights that changes after it was loaded, and one that is named from another folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import codec
from bench.random_weights import SMALL, noise, write_weights
from codec.errors import ModelError

pytest.importorskip("codec.engine._engine", reason="needs the native engine")

AUDIO = noise(4800, seed=1)
USES: dict[str, Callable[[codec.Codec], object]] = {
    "encode": lambda model: model.encode(AUDIO, 24_000),
    "decode": lambda model: model.decode(model.tokens(np.zeros((3, 4), int))),
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "w.safetensors", SMALL, seed=1)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("how", ["replaced", "overwritten", "removed"])
def test_weights_that_changed_are_an_error_not_half_of_another_model(
    weights: Path, use: str, how: str
) -> None:
    model = codec.load(weights)
    other = write_weights(weights.with_name("other.safetensors"), SMALL, seed=2)
    if how == "replaced":
        other.replace(weights)
    elif how == "overwritten":
        shutil.copyfile(other, weights)
    else:
        weights.unlink()
    with pytest.raises(ModelError, match=r"^w\.safetensors (has changed since|cannot be read)"):
        USES[use](model)


def test_what_was_read_stays_in_use(weights: Path) -> None:
    model = codec.load(weights)
    before = {name: use(model) for name, use in USES.items()}
    write_weights(weights.with_name("other.safetensors"), SMALL, seed=2).replace(weights)
    assert model.encode(AUDIO, 24_000) == before["encode"]
    assert np.array_equal(USES["decode"](model), before["decode"])  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="has changed since it was loaded: load it again"):
        _ = model.codebooks


def test_a_relative_path_is_that_of_the_folder_in_which_it_was_given(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = codec.load(weights).encode(AUDIO, 24_000)
    monkeypatch.chdir(weights.parent)
    model = codec.load(weights.name)
    monkeypatch.chdir("/")
    assert model.encode(AUDIO, 24_000) == whole
    assert len(model.codebooks) == SMALL.n_codebooks
