"""Handovers: what they keep, how they fail, and that a run goes on from them as it would have."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import TrainingError
from codec.training import checkpoint as checkpoints
from codec.training import handover
from codec.training.config import TrainConfig
from codec.training.handover import MANIFEST, hand_over, read_tree, take_over, write_tree
from codec.training.learner import Learner
from codec.training.loop import DECAYED, LATEST, Until, train
from tests.helpers.nn_models import TRAINING, chirps

pytestmark = pytest.mark.usefixtures("one_thread")


def go(audio, run: Path, until: Until, changes: dict | None = None, **options) -> list[str]:
    """Train; the lines said."""
    said: list[str] = []
    resumes = (run / LATEST).exists() or "resume_from" in options
    base = {} if resumes else json.loads(TRAINING.to_json())
    train(audio, run, base | (changes or {}), until, say=said.append, **options)
    return said


@pytest.fixture(scope="module")
def run(audio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps, with codebooks and critics."""
    folder = tmp_path_factory.mktemp("run")
    go(audio, folder, Until(steps=6))
    return folder


def assert_near(before: Any, after: Any, moment: bool = False, path: str = "") -> None:
    """Everything is equal, but float32 matrices only as far as their 16 bits go."""
    assert isinstance(before, type(after)), path  # a state_dict's OrderedDict becomes a dict
    if isinstance(before, torch.Tensor):
        assert (before.dtype, before.shape) == (after.dtype, after.shape), path
        if before.dtype == torch.float32 and before.dim() >= 2 and before.isfinite().all():
            wrong = (before.double() - after.double()).abs()
            # half a unit in the last of 11 bits, or of 8; below 2^-29 of the largest, of that
            largest = before.abs().max() if before.numel() else 0
            bound = before.abs().double() * 2.0 ** (-8 if moment else -11)
            assert (wrong <= bound + (0 if moment else largest * 2.0**-40)).all(), path
        else:
            assert torch.equal(before.nan_to_num(7.0), after.nan_to_num(7.0)), path
    elif isinstance(before, dict):
        assert list(before) == list(after), path
        optimiser = "state" in before and before.keys() <= {"state", "param_groups"}
        for key in before:
            inside = moment or (optimiser and key == "state")
            assert_near(before[key], after[key], inside, f"{path}/{key}")
    elif isinstance(before, list | tuple):
        assert len(before) == len(after), path
        for index, pair in enumerate(zip(before, after, strict=True)):
            assert_near(*pair, moment, f"{path}/{index}")
    else:
        assert before == after or (math.isnan(before) and math.isnan(after)), path


