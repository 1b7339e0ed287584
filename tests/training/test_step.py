"""A training step: as it was, of fixed shapes, without a wait for the device, and as one graph."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from codec.errors import TrainingError
from codec.training.draws import choose_heard
from codec.training.learner import Learner
from codec.training.optimiser import fused_step
from codec.training.runner import compiled
from tests.helpers import reference_step as reference
from tests.helpers.host_reads import NoHostReads
from tests.helpers.nn_models import TRAINING
from tests.helpers.training_steps import CONFIG, CPU, drawn, fitted


@pytest.mark.parametrize("learned", ["all", "decoder"])
@pytest.mark.parametrize("quantised", [True, False])
def test_no_operation_waits_for_the_device(learned: str, quantised: bool):
    learner, audio = fitted(dataclasses.replace(CONFIG, learned=learned))
    learner.quantised = quantised
    plan, inputs = drawn(learner, audio)
    assert plan.critics
    with NoHostReads():
        losses = learner._step(plan, inputs)
    assert losses["learned"]


@pytest.mark.parametrize("skipped", [0.0, 1.0])
def test_the_optimiser_does_not_wait_either(skipped: float):
    parameter, square, step = torch.ones(3), torch.zeros(3), torch.zeros(())
    mean, gradient = torch.zeros(3), torch.full((3,), 2.0 if not skipped else torch.nan)
    flag, lr = torch.tensor(skipped), torch.tensor(0.1)
    with NoHostReads():  # a compiler's view of it is opaque, and so is the watch's: look inside
        fused_step(
            [parameter], [gradient], [mean], [square], [step], lr, flag, 0.9, 0.99, 0.0, 1e-8
        )
    assert step == 1 - skipped
    # The first step of Adam is the sign of the gradient.
    torch.testing.assert_close(parameter, torch.full((3,), 0.9 if not skipped else 1.0))


def test_the_watch_for_waits_sees_them():
    x = torch.arange(3.0)
    for wait in (lambda: x.sum().item(), lambda: bool(x[0] > 1), lambda: x[x > 1], x.nonzero):
        with NoHostReads(), pytest.raises(AssertionError):
            wait()


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True])
def test_the_whole_step_is_one_graph(bad: bool):
    plain, audio = fitted()
    whole = copy.deepcopy(plain)
    plan, inputs = drawn(plain, audio)
    if bad:
        inputs = inputs._replace(audio=inputs.audio * torch.inf)
    torch._dynamo.reset()
    run = compiled(whole._step, plan, "aot_eager")
    expected, found = plain._step(plan, inputs), run(inputs)
    assert found["learned"] == (not bad)
    torch.testing.assert_close(found, expected, equal_nan=True, atol=1e-5, rtol=1e-4)
    pairs = zip(plain._step.tensors(), whole._step.tensors(), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    # One compiled graph serves every step of the plan: only values differ.
    with torch._dynamo.config.patch(error_on_recompile=True):
        run(drawn(whole, audio, 8)[1])


@pytest.mark.parametrize("learned", ["all", "decoder"])
def test_the_tensors_listed_are_all_that_a_step_changes(learned: str):
    learner, audio = fitted(dataclasses.replace(CONFIG, learned=learned))
    plan, inputs = drawn(learner, audio)
    before = copy.deepcopy(learner.state())
    values = [tensor.clone() for tensor in learner._step.tensors()]
    learner._step(plan, inputs)
    assert not torch.equal(before["optimiser"]["state"][0]["exp_avg"], values[0])
    for tensor, value in zip(learner._step.tensors(), values, strict=True):
        tensor.copy_(value)
    torch.testing.assert_close(before, learner.state(), atol=0, rtol=0)


def test_a_step_is_a_function_of_its_inputs():
    one, audio = fitted()
    other = copy.deepcopy(one)
    for learner in (one, other):
        torch.rand(5 if learner is one else 7)  # nothing is drawn from the global generator
        for step in range(3):
            learner.step(step, audio, 1e-3)
    torch.testing.assert_close(one.state(), other.state(), atol=0, rtol=0)


def test_crops_that_critics_hear():
    judged = torch.tensor([False, True, True, False, True])
    for count, expected in ((1, [1]), (2, [1, 2]), (3, [1, 2, 4]), (5, [1, 2, 4, 1, 2])):
        heard, hear = choose_heard(judged, 5, count)
        assert (heard.tolist(), bool(hear)) == (expected, True)
    heard, hear = choose_heard(judged & False, 5, 3)
    assert (heard.shape, bool(hear)) == ((3,), False)
    assert choose_heard(None, 5, 2)[0].tolist() == [0, 1]


def test_modes_that_are_not_available():
    learner, _ = fitted(dataclasses.replace(CONFIG, step="graph"))
    with pytest.raises(TrainingError, match="step=graph needs a CUDA device, not cpu"):
        learner.accelerate()
    many = dataclasses.replace(
        CONFIG, step="compile", critics="+".join(["1x1024"] * 9), critics_drawn=2
    )
    learner, _ = fitted(many)
    with pytest.raises(TrainingError, match="216 kinds"):
        learner.accelerate()


@pytest.mark.slow
def test_auto_measures_and_undoes_what_it_learned(monkeypatch: pytest.MonkeyPatch):
    from codec.training import runner

    monkeypatch.setattr(runner, "MEASURED_SECONDS", 0.0)
    monkeypatch.setattr(runner, "compiled", lambda step, plan: compiled(step, plan, "aot_eager"))
    config = dataclasses.replace(CONFIG, step="auto", loss_scales="all")
    learner, audio = fitted(config)
    before = copy.deepcopy(learner.state())
    (said,) = learner.accelerate()
    mode = learner._runner.mode
    assert said.startswith(f"steps: {mode} (eager ")
    assert "; compile " in said
    after = learner.state()
    assert before.pop("chosen") == {}
    assert after.pop("chosen") == {"device": "cpu", "bfloat16": False, "step": mode}
    torch.testing.assert_close(before, after, atol=0, rtol=0)
    assert learner.step(0, audio, 1e-3)["learned"]


def test_a_step_is_what_it_was_before_it_was_a_function_of_tensors():
    """Losses, gradients, codebooks and averages equal those of commit 112fd47; how they were
    recorded: tests/helpers/reference_step.py."""
    expected = json.loads(Path(reference.__file__).with_suffix(".json").read_text())
    config = TRAINING.replace(reference.CHANGES)
    learner = Learner(config, CPU)
    assert learner.critics is not None
    reference.fill(learner.model, learner.critics)
    learner.copy_to_average()
    learner.quantised = True
    optimisers = learner._step.optimiser, learner._step.teachers.optimiser
    taken: list[list[torch.Tensor | None]] = []
    for optimiser in optimisers:
        # What each optimiser is given is kept; what it does with it is as before.
        optimiser.step = keeping(optimiser.step, taken)  # type: ignore[method-assign]
    crops = reference.audio(config.batch_size, config.crop_samples)
    losses = learner.step(reference.STEP, crops, reference.LR)
    assert losses.pop("learned")
    codes = losses.pop("codes")
    assert [int((codes >= 0).sum()), int(codes[codes >= 0].sum())] == expected["codes"]
    assert {k: float(v) for k, v in losses.items()} == pytest.approx(expected["losses"], rel=1e-4)
    own, critics = taken
    assert_near(own, expected["gradients"])
    assert_near(critics, expected["critics"])
    quantiser = learner.model.quantiser
    assert_near([quantiser.codebooks, quantiser.counts, quantiser.sums], expected["codebooks"])
    assert_near(list(learner.average.parameters()), expected["averages"])


def keeping(step, taken: list):
    def kept(gradients, *rest):
        taken.append([None if g is None else g.clone() for g in gradients])
        step(gradients, *rest)

    return kept


def assert_near(tensors, digests) -> None:
    """Norms and projections agree within 1e-4 of the norm."""
    assert len(tensors) == len(digests)
    for tensor, expected in zip(tensors, digests, strict=True):
        assert (tensor is None) == (expected is None)
        if tensor is not None:
            (found,) = reference.digest([tensor])
            assert found == pytest.approx(expected, abs=1e-4 * expected[0] + 1e-9)


def test_auto_does_not_compile_many_kinds_of_steps():
    learner, _ = fitted(dataclasses.replace(CONFIG, step="auto"))
    assert learner.accelerate() == ["steps: eager, because there are 6 kinds of them to compile"]


@pytest.mark.parametrize("mode", ["eager", "compile"])
def test_a_run_that_goes_on_keeps_to_what_auto_chose(mode: str):
    config = dataclasses.replace(CONFIG, step="auto", precision="auto")
    learner, _ = fitted(config)
    chosen = {"device": "cpu", "bfloat16": True, "step": mode}
    then, _ = fitted(config)
    then.load(learner.state() | {"chosen": chosen})
    said = then.accelerate()
    assert said == ["bfloat16 backbones"] + ["steps: compile"] * (mode == "compile")
    assert then.state()["chosen"] == chosen
