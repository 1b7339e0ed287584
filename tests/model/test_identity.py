"""The name of a model tells what makes the codes from what decodes them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import codec
from bench.random_weights import SMALL, write_weights
from codec.errors import ModelError
from codec.model.identity import model_id, same_tokens
from codec.model.weights_file import WeightsFile


def changed(weights: Path, name: str, metadata: dict[str, str] | None = None) -> Path:
    """A copy of `weights` of which the tensors called `name...` are a little louder."""
    out = weights.with_name(f"{name or 'same'}.safetensors")
    tensors = load_file(weights)
    for key, tensor in tensors.items():
        if name and key.startswith(name):
            tensors[key] = (tensor * np.float16(1.25)).astype(tensor.dtype)
    save_file(tensors, out, {"config": SMALL.to_json()} | (metadata or {}))
    return out


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "w.safetensors", SMALL)


def name_of(weights: Path) -> bytes:
    return WeightsFile(weights).model_id


def test_only_what_decodes_changes_the_end(weights):
    own = name_of(weights)
    decoder = name_of(changed(weights, "decoder."))
    assert same_tokens(own, decoder)
    assert own != decoder
    for part in ("encoder.", "quantiser."):
        other = name_of(changed(weights, part))
        assert not same_tokens(own, other)
        assert own[5:] == other[5:]
    assert name_of(changed(weights, "", {"steps": "12"})) == own


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"noise_from": 0}, True),
        ({"decoder_lookahead": 1}, True),
        ({"encoder_lookahead": 1}, False),
        ({"phase_bins": 9}, False),
    ],
)
def test_dimensions_count(weights, change, same):
    data = weights.read_bytes()
    one, other = model_id(data, SMALL), model_id(data, dataclasses.replace(SMALL, **change))
    assert one != other
    assert same_tokens(one, other) == same


def test_files_are_read_with_another_decoder_and_not_with_another_encoder(weights):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 9600).astype(np.float32)
    own, other = codec.load(weights), codec.load(changed(weights, "decoder."))
    data = own.compress(audio, 24_000)
    heard, _ = other.decompress(data)
    np.testing.assert_array_equal(heard, other.decode(other.encode(audio, 24_000)))
    assert not np.array_equal(heard, own.decompress(data)[0])
    with pytest.raises(ModelError, match=own.model_id.hex()):
        codec.load(changed(weights, "encoder.")).decompress(data)


@pytest.mark.parametrize("data", [b"", b"short", bytes(8), (2).to_bytes(8, "little") + b"[]"])
def test_what_is_no_safetensors_file(data):
    with pytest.raises(ModelError, match="not a safetensors file"):
        model_id(data, SMALL)
