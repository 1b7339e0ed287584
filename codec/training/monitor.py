"""Show a run while it goes on: a live line, and scalars for TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from codec.support.progress import Progress
from codec.support.scalars import Scalars

LINE_SECONDS = 60.0


def perplexity(codes: Tensor, size: int) -> Tensor:
    """Compute exp of the entropy of each level's codes: 1 if one is used, `size` if all evenly.

    codes int64 [levels, ...]; negative ones do not count -> float32 [levels].
    """
    return _perplexity(_histogram(codes, size))


def _histogram(codes: Tensor, size: int) -> Tensor:
    """Count how often each code occurs at each level; float32 [levels, size]."""
    levels = len(codes)
    flat = codes.reshape(levels, -1)
    counts = torch.zeros(levels, size, device=codes.device)
    return counts.scatter_add_(1, flat.clamp(min=0), (flat >= 0).float())


def _perplexity(histogram: Tensor) -> Tensor:
    share = histogram / histogram.sum(1, keepdim=True).clamp(min=1)
    return torch.exp(torch.special.entr(share).sum(1))


class Monitor:
    """Show the means over the last `every` steps, which stay on the device until then.

    On a terminal it is a bar, in a pipe one line a minute, both on standard error. Nothing is
    written if not `shown`, as in all processes of a run but the first.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        *,
        every: int,
        audio_seconds: float,
        levels: int,
        codebook_size: int,
        last_step: int | None,
        minutes: float | None,
        shown: bool = True,
    ) -> None:
        self._every, self._audio_seconds = every, audio_seconds
        self._shape = (levels, codebook_size)
        self._last_step = last_step
        self._started = time.monotonic()
        self._deadline = None if minutes is None else self._started + 60 * minutes
        self._said = self._started
        self._shown = shown
        self._scalars = Scalars(folder, step) if shown else None
        self._line = "first steps"
        self._progress = Progress(shown=shown)
        self._progress.expect(last_step, step)
        self.seconds_per_step = 0.0
        self.means: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._codes: Tensor | None = None
        self._skipped: Tensor | None = None
        self._clear()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.__exit__(kind, error, trace)
        if self._scalars is not None:
            self._scalars.close()

    def say(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._shown:
            self._progress.say(line)

    def add(self, step: int, lr: float, seconds: float, losses: dict[str, Tensor]) -> None:
        """Count step `step`, which took `seconds`; `losses` as `Step` gives them.

        A mean is over the steps that learned, and where the value is finite.
        """
        self._steps += 1
        self._seconds += seconds
        learned = losses["learned"]
        for name, value in losses.items():
            if name == "codes":
                part = _histogram(value, self._shape[1]) * learned
                self._codes = part if self._codes is None else self._codes + part
            elif name != "learned":
                counts = learned & torch.isfinite(value)
                pair = torch.stack([torch.where(counts, value, 0.0), counts.float()])
                self._sums[name] = self._sums[name] + pair if name in self._sums else pair
        skipped = (~learned).float()
        self._skipped = skipped if self._skipped is None else self._skipped + skipped
        self._progress.advance(f"step {step}  {self._line}", 1)
        if self._steps >= self._every or self._due():
            self._show(step, lr)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        if self._scalars is not None:
            self._scalars.add(step, values)

    def _due(self) -> bool:
        return not self._progress.visible and time.monotonic() - self._said >= LINE_SECONDS

    def _clear(self) -> None:
        self._steps, self._seconds = 0, 0.0
        self._sums, self._codes, self._skipped = {}, None, None

    def _show(self, step: int, lr: float) -> None:
        waiting = time.monotonic()
        pairs = {name: pair.tolist() for name, pair in self._sums.items()}
        self.means = {name: total / count for name, (total, count) in pairs.items() if count}
        # A GPU may still be at work on steps that the host has long ended.
        self._seconds += time.monotonic() - waiting
        self.seconds_per_step = self._seconds / self._steps
        rate = self._audio_seconds / self.seconds_per_step
        scalars = {f"train/{name}": value for name, value in self.means.items()}
        parts = [f"{rate:.1f}x", f"lr {lr:.1e}"]
        parts += [f"{name} {value:.3f}" for name, value in self.means.items()]
        if self._codes is not None:
            values = _perplexity(self._codes).tolist()
            scalars |= {f"perplexity/{level + 1}": value for level, value in enumerate(values)}
            shown = (values[0], values[len(values) // 2], values[-1])
            parts.append("perplexity " + "/".join(f"{value:.0f}" for value in shown))
        skipped = int(self._skipped) if self._skipped is not None else 0
        if skipped:
            parts.append(f"{skipped} steps skipped")
        self.scalars(step, scalars | {"train/lr": lr, "train/audio_seconds_per_second": rate})
        self._clear()
        self._line = "  ".join(parts)
        if self._due():
            left = self._left(step)
            eta = [] if left is None else [f"{left / 60:.0f} min left"]
            self.say("  ".join([f"step {step}", *parts, *eta]))
            self._said = time.monotonic()

    def _left(self, step: int) -> float | None:
        """Estimate the seconds until the run ends by itself."""
        ends = []
        if self._last_step is not None:
            ends.append((self._last_step - step) * self.seconds_per_step)
        if self._deadline is not None:
            ends.append(self._deadline - time.monotonic())
        return max(0.0, min(ends)) if ends else None
