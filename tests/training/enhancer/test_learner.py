"""Steps of an enhancer's training: they learn, and nothing that is not finite is learned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("codec.engine._engine", reason="needs the native engine")

import torch

from codec.engine.native import NativeBackend
from codec.errors import TrainingError
from codec.training.critics.judgement import Judgement
from codec.training.enhancer.batches import Batch
from codec.training.enhancer.learner import Learner
from codec.training.prepare import PreparedAudio
from tests.helpers.enhancer_training import TINY, batches
from tests.helpers.torch_signals import noise

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def batch(audio: PreparedAudio, weights: Path) -> Batch:
    return batches(audio, NativeBackend(weights), TINY).draw(0)


def state(learner: Learner) -> list[torch.Tensor]:
    modules = (learner.network, learner.average, learner.critics)
    return [tensor.clone() for module in modules for tensor in module.parameters()]


def test_a_fixed_batch_is_learned(batch: Batch):
    learner = Learner(dataclasses.replace(TINY, critics_from=1000, lr=3e-3))
    losses = [sum(learner.learn(step, batch, 1.0).values()) for step in range(30)]
    assert losses[-1] < 0.8 * losses[0]


def test_critics_learn_from_their_step_on(batch: Batch):
    learner = Learner(dataclasses.replace(TINY, critics_from=2))
    before = [parameter.clone() for parameter in learner.critics.parameters()]
    for step in range(2):
        assert "critic" not in learner.learn(step, batch, 1.0)
    assert not learner.taught
    assert all(map(torch.equal, before, learner.critics.parameters()))
    first = learner.learn(2, batch, 1.0)["critic"]
    assert learner.taught
    fresh = Learner(TINY).critics
    moved = [
        not all(map(torch.equal, old.parameters(), new.parameters()))
        for old, new in zip(fresh, learner.critics, strict=True)
    ]
    assert [number for number, is_moved in enumerate(moved) if is_moved] == batch.critics
    for step in range(3, 30):
        last = learner.learn(step, batch, 1.0)["critic"]
    assert last < first


def test_critics_that_hear_nothing_teach_nothing(batch: Batch):
    deaf = batch._replace(heard=torch.zeros(0, dtype=torch.int64))
    learner, without = Learner(TINY), Learner(dataclasses.replace(TINY, critics_from=1000))
    for step in range(3):
        learner.learn(step, deaf, 1.0)
        without.learn(step, batch, 1.0)
    assert all(map(torch.equal, state(learner), state(without)))


def test_the_critics_pull_is_in_proportion_to_the_other_losses():
    learner = Learner(TINY)
    output = noise(3, 100).requires_grad_()
    heard = torch.tensor([0, 2])
    own = noise(3, 100, seed=1)
    other = (output[heard] * noise(2, 100, seed=2)).sum()
    judgement = Judgement(critic=other, adversarial=1000 * other, features=other / 1000)
    pull = learner._pull(judgement, own, output, heard)
    assert not pull[1].any()
    size = own[heard].norm()
    assert torch.allclose(pull[heard].norm(), size * 1.0)  # 0.3 and 0.7, in the same direction
    assert torch.allclose(pull[heard] / size, noise(2, 100, seed=2) / noise(2, 100, seed=2).norm())


def test_what_is_not_finite_is_not_learned(batch: Batch):
    learner = Learner(dataclasses.replace(TINY, max_bad_steps=2))
    learner.learn(5, batch, 1.0)
    before = state(learner)
    broken = batch._replace(target=batch.target * float("nan"))
    learner.learn(6, broken, 1.0)
    assert all(map(torch.equal, before, state(learner)))
    learner.learn(7, batch, 1.0)  # a good one: the count begins anew
    learner.learn(8, broken, 1.0)
    with pytest.raises(TrainingError, match="not finite for 2 steps"):
        learner.learn(9, broken, 1.0)


@pytest.mark.parametrize("native", [True, False])
def test_the_precision_is_what_the_cpu_has(native: bool, monkeypatch):
    """It is not measured: other work on the machine must not change what is learned."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("measured"))
    for precision, half in (("auto", native), ("bfloat16", True), ("float32", False)):
        learner = Learner(dataclasses.replace(TINY, precision=precision))
        assert learner.network.backbone.in_bfloat16 is half
        assert learner.average.backbone.in_bfloat16 is half


def test_the_average_follows(batch: Batch):
    learner = Learner(TINY)
    for step in range(3):
        learner.learn(step, batch, 1.0)
    pairs = zip(learner.average.parameters(), learner.network.parameters(), strict=True)
    assert all(0 < float((one - other).detach().abs().max()) < 0.01 for one, other in pairs)