def tensor(seed: int, shape: tuple[int, ...], dtype: torch.dtype, exponent: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        return (torch.randn(shape, generator=random) * 2.0**exponent).to(dtype)
    return torch.randint(0, 2, shape, generator=random).to(dtype)


dtypes = st.sampled_from([torch.float32] * 4 + list(handover.DTYPES.values()))
tensors = st.builds(
    tensor,
    st.integers(0, 99),
    st.lists(st.integers(0, 9), max_size=3).map(tuple),
    dtypes,
    st.integers(-90, 90),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
keys = st.integers(0, 99) | st.text(max_size=9).map(lambda name: f"k{name}")
nodes = st.recursive(
    scalars | tensors,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=25, deadline=None)
@given(tree=st.dictionaries(keys, nodes, max_size=4), part_bytes=st.integers(1200, 4000))
def test_any_tree_comes_back(tmp_path_factory, tree, part_bytes: int):
    folder = tmp_path_factory.mktemp("handover")
    size = write_tree(tree, folder, part_bytes=part_bytes)
    files = list(folder.iterdir())
    assert size == sum(file.stat().st_size for file in files)
    assert all(file.stat().st_size <= part_bytes for file in files if file.name != MANIFEST)
    back, moments = read_tree(folder)
    assert not moments
    assert_near(tree, back)
    # what is in 16 bits once is in 16 bits for good
    write_tree(back, folder, part_bytes=part_bytes)
    again, _ = read_tree(folder)
    assert_near(again, again)
    assert str(again) == str(back)


def test_float16_weights_are_kept_exactly(tmp_path: Path):
    weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).half().float() / 3
    weights = weights.half().float()
    write_tree({"weights": weights}, tmp_path)
    assert torch.equal(read_tree(tmp_path)[0]["weights"], weights)


def test_moments_come_along_if_asked_for(run: Path, tmp_path: Path):
    saved = checkpoints.load(run / LATEST)
    sizes = [hand_over(run / LATEST, tmp_path / str(m), moments=m) for m in (False, True)]
    assert 2 * sizes[0] < sizes[1] + 200_000  # moments are twice the weights
    for moments in (False, True):
        back = take_over(tmp_path / str(moments))
        assert (back.step, back.config, back.losses) == (saved.step, saved.config, saved.losses)
        assert back.restarted == (0 if moments else saved.step)
        expected = dict(saved.learner)
        if not moments:
            for name in ("optimiser", "critic_optimiser"):
                expected[name] = {**expected[name], "state": {}}
        assert_near(expected, back.learner)


def test_a_run_may_go_on_from_its_averages_alone(run: Path, tmp_path: Path):
    saved = checkpoints.load(run / LATEST)
    sizes = [hand_over(run / LATEST, tmp_path / str(a), average=a) for a in (False, True)]
    assert sizes[1] < 0.9 * sizes[0]
    back = take_over(tmp_path / "True")
    weights = saved.learner["model"] | saved.learner["average"]
    assert_near({"model": weights}, {"model": back.learner["model"]})
    assert back.learner["average"] == {}
    learner = Learner(back.config, torch.device("cpu"))
    learner.load(back.learner)
    for name, value in learner.average.state_dict().items():
        assert torch.equal(value, learner.model.state_dict()[name])


def test_a_missing_or_damaged_file_is_named(run: Path, tmp_path: Path):
    hand_over(run / LATEST, tmp_path, part_bytes=40_000)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 3
    for file in files:
        intact = file.read_bytes()
        for damaged in (None, b"", intact[:-2], _flipped(intact, 9), _flipped(intact, -9)):
            file.unlink(missing_ok=True)
            if damaged is not None:
                file.write_bytes(damaged)
            with pytest.raises(TrainingError, match=file.name):
                take_over(tmp_path)
        file.write_bytes(intact)
    take_over(tmp_path)


def _flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b"])
def test_a_part_is_in_the_folder(tmp_path: Path, name: str):
    write_tree({"a": torch.ones(3)}, tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    manifest["content"]["parts"][0]["name"] = name
    manifest["sha256"] = handover._digest(manifest["content"])
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(TrainingError, match="not the name of a part"):
        read_tree(tmp_path)


def test_tensors_larger_than_their_parts_are_refused_before_memory_is_taken(tmp_path: Path):
    write_tree({"a": torch.ones(3)}, tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    manifest["content"]["tensors"]["a"]["shape"] = [2**60]
    manifest["sha256"] = handover._digest(manifest["content"])
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(TrainingError, match="do not fit its parts"):
        read_tree(tmp_path)


def test_an_interrupted_handover_leaves_the_one_before(tmp_path: Path, monkeypatch):
    first, second = ({"a": torch.full((4, 999), float(i))} for i in range(2))
    write_tree(first, tmp_path, part_bytes=2000)
    written = handover._write
    left = 3

    def fail(path: Path, data: bytes) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        written(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(handover, "_write", fail)
        with pytest.raises(KeyboardInterrupt):
            write_tree(second, tmp_path, part_bytes=2000)
    assert_near(first, read_tree(tmp_path)[0])
    write_tree(second, tmp_path, part_bytes=2000)
    assert_near(second, read_tree(tmp_path)[0])
    content = json.loads((tmp_path / MANIFEST).read_bytes())["content"]
    assert {part["name"] for part in content["parts"]} <= {p.name for p in tmp_path.iterdir()}
    write_tree(first, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_neither_a_tensor_nor_json_is_refused(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"a/b, a complex"):
        write_tree({"a": {"b": 1j}}, tmp_path)


def recent_loss(run: Path) -> float:
    """The mean spectral loss of the run's last 30 steps."""
    losses = checkpoints.load(run / LATEST).losses
    return losses["mel"] + losses["magnitude"]


@pytest.mark.slow
def test_a_run_goes_on_from_a_handover_within_noise(audio, tmp_path: Path):
    """Noise is the spread of the same run when only its crops and draws differ, by seed.

    The run is past its first fall: in that, new moments alone speed a run up.
    """
    settings = {"warmup_steps": 10, "batch_size": 4, "adversarial_from": None, "log_steps": 30}
    run = tmp_path / "run"
    go(audio, run, Until(steps=60), settings)
    anew = recent_loss(run)  # as far as a run from nothing comes in the steps that follow
    go(audio, run, Until(steps=240))
    for moments in (False, True):
        folder = tmp_path / f"handover-{moments}"
        hand_over(run / LATEST, folder, moments=moments)
        go(audio, tmp_path / f"taken-{moments}", Until(steps=300), resume_from=folder)
    scores = []
    for seed in range(4):
        other = tmp_path / f"seed-{seed}"
        other.mkdir()
        (other / LATEST).write_bytes((run / LATEST).read_bytes())
        go(audio, other, Until(steps=300), {"seed": seed})
        scores.append(recent_loss(other))
    undisturbed, spread = scores[0], statistics.stdev(scores)
    assert undisturbed < anew - 2 * spread  # there is something to lose
    for moments in (False, True):
        assert abs(recent_loss(tmp_path / f"taken-{moments}") - undisturbed) < spread


FAMILIES = {
    "critics": "period1:2,3+complex2:126+magnitude2:206+complex-bands2:256+3x512",
    "critics_drawn": 6,
    "critic_rotation": "waveform",
    "adversarial": "least-squares",
}


def test_critics_of_every_family_are_saved_and_handed_over(audio, tmp_path: Path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    go(audio, whole, Until(steps=5), FAMILIES)
    for steps in (4, 5):  # critics learn from step 3 on
        go(audio, cut, Until(steps=steps), FAMILIES if steps == 4 else None)
    states = [checkpoints.load(folder / LATEST).learner for folder in (whole, cut)]
    assert states[0]["chosen"] == states[1]["chosen"]
    torch.testing.assert_close(*({**state, "chosen": None} for state in states), atol=0, rtol=0)
    hand_over(whole / LATEST, tmp_path / "handover", moments=True)
    assert_near(states[0], take_over(tmp_path / "handover").learner)
    taken = tmp_path / "taken"
    go(audio, taken, Until(steps=6), resume_from=tmp_path / "handover")
    after = checkpoints.load(taken / LATEST)
    assert after.config.critics == FAMILIES["critics"]
    assert all(math.isfinite(after.losses[name]) for name in ("critic", "adversarial", "features"))


def test_the_learning_rate_warms_up_where_moments_are_missing(
    audio, run: Path, tmp_path: Path, monkeypatch
):
    rates = []
    lr_at = TrainConfig.lr_at

    def spy(*arguments) -> float:
        rates.append(lr_at(*arguments))
        return rates[-1]

    monkeypatch.setattr(TrainConfig, "lr_at", spy)
    for moments in (False, True):
        folder, taken = tmp_path / f"handover-{moments}", tmp_path / f"taken-{moments}"
        hand_over(run / LATEST, folder, moments=moments)
        for step in (7, 8, 9):  # in sessions of one step; TRAINING warms up over two
            go(audio, taken, Until(steps=step), resume_from=folder)
    assert [rate / TRAINING.lr for rate in rates] == pytest.approx([0.5, 1, 1, 1, 1, 1])


def test_train_hands_over_the_run_and_not_its_decay(audio, run: Path, tmp_path: Path):
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / LATEST).write_bytes((run / LATEST).read_bytes())
    said = go(audio, copy, Until(decay_steps=2), handover=tmp_path / "handover")
    assert "handed over" in said[-1]
    assert take_over(tmp_path / "handover").step == 6
    with pytest.raises(TrainingError, match="inside a decay"):
        hand_over(copy / DECAYED, tmp_path / "other")


def test_a_run_that_is_further_counts(audio, run: Path, tmp_path: Path):
    hand_over(run / LATEST, tmp_path / "handover")
    taken = tmp_path / "taken"
    go(audio, taken, Until(steps=8), resume_from=tmp_path / "handover")
    said = go(audio, taken, Until(steps=9), resume_from=tmp_path / "handover")
    assert "the run counts" in said[0]
    assert checkpoints.load(taken / LATEST).step == 9
    go(audio, tmp_path / "behind", Until(steps=2))
    with pytest.raises(TrainingError, match="choose another run"):
        go(audio, tmp_path / "behind", Until(steps=9), resume_from=tmp_path / "handover")


def test_a_handover_is_of_its_model(audio, run: Path, tmp_path: Path):
    hand_over(run / LATEST, tmp_path / "handover")
    changes = {"model": {"latent_dim": 16}}
    with pytest.raises(TrainingError, match="another model"):
        go(audio, tmp_path / "r", Until(steps=7), changes, resume_from=tmp_path / "handover")


def test_checkpoints_without_the_new_field_still_load(run: Path, tmp_path: Path):
    tree = checkpoints.to_tree(checkpoints.load(run / LATEST))
    del tree["restarted"]
    assert dataclasses.asdict(checkpoints.from_tree(tree))["restarted"] == 0


def test_the_commands(cli, audio, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / "data" / "speech"
    data.mkdir(parents=True)
    for seed in range(2):
        soundfile.write(data / f"{seed}.wav", chirps(72_000, seed), 24_000)
    settings = tmp_path / "settings.json"
    settings.write_text(TRAINING.to_json())
    run, folder = tmp_path / "run", tmp_path / "handover"
    begun = ("train", data.parent, "--run", run, "--config", settings, "--steps", 3)
    code, _, err = cli(*begun, "--handover", folder, "--handover-moments")
    assert (code, "handed over" in err) == (0, True)
    taken = ("train", data.parent, "--run", tmp_path / "taken", "--resume-from", folder)
    code, _, err = cli(*taken, "--steps", 4)
    assert (code, "going on from step 3" in err) == (0, True)
    part = next(folder.glob("part-*"))
    part.write_bytes(part.read_bytes()[:-1])
    code, _, err = cli(*taken[:-1], folder)
    assert (code, part.name in err.splitlines()[-1]) == (1, True)
    for wrong in (("--handover-moments",), ("--resume-from", folder, "--init", settings)):
        code, _, err = cli("train", data.parent, *wrong)
        assert (code, wrong[0] in err) == (2, True)
