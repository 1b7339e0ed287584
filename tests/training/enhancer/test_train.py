"""`codec train-enhancer`: the same files every time, and none that are half done."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("codec.engine._engine", reason="needs the native engine")

import torch
from safetensors import safe_open
from torch import distributed as dist
from torch import multiprocessing

from bench.random_weights import SMALL, write_weights
from codec.engine._engine import Enhancer as Engine
from codec.engine.enhancer import load_enhancer
from codec.engine.native import NativeBackend
from codec.errors import BackendError, ModelError, OutputError, TrainingError
from codec.training import distributed
from codec.training.enhancer.batches import Batches
from codec.training.enhancer.config import EnhancerTraining
from codec.training.enhancer.files import read_beginning
from codec.training.enhancer.learner import Learner
from codec.training.enhancer.stretches import code
from codec.training.enhancer.train import Trained, Until, train
from codec.training.prepare import PreparedAudio
from codec.training.step import clip
from tests.helpers.enhancer_training import CHANGES, batches
from tests.helpers.postfiltered import voice

pytestmark = pytest.mark.usefixtures("one_thread")


def go(audio, weights, output: Path, until: Until, **options) -> tuple[Trained, list[str]]:
    """Train on one thread; what came of it, and the lines said."""
    said: list[str] = []
    options = {"changes": CHANGES, "threads": 1, "say": said.append} | options
    return train(audio, weights, output, until, **options), said


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stopping_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Send SIGINT while the batch of `step` is drawn."""
    draw = Batches.draw

    def stopped(self: Batches, number: int):
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)
        return draw(self, number)

    monkeypatch.setattr(Batches, "draw", stopped)


def test_it_is_the_same_every_time(audio: PreparedAudio, weights: Path, tmp_path: Path):
    shares: list[float] = []
    for name, options in {
        "one": {"progress": lambda what, share, seconds: shares.append(share)},
        "other": {"threads": 2},
        "seed": {"changes": CHANGES | {"seed": 1}},
    }.items():
        torch.rand(7)  # what a new process would not know
        trained, said = go(audio, weights, tmp_path / name, Until(steps=4), **options)
        assert (trained.steps, trained.finished, said) == (4, True, [])
        assert trained.size == (tmp_path / name).stat().st_size
    data = {name: (tmp_path / name).read_bytes() for name in ("one", "other", "seed")}
    assert data["one"] == data["other"] != data["seed"]
    assert shares == [0, 0, 0.25, 0.5, 0.75, 1]  # two stretches are coded first


def test_the_file_is_the_model_s_enhancer(audio: PreparedAudio, tmp_path: Path):
    own = write_weights(tmp_path / "own.safetensors", SMALL)
    go(audio, own, tmp_path / "own.enhancer", Until(steps=1))
    backend = NativeBackend(own)
    assert load_enhancer(own, backend.model_id, 24_000).hop == 240
    with safe_open(tmp_path / "own.enhancer", framework="numpy") as file:
        notes = file.metadata()
    assert (notes["step"], notes["data"], notes["hours"]) == ("1", audio.fingerprint, "0.00")


def test_time_ends_it(audio: PreparedAudio, weights: Path, tmp_path: Path):
    ticks = itertools.count()
    until = Until(steps=50, minutes=0.1, clock=lambda: next(ticks))
    trained, _ = go(audio, weights, tmp_path / "a", until)
    assert (trained.steps, trained.finished) == (6, True)
    with pytest.raises(TrainingError, match="needs an end"):
        Until()


def test_ctrl_c_writes_what_was_learned(audio, weights, tmp_path: Path, monkeypatch):
    stopping_at(monkeypatch, 2)
    kept = {"checkpoint": tmp_path / "a.pt"}
    trained, said = go(audio, weights, tmp_path / "a", Until(steps=10), **kept)
    assert (trained.steps, trained.finished) == (3, False)
    assert said == ["stopped at step 3, 30% of the way: written is what it had learned"]
    assert files(tmp_path) == {"a", "a.pt"}
    assert read_beginning(tmp_path / "a").model == read_beginning(tmp_path / "a.pt").model


