"""`codec train-enhancer`: audio and a model in, the model's enhancer out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.engine.backend import Backend, load_backend, refinement
from codec.errors import BackendError, TrainingError
from codec.model.enhancer_config import SAMPLE_RATE
from codec.support.atomic import check_writable
from codec.support.stopping import stop_signals
from codec.support.workers import Workers, usable_cores
from codec.training import distributed
from codec.training.enhancer.config import EnhancerTraining
from codec.training.prepare import PreparedAudio

if TYPE_CHECKING:
    import torch

    from codec.nn.enhancer import Enhancer
    from codec.training.enhancer.learner import Learner


# Called with what goes on, the share that is done, and the seconds of audio since the call before.
Report = Callable[[str, float, float], None]


@dataclasses.dataclass(frozen=True)
class Until:
    """Say when training ends: what comes first. Raises TrainingError without any end."""

    steps: int | None = None
    minutes: float | None = None
    clock: Callable[[], float] = time.monotonic  # seconds

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise TrainingError("an enhancer's training needs an end, in steps or minutes")

    def share(self, step: int, seconds: float) -> float:
        """Compute the share that is done after so many steps and seconds; from 1 on it is over."""
        by_steps = step / self.steps if self.steps else 0.0
        return max(by_steps, seconds / 60 / self.minutes if self.minutes else 0.0)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training came to: the file's size in bytes, and whether nothing stopped it early."""

    size: int
    steps: int
    finished: bool


def check(
    weights: Path,
    output: Path,
    init: Path | None,
    checkpoint: Path | None,
    changes: Mapping[str, Any],
    *,
    overwrite: bool,
) -> Backend:
    """Check before any work that the model can have an enhancer, and the files can be written.

    Returns the model. Raises ModelError if it is missing or damaged, TrainingError if it is not
    mono at 24 kHz, or if its codes cannot be refined and `changes` does not say that none are,
    BackendError without the native engine, OutputError.
    """
    check_writable(output, overwrite=overwrite, source=weights)
    if checkpoint is not None:
        if checkpoint.absolute() == output.absolute():
            raise TrainingError("the enhancer and its checkpoint are two files: name another")
        # Going on from a checkpoint, a user may well keep its name.
        both = init is not None and init.exists() and checkpoint.exists()
        same = both and init is not None and checkpoint.samefile(init)
        check_writable(checkpoint, overwrite=overwrite or same, source=weights)
    backend = load_backend(weights, "native")
    rate, channels = backend.config.sample_rate, backend.config.channels
    if (rate, channels) != (SAMPLE_RATE, 1):
        raise TrainingError(
            f"an enhancer is for models of {SAMPLE_RATE} Hz and one channel; {weights.name} has "
            f"{rate} Hz and {channels}"
        )
    if changes.get("refined_share", EnhancerTraining.refined_share):
        try:
            refinement(backend)
        except BackendError as error:
            raise TrainingError(f"{error}: set refined_share=0") from None
    return backend


