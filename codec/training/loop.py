"""Run training: audio in, checkpoints out. A run can stop and continue at any moment."""

from __future__ import annotations

import dataclasses
import fnmatch
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.errors import TrainingError
from codec.model.config import ModelConfig
from codec.support.stopping import stop_signals
from codec.training import checkpoint as checkpoints
from codec.training import distributed
from codec.training.checkpoint import Checkpoint
from codec.training.config import Decay, TrainConfig, differences
from codec.training.crops import CropSampler
from codec.training.evaluation import Clip, evaluate, read_clips
from codec.training.handover import hand_over, take_over
from codec.training.learner import Learner
from codec.training.monitor import Monitor
from codec.training.prepare import PreparedAudio
from codec.training.warm_start import first_weights

LATEST, PREVIOUS, BEST = "latest.pt", "previous.pt", "best.pt"
DECAYING, DECAYED = "decaying.pt", "decayed.pt"

KMEANS_BATCH = 8  # one-second crops


@dataclasses.dataclass(frozen=True)
class Until:
    """Say when to stop. Without a limit a run stops at SIGINT or SIGTERM."""

    steps: int | None = None  # of the whole run, not of this session
    minutes: float | None = None  # of this session
    decay_steps: int | None = None  # decay over this many steps, then stop
    decay_minutes: float | None = None  # or over this time, at the pace of the run so far
    clock: Callable[[], float] = time.monotonic  # seconds; time.process_time to compare runs
    deadline: float = float("inf")  # on that clock; it counts the time that a start takes

    @property
    def decays(self) -> bool:
        return self.decay_steps is not None or self.decay_minutes is not None


