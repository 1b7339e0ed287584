"""Processes that share a step learn what one process learns from the joined batch."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import distributed as dist
from torch import multiprocessing

from codec.errors import TrainingError
from codec.training import checkpoint as checkpoints
from codec.training import distributed
from codec.training.learner import Learner
from codec.training.loop import LATEST
from tests.helpers import reference_step as reference
from tests.helpers.nn_models import TRAINING, chirps

if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("PyTorch without gloo", allow_module_level=True)

CONFIG = TRAINING.replace(reference.CHANGES | {"depths": [0.25, 0.5, 1.0]})


def learned() -> dict:
    """Fit codebooks and learn one step, from this process's part of the batch."""
    torch.set_num_threads(1)
    learner = Learner(CONFIG, torch.device("cpu"))
    assert learner.critics is not None
    reference.fill(learner.model, learner.critics)
    crops = reference.audio(CONFIG.batch_size, CONFIG.crop_samples)
    # Codebooks and weights that the processes do not share yet.
    with torch.no_grad():
        learner.model.decoder.embed.weight.add_(distributed.rank())
    learner.share()
    batches = [torch.from_numpy(chirps(4 * 9600, seed)).view(4, -1) for seed in range(3)]
    left = learner.fit_codebooks(batches)
    fitted = learner.model.quantiser.codebooks.clone()
    losses = learner.step(reference.STEP, distributed.part_of(crops), reference.LR)
    return {"left": left, "fitted": fitted, "losses": losses, "state": learner.state()}


def own_part(rank: int) -> list[int]:
    """Take this process's part of 0, 1, 2, or nothing."""
    return list(range(3))[rank::2]


def one_of(rank: int, world: int, folder: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    torch.save(learned(), Path(folder, f"{rank}.pt"))
    joined = [distributed.joined_lists(part) for part in (own_part(rank), [])]
    torch.save(joined, Path(folder, f"joined{rank}.pt"))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path):
    alone = learned()
    multiprocessing.spawn(  # type: ignore[attr-defined]
        one_of, (2, str(tmp_path)), nprocs=2
    )
    for rank in range(2):
        assert torch.load(tmp_path / f"joined{rank}.pt") == [[0, 1, 2], []]
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for part in parts:
        assert part["left"] == alone["left"]
        assert torch.equal(part["fitted"], alone["fitted"])
    # What learns is the same in both, to the bit.
    torch.testing.assert_close(parts[0]["state"], parts[1]["state"], atol=0, rtol=0)
    found, expected = parts[0]["state"], alone["state"]
    for name in ("optimiser", "critic_optimiser"):
        # A tenth of the first gradient each; a weight's own first step is its sign alone.
        for i, moments in expected[name]["state"].items():
            mean = moments["exp_avg"]
            error = (found[name]["state"][i]["exp_avg"] - mean).norm()
            assert error <= 1e-4 * mean.norm() + 1e-9, (name, i)
        assert sum(m["exp_avg"].norm() > 0 for m in expected[name]["state"].values()) > 10
    for buffer in ("codebooks", "counts", "sums"):
        key = f"quantiser.{buffer}"
        torch.testing.assert_close(found["model"][key], expected["model"][key])
    for name, value in alone["losses"].items():
        if value.is_floating_point() and name != "norm":
            mean = (parts[0]["losses"][name] + parts[1]["losses"][name]) / 2
            torch.testing.assert_close(mean, value, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(parts[1]["losses"]["norm"], alone["losses"]["norm"])
    codes = [part["losses"]["codes"] for part in parts]
    assert torch.equal(torch.stack(codes, 2).flatten(1, 2), alone["losses"]["codes"])


def test_batches_that_cannot_be_shared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    with pytest.raises(TrainingError, match=r"batch_size \(4\) must be a multiple"):
        Learner(CONFIG, torch.device("cpu"))


def torchrun(folder: Path, data: Path, *options: object) -> subprocess.Popen[str]:
    (folder / "config.json").write_text(
        dataclasses.replace(TRAINING, checkpoint_minutes=60.0).to_json()
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ("torch.distributed.run", "--nproc-per-node", 2, "--master-port", port)
    command = ("train", data, "--run", folder / "run", "--config", folder / "config.json")
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, (*launcher, "-m", "codec", "--", *command, *options))],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")},
    )


@pytest.mark.slow
def test_torchrun_trains_and_sigterm_stops_all(wav, tmp_path: Path):
    data = wav("data/a.wav", 60_000).parent
    run = torchrun(tmp_path, data, "--minutes", 10, "--device", "cpu")
    assert run.stderr is not None
    said = ""
    for line in run.stderr:
        said += line
        if "codebooks fitted" in line:  # in the middle of training
            break
    run.send_signal(signal.SIGTERM)
    said += run.communicate(timeout=240)[1]
    assert said.count("codebooks fitted") == said.count("stopped at step") == 1, said
    assert checkpoints.load(tmp_path / "run" / LATEST).step >= TRAINING.quantise_from
