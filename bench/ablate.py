"""Train variants of the model for the same time and rank them at the same bits.

    python bench/ablate.py TRAIN_DATA EVAL_DIR -o OUT [--minutes 35] [--jobs 2] [--only NAME ...]

Each variant is trained by `codec train` on one thread, its last 30 % with the learning rate
decaying, exported, and measured by `quality.py` at 1.5, 3 and 6 kbit/s. Finished variants are not
run again; the table of all that are finished is printed as Markdown and written to OUT/table.md.
`--jobs` of them run side by side: give each a core of its own, or the times are not equal.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from machine import machine

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
    "encoder at 50 Hz, 256 wide": (
        "model.encoder_stack=1",
        "model.encoder_dim=256",
        "model.encoder_blocks=5",
    ),
    "decoder 256 wide": ("model.decoder_dim=256",),
    "decoder 4 blocks": ("model.decoder_blocks=4",),
    "latents 96": ("model.latent_dim=96",),
    "synthesis window 480, look-ahead 1": (
        "model.synthesis_fft=480",
        "model.decoder_lookahead=1",
    ),
    "input: log-magnitudes only": ("model.phase_bins=0",),
    "input: log-magnitudes and waveform": ("model.phase_bins=0", "model.waveform=true"),
    "head: magnitude and phase": ("model.head=mag_phase",),
    "head: real and imaginary, no gains": ("model.head=real_imag",),
    "head: MDCT": ("model.head=mdct",),
    "loss: mel only": ("magnitude_weight=0.0", "phase_weight=0.0"),
    "loss: complex term over all bands": ("phase_tail=1.0",),
    "loss: complex term x 3": ("phase_weight=3.0",),
    "adversarial from the start": ("adversarial_from=500",),
    "adversarial late": ("adversarial_from=4000",),
}


def folder_of(output: Path, name: str) -> Path:
    return output / re.sub(r"\W+", "_", name)


def run_variant(name: str, options: argparse.Namespace) -> None:
    """Train, export and measure one variant, unless its result is there."""
    folder = folder_of(options.output, name)
    result = folder / "quality.json"
    if result.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    settings = [f"--set=quantise_from={QUANTISE_FROM}"]
    settings += [f"--set={setting}" for setting in VARIANTS[name]]
    run, weights = folder / "run", folder / "weights.safetensors"
    rates = ",".join(map(str, BITRATES))
    measure = (sys.executable, Path(__file__).with_name("quality.py"), "--visqol")
    codec = (sys.executable, "-m", "codec")
    train = [*codec, "train", options.data, "--run", run, "--threads", "1", *settings]
    commands: Sequence[Sequence[object]] = (
        [*train, "--minutes", options.minutes * (1 - DECAY_SHARE)],
        [*train, "--decay-minutes", options.minutes * DECAY_SHARE],
        [*codec, "export", run / "decayed.pt", "-o", weights, "--force"],
        [*measure, options.eval, "--weights", weights, "--bitrates", rates, "--json", result],
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        for command in commands:
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
    return "\n".join([f"{minutes:g} minutes a variant, one thread. {machine()}", "", *lines, ""])


METRICS = ("pesq", "stoi", "visqol", "mel")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="audio to train on, or prepared data")
    parser.add_argument("eval", type=Path, help="clips to measure on")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=35.0, help="of training, for each variant")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args(arguments)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda name: run_variant(name, options), options.only))
    text = table(options.output, options.minutes)
    (options.output / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
