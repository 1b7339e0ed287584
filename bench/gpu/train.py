"""Train until a given time, and end with weights that can be used and a run that goes on.

    python -m bench.gpu.train PREPARED --run FOLDER --keep FOLDER --until SECONDS ...

`--until` is a time on time.monotonic()'s clock, which all processes of a machine share.

Three quarters of the time the run goes on at its learning rate, from its checkpoint, a handover or
nothing. It is then handed over, with its averaged weights alone, and a branch of it decays in the
last quarter (1 - sqrt); the averaged weights of the branch are exported. After SIGTERM, or an
error, what is there is exported.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from codec.errors import CodecError
from codec.training import checkpoint as checkpoints
from codec.training.config import read_changes
from codec.training.export import export_weights
from codec.training.handover import hand_over
from codec.training.loop import DECAYED, DECAYING, LATEST, Until, train
from codec.training.prepare import open_prepared

DECAY_SHARE = 0.25
WRITING = 4.0  # seconds before the end at which training does, to export the weights
PLANNED = 0.9  # of the time left is planned for the decay, so that it comes to its end
OVER = 1e12  # seconds, later than any deadline
START_SHARE = 0.5  # of the first start's time that the second takes, as code is compiled by then


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("prepared", type=Path)
    add("--run", type=Path, required=True)
    add("--keep", type=Path, required=True, help="for the handover and the weights")
    add("--until", type=float, required=True, help="seconds of time.monotonic()")
    add("--stop-file", type=Path, required=True, help="when it exists, the decay is left out")
    add("--resume-from", type=Path)
    add("--config", type=Path)
    add("--set", dest="settings", action="append", default=[])
    add("--device", default="cuda")
    given = parser.parse_args()
    # outside of `train`, which ends its step and saves
    signal.signal(signal.SIGTERM, lambda number, frame: given.stop_file.touch())
    work = Training(given)
    failed = 0
    for part in (work.stable, work.hand_over, work.decay, work.export):
        try:
            part()
        except CodecError as error:
            print(f"{part.__name__}: {error}", flush=True)
            failed = 1
    print(work.summary(), flush=True)
    return failed


class Training:
    """The parts of a training session that ends at a fixed time."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.end = given.until - WRITING
        self.prepared = open_prepared(given.prepared)
        self.changes = read_changes(given.config, tuple(given.settings))
        self.start_seconds = 0.0  # from the call to the first step
        self.saved: list[str] = []

    def stable(self) -> None:
        """Train at the full learning rate for the first three quarters."""
        if self.given.stop_file.exists():
            return
        begun = time.monotonic()
        stop = begun + (1 - DECAY_SHARE) * (self.end - begun)
        clock = Clock(self.given.stop_file)
        train(
            self.prepared,
            self.given.run,
            self.changes,
            Until(deadline=stop, clock=clock),
            resume_from=self.given.resume_from,
            device=self.given.device,
            say=say,
        )
        self.start_seconds = (clock.first or begun) - begun

    def hand_over(self) -> None:
        """Hand the run over, as it is before the decay."""
        latest = self.given.run / LATEST
        if latest.exists():
            folder = self.given.keep / "handover"
            size = hand_over(latest, folder, average=True)
            self.saved.append(f"handover of {size / 1e6:.1f} MB")

    def decay(self) -> None:
        """Branch off and decay in the time that is left."""
        left = self.end - time.monotonic() - START_SHARE * self.start_seconds
        if self.given.stop_file.exists() or left < 1:
            say("no decay: " + ("stopped" if self.given.stop_file.exists() else "no time left"))
            return
        pace = checkpoints.load(self.given.run / LATEST).seconds_per_step
        steps = max(1, int(PLANNED * left / pace)) if pace else 1
        train(
            self.prepared,
            self.given.run,
            {},
            Until(decay_steps=steps, deadline=self.end, clock=Clock(self.given.stop_file)),
            device=self.given.device,
            say=say,
        )

    def export(self) -> None:
        """Export the weights of most steps: decayed, decaying, or the run's own average."""
        paths = [self.given.run / name for name in (DECAYED, DECAYING, LATEST)]
        steps = {path: checkpoints.load(path).step for path in paths if path.exists()}
        if not steps:
            say("nothing to export: there is no checkpoint")
            return
        path = max(steps, key=lambda path: steps[path])
        size = export_weights(path, self.given.keep / "weights.safetensors", overwrite=True)
        self.saved.append(f"weights of {size / 1e6:.1f} MB from {path.name} at step {steps[path]}")

    def summary(self) -> str:
        """One line on what was learned and saved."""
        said = list(self.saved)
        if (self.given.run / LATEST).exists():
            saved = checkpoints.load(self.given.run / LATEST)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in saved.losses.items())
            hours = saved.audio_seconds / 3600
            said += [f"step {saved.step}, {hours:.2f} hours heard, {shown}"]
        return "; ".join(said) or "nothing was trained"


class Clock:
    """A monotonic clock that remembers when it was first read: at the first step.

    Once the file `stop` exists, all time is over: a signal may come before training listens.
    """

    def __init__(self, stop: Path) -> None:
        self.first: float | None = None
        self._stop = stop

    def __call__(self) -> float:
        now = time.monotonic()
        self.first = self.first or now
        return OVER if self._stop.exists() else now


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
