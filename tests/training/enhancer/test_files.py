"""Files of an enhancer: what the engine reads, and what another training begins with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("codec.engine._engine", reason="needs the native engine")

import torch
from safetensors import safe_open

from codec.engine import _engine
from codec.engine.periods import around
from codec.errors import ModelError, OutputError, TrainingError
from codec.nn.enhancer import Enhancer
from codec.training.enhancer.files import (
    critics_shape,
    enhancer_bytes,
    read_beginning,
    save_checkpoint,
    write_enhancer,
)
from codec.training.enhancer.learner import Learner
from tests.helpers.enhancer_training import ENHANCER, TINY
from tests.helpers.nn_models import chirps

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def learner() -> Learner:
    """Make one whose network, average and critics all differ from those of a new one."""
    made = Learner(TINY)
    with torch.no_grad():
        for module in (made.network, made.average, made.critics):
            for parameter in module.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
    return made


def test_the_engine_reads_what_is_written(learner: Learner, tmp_path: Path):
    path = tmp_path / "new" / "a.enhancer"
    size = write_enhancer(learner.average, path, b"modelid.", {"step": "7"}, overwrite=False)
    assert size == path.stat().st_size
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {
            "config": ENHANCER.to_json(),
            "model": b"modelid.".hex(),
            "step": "7",
        }
        assert {file.get_tensor(name).dtype for name in file.keys()} == {np.dtype(np.float16)}  # noqa: SIM118
    with torch.no_grad():
        for parameter in learner.average.parameters():
            parameter.copy_(parameter.half())
        audio = chirps(7200)
        seen, known = map(torch.from_numpy, around(audio[None], ENHANCER))
        expected = learner.average(seen, known)[0].numpy()
    engine = _engine.Enhancer(path.read_bytes())
    result = engine(audio, 0, 30)
    assert np.abs(result - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.abs(expected - audio).max() > 1e-3
    with pytest.raises(OutputError, match="exists"):
        write_enhancer(learner.average, path, b"", {}, overwrite=False)


def test_the_same_weights_make_the_same_bytes(learner: Learner):
    notes = {str(number): "x" for number in range(20)}
    assert enhancer_bytes(learner.average, b"1", notes) == enhancer_bytes(
        learner.average, b"1", dict(reversed(notes.items()))
    )


def test_weights_beyond_float16_are_refused(learner: Learner):
    learner.average.norm.weight.fill_(1e6)
    with pytest.raises(ModelError, match=r"norm\.weight is not finite in float16"):
        enhancer_bytes(learner.average, bytes(8), {})


def test_a_checkpoint_comes_back(learner: Learner, tmp_path: Path):
    path = tmp_path / "a.pt"
    learner.taught = True
    for _ in range(2):  # also over the one before
        save_checkpoint(learner, path)
    found = read_beginning(path)
    assert (found.model, found.shape) == (ENHANCER, critics_shape(TINY))
    again = Learner(TINY)
    again.begin_from(found.weights, found.average, found.critics)
    assert (again.critics_from, again.taught) == (0, True)
    for name in ("network", "average", "critics"):
        pairs = zip(*(getattr(one, name).parameters() for one in (learner, again)), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_critics_that_learned_nothing_are_none(learner: Learner, tmp_path: Path):
    save_checkpoint(learner, tmp_path / "a.pt")
    assert read_beginning(tmp_path / "a.pt").critics is None


def test_an_enhancer_s_file_is_a_beginning(learner: Learner, tmp_path: Path):
    path = tmp_path / "a.enhancer"
    write_enhancer(learner.average, path, bytes(8), {}, overwrite=False)
    found = read_beginning(path)
    assert (found.model, found.critics) == (ENHANCER, None)
    for name, tensor in learner.average.state_dict().items():
        assert torch.equal(found.weights[name], tensor.half().float())


def test_what_is_neither_is_named(learner: Learner, tmp_path: Path):
    other, text, folder = tmp_path / "other.pt", tmp_path / "text", tmp_path / "folder"
    torch.save({"format": 1, "weights": {}}, other)
    text.write_text("no weights")
    folder.mkdir()
    wrong = tmp_path / "wrong.enhancer"
    network = Enhancer(dataclasses.replace(ENHANCER, dim=8))
    network.config = ENHANCER
    write_enhancer(network, wrong, bytes(8), {}, overwrite=False)
    for path in (other, text, wrong):
        with pytest.raises(TrainingError, match=f"{path.name}: damaged, or neither"):
            read_beginning(path)
    for path in (folder, tmp_path / "missing"):
        with pytest.raises(TrainingError, match=f"{path.name}: no such file"):
            read_beginning(path)
    cut = tmp_path / "cut.pt"
    save_checkpoint(learner, cut)
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(TrainingError, match="damaged"):
        read_beginning(cut)
