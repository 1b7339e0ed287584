"""Whole steps with every family of critics: one graph, without waits, that learns."""

from __future__ import annotations

import copy
import dataclasses

import pytest

pytest.importorskip("torch")

import torch

from codec.training.runner import compiled, count_plans
from tests.helpers.host_reads import NoHostReads
from tests.helpers.nn_models import TRAINING
from tests.helpers.training_steps import drawn, fitted

CONFIG = dataclasses.replace(
    TRAINING,
    batch_size=2,
    critic_crops=2,
    adversarial_from=0,
    adversarial_warmup=1,
    adversarial="least-squares",
    critics="period1:2,3+complex2:126+magnitude2:206+complex-bands2:256",
    critics_drawn=5,
    critic_rotation="waveform",
    loss_scales="all",
)


def test_all_critics_every_step_are_one_kind_of_step():
    learner, audio = fitted(CONFIG)
    assert count_plans(CONFIG, learner.loss.scales) == 1
    assert {drawn(learner, audio, step)[0] for step in range(5)} == {drawn(learner, audio)[0]}


def test_no_operation_waits_for_the_device():
    learner, audio = fitted(CONFIG)
    plan, inputs = drawn(learner, audio)
    with NoHostReads():
        losses = learner._step(plan, inputs)
    assert losses["learned"]


@pytest.mark.slow
def test_the_whole_step_is_one_graph_that_learns():
    plain, audio = fitted(CONFIG)
    whole = copy.deepcopy(plain)
    plan, inputs = drawn(plain, audio)
    torch._dynamo.reset()
    run = compiled(whole._step, plan, "aot_eager")
    expected, found = plain._step(plan, inputs), run(inputs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)
    before = [p.clone() for p in whole.critics.parameters()]
    losses = [found]
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(4, 12):
            losses.append(run(drawn(whole, audio, step)[1]))
    assert all(loss["learned"] for loss in losses)
    assert losses[-1]["critic"] < losses[0]["critic"]
    for name in ("mel", "adversarial", "features"):
        assert len({float(loss[name]) for loss in losses}) == len(losses)
    moved = [
        not torch.equal(*pair) for pair in zip(whole.critics.parameters(), before, strict=True)
    ]
    assert all(moved)
