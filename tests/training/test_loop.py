"""Training runs: resumed to the bit, branched, stopped, and kept from breaking."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import DataError, TrainingError
from codec.model.weights_file import WeightsFile
from codec.nn.backend import read_model
from codec.training import checkpoint as checkpoints
from codec.training.config import Decay, TrainConfig, differences, read_changes
from codec.training.critics.judgement import Judgement
from codec.training.crops import Crops, CropSampler
from codec.training.draws import step_generator
from codec.training.evaluation import evaluate, participation_ratio, read_clips, spread
from codec.training.learner import Learner
from codec.training.loop import DECAYED, DECAYING, LATEST, PREVIOUS, Session, Until, train
from codec.training.monitor import Monitor, perplexity
from tests.helpers.nn_models import TRAINING, chirps

CPU = torch.device("cpu")
FIELDS = json.loads(TRAINING.to_json())


pytestmark = pytest.mark.usefixtures("one_thread")


def go(audio, run: Path, until: Until, changes: dict | None = None, **options) -> list[str]:
    """Train; the lines said."""
    said: list[str] = []
    # All fields for a new run, none for an old one: it has its own.
    base = {} if (run / LATEST).exists() else FIELDS
    train(audio, run, base | (changes or {}), until, say=said.append, **options)
    return said


def assert_same(a: Any, b: Any, path: str = "") -> None:
    assert type(a) is type(b), path
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(pair[0], pair[1], f"{path}/{index}")
    else:
        assert a == b, path


def first_steps(audio, count: int, config: TrainConfig = TRAINING) -> Learner:
    learner = Learner(config, CPU)
    sampler = CropSampler(audio, config.crop_samples, config.batch_size, config.seed)
    learner.start(sampler.batch(1000))
    learner.fit_codebooks([sampler.batch(i) for i in range(1001, 1020)])
    for step in range(count):
        assert learner.step(step, sampler.batch(step), 1e-3)["learned"]
    return learner


@pytest.fixture(scope="module")
def whole(audio, tmp_path_factory: pytest.TempPathFactory) -> checkpoints.Checkpoint:
    """The end of a run of seven steps."""
    run = tmp_path_factory.mktemp("whole")
    go(audio, run, Until(steps=7))
    return checkpoints.load(run / LATEST)


@pytest.mark.parametrize("stop", [1, 2, 5])  # before the codebooks, at them, with critics
def test_a_run_cut_in_two_is_the_run(audio, whole, tmp_path: Path, stop: int):
    go(audio, tmp_path, Until(steps=stop))
    torch.rand(17)  # what a new process would not know either
    go(audio, tmp_path, Until(steps=7))
    cut = checkpoints.load(tmp_path / LATEST)
    assert "critics" in whole.learner
    assert_same(whole.learner, cut.learner)
    assert (whole.step, whole.audio_seconds) == (cut.step, cut.audio_seconds)


def test_the_pace_counts_the_wait_for_the_device(tmp_path: Path, monkeypatch):
    settings = {"every": 1, "audio_seconds": 1.0, "levels": 1, "codebook_size": 2}
    with Monitor(tmp_path, 0, last_step=None, minutes=None, **settings) as monitor:
        ticks = itertools.count(step=3)
        monkeypatch.setattr("codec.training.monitor.time.monotonic", lambda: next(ticks))
        losses = {"mel": torch.ones(()), "learned": torch.tensor(True)}
        monitor.add(1, 1e-3, 1.0, losses)  # a second until the host is done, three for the rest
    assert (monitor.seconds_per_step, monitor.means) == (4.0, {"mel": 1.0})


def test_a_deadline_ends_a_session(audio, tmp_path: Path):
    ticks = itertools.count()
    go(audio, tmp_path, Until(steps=50, deadline=30, clock=lambda: next(ticks)))
    assert 1 < checkpoints.load(tmp_path / LATEST).step < 30


def test_an_augmented_run_cut_in_two_is_the_run(audio, tmp_path: Path):
    kinds = ("speed", "mix", "tilt", "room", "noise")
    changes = {f"{kind}_share": 0.5 for kind in kinds}
    go(audio, tmp_path / "plain", Until(steps=4))
    go(audio, tmp_path / "whole", Until(steps=4), changes)
    go(audio, tmp_path / "cut", Until(steps=3), changes)
    go(audio, tmp_path / "cut", Until(steps=4))
    plain, whole, cut = (
        checkpoints.load(tmp_path / name / LATEST) for name in ("plain", "whole", "cut")
    )
    assert_same(whole.learner, cut.learner)
    with pytest.raises(AssertionError):
        assert_same(plain.learner, whole.learner)


def test_a_decay_is_a_branch(audio, tmp_path: Path):
    run = tmp_path / "run"
    go(audio, run, Until(steps=4))
    before = (run / LATEST).read_bytes()
    rates: list[float] = []
    learn = Learner.step

    def step(self, number, crops, lr, judged, phones):
        rates.append(lr)
        return learn(self, number, crops, lr, judged, phones)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", step)
        go(audio, run, Until(decay_steps=3))
    assert (run / LATEST).read_bytes() == before
    assert not (run / DECAYING).exists()
    decayed = checkpoints.load(run / DECAYED)
    assert (decayed.step, decayed.decay) == (7, Decay(4, 3))
    assert rates[-1] == pytest.approx(TRAINING.lr * TRAINING.decay_floor)


def test_a_decay_goes_on_where_it_was_killed(audio, tmp_path: Path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for run in (whole, cut):
        go(audio, run, Until(steps=3))
        if run == cut:
            go(audio, run, Until(decay_steps=4, minutes=1e-9))
            assert checkpoints.load(run / DECAYING).step == 3
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(CropSampler, "crops", stop_at(4))
                with pytest.raises(KeyboardInterrupt):
                    go(audio, run, Until(decay_steps=4), {"checkpoint_minutes": 0.0})
            assert checkpoints.load(run / DECAYING).step == 4
        go(audio, run, Until(decay_steps=4))
    assert_same(*(checkpoints.load(run / DECAYED).learner for run in (whole, cut)))


def stop_at(step: int):
    batch = CropSampler.crops

    def interrupted(self: CropSampler, number: int) -> Crops:
        if number == step:
            raise KeyboardInterrupt
        return batch(self, number)

    return interrupted


def test_a_decay_in_minutes_takes_the_runs_pace(audio, tmp_path: Path):
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="no checkpoint"):
        go(audio, run, Until(decay_minutes=1))
    go(audio, run, Until(steps=2))
    saved = checkpoints.load(run / LATEST)
    checkpoints.save(dataclasses.replace(saved, seconds_per_step=20.0), run / LATEST)
    go(audio, run, Until(decay_minutes=1))
    assert checkpoints.load(run / DECAYED).decay == Decay(2, 3)


@given(st.integers(0, 500), st.integers(1, 200))
def test_learning_rate(start, steps):
    config = TRAINING
    decay = Decay(start, steps)
    rates = [config.lr_at(start + i, decay) / config.lr_at(start + i) for i in range(steps)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < 1
    assert rates[-1] == pytest.approx(config.decay_floor)
    ramp = [config.lr_at(step) for step in range(config.warmup_steps + 3)]
    assert ramp == sorted(ramp)
    assert ramp[config.warmup_steps - 1] == ramp[-1] == config.lr


def test_another_model_is_refused(audio, tmp_path: Path):
    go(audio, tmp_path, Until(steps=1))
    with pytest.raises(TrainingError, match=r"model\.encoder_dim is 16, not 8"):
        go(audio, tmp_path, Until(steps=2), {"model": {"encoder_dim": 8}})


def test_settings_may_change_and_are_said(audio, tmp_path: Path):
    go(audio, tmp_path, Until(steps=1))
    said = go(audio, tmp_path, Until(steps=2), {"lr": 5e-4, "betas": [0.8, 0.95]})
    assert "lr: 0.001 -> 0.0005" in said
    saved = checkpoints.load(tmp_path / LATEST)
    assert (saved.config.lr, saved.config.betas) == (5e-4, (0.8, 0.95))


def test_a_new_run_begins_with_the_averages_of_another(audio, tmp_path: Path):
    go(audio, tmp_path / "old", Until(steps=4))
    old = checkpoints.load(tmp_path / "old" / LATEST).learner
    session = Session(audio, tmp_path / "new", FIELDS, Until(), init=tmp_path / "old" / LATEST)
    assert session.now.step == 0
    assert session.learner.quantised
    for name, parameter in session.learner.model.named_parameters():
        assert torch.equal(parameter, old["average"][name])
    other = FIELDS | {"model": FIELDS["model"] | {"latent_dim": 9}}
    with pytest.raises(TrainingError, match="another model"):
        Session(audio, tmp_path / "third", other, Until(), init=tmp_path / "old" / LATEST)


def test_a_decoder_that_learns_alone_leaves_the_tokens(audio, tmp_path: Path):
    go(audio, tmp_path / "old", Until(steps=5))
    first = tmp_path / "old" / LATEST
    changes = {"learned": "decoder", "warmup_steps": 1}
    go(audio, tmp_path / "new", Until(steps=4), changes, init=first)
    old, new = checkpoints.load(first).learner, checkpoints.load(tmp_path / "new" / LATEST).learner
    before = old["model"] | old["average"]
    for name, tensor in (new["model"] | new["average"]).items():
        moved = not torch.equal(tensor, before[name])
        if not name.startswith("decoder."):
            assert not moved, name
        elif name.endswith("weight"):
            assert moved, name
    resumed = go(audio, tmp_path / "new", Until(steps=5))
    assert any("going on from step 4" in line for line in resumed)


def test_time_may_be_told_by_another_clock(audio, tmp_path: Path):
    ticks = itertools.count(step=20.0)  # a minute is over at the fourth look
    go(audio, tmp_path, Until(minutes=1, clock=lambda: next(ticks)))
    assert 0 < checkpoints.load(tmp_path / LATEST).step < 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_returns(audio, tmp_path: Path, number: int):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    learn = Learner.step

    def step(self, index, *args):
        if index == 1:  # training has its own handlers by now
            os.kill(os.getpid(), number)
        return learn(self, index, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", step)
        go(audio, tmp_path, Until(steps=9))
    saved = checkpoints.load(tmp_path / LATEST)
    assert saved.step == 2
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_the_checkpoint_before_is_kept(audio, tmp_path: Path):
    for steps in (1, 2, 3):
        go(audio, tmp_path, Until(steps=steps))
    assert checkpoints.load(tmp_path / LATEST).step == 3
    assert checkpoints.load(tmp_path / PREVIOUS).step == 2
    # as a kill between the two renames would leave it
    (tmp_path / LATEST).unlink()
    assert Session(audio, tmp_path, {}, Until()).now.step == 2


def test_damaged_checkpoints(audio, tmp_path: Path):
    go(audio, tmp_path, Until(steps=1))
    data = (tmp_path / LATEST).read_bytes()
    for bad in (b"", b"no", data[:-100], data[: len(data) // 2], json.dumps({"a": 1}).encode()):
        (tmp_path / LATEST).write_bytes(bad)
        with pytest.raises(TrainingError) as error:
            go(audio, tmp_path, Until(steps=2))
        assert "\n" not in str(error.value)
        assert (tmp_path / LATEST).read_bytes() == bad


def test_steps_that_are_not_finite_teach_nothing(audio):
    learner = first_steps(audio, 4)
    before = copy.deepcopy(learner.state())
    bad = torch.full((TRAINING.batch_size, TRAINING.crop_samples), math.nan)
    for step in range(4, 3 + TRAINING.max_bad_steps):
        assert not learner.step(step, bad, 1e-3)["learned"]
    learner.check()
    learner.step(100, bad, 1e-3)
    with pytest.raises(TrainingError, match=f"not finite for {TRAINING.max_bad_steps} steps"):
        learner.check()
    after = learner.state()
    del before["bad_steps"], after["bad_steps"]
    assert_same(before, after)


def test_a_loss_that_is_not_finite_is_skipped(audio, monkeypatch: pytest.MonkeyPatch):
    learner = first_steps(audio, 1)
    before = copy.deepcopy(learner.state())
    loss = learner.loss.forward
    monkeypatch.setattr(
        learner.loss, "forward", lambda *a: {k: v * math.inf for k, v in loss(*a).items()}
    )
    crops = CropSampler(audio, TRAINING.crop_samples, TRAINING.batch_size, 0).batch(1)
    assert not learner.step(1, crops, 1e-3)["learned"]
    after = learner.state()
    assert after.pop("bad_steps").tolist() == [1, 1, 1]
    del before["bad_steps"]
    assert_same(before, after)
    monkeypatch.undo()
    assert learner.step(2, crops, 1e-3)["learned"]
    assert learner.state()["bad_steps"].tolist() == [0, 1, 1]


def test_averages_are_those_of_the_formula(audio):
    learner = first_steps(audio, 0)
    sampler = CropSampler(audio, TRAINING.crop_samples, TRAINING.batch_size, 0)
    expected = [value.detach().clone() for value in learner.model.parameters()]
    for step in range(5):
        learner.step(step, sampler.batch(step), 1e-3)
        decay = min(TRAINING.ema_decay, (1 + step) / (10 + step))
        for average, value in zip(expected, learner.model.parameters(), strict=True):
            average.mul_(decay).add_(value.detach(), alpha=1 - decay)
    for average, value in zip(expected, learner.averaged().parameters(), strict=True):
        assert value.is_leaf  # no graph of all steps behind it
        torch.testing.assert_close(average, value, atol=1e-6, rtol=1e-5)
    assert torch.equal(learner.averaged().quantiser.codebooks, learner.model.quantiser.codebooks)


def test_the_loss_falls(audio):
    config = dataclasses.replace(TRAINING, adversarial_from=None)
    learner = first_steps(audio, 0, config)
    sampler = CropSampler(audio, config.crop_samples, config.batch_size, 0)
    crops = sampler.batch(0)

    def measured() -> float:
        with torch.no_grad():
            output = learner.model.decoder(learner.model.encoder(crops))
            return float(learner.loss(crops, output)["mel"])

    before = measured()
    for step in range(30):
        learner.step(step, crops, 3e-3)
    assert measured() < 0.7 * before


def test_critics_learn_and_the_model_learns_from_them(audio):
    base = dataclasses.replace(TRAINING, adversarial_from=0, adversarial_warmup=1)
    with_critics, without = (
        first_steps(audio, 1, dataclasses.replace(base, adversarial_weight=w, feature_weight=w))
        for w in (1.0, 0.0)
    )
    start = first_steps(audio, 0, base)
    for learner in (with_critics, without):
        assert learner.critics is not None
        moved = [
            any(not torch.equal(a, b) for a, b in zip(x.parameters(), y.parameters(), strict=True))
            for x, y in zip(learner.critics, start.critics, strict=True)
        ]
        assert sum(moved) == 2  # those that were drawn, of three
    # What the critic learned does not depend on what the model wants of it ...
    assert_same(dict(with_critics.critics.state_dict()), dict(without.critics.state_dict()))
    # ... but the model's own step does.
    pairs = zip(with_critics.model.parameters(), without.model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_critics_that_hear_no_file(audio, tmp_path: Path):
    changes = {"critic_files": "no*such"}
    with pytest.raises(TrainingError, match="matches no file"):
        go(audio, tmp_path / "run", Until(steps=1), changes)
    go(audio, tmp_path / "run", Until(steps=1), {**changes, "adversarial_from": None})


def test_critics_hear_only_what_they_are_given(audio):
    base = dataclasses.replace(
        TRAINING, adversarial_from=0, adversarial_warmup=1, batch_size=3, learned="decoder"
    )
    sampler = CropSampler(audio, base.crop_samples, base.batch_size, base.seed)
    crops = sampler.batch(0)

    def learned(judged: list[bool], crops: torch.Tensor) -> dict[str, torch.Tensor]:
        learner = first_steps(audio, 0, base)
        assert learner.step(0, crops, 1e-3, torch.tensor(judged))["learned"]
        assert learner.critics is not None
        return dict(learner.critics.state_dict())

    others = crops.clone()
    others[0], others[2] = crops[1], crops[0]
    second = [False, True, False]
    heard = learned(second, crops)
    assert_same(heard, learned(second, others))
    first = learned([True, False, False], crops)
    assert any(not torch.equal(heard[name], first[name]) for name in heard)
    start = first_steps(audio, 0, base)
    assert start.critics is not None
    assert_same(learned([False] * 3, crops), dict(start.critics.state_dict()))


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_weights_of_critics_are_shares_of_the_gradient(audio, share: float):
    config = dataclasses.replace(
        TRAINING,
        adversarial_from=0,
        adversarial_warmup=0,
        adversarial_weight=0.0,
        feature_weight=share,
    )
    learner = first_steps(audio, 0, config)
    output = torch.from_numpy(chirps(2 * 3840)).view(2, -1).requires_grad_()
    features = (output[:1] * torch.linspace(-3, 5, 3840)).sum()  # of the first crop alone
    judgement = Judgement(critic=output.sum(), adversarial=output.sum(), features=features)
    total = (output**3).sum()
    _, inputs = learner._draw(0, output.detach(), 1e-3, None)
    pull, _ = learner._step.pull(inputs, judgement, total, output)
    (own,) = torch.autograd.grad(total, output, retain_graph=True)
    (direction,) = torch.autograd.grad(features, output)
    torch.testing.assert_close(pull.norm(), share * own[0].norm())
    torch.testing.assert_close(pull / pull.norm(), direction / direction.norm())


def test_steps_draw_different_numbers():
    first = [step_generator(0, step).random() for step in range(1000)]
    assert len(set(first)) == 1000
    assert abs(np.mean(first) - 0.5) < 0.05
    assert first == [step_generator(0, step).random() for step in range(1000)]


def test_compilers_that_fail_are_done_without(audio, monkeypatch: pytest.MonkeyPatch):
    learner = first_steps(audio, 0, dataclasses.replace(TRAINING, compile="on"))

    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.warns(UserWarning, match="no compiler$"):
        assert learner.accelerate() == ["backbones not compiled"]
    assert learner.step(0, torch.from_numpy(chirps(2 * 3840)).view(2, -1), 1e-3)["learned"]


def test_bfloat16_backbones_are_close(audio):
    exact = first_steps(audio, 0)
    rough = first_steps(audio, 0, dataclasses.replace(TRAINING, precision="bfloat16"))
    assert rough.accelerate() == ["bfloat16 backbones"]
    x = torch.from_numpy(chirps(2 * 3840)).view(2, -1)
    a, b = exact.model.encoder(x), rough.model.encoder(x)
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    # 8 bits of mantissa through two blocks
    assert ((a - b).norm() / a.norm()).item() < 0.03
    assert rough.step(0, x, 1e-3)["learned"]


# --- configuration ---------------------------------------------------------------------------


@given(
    st.builds(
        dict,
        lr=st.floats(1e-6, 1),
        seed=st.integers(0, 2**64 - 1),
        depths=st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
        data_weights=st.dictionaries(st.text(), st.floats(0, 10)),
        adversarial_from=st.none() | st.integers(0, 10**6),
        model=st.builds(dict, encoder_dim=st.integers(1, 999)),
    )
)
def test_config_survives_json(changes):
    config = TRAINING.replace(changes)
    assert TrainConfig.from_json(config.to_json()) == config
    assert differences(config, TrainConfig.from_json(config.to_json())) == {}


def test_config_survives_json_where_the_default_crop_does_not_fit_its_frames():
    model = {"hop_length": 1920, "encoder_stack": 2}
    config = TrainConfig().replace({"crop_samples": 15_360, "model": model})
    assert TrainConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"no_such": 1}, "no setting no_such"),
        ({"model": {"no_such": 1}}, r"no setting model\.no_such"),
        ({"model": 3}, "table"),
        ({"lr": "fast"}, "lr cannot be 'fast'"),
        ({"lr": -1.0}, "lr cannot be"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"crop_samples": 1000}, "whole frames"),
        ({"compile": "maybe"}, "compile"),
        ({"depths": []}, "depths"),
        ({"critics": "wide"}, "critics cannot be 'wide'"),
        ({"critics": "1x1024+0x512"}, "critics cannot .* 0x512"),
        ({"critics": "1x1022"}, "critics"),
        ({"critics": "6x1024"}, "critics"),  # 640 samples a crop there
        ({"critic_betas": [0.5]}, "critic_betas"),
        ({"data_weights": {"a": "b"}}, "data_weights"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(TrainingError, match=message):
        TRAINING.replace(changes)


def test_settings_from_files_and_words(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"lr": 1e-4, "model": {"latent_dim": 5}}')
    changes = read_changes(
        tmp_path / "a.json", ("lr=2e-4", "model.encoder_dim=8", "compile=off", "depths=[1]")
    )
    assert changes == {
        "lr": 2e-4,
        "compile": "off",
        "depths": [1],
        "model": {"latent_dim": 5, "encoder_dim": 8},
    }
    assert TRAINING.replace(changes).depths == (1.0,)
    for name, text in {"b.json": "[1]", "c.json": "{", "d.toml": "= 3"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(TrainingError):
            read_changes(tmp_path / name, ())
    for wrong in ("lr", "=3", "model.=3"):
        with pytest.raises(TrainingError, match=f"^'{wrong}' is not of the form NAME=VALUE$"):
            read_changes(None, (wrong,))
    with pytest.raises(TrainingError, match="No such file"):
        read_changes(tmp_path / "missing.json", ())


def test_settings_from_toml(tmp_path: Path):
    pytest.importorskip("tomllib")
    (tmp_path / "a.toml").write_text("lr = 1e-4\n[model]\nlatent_dim = 5\n")
    assert read_changes(tmp_path / "a.toml", ()) == {"lr": 1e-4, "model": {"latent_dim": 5}}


# --- evaluation ------------------------------------------------------------------------------


def test_perplexity_counts_codes_in_even_use():
    codes = torch.stack([torch.arange(64) % k for k in (1, 4, 16)])
    torch.testing.assert_close(perplexity(codes, 16), torch.tensor([1.0, 4.0, 16.0]))
    unused = torch.cat([codes, torch.full((3, 10), -1)], 1)
    assert torch.equal(perplexity(unused, 16), perplexity(codes, 16))


@given(st.integers(1, 12))
def test_participation_ratio_counts_dimensions(rank):
    # orthogonal, of equal length, each with mean 0
    walsh = [[(-1.0) ** (i & j).bit_count() for j in range(1, 16)] for i in range(16)]
    latents = torch.tensor(walsh)[:, :rank] @ torch.eye(15)[:rank]
    assert participation_ratio(latents) == pytest.approx(rank)


@given(st.integers(1, 50), st.integers(1, 10))
def test_spread(count, most):
    chosen = spread(count, most)
    assert len(chosen) == min(count, most)
    assert max(chosen) < count
    assert len({later - earlier for earlier, later in itertools.pairwise(chosen)}) <= 2


def test_evaluation(audio, wav, tmp_path: Path):
    learner = first_steps(audio, 1)
    folder = wav("clips/music_a.wav", 10_000).parent
    wav("clips/speech_b.wav", 30_000, rate=48_000, channels=2)
    clips = read_clips(folder, learner.model)
    scores = evaluate(learner.averaged(), learner.loss, clips, tmp_path / "samples")
    assert all(map(math.isfinite, scores.values()))
    assert {f"mel/{depth}" for depth in (0, 1, 2, 4)} <= scores.keys()
    left = [scores[f"left/{level}"] for level in range(1, 5)]
    assert all(value >= 0 for value in left)
    names = {path.name for path in (tmp_path / "samples").iterdir()}
    assert {"music_a.wav", "music_a_04.wav", "speech_b_01.wav", "speech_b_00.wav"} <= names
    early = evaluate(learner.averaged(), learner.loss, clips, quantised=False)
    assert early["mel/0"] == scores["mel/0"]
    assert "mel/4" not in early
    with pytest.raises(DataError, match="no audio"):
        read_clips(tmp_path, learner.model)


# --- commands --------------------------------------------------------------------------------


def test_the_commands(cli, wav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = wav("data/a.wav", 30_000, rate=16_000).parent
    wav("data/music/b.wav", 30_000, channels=2)
    (tmp_path / "config.json").write_text(TRAINING.to_json())
    run = tmp_path / "run"
    common = ("train", data, "--run", run, "--threads", 1)

    code, out, _ = cli("prepare", data)
    assert (code, out.startswith(b"2 files, 0.00 hours")) == (0, True)
    (data / "phones.tsv").write_text(
        "path\toffset\tduration\tphones\ndata/a.wav\t0\t1.8\t0:SIL 50:AA\n"
    )
    code, out, _ = cli("prepare", data, "--phones", data / "phones.tsv")
    assert (code, out.splitlines()[1:]) == (0, [b"0.00 hours have phones"])
    common = (*common, "--set", "phonetic_weight=0.2")  # type: ignore[assignment]
    config = ("--config", tmp_path / "config.json", "--eval", data)
    code, _, err = cli(*common, *config, "--steps", 3)
    assert code == 0, err
    assert "codebooks fitted" in err
    assert "evaluated: mel/0" in err
    assert (run / "best.pt").exists()
    assert list((run / "logs" / "stable").glob("events*"))
    code, _, err = cli(*common, "--decay-steps", 2)
    assert (code, "saved in" in err) == (0, True)
    weights = tmp_path / "weights.safetensors"
    code, out, _ = cli("export", run / DECAYED, "-o", weights)
    assert (code, out.endswith(b"MB\n")) == (0, True)
    assert cli("export", run / DECAYED, "-o", weights)[0] == 1
    assert cli("export", run / "best.pt", "-o", weights, "--force")[0] == 0
    whole = read_model(WeightsFile(weights))
    assert cli("export", run / "best.pt", "-o", weights, "-n", 1, "--force")[0] == 0
    coarse = read_model(WeightsFile(weights))
    audio = torch.randn(1, 9600, generator=torch.Generator().manual_seed(0)) / 10
    assert torch.equal(coarse.encode(audio), whole.encode(audio)[:1])
    code, _, err = cli("export", run / "best.pt", "-o", weights, "-n", 99, "--force")
    assert (code, "codebooks, not 99" in err) == (1, True)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a.wav\t0\t1\tAA\n", "line 2: not a clip"),
        ("".join(f"a.wav\t0\t1\t0:P{k}\n" for k in range(256)), "256 phones"),
        ("b.wav\t0\t1\t0:AA\n", "none of its files is among the 2 found"),
    ],
)
def test_a_bad_table_of_phones_is_an_error_before_anything_is_decoded(
    cli, wav, tmp_path: Path, rows: str, said: str
):
    for name in ("data/a.wav", "data/a.flac"):  # of which one may turn out to be unusable
        wav(name, 30_000)
    table = tmp_path / "phones.tsv"
    table.write_text("path\toffset\tduration\tphones\n" + rows)
    code, _, err = cli("prepare", tmp_path / "data", "-o", tmp_path / "out", "--phones", table)
    assert (code, said in err, len(err.splitlines())) == (1, True, 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "missing"),
        ("train", "empty"),
        ("train", "unreadable"),
        ("train", "good", "--set", "lr=no"),
        ("train", "good", "--config", "missing.toml"),
        ("train", "good", "--decay-steps", "5"),
        ("train", "good", "--init", "missing.pt"),
        ("train", "good", "--eval", "empty"),
        ("prepare", "empty"),
        ("export", "missing.pt", "-o", "x.safetensors"),
    ],
)
def test_one_line_of_error(cli, wav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    wav("good/a.wav", 30_000)
    (tmp_path / "empty").mkdir()
    (tmp_path / "unreadable").mkdir()
    (tmp_path / "unreadable" / "a.wav").write_bytes(b"no audio")
    small = [f"--set=model={json.dumps(FIELDS['model'])}", "--set=fit_crops=2", "--threads=1"]
    code, _, err = cli(*arguments, *(small if arguments[:2] == ("train", "good") else ()))
    assert code == 1
    lines = [line for line in err.splitlines() if not line.startswith("skipped ")]
    assert len(lines) == 1
    assert lines[0].startswith("codec: ")
    assert not list(tmp_path.glob("*.safetensors"))