def train(
    prepared: PreparedAudio,
    run: Path,
    changes: Mapping[str, Any],
    until: Until,
    *,
    eval_folder: Path | None = None,
    init: Path | None = None,
    resume_from: Path | None = None,
    handover: Path | None = None,
    handover_moments: bool = False,
    device: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Begin the run in the folder `run`, or continue it from its last checkpoint.

    changes: settings that differ from the defaults in a new run, or from those that the run had
    (`TrainConfig.replace`). With `until.decays` the run branches off: its learning rate
    falls to `decay_floor` and the end is written to decayed.pt; the run itself stays as it was and
    can go on later. init: a checkpoint whose averaged weights a new run begins with, or exported
    weights (`codec.training.warm_start`). resume_from: the folder of a handover that a new run goes
    on from; a run that has got as far already goes on from its own checkpoint. handover: a folder
    to hand the run over in at the end, with the optimisers' moments if `handover_moments`
    (`codec.training.handover`).

    The processes that `torchrun` starts share each step (`codec.training.distributed`), and
    `batch_size` is that of all of them together. The first one alone says, saves and evaluates.

    SIGINT and SIGTERM finish the step, save and return. Raises TrainingError on a checkpoint that
    does not fit, or when training breaks down.
    """
    if resume_from is not None and init is not None:
        raise TrainingError("a run begins with --init or --resume-from, not both")
    with distributed.joined(device) as device:
        first = distributed.rank() == 0
        tell = say if first else _say_nothing
        if resume_from is not None:
            with distributed.one_first():
                _take_over(resume_from, run, tell)
        session = Session(prepared, run, changes, until, init=init, device=device, say=tell)
        clips = read_clips(eval_folder, session.learner.model) if eval_folder else []
        session.run_until_done(clips)
        if handover is not None and first:
            size = hand_over(run / LATEST, handover, moments=handover_moments)
            tell(f"handed over in {handover}: {size / 1e6:.1f} MB")


def model_of_run(
    run: Path, changes: Mapping[str, Any], resume_from: Path | None = None
) -> ModelConfig:
    """Return the model that the run in the folder `run` has, or that a new run there would have."""
    for path in (run / LATEST, run / PREVIOUS):
        if path.exists():
            return checkpoints.load(path).config.model
    if resume_from is not None:
        return take_over(resume_from).config.model
    return TrainConfig().replace(changes).model


def _say_nothing(line: str) -> None:
    pass


def _take_over(folder: Path, run: Path, say: Callable[[str], None]) -> None:
    """Put the handover in `folder` into the folder `run`, as its last checkpoint."""
    handed = take_over(folder)
    for path in (run / LATEST, run / PREVIOUS):
        if path.exists():
            step = checkpoints.load(path).step
            if step < handed.step:
                raise TrainingError(
                    f"{run} stands at step {step} and {folder} at {handed.step}: choose another run"
                )
            say(f"{run} stands at step {step} and {folder} at {handed.step}: the run counts")
            return
    checkpoints.save(handed, run / LATEST)
    say(f"took over {folder}")


class Session:
    """Hold one process's part of a run."""

    def __init__(
        self,
        prepared: PreparedAudio,
        run: Path,
        changes: Mapping[str, Any],
        until: Until,
        *,
        init: Path | None = None,
        device: str | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.prepared, self.folder, self.until, self.say = prepared, run, until, say
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        saved = self._last_checkpoint()
        self.now = self._standing(saved, changes)
        config = self.config = self.now.config
        if prepared.sample_rate != config.model.sample_rate:
            raise TrainingError(
                f"the audio is prepared at {prepared.sample_rate} Hz, "
                f"the model wants {config.model.sample_rate}"
            )
        if prepared.channels != config.model.channels:
            raise TrainingError(
                f"the audio is prepared with {prepared.channels} channels, "
                f"the model wants {config.model.channels}"
            )
        self.sampler = CropSampler(
            prepared,
            config.crop_samples,
            config.batch_size,
            config.seed,
            config.data_weights,
            config.full_band_weight,
            augmentations=config,
            frame_samples=config.model.hop_length if config.phonetic_weight else None,
            device=self.device,
            data=config.data,
            part=(distributed.rank(), distributed.world_size()),
        )
        judged = [fnmatch.fnmatchcase(file.path, config.critic_files) for file in prepared.files]
        self._judged_files = torch.tensor(judged, device=self.sampler.data_device)
        if config.adversarial_from is not None and not any(judged):
            raise TrainingError(f"critic_files {config.critic_files!r} matches no file")
        self.learner = Learner(config, self.device)
        self._begin(saved is not None, init)
        self.learner.share()

    def _begin(self, resumed: bool, init: Path | None) -> None:
        """Fill the learner from the last checkpoint, from other weights, or from the audio."""
        if resumed:
            if init is not None:
                raise TrainingError(f"{self.folder} has a run already: --init is for a new one")
            self.learner.load(self.now.learner)
            self.now.learner = {}  # a second copy of everything, and soon out of date
            self.say(f"going on from step {self.now.step} of {self.folder}")
        elif init is not None:
            state, levels = first_weights(init, self.learner.model)
            self.learner.begin_from(state, levels)
            self.say(f"beginning with the weights of {init}")
            if 0 < levels < self.config.model.n_codebooks or self.config.refit_codebooks:
                self.say(self._fit_codebooks(0 if self.config.refit_codebooks else levels))
                self.learner.copy_to_average()
        else:
            self.learner.start(self._seconds(self.config.fit_crops, 0))

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / (DECAYING if self.now.decay else LATEST)

    def run_until_done(self, clips: list[Clip]) -> None:
        """Train, save, evaluate, until the end or a signal."""
        now, config, until = self.now, self.config, self.until
        last_step = now.decay.start + now.decay.steps if now.decay else until.steps
        for line in self.learner.accelerate():
            self.say(line)
        monitor = Monitor(
            self.folder / "logs" / (f"decay-{now.decay.start}" if now.decay else "stable"),
            now.step,
            every=config.log_steps,
            audio_seconds=config.batch_size * config.crop_samples / config.model.sample_rate,
            levels=config.model.n_codebooks,
            codebook_size=config.model.codebook_size,
            last_step=last_step,
            minutes=until.minutes,
            shown=distributed.rank() == 0,
        )
        deadline = min(until.deadline, _after(until.minutes, until.clock))
        save_at, evaluate_at = _after(config.checkpoint_minutes), _after(config.eval_minutes)
        with stop_signals() as stopped, monitor:
            while last_step is None or now.step < last_step:
                # All processes of a run stop after the same step.
                if distributed.any_of(stopped.is_set() or until.clock() >= deadline):
                    break
                if not self.learner.quantised and now.step >= config.quantise_from:
                    monitor.say(self._fit_codebooks())
                self._step(monitor)
                if time.monotonic() >= save_at:
                    self.save(monitor)
                    save_at = _after(config.checkpoint_minutes)
                if clips and time.monotonic() >= evaluate_at:
                    self._evaluate(clips, monitor)
                    evaluate_at = _after(config.eval_minutes)
            self.save(monitor)
            if clips and not stopped.is_set():
                self._evaluate(clips, monitor)
            self._close(monitor)

    def save(self, monitor: Monitor) -> None:
        now = self.now
        self.learner.check()  # a run that broke down keeps the checkpoint from before
        if distributed.rank():
            return
        now.seconds_per_step = monitor.seconds_per_step or now.seconds_per_step
        now.losses = monitor.means or now.losses
        current = dataclasses.replace(now, learner=self.learner.state())
        keep = None if now.decay else self.folder / PREVIOUS
        self._check_room()
        checkpoints.save(current, self.checkpoint_path, keep)

    def _step(self, monitor: Monitor) -> None:
        now, clock = self.now, self.until.clock
        started = clock()
        lr = self.config.lr_at(now.step, now.decay, now.restarted)
        audio, files, phones = self.sampler.crops(now.step)
        losses = self.learner.step(now.step, audio, lr, self._judged_files[files], phones)
        now.step += 1
        now.audio_seconds += (
            self.config.batch_size * self.config.crop_samples / self.config.model.sample_rate
        )
        monitor.add(now.step, lr, clock() - started, losses)

    def _fit_codebooks(self, start: int = 0) -> str:
        """Fit the codebooks from level `start` on; a line that says how much energy each leaves."""
        config = self.config
        frames = KMEANS_BATCH * len(range(0, self._second, config.model.hop_length))
        batches = -(-config.kmeans_frames // frames)
        started = time.monotonic()
        left = self.learner.fit_codebooks(
            [self._seconds(KMEANS_BATCH, 1 + i) for i in range(batches)], start
        )
        return (
            f"step {self.now.step}: codebooks fitted to {batches * frames} frames in "
            f"{time.monotonic() - started:.0f} s; energy left after level "
            f"{start + 1} and each of the next: " + " ".join(f"{value:.3f}" for value in left)
        )

    @property
    def _second(self) -> int:
        """The number of samples in about one second, in whole frames."""
        model = self.config.model
        return round(model.frame_rate) * model.hop_length

    def _seconds(self, count: int, number: int) -> Tensor:
        """Draw `count` crops of one second that no training step sees, a function of `number`."""
        seed = (self.config.seed + 2**63) % 2**64
        config = self.config
        return CropSampler(
            self.prepared, self._second, count, seed, config.data_weights, config.full_band_weight
        ).batch(number)

    def _evaluate(self, clips: list[Clip], monitor: Monitor) -> None:
        now = self.now
        if distributed.rank():
            return
        name = f"step{now.step:07d}" + ("-decay" if now.decay else "")
        with torch.compiler.set_stance("force_eager"):
            scores = evaluate(
                self.learner.averaged(),
                self.learner.loss,
                clips,
                self.folder / "samples" / name,
                quantised=self.learner.quantised,
            )
        monitor.scalars(now.step, {f"eval/{key}": value for key, value in scores.items()})
        shown = [f"{k} {v:.3f}" for k, v in scores.items() if k.startswith(("mel", "pesq", "stoi"))]
        shown.append(f"participation {scores['latents/participation']:.1f}")
        monitor.say(f"step {now.step} evaluated: " + "  ".join(shown))
        mel = scores.get(f"mel/{self.config.model.n_codebooks}")
        if mel is not None and now.decay is None and (now.best is None or mel < now.best):
            now.best = mel
            state = self.learner.state()
            slim = {key: state[key] for key in ("model", "average", "quantised")}
            checkpoints.save(dataclasses.replace(now, learner=slim), self.folder / BEST)

    def _close(self, monitor: Monitor) -> None:
        now, path = self.now, self.checkpoint_path
        if distributed.rank():
            return
        if now.decay and now.step >= now.decay.start + now.decay.steps:
            path = path.replace(self.folder / DECAYED)
        monitor.say(f"stopped at step {now.step}, saved in {path}")

    def _last_checkpoint(self) -> Path | None:
        found = [self.folder / name for name in (LATEST, PREVIOUS)]
        return next((path for path in found if path.exists()), None)

    def _standing(self, saved: Path | None, changes: Mapping[str, Any]) -> Checkpoint:
        """Find where the run stands: at its beginning, at its last checkpoint, or in a decay."""
        until, fingerprint = self.until, self.prepared.fingerprint
        if saved is None:
            if until.decays:
                raise TrainingError(f"{self.folder} has no checkpoint to decay from")
            return Checkpoint(TrainConfig().replace(changes), {}, 0, fingerprint)
        now = checkpoints.load(saved, self.device)
        if until.decays:
            now = self._decaying(now)
        config = now.config.replace(changes)
        for name, (old, new) in differences(now.config, config).items():
            if name.startswith("model."):
                raise TrainingError(f"{saved} is of another model: {name} is {old}, not {new}")
            self.say(f"{name}: {old} -> {new}")
        if now.data != fingerprint:
            self.say("the audio differs from what the run was trained on before")
        return dataclasses.replace(now, config=config, data=fingerprint)

    def _decaying(self, now: Checkpoint) -> Checkpoint:
        """Continue an interrupted decay from `now`, or begin a new branch."""
        path = self.folder / DECAYING
        steps = self.until.decay_steps
        if path.exists():
            old = checkpoints.load(path, self.device)
            assert old.decay is not None
            if old.decay.start == now.step and steps in (None, old.decay.steps):
                return old
        if steps is None:
            assert self.until.decay_minutes is not None
            if not now.seconds_per_step:
                raise TrainingError("the run's pace is not known yet: use --decay-steps")
            steps = round(self.until.decay_minutes * 60 / now.seconds_per_step)
        if steps < 1:
            raise TrainingError(f"a decay must have at least 1 step, not {steps}")
        self.say(f"decaying over {steps} steps from step {now.step}")
        return dataclasses.replace(now, decay=Decay(now.step, steps))

    def _check_room(self) -> None:
        """Raise TrainingError before the disk is full, while the last checkpoint is intact."""
        path = self.checkpoint_path
        if path.exists() and shutil.disk_usage(self.folder).free < path.stat().st_size:
            raise TrainingError(f"no room for another checkpoint in {self.folder}")


def _after(minutes: float | None, clock: Callable[[], float] = time.monotonic) -> float:
    return float("inf") if minutes is None else clock() + 60 * minutes
