"""Exported weights, and the torch backend that runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import safetensors
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codec
from codec.errors import ModelError, OutputError
from codec.model import codebooks
from codec.model.config import ModelConfig
from codec.model.identity import model_id
from codec.model.weights_file import CODEBOOKS, CODEWORDS, SCALES, TRAINING_ONLY
from codec.nn.backend import TorchBackend
from codec.training import checkpoint as checkpoints
from codec.training.export import export_weights, safetensors_bytes
from codec.training.learner import Learner
from tests.helpers.nn_models import MODEL, TRAINING, chirps


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with fitted codebooks and averages that are not the weights."""
    learner = Learner(TRAINING, torch.device("cpu"))
    audio = torch.from_numpy(chirps(96_000)).view(4, -1)
    learner.start(audio)
    learner.fit_codebooks([audio])
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter += 0.01
    path = tmp_path_factory.mktemp("run") / "latest.pt"
    checkpoint = checkpoints.Checkpoint(TRAINING, learner.state(), 7, "data", audio_seconds=1800.0)
    checkpoints.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def weights(saved: Path) -> Path:
    path = saved.with_name("weights.safetensors")
    export_weights(saved, path)
    return path


def test_exports_averages_as_float16(saved: Path, weights: Path):
    state = checkpoints.load(saved).learner
    found = safetensors.torch.load_file(weights)
    size = sum(tensor.nbytes for tensor in found.values())
    packed = codebooks.pack(state["model"][CODEBOOKS].numpy())
    for name, array in zip((CODEWORDS, SCALES), packed, strict=True):
        assert np.array_equal(found.pop(name).numpy(), array)
    assert found.keys() == state["model"].keys() - {*TRAINING_ONLY, CODEBOOKS}
    for name, tensor in found.items():
        expected = state["average"].get(name, state["model"][name])
        assert torch.equal(tensor, expected.half()), name
    assert weights.stat().st_size - size < 16_384


def test_exports_the_last_weights_when_asked(saved: Path, tmp_path: Path):
    export_weights(saved, tmp_path / "raw.safetensors", raw=True)
    state = checkpoints.load(saved).learner["model"]
    for name, tensor in safetensors.torch.load_file(tmp_path / "raw.safetensors").items():
        if name not in (CODEWORDS, SCALES):
            assert torch.equal(tensor, state[name].half())


def test_metadata(weights: Path):
    with safetensors.safe_open(weights, "pt") as file:
        metadata = file.metadata()
    assert ModelConfig.from_json(metadata["config"]) == MODEL
    assert (metadata["step"], metadata["hours"], metadata["data"]) == ("7", "0.50", "data")
    assert metadata["licence"] == "Apache-2.0"


def test_same_checkpoint_same_bytes(saved: Path, weights: Path, tmp_path: Path):
    export_weights(saved, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == weights.read_bytes()
    with pytest.raises(OutputError):
        export_weights(saved, tmp_path / "again.safetensors")


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name != "__metadata__"),
        st.lists(st.integers(0, 4), max_size=3),
        max_size=5,
    ),
    st.dictionaries(st.text(), st.text(), max_size=5),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_library_reads_what_is_written(tmp_path: Path, shapes, metadata):
    random = np.random.default_rng(len(shapes))
    tensors = {
        name: random.integers(-9, 9, shape).astype(random.choice([np.int8, np.float16]))
        for name, shape in shapes.items()
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes(tensors, metadata))
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == metadata
        assert set(file.keys()) == set(tensors)
        for name, tensor in tensors.items():
            assert np.array_equal(file.get_tensor(name), tensor)
            assert file.get_tensor(name).dtype == tensor.dtype


def test_no_codebooks_no_export(saved: Path, tmp_path: Path):
    checkpoint = checkpoints.load(saved)
    checkpoint.learner["quantised"] = False
    checkpoints.save(checkpoint, tmp_path / "early.pt")
    with pytest.raises(ModelError, match="no codebooks"):
        export_weights(tmp_path / "early.pt", tmp_path / "out.safetensors")