def train(
    prepared: PreparedAudio,
    weights: Path,
    output: Path,
    until: Until,
    *,
    changes: Mapping[str, Any] | None = None,
    init: Path | None = None,
    checkpoint: Path | None = None,
    threads: int | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    progress: Report = lambda what, share, seconds: None,
    say: Callable[[str], None] = print,
) -> Trained:
    """Train an enhancer for the model at `weights` on `prepared`, and write it to `output`.

    changes: settings that differ from the defaults of `EnhancerTraining`. init: an enhancer or a
    checkpoint to begin with, of as many blocks and hidden units or fewer; with critics that have
    learned and are of the same settings, they teach from the first step on. checkpoint: a file for
    what another training can begin with, written every `checkpoint_minutes` and at the end.
    threads: that code the audio and decode the crops; PyTorch has a number of its own. device:
    where the network learns. The time of `until` begins when all audio is coded. With an end in
    steps and a seed the result is the same every time on one machine's CPU.

    Of the processes that `torchrun` started, each learns from its part of the crops, and the first
    one writes.

    SIGINT and SIGTERM finish the step, write both files and return. Raises TrainingError, or
    DataError, on settings or audio that do not fit, if training breaks down, or if it was stopped
    before the first step; what `check` raises; ModelError if a weight is not finite in float16.
    """
    changes = changes or {}
    backend = check(weights, output, init, checkpoint, changes, overwrite=overwrite)
    # Not above: they need the native engine, and `check` says so in a line.
    from codec.nn.backend import available_device
    from codec.training.enhancer.batches import Batches, heard_and_weights
    from codec.training.enhancer.files import save_checkpoint, write_enhancer
    from codec.training.enhancer.stretches import code

    if (prepared.sample_rate, prepared.channels) != (SAMPLE_RATE, 1):
        raise TrainingError(
            f"the audio is prepared at {prepared.sample_rate} Hz with {prepared.channels} "
            f"channels, an enhancer wants {SAMPLE_RATE} and one"
        )
    first = distributed.rank() == 0
    on = available_device(device)
    learner = _learner(changes, init, on, say if first else lambda line: None)
    config = learner.config
    if config.batch_size % distributed.world_size():
        raise TrainingError(
            f"batch_size ({config.batch_size}) must be a multiple of the processes "
            f"({distributed.world_size()})"
        )
    check_runs(learner.network)
    heard_and_weights(prepared, config)  # raises before the audio is coded
    seconds = config.batch_size * config.crop_samples / SAMPLE_RATE
    step, share, shown = 0, 0.0, Means()
    with Workers(threads or usable_cores()) as workers, stop_signals() as stopped:

        def coding(done: float) -> None:
            progress(f"coding the audio, {done:.0%}", 0.0, 0.0)

        stretches = code(prepared, backend, config, workers, coding, stopped.is_set)
        batches = Batches(prepared, stretches, backend, config, workers)
        begun = until.clock()
        save_at = time.monotonic() + 60 * config.checkpoint_minutes
        while share < 1 and not distributed.any_of(stopped.is_set()):
            losses = learner.learn(step, batches.draw(step), config.rate_at(step, share))
            step += 1
            share = distributed.of_first(until.share(step, until.clock() - begun))
            progress(f"step {step}  {shown.add(losses)}", min(share, 1), seconds)
            if checkpoint is not None and first and time.monotonic() >= save_at and share < 1:
                save_checkpoint(learner, checkpoint)
                save_at = time.monotonic() + 60 * config.checkpoint_minutes
        if not step:
            raise TrainingError("stopped before the first step: nothing was written")
        if not first:
            return Trained(0, step, share >= 1)
        if checkpoint is not None:
            save_checkpoint(learner, checkpoint)
        notes = {
            "data": prepared.fingerprint,
            "hours": f"{step * seconds / 3600:.2f}",
            "step": str(step),
        }
        size = write_enhancer(learner.average, output, backend.model_id, notes, overwrite=overwrite)
    if share < 1:
        say(f"stopped at step {step}, {share:.0%} of the way: written is what it had learned")
    return Trained(size, step, share >= 1)


def check_runs(network: Enhancer) -> None:
    """Raise TrainingError if the engine could not run what `network` is trained to."""
    from codec.engine._engine import Enhancer as Engine
    from codec.training.enhancer.files import enhancer_bytes

    try:
        Engine(enhancer_bytes(network, b"", {}))
    except ValueError as error:
        raise TrainingError(f"the engine cannot run such an enhancer: {error}") from None


class Means:
    """Show how losses develop: their moving averages over about 50 steps."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def add(self, losses: Mapping[str, float]) -> str:
        """Take the losses of a step; a line with the means of all so far."""
        for name, value in losses.items():
            before = self._means.get(name, value)
            self._means[name] = 0.98 * before + 0.02 * value
        return "  ".join(f"{name} {value:.3f}" for name, value in self._means.items())


def _learner(
    changes: Mapping[str, Any], init: Path | None, on: torch.device, say: Callable[[str], None]
) -> Learner:
    """Make what learns, from `init` if there is one."""
    from codec.training.enhancer.files import critics_shape, read_beginning
    from codec.training.enhancer.learner import Learner
    from codec.training.warm_start import grown

    if init is None:
        return Learner(EnhancerTraining().replace(changes), on)
    found = read_beginning(init)
    config = EnhancerTraining(model=found.model).replace(changes)
    blocks, hidden = config.model.blocks, config.model.hidden
    grows = blocks >= found.model.blocks and hidden >= found.model.hidden
    if not grows or config.model != dataclasses.replace(found.model, blocks=blocks, hidden=hidden):
        raise TrainingError(f"{init} has other dimensions than the settings model.* say")
    learner = Learner(config, on)
    wanted = {name: part.cpu() for name, part in learner.network.state_dict().items()}
    weights, average = (
        grown(state, wanted, ["backbone"]) for state in (found.weights, found.average)
    )
    critics = found.critics
    if critics is not None and found.shape != critics_shape(config):
        say(f"the critics of {init} are others: new ones begin")
        critics = None
    learner.begin_from(weights, average, critics)
    return learner
