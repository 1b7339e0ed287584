"""Files of every model that the package ships decode, whichever of them is loaded."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest

import codec
from bench.random_weights import SMALL, noise, write_weights
from codec.model import catalogue
from codec.model.location import DEFAULT_WEIGHTS, weights_path
from codec.model.weights_file import WeightsFile
from codec.nac.reader import Reader


def test_the_shipped_models_are_what_the_list_says():
    shipped = codec.models()
    assert sum(release.default for release in shipped) == 1
    assert len({release.name for release in shipped}) == len(shipped)
    for release in shipped:
        assert WeightsFile(release.weights).model_id == release.model_id
        assert weights_path(release.name) == release.weights
    assert weights_path("default") == DEFAULT_WEIGHTS


def test_every_released_model_is_still_here():
    # Ids of releases: none may ever be taken out.
    assert [release.model_id.hex() for release in codec.models()][:1] == ["0b26a5283a901a0c"]


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A package that ships two models, `old` and the default `new`: codecs of both."""
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    folder = tmp_path / "weights"
    folder.mkdir()
    listed = []
    for seed, (name, file) in enumerate([("old", "old"), ("new", "default")]):
        path = write_weights(folder / f"{file}.safetensors", SMALL, seed=seed)
        listed.append(
            {
                "name": name,
                "id": WeightsFile(path).model_id.hex(),
                "weights": path.name,
                "licence": "Apache-2.0",
                "since": f"0.{seed}.0",
            }
        )
    (folder / "models.json").write_text(json.dumps({"default": "new", "models": listed}))
    monkeypatch.setattr(catalogue, "FOLDER", folder)
    return codec.load("old"), codec.load("default")


def audio(seconds=1.0):
    return noise(int(seconds * SMALL.sample_rate))


def test_a_file_is_decoded_by_the_model_that_made_it(two):
    old, new = two
    assert old.model_id != new.model_id
    packed = old.compress(audio(), 24_000)
    expected, rate = old.decompress(packed)
    got, same_rate = new.decompress(packed)
    assert rate == same_rate
    np.testing.assert_array_equal(got, expected)
    stretch, _ = new.decompress(packed, start=0.3, duration=0.4)
    np.testing.assert_array_equal(stretch, expected[:, 7200:16800])
    tokens = old.encode(audio(), 24_000)
    np.testing.assert_array_equal(new.decode(tokens), old.decode(tokens))
    newer = new.compress(audio(), 24_000)
    np.testing.assert_array_equal(old.decompress(newer)[0], new.decompress(newer)[0])


def test_weights_of_ones_own_decode_their_files_only(two, tmp_path):
    old, _ = two
    own = codec.load(write_weights(tmp_path / "own.safetensors", SMALL, seed=9))
    with pytest.raises(codec.ModelError, match=r"codec\.load\('old'\) decodes it"):
        own.decompress(old.compress(audio(), 24_000))
    with pytest.raises(codec.ModelError, match="made with model"):
        old.decompress(own.compress(audio(), 24_000))


def test_a_codec_pickles_by_the_name_of_its_model(two):
    for model in two:
        data = pickle.dumps(model)
        assert str(catalogue.FOLDER).encode() not in data
        assert pickle.loads(data).model_id == model.model_id


def test_commands_take_the_model_that_the_file_names(two, tmp_path, cli_of_weights):
    old, new = two
    packed = tmp_path / "a.nac"
    packed.write_bytes(old.compress(audio(), 24_000))
    expected = tmp_path / "expected.wav"
    assert cli_of_weights("decompress", packed, "-o", expected, "--model", "old")[0] == 0
    restored = tmp_path / "a.wav"
    assert cli_of_weights("decompress", packed)[0] == 0
    assert restored.read_bytes() == expected.read_bytes()
    assert cli_of_weights("decompress", packed, "--salvage", "-o", tmp_path / "s.wav")[0] == 0
    assert (tmp_path / "s.wav").read_bytes() == expected.read_bytes()
    code, piped, _ = cli_of_weights("decompress", "-", "-o", "-", stdin=packed.read_bytes())
    assert code == 0
    assert piped[-100:] == expected.read_bytes()[-100:]
    assert cli_of_weights("trim", packed, "-n", "1")[0] == 0
    trimmed = (tmp_path / "a.1.nac").read_bytes()
    assert trimmed == old.compress(audio(), 24_000, n_codebooks=1)
    assert b": old, " in cli_of_weights("info", packed)[1]
    assert Reader(io.BytesIO(new.compress(audio(), 24_000))).header.model_id == new.model_id


def test_models_are_listed(two, cli_of_weights):
    out = cli_of_weights("models")[1].decode()
    assert out.index("old\n") < out.index("new (the default)\n")
    held = [json.loads(line) for line in cli_of_weights("models", "--json")[1].splitlines()]
    assert [model["name"] for model in held] == ["old", "new"]
    assert held[0]["latency_ms"] == 1000 * SMALL.latency / SMALL.sample_rate


def test_a_damaged_list_is_an_error_of_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    with pytest.raises(codec.ModelError, match="missing or damaged"):
        codec.load()