def test_ctrl_c_before_the_first_step_writes_nothing(audio, weights, tmp_path: Path):
    def stopped(*_: object) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    until = Until(steps=10, clock=stopped)
    with pytest.raises(TrainingError, match="before the first step: nothing was written"):
        go(audio, weights, tmp_path / "a", until)
    assert not files(tmp_path)


def test_training_that_breaks_down_writes_nothing(audio, weights, tmp_path: Path, monkeypatch):
    broken = CHANGES | {"max_bad_steps": 2}
    monkeypatch.setattr(
        "codec.training.losses.spectral.SpectralLoss.forward",
        lambda self, target, output, *_: {
            name: output.sum() * float("inf") for name in ("mel", "magnitude", "phase")
        },
    )
    with pytest.raises(TrainingError, match="not finite"):
        go(audio, weights, tmp_path / "a", Until(steps=10), changes=broken)
    assert not files(tmp_path)


def test_going_on_from_a_checkpoint(audio: PreparedAudio, weights: Path, tmp_path: Path):
    point = tmp_path / "a.pt"
    go(audio, weights, tmp_path / "a", Until(steps=3), checkpoint=point)
    first = read_beginning(point)
    assert first.critics is not None
    with pytest.raises(OutputError, match="exists"):  # it is not what this one begins with
        go(audio, weights, tmp_path / "b", Until(steps=1), checkpoint=point)
    own = {name: CHANGES[name] for name in CHANGES if name != "model"}
    options = {"init": point, "checkpoint": point, "changes": own}
    trained, said = go(audio, weights, tmp_path / "b", Until(steps=1), **options)
    second = read_beginning(point)
    assert (trained.steps, said, second.model) == (1, [], first.model)
    name = "embed.weight"
    moved = (second.weights[name] - first.weights[name]).abs().max()
    assert 0 < float(moved) < 1e-2

    other = own | {"critics": "3x256"}
    _, said = go(audio, weights, tmp_path / "c", Until(steps=1), init=point, changes=other)
    assert said == [f"the critics of {point} are others: new ones begin"]
    for name, value in {"dim": 32, "hidden": 31, "hop": 120, "lookahead": 0}.items():
        unfit = own | {"model": {name: value}}
        with pytest.raises(TrainingError, match="other dimensions"):
            go(audio, weights, tmp_path / "d", Until(steps=1), init=point, changes=unfit)


