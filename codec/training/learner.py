"""Hold what a run learns: networks, optimisers, averages, and what must be saved of them."""

from __future__ import annotations

import copy
import shutil
import time
import warnings
from typing import Any

import torch
from torch import Tensor

from codec.errors import TrainingError
from codec.nn.blocks import Backbone
from codec.nn.model import CodecModel
from codec.training import distributed
from codec.training.config import TrainConfig
from codec.training.critics.ensemble import Critics
from codec.training.draws import Inputs, Plan, choose_heard, draw, draw_turns
from codec.training.losses.spectral import SpectralLoss
from codec.training.runner import Runner, to_device
from codec.training.step import Losses, Step, Teachers


class Learner:
    """Train a model step by step. Everything random in step n is a function of (seed, n).

    Raises TrainingError if several processes cannot share a batch evenly.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        if config.batch_size % distributed.world_size():
            raise TrainingError(
                f"batch_size ({config.batch_size}) must be a multiple of the number of processes "
                f"({distributed.world_size()})"
            )
        if config.quantiser == "library" and distributed.world_size() > 1:
            raise TrainingError("quantiser=library needs a single process")
        self.config = config
        self.device = device
        self.model = CodecModel(config.model).to(device)
        self.model.quantiser.decay = config.codebook_decay
        self.model.quantiser.first_dims = config.first_dims
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.quantised = False
        self._step = Step(config, self.model, self.average, device)
        if config.adversarial_from is not None:
            self._step.teachers = Teachers(config, device)
        self._runner = Runner(self._step, device)
        # What `auto` chose, on which kind of device: a run that goes on keeps to it.
        self._chosen: dict[str, Any] = {}

    @property
    def loss(self) -> SpectralLoss:
        return self._step.loss

    @property
    def critics(self) -> Critics | None:
        return self._step.teachers.critics if self._step.teachers else None

    def accelerate(self) -> list[str]:
        """Take the precision and the way of running steps that the settings ask for.

        Where they say auto it is the fastest, or what a run that goes on has chosen before: another
        choice would round differently. Returns lines that say what was chosen. Raises
        TrainingError if something is not available.
        """
        config = self.config
        before = self._chosen if self._chosen.get("device") == self.device.type else {}
        backbones = [self.model.encoder.backbone, self.model.decoder.backbone]
        said = []
        if self.device.type == "cuda":
            # TF32 where float32 is left: critics, losses, the layers outside the backbones.
            exact = config.precision == "float32"
            torch.set_float32_matmul_precision("highest" if exact else "high")
            torch.backends.cudnn.allow_tf32 = not exact
        half = config.precision == "bfloat16"
        if config.precision == "auto" and "bfloat16" in before:
            half = bool(before["bfloat16"])
        elif config.precision == "auto":
            half = not distributed.any_of(not bfloat16_pays(self.device))
        if half:
            for backbone in backbones:
                backbone.in_bfloat16 = True
            said.append("bfloat16 backbones")
        mode = before.get("step", "auto") if config.step == "auto" else config.step
        if config.quantiser == "library" and mode != "eager":
            mode = "eager"
            said.append("steps: eager, because quantiser=library needs them")
        compiler = self.device.type == "cuda" or any(map(shutil.which, ("c++", "g++", "clang++")))
        if mode != "compile" and (
            config.compile == "on" or (config.compile == "auto" and compiler)
        ):
            said.append(self._compile(backbones))
        if mode != "eager":
            said.append(self._runner.choose(mode, *self._trial()))
        self._chosen = {
            "device": self.device.type,
            "bfloat16": half,
            "step": self._runner.mode,
        }
        return said

    def _compile(self, backbones: list[Backbone]) -> str:
        started = time.monotonic()
        shape = self.config.model
        batch = self.config.batch_size // distributed.world_size()
        frames = self.config.crop_samples // shape.backbone_hop
        sizes = (
            (frames // shape.encoder_stack, shape.encoder_dim),
            (frames, shape.decoder_dim),
        )
        try:
            for backbone, size in zip(backbones, sizes, strict=True):
                trial = torch.zeros(batch, *size, device=self.device, requires_grad=True)
                out = torch.compile(backbone, dynamic=False)(trial)
                torch.autograd.grad(out.sum(), [trial, *backbone.parameters()])
        except Exception as error:  # whatever the compiler, its cache or its headers raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            warnings.warn(f"not compiled, so training is slower: {reason}", stacklevel=2)
            return "backbones not compiled"
        for backbone in backbones:
            # nn.Module.compile, not torch.compile: it leaves the names of the weights alone.
            backbone.compile(dynamic=False)
        return f"backbones compiled in {time.monotonic() - started:.0f} s"

    def _trial(self) -> tuple[Plan, Inputs]:
        """Make a plan and inputs to measure steps with: of the last kind that the run has."""
        config = self.config
        number = config.adversarial_from or 0
        generator = torch.Generator().manual_seed(0)
        channels = () if config.model.channels == 1 else (config.model.channels,)
        shape = (config.batch_size, *channels, config.crop_samples)
        audio = torch.randn(shape, generator=generator) / 10
        return self._draw(number, distributed.part_of(audio), config.lr, None)

    def share(self) -> None:
        """Begin with the same in all processes: what the first one has."""
        distributed.copy_from(0, self._step.tensors())

    def start(self, audio: Tensor) -> None:
        """Begin a new model from the statistics of `audio` [batch, n * hop_length]."""
        self.model.encoder.fit(audio.to(self.device))
        self.copy_to_average()

    @torch.no_grad()
    def fit_codebooks(self, batches: list[Tensor], start: int = 0) -> list[float]:
        """Fit the codebooks from level `start` on by k-means to the latents of `batches`.

        Returns the energy left after each of these levels, relative to that of the latents.
        """
        latents = self._latents(batches)
        fitted = copy.deepcopy(self.model.quantiser).cpu()
        left = torch.zeros(len(fitted.codebooks) - start, dtype=torch.float64)
        if distributed.rank() == 0:
            # K-means draws with a CPU generator, and is cheap enough there.
            generator = torch.Generator().manual_seed(self.config.seed)
            left[:] = torch.tensor(
                fitted.fit(latents.cpu(), generator, self.config.kmeans_iterations, start)
            )
        # In place: a captured step reads the tensors that are there.
        buffers = list(self.model.quantiser.buffers())
        for buffer, value in zip(buffers, fitted.buffers(), strict=True):
            buffer.copy_(value)
        distributed.copy_from(0, [*buffers, left])
        self.quantised = True
        return left.tolist()

    def _latents(self, batches: list[Tensor]) -> Tensor:
        """Encode `batches`, each in one of the processes; float32 [vectors, dim] in all of them.

        The codebooks are fitted to all vectors in the first process: they are some ten megabytes,
        and so the codebooks have the very bits that one process alone gives them. Sums of the parts
        of several processes would be rounded otherwise, and one code that falls on the other side
        of a border moves all levels after it.
        """
        parts = []
        for number, audio in enumerate(batches):
            owner = number % distributed.world_size()
            frames = audio.shape[-1] // self.config.model.hop_length
            part = torch.empty(
                len(audio) * frames, self.config.model.latent_dim, device=self.device
            )
            if owner == distributed.rank():
                with torch.compiler.set_stance("force_eager"):
                    part = self.model.encoder(audio.to(self.device)).flatten(0, 1).float()
            part = part.contiguous()
            distributed.copy_from(owner, [part])
            parts.append(part)
        return torch.cat(parts)

    def step(
        self,
        step: int,
        audio: Tensor,
        lr: float,
        judged: Tensor | None = None,
        phones: Tensor | None = None,
    ) -> Losses:
        """Learn from `audio` [batch_size, crop_samples], of two channels [batch_size, 2,
        crop_samples]; the losses, detached, on the device.

        Of several processes each learns from its part of the batch (`distributed.part_of`).
        Critics hear the crops that are True in `judged`, bool [batch_size]; all when None. `phones`
        names the phone in the middle of each frame, int64 [batch_size, frames], 0 where unknown;
        all are unknown when None. The
        losses are those of `Step`; a step in which anything was not finite teaches nothing.

        The host looks at the device every `log_steps` steps. Raises TrainingError then, if by now
        there have been `max_bad_steps` steps in a row that were not finite.
        """
        plan, inputs = self._draw(step, audio, lr, judged, phones)
        losses = self._runner(plan, inputs)
        if (step + 1) % self.config.log_steps == 0:
            self.check()
        return losses

    def check(self) -> None:
        """Wait for the device. Raises TrainingError if training has broken down."""
        _, worst, _ = self._step.bad.tolist()
        if worst >= self.config.max_bad_steps:
            raise TrainingError(
                f"the loss or its gradient was not finite for {worst} steps in a row; "
                "the last checkpoint is from before"
            )

    def _draw(
        self,
        step: int,
        audio: Tensor,
        lr: float,
        judged: Tensor | None,
        phones: Tensor | None = None,
    ) -> tuple[Plan, Inputs]:
        """Draw the plan and the inputs of `step`."""
        config = self.config
        plan, depths, keys = draw(config, step, self.quantised, self.loss.scales)
        crops = min(max(1, config.critic_crops // distributed.world_size()), len(audio))
        heard, hear = choose_heard(judged, len(audio), crops)
        if not config.phonetic_weight:
            phones = torch.zeros(0, dtype=torch.int64)
        elif phones is None:
            frames = audio.shape[-1] // config.model.hop_length
            phones = torch.zeros(len(audio), frames, dtype=torch.int64)
        inputs = (
            audio,
            distributed.part_of(depths),
            distributed.part_of(keys),
            heard,
            hear,
            draw_turns(config, step, distributed.rank() * crops, crops),
            phones,
            torch.tensor(step),
            torch.tensor(lr, dtype=torch.float32),
        )
        return plan, Inputs(*(to_device(tensor, self.device) for tensor in inputs))

    @torch.no_grad()
    def copy_to_average(self) -> None:
        self.average.load_state_dict(self.model.state_dict())

    @torch.no_grad()
    def averaged(self) -> CodecModel:
        """Give the model with averaged parameters and the codebooks as they are now."""
        for average, now in zip(self.average.buffers(), self.model.buffers(), strict=True):
            average.copy_(now)
        return self.average

    def state(self) -> dict[str, Any]:
        """Give what `load` needs to go on to the bit."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": dict(self.average.named_parameters()),
            "optimiser": self._step.optimiser.state_dict(),
            "quantised": self.quantised,
            "bad_steps": self._step.bad,
            "chosen": dict(self._chosen),
        }
        teachers = self._step.teachers
        if self._step.phonetic is not None:
            state["phonetic"] = self._step.phonetic.state_dict()
        if self._step.balancer is not None:
            state["balance"] = self._step.balancer.state_dict()
        if teachers is not None:
            state["critics"] = teachers.critics.state_dict()
            state["critic_optimiser"] = teachers.optimiser.state_dict()
        return state

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["model"] | state["average"])
        phonetic, moments = self._step.phonetic, dict(state["optimiser"]["state"])
        if phonetic is not None and "phonetic" in state:
            phonetic.load_state_dict(state["phonetic"])
        elif "phonetic" in state:  # it is no longer learned; its moments come last
            moments = {i: part for i, part in moments.items() if i < len(self._step.parameters)}
        self._step.optimiser.load_state_dict({"state": moments})
        self.quantised = state["quantised"]
        self._chosen = dict(state.get("chosen", {}))
        self._step.bad.copy_(torch.as_tensor(state["bad_steps"]))
        if self._step.balancer is not None and "balance" in state:
            self._step.balancer.load_state_dict(state["balance"])
        if "critics" in state:
            teachers = Teachers(self.config, self.device)
            try:
                teachers.critics.load_state_dict(state["critics"])
                teachers.optimiser.load_state_dict(state["critic_optimiser"])
            except (RuntimeError, ValueError):  # another width was asked for: they start afresh
                teachers = Teachers(self.config, self.device)
            self._step.teachers = teachers

    @torch.no_grad()
    def begin_from(self, state: dict[str, Tensor], levels: int) -> None:
        """Take these weights and codebooks, of which the first `levels` are fitted."""
        self.model.load_state_dict(state)
        self.quantised = levels > 0
        self.copy_to_average()


def bfloat16_pays(device: torch.device) -> bool:
    """Tell whether matrix products in bfloat16 are faster: without native support far from it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(128, 128, dtype=dtype)
        times = []
        # the least of several: the first call sets the library up, others may be interrupted
        for _ in range(10):
            started = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - started)
        seconds.append(min(times))
    return seconds[1] < 0.8 * seconds[0]