def test_too_large_for_float16(saved: Path, tmp_path: Path):
    checkpoint = checkpoints.load(saved)
    checkpoint.learner["average"]["decoder.embed.bias"][0] = 1e6
    checkpoints.save(checkpoint, tmp_path / "large.pt")
    with pytest.raises(ModelError, match=r"decoder\.embed\.bias"):
        export_weights(tmp_path / "large.pt", tmp_path / "out.safetensors")


def test_loads(weights: Path):
    backend = TorchBackend(weights)
    assert backend.config == MODEL
    assert backend.model_id == model_id(weights.read_bytes(), backend.config)
    stored = safetensors.torch.load_file(weights)
    scales = stored.pop(SCALES).float()
    stored[CODEBOOKS] = stored.pop(CODEWORDS).float() * scales[..., None]
    for name, tensor in backend._model.state_dict().items():
        if name not in TRAINING_ONLY:
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, stored[name].float())


@pytest.mark.parametrize("samples", [1, 7, 959, 960, 961, 4799, 24_001])
def test_frames_and_samples(weights: Path, samples: int):
    backend = TorchBackend(weights)
    audio = chirps(samples)
    codes = backend.encode(audio, 3)
    assert codes.dtype == np.uint16
    assert codes.shape == (3, MODEL.n_frames(samples))
    assert codes.max() < MODEL.codebook_size
    assert np.array_equal(codes, backend.encode(audio, MODEL.n_codebooks)[:3])
    decoded = backend.decode(codes)
    assert decoded.dtype == np.float32
    assert decoded.shape == (MODEL.n_frames(samples) * MODEL.hop_length,)


@pytest.mark.parametrize("block_seconds", [0.04, 0.2, 1.0])
def test_blocks_are_the_whole(weights: Path, block_seconds: float):
    whole, blocks = TorchBackend(weights), TorchBackend(weights, block_seconds)
    audio = chirps(24_000 * 2 + 13)
    codes = whole.encode(audio, 4)
    assert np.array_equal(codes, blocks.encode(audio, 4))
    np.testing.assert_allclose(whole.decode(codes), blocks.decode(codes), atol=1e-6)


def test_behind_the_api(weights: Path):
    model = codec.load(weights)
    audio = chirps(10_000)
    tokens = model.encode(audio, 24_000)
    assert model.decode(tokens).shape == (1, 10_000)
    back, rate = model.decompress(model.compress(audio, 24_000))
    assert rate == 24_000
    assert np.array_equal(back, model.decode(tokens))


def damage(weights: Path, change) -> bytes:
    """The file with its header, as a dict, changed by `change`."""
    data = weights.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def with_config(**fields: object):
    def change(header: dict) -> None:
        config = json.loads(header["__metadata__"]["config"])
        header["__metadata__"]["config"] = json.dumps(config | fields)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("__metadata__"),
        lambda header: header["__metadata__"].pop("config"),
        lambda header: header["__metadata__"].update(config="{"),
        lambda header: header.update(extra=header.pop("decoder.embed.bias")),
        lambda header: header["decoder.embed.bias"].update(dtype="I16"),
        with_config(unknown=1),
        with_config(decoder_dim=10**6),
        with_config(decoder_dim=-4),
        with_config(decoder_dim="16"),
        with_config(encoder_blocks=1),
        with_config(latent_dim=9),
        with_config(backbone_hop=0),
    ],
)
def test_wrong_headers(weights: Path, tmp_path: Path, change):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(damage(weights, change))
    with pytest.raises(ModelError) as error:
        TorchBackend(bad)
    assert "\n" not in str(error.value)


def test_values_that_are_not_finite(weights: Path, tmp_path: Path):
    bad = tmp_path / "bad.safetensors"
    # the codewords, one byte each, come last; before them the two-byte scales
    end = -MODEL.n_codebooks * MODEL.codebook_size * MODEL.latent_dim
    whole = weights.read_bytes()
    bad.write_bytes(whole[: end - 2] + b"\x00\x7e" + whole[end:])
    with pytest.raises(ModelError, match="not finite"):
        TorchBackend(bad)


@given(st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_truncated(weights: Path, tmp_path: Path, data):
    whole = weights.read_bytes()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ModelError):
        TorchBackend(bad)
