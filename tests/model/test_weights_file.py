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
from tests.library.nac_models import write_model

pytest.importorskip("codec.engine._engine", reason="needs the native engine")

AUDIO = noise(4800, seed=1)
from codec.engine.native import NativeBackend  # noqa: E402

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


def test_a_copy_is_the_same_model(weights: Path) -> None:
    """As after a restore from a backup, or on a network drive that was mounted again."""
    model = codec.load(weights)
    encoded = model.encode(AUDIO, 24_000)
    copy = weights.with_name("copy.safetensors")
    shutil.copyfile(weights, copy)
    copy.replace(weights)
    assert len(USES["decode"](model)[0]) == 4 * SMALL.hop_length  # type: ignore[index]
    assert model.encode(AUDIO, 24_000) == encoded


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_a_coder_of_another_model_codes_nothing(tmp_path: Path, effort: str) -> None:
    path = write_model(tmp_path / "m.safetensors")
    model = codec.load(path)
    codes = model.encode(AUDIO, 24_000).codes
    _ = model.decode(model.tokens(codes))
    other = write_weights(tmp_path / "other.safetensors", SMALL, seed=2)
    other.replace(path)
    if effort == "fast":  # whose data do not depend on the codebooks
        data = model.compress(AUDIO, 24_000, effort=effort)
        assert np.array_equal(model.decompress(data)[0], model.decode(model.tokens(codes)))
    else:
        with pytest.raises(ModelError, match="has changed since it was loaded"):
            model.compress(AUDIO, 24_000, effort=effort)


def test_a_relative_path_is_that_of_the_folder_in_which_it_was_given(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = codec.load(weights).encode(AUDIO, 24_000)
    monkeypatch.chdir(weights.parent)
    model = codec.load(weights.name)
    bare = codec.load(backend=NativeBackend(Path(weights.name)))
    monkeypatch.chdir("/")
    assert model.encode(AUDIO, 24_000) == bare.encode(AUDIO, 24_000) == whole
    assert len(model.codebooks) == SMALL.n_codebooks
