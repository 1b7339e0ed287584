"""A training run in a folder: it can stop and go on at any step, to the bit."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from codec.errors import TrainingError
from codec.lm.model.config import LmConfig
from codec.lm.model.data import Batch, Batches, Dropping, Stream, balanced, empty_batch, fill
from codec.lm.model.learner import Learner, Settings, losses_of
from codec.support.atomic import replacing
from codec.support.scalars import Scalars
from codec.support.stopping import stop_signals

LATEST = "latest.pt"
FORMAT = 1
SAVE_SECONDS = 240.0
SAY_SECONDS = 30.0
VALIDATE_STEPS = 500
SCALAR_STEPS = 20
STRETCHES = 24  # of the streams that are held out

Bits = Callable[[npt.NDArray[np.uint16]], npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Held:
    """Held-out stretches, and what another model needs for them: bits a code, [levels]."""

    batches: list[Batch]
    other: npt.NDArray[np.float64] | None


class Run:
    """Training of one model on streams, in `folder`.

    settings.steps may be another number when a run goes on: the rate then falls elsewhere. Raises
    TrainingError if the folder holds a run of other tokens or other settings.
    """

    def __init__(
        self,
        folder: Path,
        config: LmConfig,
        settings: Settings,
        streams: Sequence[Stream],
        *,
        dropping: Dropping | None = None,
        codebooks: torch.Tensor | None = None,
        device: torch.device | str = "cpu",
        bfloat16: bool = True,
    ) -> None:
        self.folder, self.config, self.settings = folder, config, settings
        self.step = 0
        self.dropping = dropping or Dropping()
        self.batches = Batches(
            streams, config, settings.batch, settings.seed, self.dropping, balanced(streams)
        )
        self._data = fingerprint(streams)
        self.learner = Learner(config, settings, codebooks, device, bfloat16=bfloat16)
        if (folder / LATEST).exists():
            self._load()

    def train(
        self,
        held: Held | None = None,
        *,
        minutes: float | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> bool:
        """Train to the last step; False if a signal or `minutes` came first. Saves either way.

        TensorBoard's files in the run's folder get the bits of each level, every 20 steps of the
        last batch and every 500 of `held`.
        """
        begun = said = saved = time.monotonic()
        first, mean = self.step, math.nan
        bar = _bar(self.step, self.settings.steps)
        scalars = Scalars(self.folder, self.step)
        with stop_signals() as stopped, contextlib.closing(scalars):
            while self.step < self.settings.steps and not stopped.is_set():
                losses = self.learner.learn(self.batches.draw(self.step), self.step)
                loss = float(losses.mean()) / math.log(2)
                if not math.isfinite(loss):
                    raise TrainingError(f"the loss is not finite at step {self.step}")
                mean = loss if math.isnan(mean) else 0.98 * mean + 0.02 * loss
                self.step += 1
                now = time.monotonic()
                if bar is not None:
                    bar.set_description_str(f"{mean:.3f} bits a code", refresh=False)
                    bar.update(1)
                elif now - said >= SAY_SECONDS:
                    said = now
                    say(self._line(mean, (now - begun) / (self.step - first)))
                if now - saved >= SAVE_SECONDS:
                    self.save()
                    saved = now
                last = self.step == self.settings.steps
                if self.step % SCALAR_STEPS == 0 or last:
                    scalars.add(self.step, _by_level("train", losses / math.log(2)))
                    scalars.add(self.step, {"train/lr": self.settings.rate(self.step - 1)})
                if held is not None and (self.step % VALIDATE_STEPS == 0 or last):
                    plain, known = self.validate(held, plain=True), self.validate(held)
                    say(self.report(held, plain, known))
                    scalars.add(self.step, _by_level("held out", plain))
                    scalars.add(self.step, _by_level("held out, with conditions", known))
                if minutes is not None and now - begun >= 60 * minutes:
                    break
        if bar is not None:
            bar.close()
        self.save()
        return self.step >= self.settings.steps

    def validate(self, held: Held, *, plain: bool = False) -> npt.NDArray[np.float64]:
        """Mean bits a code of each level, [levels]. plain: without any condition."""
        return bits_of(self.learner.exact, held.batches, self.learner.device, plain=plain)

    def report(
        self, held: Held, plain: npt.NDArray[np.float64], known: npt.NDArray[np.float64]
    ) -> str:
        """Say in a line what `validate` found, without and with conditions."""
        rate = self.config.frame_rate

        def shown(bits: npt.NDArray[np.float64]) -> str:
            by_level = " ".join(f"{value:.2f}" for value in bits)
            return f"{bits.sum() * rate:.0f} bit/s ({by_level})"

        line = f"step {self.step}: held out {shown(plain)}, with conditions {shown(known)}"
        if held.other is not None:
            saved = 1 - 2.0 ** (plain.mean() - held.other.mean())
            line += f"; the prior {shown(held.other)}: perplexity {abs(saved):.1%} "
            line += "lower" if saved >= 0 else "higher"
        return line

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        tree = {
            "format": FORMAT,
            "config": self.config.to_json(),
            "settings": json.dumps(dataclasses.asdict(self.settings)),
            "dropping": json.dumps(dataclasses.asdict(self.dropping)),
            "data": self._data,
            "step": self.step,
            "learner": self.learner.state(),
        }
        with replacing(self.folder / LATEST, overwrite=True) as aside:
            torch.save(tree, aside)

    def _load(self) -> None:
        path = self.folder / LATEST
        try:
            tree = torch.load(path, map_location=self.learner.device, weights_only=True)
            assert tree["format"] == FORMAT
        except Exception as error:  # pickle and PyTorch raise anything on bytes that are not theirs
            raise TrainingError(f"{path}: damaged, or not a checkpoint") from error
        settings = json.loads(tree["settings"])
        for name, own, found in (
            ("model", self.config.to_json(), tree["config"]),
            ("tokens", self._data, tree["data"]),
            ("shares", dataclasses.asdict(self.dropping), json.loads(tree["dropping"])),
            ("settings", dataclasses.asdict(self.settings) | {"steps": 0}, settings | {"steps": 0}),
        ):
            if own != found:
                raise TrainingError(
                    f"{self.folder} holds a run of other {name}{_differing(own, found)};"
                    " name another folder"
                )
        self.learner.load_state(tree["learner"])
        self.step = int(tree["step"])

    def _line(self, mean: float, seconds: float) -> str:
        left = seconds * (self.settings.steps - self.step)
        speed = self.batches.seconds / seconds
        return (
            f"step {self.step} of {self.settings.steps}: {mean:.3f} bits a code,"
            f" {speed:.0f}x real time, {left / 60:.0f} min left"
        )


@torch.no_grad()
def bits_of(
    network: Any, batches: Sequence[Batch], device: torch.device | str = "cpu", *, plain: bool
) -> npt.NDArray[np.float64]:
    """Mean bits a code of each level, [levels], of batches; plain: without their conditions."""
    total = np.zeros(network.config.levels)
    frames = 0
    for batch in batches:
        count = int((batch.codes[:, 0] >= 0).sum())
        if plain:
            nothing = empty_batch(network.config, len(batch.codes), batch.codes.shape[2], 1)
            batch = dataclasses.replace(nothing, codes=batch.codes)
        losses = losses_of(network, batch, torch.device(device))
        total += losses.double().cpu().numpy() * count
        frames += count
    return total / max(1, frames) / math.log(2)


def hold_out(streams: Sequence[Stream], config: LmConfig, bits: Bits | None = None) -> Held | None:
    """`STRETCHES` stretches, evenly from all streams; None if there are no streams.

    bits: of another model, float [levels, frames] for codes uint16 [levels, frames] that begin a
    stretch.
    """
    cuts = [
        (stream, first)
        for stream in streams
        for first in range(0, max(1, stream.frames - config.context + 1), config.context)
    ]
    if not cuts:
        return None
    chosen = np.linspace(0, len(cuts) - 1, min(STRETCHES, len(cuts))).astype(int)
    batches, costs, frames = [], np.zeros(config.levels), 0
    for place in chosen:
        stream, first = cuts[place]
        batch = empty_batch(config, 1, config.context, max(1, len(stream.tags)))
        fill(batch, 0, stream, first)
        apart = stream.frames - config.voice_frames
        if apart >= first + config.context:
            batch.voice[0] = stream.codes[:, apart:]
        elif first >= config.voice_frames:
            batch.voice[0] = stream.codes[:, : config.voice_frames]
        batches.append(batch)
        if bits is not None:
            codes = stream.codes[:, first : first + config.context]
            costs += bits(codes).sum(1)
            frames += codes.shape[1]
    return Held(batches, costs / frames if bits is not None else None)


def fingerprint(streams: Sequence[Stream]) -> str:
    """Of all codes, phones and tags."""
    digest = hashlib.sha256()
    for stream in streams:
        digest.update(stream.codes.tobytes())
        digest.update(stream.phones.tobytes())
        digest.update(repr(stream.tags).encode())
    return digest.hexdigest()


def _by_level(group: str, bits: Any) -> dict[str, float]:
    named = {f"{group}/level {level + 1}": value for level, value in enumerate(bits.tolist())}
    return {**named, f"{group}/bits a code": float(bits.mean())}


def _differing(own: Any, found: Any) -> str:
    if not isinstance(own, dict) or not isinstance(found, dict):
        return ""
    names = [name for name in {**found, **own} if own.get(name) != found.get(name)]
    return ": " + ", ".join(f"{name} {found.get(name)}, not {own.get(name)}" for name in names)


def _bar(step: int, steps: int) -> Any:
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm(total=steps, initial=step, dynamic_ncols=True, smoothing=0.05, file=sys.stderr)
