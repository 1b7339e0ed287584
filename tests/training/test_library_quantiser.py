"""The library's quantiser in training: the same values, its own averages, the same exports."""

from __future__ import annotations

import copy
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("vector_quantize_pytorch")

import torch

from codec.errors import TrainingError
from codec.model.weights_file import WeightsFile
from codec.nn.quantiser import ResidualQuantiser
from codec.training import checkpoint as checkpoints
from codec.training.export import export_weights
from codec.training.handover import read_tree, write_tree
from codec.training.learner import Learner
from codec.training.library_quantiser import LibraryQuantiser
from tests.helpers.nn_models import chirps
from tests.helpers.training_steps import CONFIG, CPU, fitted

LIBRARY = dataclasses.replace(CONFIG, quantiser="library", adversarial_from=None)
LEVELS, SIZE, DIM = 4, 16, 8


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quantisers() -> tuple[ResidualQuantiser, LibraryQuantiser]:
    inner = ResidualQuantiser(LEVELS, SIZE, DIM, decay=0.9)
    inner.fit(normal(0, 400, DIM), torch.Generator().manual_seed(0), 4)
    return inner, LibraryQuantiser(inner, frames=60)


@pytest.mark.parametrize("used", [[4, 4, 4], [1, 4, 2], [2, 2, 1]])
def test_values_and_gradients_are_the_models(used: list[int]):
    inner, library = quantisers()
    depths, weight = torch.tensor(used), normal(2, 3, 20, DIM)
    found = []
    for quantise in (inner, library):
        x = normal(1, 3, 20, DIM).requires_grad_()
        result = quantise(x, depths)
        (result.latents * weight).sum().backward(retain_graph=True)
        first = x.grad.clone()
        (pull,) = torch.autograd.grad(result.commitment, x)
        found.append((result.latents, result.codes, result.commitment, first, pull))
    torch.testing.assert_close(*found)


def test_the_averages_are_the_librarys():
    from vector_quantize_pytorch import ResidualVQ

    inner, library = quantisers()
    alone = ResidualVQ(
        dim=DIM,
        num_quantizers=LEVELS,
        codebook_size=SIZE,
        decay=0.9,
        threshold_ema_dead_code=inner.revive * library.share,
    )
    for level, layer in enumerate(alone.layers):
        book = layer._codebook
        book.embed.copy_(inner.codebooks[level])
        book.embed_avg.copy_(inner.sums[level] * library.share)
        book.cluster_size.copy_(inner.counts[level] * library.share)
    for step in range(30):
        x = normal(step, 3, 20, DIM) * torch.linspace(0.1, 3, 20)[:, None]
        library(x, torch.full((3,), LEVELS), count=True)
        library.learn(torch.tensor(step), torch.tensor(True))
        with torch.random.fork_rng([]):
            torch.manual_seed(step)
            alone(x)
    torch.testing.assert_close(inner.codebooks, alone.codebooks)
    sizes = torch.cat([layer._codebook.cluster_size for layer in alone.layers])
    torch.testing.assert_close(inner.counts * library.share, sizes)


def test_levels_that_no_item_uses_stay():
    inner, library = quantisers()
    before = inner.codebooks.clone()
    library(normal(1, 2, 30, DIM), torch.tensor([1, 2]), count=True)
    library.learn(torch.tensor(0), torch.tensor(True))
    same = [torch.equal(a, b) for a, b in zip(before, inner.codebooks, strict=True)]
    assert same == [False, False, True, True]


def test_copies_and_handovers_learn_by_themselves(tmp_path: Path):
    learner, audio = fitted(LIBRARY)
    learner.step(0, audio, 1e-3)
    other = copy.deepcopy(learner)
    write_tree(learner.state(), tmp_path)
    taken = Learner(dataclasses.replace(LIBRARY, quantiser="codec", adversarial_from=None), CPU)
    taken.load(read_tree(tmp_path)[0])
    before = learner.model.quantiser.codebooks.clone()
    for one in (other, taken):
        assert one.step(1, audio, 1e-3)["learned"]
        assert not torch.equal(before, one.model.quantiser.codebooks)
    assert torch.equal(before, learner.model.quantiser.codebooks)


def test_a_step_that_is_not_finite_changes_nothing():
    learner, audio = fitted(LIBRARY)
    before = copy.deepcopy(learner.model.state_dict())
    assert not learner.step(0, audio * torch.inf, 1e-3)["learned"]
    torch.testing.assert_close(before, learner.model.state_dict(), atol=0, rtol=0)


def test_training_goes_on_to_the_bit_and_exports_what_the_library_has(tmp_path: Path):
    native = pytest.importorskip("codec.engine.native", reason="needs the native engine")
    learner, audio = fitted(LIBRARY)
    assert learner.accelerate() == []
    plain, _ = fitted(dataclasses.replace(CONFIG, adversarial_from=None))
    assert learner.state()["model"].keys() == plain.state()["model"].keys()
    before = learner.model.quantiser.codebooks.clone()
    losses = [learner.step(step, audio, 1e-3) for step in range(4)]
    assert all(loss["learned"] for loss in losses)
    assert losses[-1]["mel"] < losses[0]["mel"]
    assert not torch.equal(before, learner.model.quantiser.codebooks)

    resumed = Learner(LIBRARY, CPU)
    resumed.load(copy.deepcopy(learner.state()))
    for one in (learner, resumed):
        one.step(4, audio, 1e-3)
    for name, tensor in learner.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name

    saved, weights = tmp_path / "latest.pt", tmp_path / "weights.safetensors"
    checkpoints.save(checkpoints.Checkpoint(LIBRARY, learner.state(), 5, "data"), saved)
    export_weights(saved, weights)
    backend = native.NativeBackend(weights)
    clip = chirps(48_000, 3)
    latents = backend.encoder.latents(clip)
    codes = backend.encode(clip, LIBRARY.model.n_codebooks)
    codebooks = WeightsFile(weights).codebooks
    learner.model.quantiser.codebooks.copy_(torch.from_numpy(codebooks))
    quantise = learner._step.library.prefixes[-1].eval()
    _, theirs, _ = quantise(torch.from_numpy(latents)[None])
    assert_equal_within_ties(latents, codes, theirs[0].T.numpy(), codebooks)


def assert_equal_within_ties(latents, ours, theirs, codebooks) -> None:
    """Codes are equal, up to the first level of a frame where two codewords are as near."""
    residual = latents.astype(np.float64)
    same = np.ones(len(latents), bool)
    for level, book in enumerate(codebooks.astype(np.float64)):
        distances = ((residual[:, None] - book) ** 2).sum(2)
        rows = np.arange(len(latents))
        a, b = distances[rows, ours[level]], distances[rows, theirs[level]]
        scale = (residual**2).sum(1) + (book**2).sum(1).max()
        assert (np.abs(a - b)[same] <= 1e-5 * scale[same]).all()
        same &= ours[level] == theirs[level]
        residual = residual - book[ours[level]]
    assert same.mean() > 0.98


@pytest.mark.parametrize("mode", ["graph", "compile"])
def test_other_modes_are_refused(mode: str):
    with pytest.raises(TrainingError, match=f"needs step=eager, not step={mode}"):
        dataclasses.replace(LIBRARY, step=mode)


def test_auto_takes_eager_steps():
    learner, _ = fitted(dataclasses.replace(LIBRARY, step="auto"))
    assert learner.accelerate() == ["steps: eager, because quantiser=library needs them"]
    assert learner._runner.mode == "eager"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with pytest.raises(TrainingError, match="pip install vector-quantize-pytorch"):
        Learner(LIBRARY, CPU)
