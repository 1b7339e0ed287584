"""Run training steps as they are, compiled, or as CUDA graphs."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from codec.errors import TrainingError
from codec.training.config import TrainConfig
from codec.training.distributed import world_size
from codec.training.draws import Inputs, Plan
from codec.training.step import Losses, Step

MODES = ("eager", "graph", "compile")
MOST_PLANS = 16  # that are worth compiling or capturing, each by itself
MOST_MEASURED = {"graph": MOST_PLANS, "compile": 1}  # for `auto`: a compilation takes minutes
WARM_UP = 3  # steps before a capture: libraries set themselves up in them
MEASURED_SECONDS = 2.0  # of each mode, for `auto`

Run = Callable[[Inputs], Losses]


def count_plans(config: TrainConfig, scales: tuple[Any, ...]) -> int:
    """Count the plans that steps of `config` can have once critics take part."""
    plans = 1
    if config.loss_scales == "drawn":
        compared = sum(scale.complex for scale in scales)
        plans = compared * (len(scales) - compared)
    if config.adversarial_from is not None:
        critics = len(config.critic_kinds)
        plans *= math.comb(critics, min(config.critics_drawn, critics))
    return plans


class Runner:
    """Run the steps of `step` in one of MODES. Each plan is prepared when it first occurs."""

    def __init__(self, step: Step, device: torch.device, mode: str = "eager") -> None:
        self.step, self.device, self.mode = step, device, mode
        self._prepared: dict[Plan, Run] = {}
        self._pool: Any = None

    def __call__(self, plan: Plan, inputs: Inputs) -> Losses:
        run = self._prepared.get(plan)
        if run is None:
            run = self._prepared[plan] = self._prepare(plan, inputs)
        return run(inputs)

    def choose(self, mode: str, plan: Plan, inputs: Inputs) -> str:
        """Take `mode`, one of MODES or auto; a line that says what was chosen.

        auto measures eager and graph on a GPU, eager and compile on a CPU, on `plan` and `inputs`,
        and takes the faster one. It takes eager unmeasured if there are too many plans to prepare
        (MOST_MEASURED). What the measured steps learned is undone. Raises TrainingError if the mode
        is not available.
        """
        plans = count_plans(self.step.config, self.step.loss.scales)
        if mode == "auto":
            return self._measure(plans, plan, inputs)
        if mode == "graph" and self.device.type != "cuda":
            raise TrainingError(f"step=graph needs a CUDA device, not {self.device.type}")
        if mode != "eager" and plans > MOST_PLANS:
            raise TrainingError(
                f"step={mode} prepares each of {plans} kinds of step by itself, and at most "
                f"{MOST_PLANS} are worth it: set loss_scales=all, critics_drawn to the number of "
                "critics, or step=eager"
            )
        self._take(mode)
        return f"steps: {mode}"

    def _measure(self, plans: int, plan: Plan, inputs: Inputs) -> str:
        other = "graph" if self.device.type == "cuda" else "compile"
        if plans > MOST_MEASURED[other]:
            self._take("eager")
            return f"steps: eager, because there are {plans} kinds of them to {other}"
        if world_size() > 1:
            self._take("eager")
            return "steps: eager, because several processes share them"
        seconds, said = {}, []
        with self._undone():
            for mode in ("eager", other):
                self._take(mode)
                started = time.monotonic()
                try:
                    self(plan, inputs)
                    self._wait()
                    ready = time.monotonic() - started
                    seconds[mode] = self._pace(plan, inputs)
                    said.append(f"{mode} {1000 * seconds[mode]:.0f} ms, ready in {ready:.0f} s")
                except Exception as error:  # whatever the compiler, its cache or a driver raises
                    said.append(f"{mode} not available: {_first_line(error)}")
        if not seconds:
            raise TrainingError(f"no step runs: {said[0]}")
        best = min(seconds, key=lambda mode: seconds[mode])
        if best != self.mode:
            self._take(best)
        return f"steps: {best} ({'; '.join(said)})"

    def _take(self, mode: str) -> None:
        self.mode, self._prepared, self._pool = mode, {}, None

    def _pace(self, plan: Plan, inputs: Inputs) -> float:
        """Measure the seconds of a step."""
        started, steps = time.monotonic(), 0
        while steps < 3 or time.monotonic() - started < MEASURED_SECONDS:
            self(plan, inputs)
            self._wait()
            steps += 1
        return (time.monotonic() - started) / steps

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _prepare(self, plan: Plan, inputs: Inputs) -> Run:
        if self.mode == "compile":
            return compiled(self.step, plan)
        if self.mode == "graph":
            return self._captured(plan, inputs)
        return functools.partial(self.step, plan)

    def _captured(self, plan: Plan, inputs: Inputs) -> Run:
        """Capture a step of `plan` as a CUDA graph."""
        fixed = Inputs(*(tensor.clone() for tensor in inputs))
        with self._undone():
            stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    self.step(plan, fixed)
            torch.cuda.current_stream(self.device).wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                losses = self.step(plan, fixed)
            self._pool = graph.pool()  # graphs never run side by side: one memory for all

        def run(now: Inputs) -> Losses:
            for place, tensor in zip(fixed, now, strict=True):
                place.copy_(tensor, non_blocking=True)
            graph.replay()
            return {name: value.clone() for name, value in losses.items()}

        return run

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Undo what is learned inside."""
        tensors = self.step.tensors()
        before = [tensor.clone() for tensor in tensors]
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)


def compiled(step: Step, plan: Plan, backend: str = "inductor") -> Run:
    """Compile the whole step of `plan` as one graph."""
    if not hasattr(torch._dynamo.config, "trace_autograd_ops"):
        raise TrainingError("step=compile needs PyTorch 2.11 or later")
    torch._dynamo.config.trace_autograd_ops = True

    def run(inputs: Inputs) -> Losses:
        return step(plan, inputs)

    compiled: Run = torch.compile(run, fullgraph=True, dynamic=False, backend=backend)
    return compiled


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to the device without waiting for it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
