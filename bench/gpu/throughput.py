"""Measure training: seconds of audio a second and memory by setting, and what limits each.

    python -m bench.gpu.throughput PREPARED --work FOLDER [--setting 'batch_size=64 ...'] ...

Each setting is a run of its own from new weights, with codebooks and critics from the first step.
Some steps warm up, then so many are timed that `--seconds` pass, from one synchronisation to the
next; the profiler then watches a few more. "busy" is the share of the profiled time in which a
kernel ran on the GPU: well below 1 the host limits, and the tables say with what; near 1 the
kernels do, and the tables list the longest.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from codec.training.config import read_changes
from codec.training.loop import Session, Until
from codec.training.prepare import PreparedAudio, open_prepared

ON_GPU = [  # what matters most first: the time may not do for all
    "batch_size=64 critic_crops=64 step=graph",
    "batch_size=64 critic_crops=64 step=eager",
    "batch_size=64 adversarial_from=null step=graph",
    "batch_size=32 critic_crops=32 step=graph",
    "batch_size=64 critic_crops=64 step=compile",
    "batch_size=128 critic_crops=128 step=graph",
]
ON_CPU = ["batch_size=2", "batch_size=2 adversarial_from=null"]
# so that every part of a step is at work from the first one on
AT_ONCE = ["quantise_from=0", "adversarial_from=0", "adversarial_warmup=0"]
# one kind of step, so that a graph is captured once
ONE_KIND = ["loss_scales=all"]
FEW_FRAMES = ["kmeans_frames=8192", "kmeans_iterations=1"]
ROWS = 12  # of each profile
BUSY = 0.9  # share of the time below which the GPU waits for the host
OVER = 1e12  # what the clock says when all is measured, in seconds


@dataclasses.dataclass
class Measured:
    setting: str
    audio: float = 0.0  # seconds a second
    milliseconds: float = 0.0  # a step
    memory: float = 0.0  # GB at the most
    busy: float | None = None
    limit: str = ""  # what takes the time
    error: str = ""
    profile: str = ""

    def row(self) -> str:
        if self.error:
            return f"| {self.setting} | | | | | {self.error} |"
        busy = "" if self.busy is None else f"{self.busy:.2f}"
        return (
            f"| {self.setting} | {self.audio:.0f} | {self.milliseconds:.1f} | {self.memory:.1f} | "
            f"{busy} | {self.limit} |"
        )


class Probe:
    """The clock of a session, which the loop reads at every step: it times and profiles steps."""

    def __init__(self, device: str, warm: int, seconds: float, profiled: int) -> None:
        self.cuda = device.startswith("cuda")
        self.warm, self.seconds, self.profiled = warm, seconds, profiled
        self.session: Session | None = None
        self.begun: tuple[int, float] | None = None  # step, time
        self.ended: tuple[int, float] | None = None
        self.done = False
        self.wall = 0.0
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.cuda else [])]
        self.profiler = profile(activities=activities)

    def __call__(self) -> float:
        if self.done:
            return OVER
        now = time.monotonic()
        if self.session is None:
            return now
        step = self.session.now.step
        if self.begun is None:
            if step >= self.warm:
                self.begun = (step, self._synchronised())
        elif self.ended is None:
            if step > self.begun[0] and now - self.begun[1] >= self.seconds:
                self.ended = (step, self._synchronised())
                self.profiler.start()
                self.wall = self._synchronised()
        elif step >= self.ended[0] + self.profiled:
            self.wall = self._synchronised() - self.wall
            self.profiler.stop()
            self.done = True
        return time.monotonic()

    def _synchronised(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.monotonic()

    def seconds_per_step(self) -> float:
        if self.begun is None or self.ended is None:
            raise RuntimeError("too few steps in the time")
        return (self.ended[1] - self.begun[1]) / (self.ended[0] - self.begun[0])

    def busy(self) -> float | None:
        """The share of the profiled time in which the GPU ran something."""
        spans = sorted(
            (event.time_range.start, event.time_range.end)
            for event in self.profiler.events() or ()
            if event.device_type == DeviceType.CUDA
        )
        if not spans:
            return None
        total, end = 0.0, 0.0
        for first, last in spans:
            total += max(0.0, last - max(first, end))
            end = max(end, last)
        return total * 1e-6 / self.wall

    def limit(self) -> str:
        """What limits: the host if the GPU waits for it, and the three longest kernels."""
        field = "self_device_time_total" if self.cuda else "self_cpu_time_total"
        times = {event.key: getattr(event, field) for event in self.profiler.key_averages()}
        total = sum(times.values()) or 1
        longest = sorted(times, key=lambda name: -times[name])[:3]
        said = [f"{name[:30]} {100 * times[name] / total:.0f} %" for name in longest]
        busy = self.busy()
        if busy is not None and busy < BUSY:
            said.insert(0, "the host")
        return ", ".join(said).replace("|", "/")

    def summary(self) -> str:
        order = "self_device_time_total" if self.cuda else "self_cpu_time_total"
        averages = self.profiler.key_averages()
        parts = [averages.table(sort_by=order, row_limit=ROWS, max_name_column_width=60)]
        if self.cuda:
            host = averages.table(sort_by="self_cpu_time_total", row_limit=ROWS)
            parts.append(host)
        return "\n".join(parts)


def measure(
    prepared: PreparedAudio, changes: dict[str, Any], setting: str, given: argparse.Namespace
) -> Measured:
    """Train a little from new weights with `changes`."""
    result = Measured(setting)
    run = given.work / "run"
    shutil.rmtree(run, ignore_errors=True)
    probe = Probe(given.device, given.warm, given.seconds, given.profiled)
    if probe.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch.compiler.reset()
    session = Session(
        prepared,
        run,
        changes,
        Until(deadline=OVER, clock=probe),
        device=given.device,
        say=lambda line: print(f"  {line}", flush=True),
    )
    probe.session = session
    session.run_until_done([])
    config = session.config
    taken = probe.seconds_per_step()
    result.milliseconds = 1e3 * taken
    result.audio = config.batch_size * config.crop_samples / config.model.sample_rate / taken
    if probe.cuda:
        result.memory = torch.cuda.max_memory_allocated() / 1e9
    result.busy, result.limit, result.profile = probe.busy(), probe.limit(), probe.summary()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("prepared", type=Path)
    add("--work", type=Path, required=True)
    add("--setting", dest="variants", action="append", help="NAME=VALUE ...; may be repeated")
    add("--config", type=Path)
    add("--set", dest="settings", action="append", default=[], help="for all")
    add("--device", default="cuda")
    add("--warm", type=int, default=12, help="steps before the timed ones (default 12)")
    add("--seconds", type=float, default=4.0, help="of timed steps (default 4)")
    add("--profiled", type=int, default=5, help="steps (default 5)")
    given = parser.parse_args()
    on_cpu = given.device == "cpu"
    if on_cpu:
        given.seconds = min(given.seconds, 0.5)
    prepared = open_prepared(given.prepared)
    always = [
        *given.settings,
        *AT_ONCE,
        *([] if on_cpu else ONE_KIND + FEW_FRAMES),
        "checkpoint_minutes=999",
    ]
    results = []
    for setting in given.variants or (ON_CPU if on_cpu else ON_GPU):
        print(f"== {setting}", flush=True)
        try:
            changes = read_changes(given.config, (*always, *setting.split()))
            result = measure(prepared, changes, setting, given)
        except Exception as error:  # out of memory, a compiler's: the next setting may do
            result = Measured(setting, error=f"{type(error).__name__}: {error}"[:100])
        print(result.profile + "\n" + result.row(), flush=True)
        results.append(result)
    print(
        "\n| setting | seconds of audio a second | ms a step | GB | busy | limited by |\n"
        "|---|--:|--:|--:|--:|---|"
    )
    print("\n".join(result.row() for result in results))
    good = [result for result in results if not result.error]
    if not good:
        print("no setting ran")
        return 1
    best = max(good, key=lambda result: result.audio)
    print(f"{best.audio:.0f} seconds of audio a second at best, with {best.setting}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
