"""Train variants of the model for the same time and rank them at the same bits.

    python -m bench.ablate TRAIN_DATA EVAL_DIR -o OUT [--minutes 35] [--jobs 2] [--only NAME ...]

Each variant is trained on one thread, its last 30 % with the learning rate decaying, exported, and
measured by `quality.py` at 1.5, 3 and 6 kbit/s. The minutes are of CPU time, so that other work on
the machine takes none away. Finished variants are not run again; the table of all that are finished
is printed as Markdown and written to OUT/table.md. `--jobs` of them run side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from codec.benchmark.machine import machine
from codec.training.prepare import open_prepared

BITRATES = (1.5, 3.0, 6.0)
DECAY_SHARE = 0.3
QUANTISE_FROM = 400  # early, so that short runs have time to learn with their codebooks

# The shipped configuration is the defaults of ModelConfig and TrainConfig; each variant changes
# one decision.
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "as shipped": (),
    "50 Hz, 12 codebooks": (
        "model.hop_length=480",
        "model.encoder_stack=1",
        "model.n_codebooks=12",
        "model.latent_dim=96",
    ),
    "input: log-magnitudes only": ("model.phase_bins=0",),
    "head: magnitude and phase": ("model.head=mag_phase",),
    "loss: complex term x 3": ("phase_weight=3.0",),
    "adversarial from step 500": ("adversarial_from=500",),
    "loss: mel only": ("magnitude_weight=0.0", "phase_weight=0.0"),
    "crops of 1.2 s, 4 a batch": ("crop_samples=28800", "batch_size=4", "critic_crops=2"),
    "input: log-magnitudes and waveform": ("model.phase_bins=0", "model.waveform=true"),
    "head: MDCT": ("model.head=mdct",),
    "look-ahead of 1 frame, synthesis window 480": (
        "model.synthesis_fft=480",
        "model.decoder_lookahead=1",
    ),
    "latents 96": ("model.latent_dim=96",),
    "encoder: hidden layers of 1152": ("model.encoder_hidden=1152",),
    "encoder: 3 blocks": ("model.encoder_blocks=3",),
    "decoder: 256 wide": ("model.decoder_dim=256", "model.decoder_hidden=768"),
    "decoder: 4 blocks": ("model.decoder_blocks=4",),
    "head: real and imaginary, no gains": ("model.head=real_imag",),
    "encoder at 50 Hz, 256 wide": (
        "model.encoder_stack=1",
        "model.encoder_dim=256",
        "model.encoder_blocks=5",
    ),
    "loss: complex term over all bands": ("phase_tail=1.0",),
    "adversarial from step 4000": ("adversarial_from=4000",),
}


def folder_of(output: Path, name: str) -> Path:
    return output / re.sub(r"\W+", "_", name)


def train_variant(name: str, options: argparse.Namespace) -> None:
    """Train one variant in this process, for `options.minutes` of its CPU time."""
    import torch

    from codec.training.config import read_changes
    from codec.training.loop import Until, train

    torch.set_num_threads(1)
    changes = read_changes(None, (f"quantise_from={QUANTISE_FROM}", *VARIANTS[name]))
    prepared = open_prepared(options.data)
    run = folder_of(options.output, name) / "run"
    for until in (
        Until(minutes=options.minutes * (1 - DECAY_SHARE), clock=time.process_time),
        Until(decay_minutes=options.minutes * DECAY_SHARE, clock=time.process_time),
    ):
        train(prepared, run, changes, until)


def run_variant(name: str, options: argparse.Namespace) -> None:
    """Train, export and measure one variant, unless its result is there."""
    folder = folder_of(options.output, name)
    result = folder / "quality.json"
    if result.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    weights, decayed = folder / "weights.safetensors", folder / "run" / "decayed.pt"
    rates = ",".join(map(str, BITRATES))
    itself = (
        sys.executable,
        "-m",
        "bench.ablate",
        options.data,
        options.eval,
        "-o",
        options.output,
    )
    measure = (sys.executable, "-m", "bench.quality", "--visqol")
    commands: Sequence[Sequence[object]] = (
        [*itself, "--minutes", options.minutes, "--train", name],
        [sys.executable, "-m", "codec", "export", decayed, "-o", weights, "--force"],
        [*measure, options.eval, "--weights", weights, "--bitrates", rates, "--json", result],
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        for command in commands[decayed.exists() :]:
            subprocess.run(
                [*map(str, command)], check=True, env=environment, stdout=log, stderr=log
            )
    print(f"{name}: done", file=sys.stderr)


def table(output: Path, minutes: float) -> str:
    """The results in `output` as Markdown: means over the speech clips, and of music and the rest
    the mel distance and ViSQOL at the highest rate."""
    lines = [
        "| variant | kbit/s | PESQ-WB | STOI | ViSQOL | mel | other mel | other ViSQOL |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in VARIANTS:
        folder = folder_of(output, name)
        if not (folder / "quality.json").exists():
            continue
        clips = json.loads((folder / "quality.json").read_text())["clips"]
        for kbps in BITRATES:
            row = [c for c in clips if abs(c["kbps"] - kbps) < 0.01]
            speech = [c["values"] for c in row if c["kind"] == "speech"]
            other = [c["values"] for c in row if c["kind"] != "speech"]
            cells = [f"{np.mean([c[m] for c in speech]):.3f}" for m in METRICS]
            cells += [f"{np.mean([c[m] for c in other]):.3f}" for m in ("mel", "visqol")]
            lines.append(f"| {name} | {kbps:g} | " + " | ".join(cells) + " |")
    return "\n".join(
        [f"{minutes:g} minutes of CPU time a variant, one thread. {machine()}", "", *lines, ""]
    )


METRICS = ("pesq_wb", "stoi", "visqol", "mel")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="prepared data: what `codec prepare` wrote")
    parser.add_argument("eval", type=Path, help="clips to measure on")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=35.0, help="of training, for each variant")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--train", choices=list(VARIANTS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.train:
        train_variant(options.train, options)
        return
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda name: run_variant(name, options), options.only))
    text = table(options.output, options.minutes)
    (options.output / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
