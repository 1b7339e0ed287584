"""Train a small flow-matching model on continuous latents, draw from it, and decode what it draws.

    codec tokenize speech/ -o latents --latents --format bin
    python examples/latent_flow.py latents --steps 500 -o drawn.wav

Rectified flow (Liu et al., 2023): the network learns the velocity from noise to latents along
straight lines, and a sample is drawn by following it in a few Euler steps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

import codec


class Velocity(nn.Module):
    """The velocity of latents [batch, dim, frames] at a time [batch] between 0 and 1."""

    def __init__(self, dim: int, width: int, layers: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Conv1d(dim, width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width),
                nn.Conv1d(width, width, 7, padding=3),
                nn.SiLU(),
                nn.Conv1d(width, width, 1),
            )
            for _ in range(layers)
        )
        self.leave = nn.Conv1d(width, dim, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        hidden = self.enter(x) + self.time(time[:, None])[:, :, None]
        for block in self.blocks:
            hidden = hidden + block(hidden)
        velocity: Tensor = self.leave(hidden)
        return velocity


def clips(folder: Path, frames: int) -> list[np.ndarray]:
    """Latents [dim, n] of every channel in the shards that is at least `frames` long."""
    found = []
    for index in sorted((folder / "data").glob("*.jsonl")):
        values = np.memmap(index.with_suffix(".bin"), np.float16, mode="r")
        for row in map(json.loads, index.read_text(encoding="utf-8").splitlines()):
            shape = (row["channels"], row["n_frames"], row["latent_dim"])
            held = values[row["start"] : row["stop"]].reshape(shape)
            if row["n_frames"] >= frames:
                found += [channel.T for channel in held]
    return found


def main(arguments: Sequence[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("latents", type=Path, help="folder of a `codec tokenize --latents` run")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="default", help="that made the latents")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args(arguments)

    model = codec.load(options.model)
    dim = model.config.latent_dim
    held = clips(options.latents, options.frames)
    if not held:
        parser.error(f"no clip has {options.frames} frames")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = Velocity(dim, options.width, options.layers)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    losses = []
    for step in range(options.steps):
        drawn = [held[i] for i in rng.integers(len(held), size=options.batch_size)]
        starts = [int(rng.integers(clip.shape[1] - options.frames + 1)) for clip in drawn]
        crops = [clip[:, at : at + options.frames] for clip, at in zip(drawn, starts, strict=True)]
        data = torch.from_numpy(np.stack(crops).astype(np.float32))
        noise, time = torch.randn_like(data), torch.rand(len(data))
        mixed = noise + time[:, None, None] * (data - noise)
        loss = (network(mixed, time) - (data - noise)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {np.mean(losses[-50:]):.3f}")

    with torch.no_grad():
        x = torch.randn(1, dim, options.frames)
        for step in range(32):
            x += network(x, torch.full((1,), step / 32)) / 32
    soundfile.write(options.output, model.decode_latents(x)[0], model.config.sample_rate)
    return losses


if __name__ == "__main__":
    main()