def test_a_smaller_one_grows(audio: PreparedAudio, weights: Path, tmp_path: Path):
    """And changes nothing until it learns."""
    small, large = tmp_path / "small", tmp_path / "large"
    go(audio, weights, small, Until(steps=1))
    still = CHANGES | {"lr": 1e-30, "model": {"blocks": 3, "hidden": 48}}
    _, said = go(audio, weights, large, Until(steps=1), init=small, changes=still)
    assert said == []
    runs = [Engine(path.read_bytes()) for path in (small, large)]
    sound = voice(30_000, 0.1)
    one, other = (run(sound, 0, len(sound) // run.hop) for run in runs)
    assert np.abs(one - sound).max() > 1e-4
    assert np.abs(one - other).max() < 1e-6


def test_crops_that_cannot_be_shared(audio, weights, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    with pytest.raises(TrainingError, match=r"batch_size \(2\) must be a multiple"):
        go(audio, weights, tmp_path / "a", Until(steps=1))


def part(rank: int, world: int, folder: str, audio: PreparedAudio, weights: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    go(audio, weights, Path(folder, f"of{rank}"), Until(steps=3), changes=SHARED)
    torch.save(deaf(audio, weights), Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


SHARED = CHANGES | {"batch_size": 4, "critics_from": 0}
DEAF = EnhancerTraining().replace(SHARED | {"critics_from": 9})


def deaf(audio: PreparedAudio, weights: Path) -> list[torch.Tensor]:
    """What the network remembers of the gradients of a step without critics."""
    learner = Learner(DEAF)
    learner.learn(0, batches(audio, NativeBackend(weights), DEAF).draw(0), 1.0)
    moments = learner._optimiser.state_dict()["state"]
    return [found["exp_avg"] for found in moments.values()]


class Recorder(Learner):
    """Keeps the gradients of a step in place of learning from them."""

    def _step(self, gradients, *_) -> None:
        self.found = list(gradients)


@pytest.mark.slow
def test_two_processes_learn_from_the_mean_of_their_gradients(
    audio: PreparedAudio, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("PyTorch without gloo")
    multiprocessing.spawn(  # type: ignore[attr-defined]
        part, (2, str(tmp_path), audio, weights), nprocs=2
    )
    assert files(tmp_path) >= {"of0", "0.pt", "1.pt"}
    assert "of1" not in files(tmp_path)  # the first one writes
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(map(torch.equal, one, other))
    parts = []
    stretches = code(audio, NativeBackend(weights), DEAF)
    for rank in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(distributed, "world_size", lambda: 2)
            patch.setattr(distributed, "rank", lambda rank=rank: rank)
            batch = Batches(audio, stretches, NativeBackend(weights), DEAF).draw(0)
        recorder = Recorder(DEAF)
        recorder.learn(0, batch, 1.0)
        parts.append(recorder.found)
    means = [(first + second) / 2 for first, second in zip(*parts, strict=True)]
    for found, expected in zip(one, clip(means, DEAF.clip_norm)[0], strict=True):
        torch.testing.assert_close(found, (1 - DEAF.betas[0]) * expected, rtol=1e-4, atol=1e-9)


def test_a_device_that_is_not_there(audio: PreparedAudio, weights: Path, tmp_path: Path):
    with pytest.raises(BackendError, match="device 'nowhere' is not available"):
        go(audio, weights, tmp_path / "a", Until(steps=1), device="nowhere")
    assert files(tmp_path) == set()


def test_codes_that_cannot_be_refined(audio, weights, tmp_path: Path, monkeypatch):
    def fails(self: NativeBackend) -> None:
        raise BackendError("codes of this model cannot be refined")

    monkeypatch.setattr(NativeBackend, "check_refinement", fails)
    changes = CHANGES | {"refined_share": 0.1}
    with pytest.raises(TrainingError, match="cannot be refined: set refined_share=0"):
        go(audio, weights, tmp_path / "a", Until(steps=1), changes=changes)
    go(audio, weights, tmp_path / "a", Until(steps=1))


def test_what_cannot_have_an_enhancer(audio, weights, tmp_path: Path):
    config = dataclasses.replace(SMALL, sample_rate=16_000)
    slow = write_weights(tmp_path / "slow.safetensors", config)
    with pytest.raises(TrainingError, match=r"24000 Hz and one channel; slow\S+ has 16000 Hz"):
        go(audio, slow, tmp_path / "a", Until(steps=1))
    pair = write_weights(tmp_path / "pair.safetensors", dataclasses.replace(SMALL, channels=2))
    with pytest.raises(TrainingError, match="has 24000 Hz and 2"):
        go(audio, pair, tmp_path / "a", Until(steps=1))
    for changed, what in (({"sample_rate": 16_000}, "16000 Hz"), ({"channels": 2}, "2 channels")):
        other = dataclasses.replace(audio, **changed)
        with pytest.raises(TrainingError, match=f"the audio is prepared .*{what}"):
            go(other, weights, tmp_path / "a", Until(steps=1))
    with pytest.raises(ModelError, match="no such weights"):
        go(audio, tmp_path / "none.safetensors", tmp_path / "a", Until(steps=1))
    for path in (weights, tmp_path):
        with pytest.raises(OutputError):
            go(audio, weights, path, Until(steps=1), overwrite=True)
    with pytest.raises(TrainingError, match="two files"):
        go(audio, weights, tmp_path / "a", Until(steps=1), checkpoint=tmp_path / "a")
    assert files(tmp_path) == {"slow.safetensors", "pair.safetensors"}


@pytest.fixture
def folder(audio: PreparedAudio) -> Path:
    """The prepared audio with its index, as `codec prepare` leaves it."""
    index = {
        "version": 1,
        "sample_rate": audio.sample_rate,
        "fingerprint": audio.fingerprint,
        "files": [dataclasses.asdict(entry) for entry in audio.files],
        "skipped": [],
    }
    (audio.folder / "index.json").write_text(json.dumps(index))
    return audio.folder


@pytest.fixture
def command(cli_of_weights, folder: Path, weights: Path, tmp_path: Path) -> Callable[..., tuple]:
    """Run `codec train-enhancer` with small settings."""
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(CHANGES))

    def run(*args: object):
        given = ("train-enhancer", folder, "--model", weights, "--config", settings)
        return cli_of_weights(*given, "--threads", 1, *args)

    return run


def test_the_command(command, tmp_path: Path):
    output = tmp_path / "a.enhancer"
    code, out, err = command("-o", output, "--steps", 2, "--checkpoint", tmp_path / "a.pt")
    size = output.stat().st_size / 1e6
    assert (code, out.decode()) == (0, f"{output}: {size:.1f} MB after 2 steps\n")
    assert err == ""  # no bar in a pipe
    first = output.read_bytes()
    assert command("-o", output, "--steps", 2)[::2] == (
        1,
        "codec: the output exists; --force overwrites it\n",
    )
    assert output.read_bytes() == first
    assert command("-o", output, "--steps", 2, "-f", "--seed", 1)[0] == 0
    assert output.read_bytes() != first
    assert command("-o", output, "--steps", 2, "-f", "--set", "seed=0")[0] == 0
    assert output.read_bytes() == first


def test_the_command_says_what_is_wrong(command, cli_of_weights, folder, tmp_path: Path):
    output = tmp_path / "a.enhancer"
    for args, what in (
        (("--set", "batch=2"), "there is no setting batch"),
        (("--set", "model.hop=100"), "an enhancer's hop cannot be 100"),
        (("--set", "critic_files=none"), "critic_files 'none' matches no file"),
        (("--init", tmp_path / "none.pt"), "no such file"),
        (("--model", tmp_path / "none.safetensors"), "no such weights"),
    ):
        code, out, err = command("-o", output, "--steps", 1, *args)
        assert (code, out) == (1, b"")
        assert err.startswith("codec: ")
        assert what in err
        assert err.count("\n") == 1
    code, _, err = cli_of_weights("train-enhancer", folder, "--minutes", 0)
    assert code == 2
    assert not output.exists()


def test_the_command_stops_at_ctrl_c(command, tmp_path: Path, monkeypatch):
    stopping_at(monkeypatch, 1)
    code, out, err = command("-o", tmp_path / "a", "--steps", 9)
    assert code == 0
    assert out.decode().endswith(" after 2 steps, stopped early\n")
    assert err == "stopped at step 2, 22% of the way: written is what it had learned\n"


@pytest.mark.usefixtures("folder")
def test_without_the_native_engine(command, tmp_path: Path, monkeypatch):
    for name in ("_engine", "native", "halves"):
        monkeypatch.delitem(sys.modules, f"codec.engine.{name}", raising=False)
        monkeypatch.delattr(f"codec.engine.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "codec.engine._engine", None)
    code, _, err = command("-o", tmp_path / "a", "--steps", 1)
    assert (code, err.count("\n")) == (1, 1)
    assert "the native backend is not built" in err


def test_what_the_engine_cannot_run_is_refused_at_once(audio, weights: Path, tmp_path: Path):
    out = tmp_path / "out.enhancer"
    other = CHANGES["model"] | {"fft": 1680, "hop": 120}
    with pytest.raises(TrainingError, match=r"the engine cannot run .*no FFT of 1680 samples"):
        go(audio, weights, out, Until(steps=1), changes=CHANGES | {"model": other})
    assert not out.exists()
