"""Averages of gradient norms: their formula, what they leave out, and that they are saved."""

from __future__ import annotations

import copy
import dataclasses

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.training.balancer import DECAY, Balancer
from codec.training.handover import read_tree, write_tree
from codec.training.learner import Learner
from codec.training.runner import compiled
from tests.helpers.host_reads import NoHostReads
from tests.helpers.training_steps import CONFIG, CPU, drawn, fitted

AVERAGE = dataclasses.replace(CONFIG, balance="average", loss_scales="all")


@given(st.lists(st.tuples(st.floats(0.125, 8, width=32), st.booleans()), min_size=1, max_size=9))
def test_averages_are_those_of_the_formula(sizes):
    balancer = Balancer(1, CPU)
    taken: list[float] = []
    for size, wanted in sizes:
        both = [*taken, size]
        weights = [DECAY ** (len(both) - 1 - i) for i in range(len(both))]
        expected = sum(w * s for w, s in zip(weights, both, strict=True)) / sum(weights)
        found = balancer.averaged(torch.tensor([size]))
        assert float(found) == pytest.approx(expected, rel=1e-4)
        given_size = size if wanted else torch.nan
        balancer.learn(torch.tensor([given_size]), torch.tensor(wanted))
        if wanted:
            taken = both


def test_the_first_step_is_that_of_its_own_norms():
    one, audio = fitted(dataclasses.replace(AVERAGE, balance="step"))
    other, _ = fitted(AVERAGE)
    found = [learner._step(*drawn(learner, audio)) for learner in (one, other)]
    torch.testing.assert_close(*found)
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_steps_that_are_not_finite_or_not_heard_leave_the_averages():
    learner, audio = fitted(AVERAGE)
    balancer = learner._step.balancer
    plan, inputs = drawn(learner, audio)
    for changed in ({"audio": inputs.audio * torch.inf}, {"hear": inputs.hear & False}):
        learner._step(plan, inputs._replace(**changed))
        assert [float(tensor.abs().sum()) for tensor in balancer.tensors()] == [0, 0]
    with NoHostReads():
        learner._step(plan, inputs)
    assert (balancer.averages > 0).all()
    assert balancer.weight > 0


def test_averages_are_saved_and_handed_over(tmp_path):
    learner, audio = fitted(AVERAGE)
    for step in range(2):
        learner.step(step, audio, 1e-3)
    write_tree(learner.state(), tmp_path)
    for state in (learner.state(), read_tree(tmp_path)[0]):
        other = Learner(AVERAGE, CPU)
        other.load(copy.deepcopy(state))
        pairs = zip(other._step.balancer.tensors(), learner._step.balancer.tensors(), strict=True)
        assert all(torch.equal(a, b) and b.abs().sum() > 0 for a, b in pairs)
    without = learner.state()
    del without["balance"]
    Learner(AVERAGE, CPU).load(without)  # of a run that took the norms of each step until now


@pytest.mark.slow
def test_the_whole_step_is_one_graph():
    plain, audio = fitted(AVERAGE)
    whole = copy.deepcopy(plain)
    plan, inputs = drawn(plain, audio)
    torch._dynamo.reset()
    run = compiled(whole._step, plan, "aot_eager")
    for _ in range(2):
        torch.testing.assert_close(run(inputs), plain._step(plan, inputs), atol=1e-5, rtol=1e-3)
    pairs = zip(plain._step.tensors(), whole._step.tensors(), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
