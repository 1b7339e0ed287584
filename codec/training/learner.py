"""One training step: networks, losses, optimisers, weight averages, and what must be saved."""

from __future__ import annotations

import copy
import shutil
import time
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codec.errors import TrainingError
from codec.nn.model import CodecModel
from codec.training.config import TrainConfig
from codec.training.discriminators import Critics, Judgement, judge_all
from codec.training.losses import SpectralLoss
from codec.training.loudness import LoudnessLoss


class Learner:
    """The model in training. Everything random in step n is a function of (seed, n), except
    which vectors revive dead codewords: that is torch's generator, saved with the rest."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.model = CodecModel(config.model).to(device)
        self.model.quantiser.decay = config.codebook_decay
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.loss = SpectralLoss(
            config.model.sample_rate, phase_edge=config.phase_edge, phase_tail=config.phase_tail
        ).to(device)
        self.loudness = LoudnessLoss(config.model.sample_rate).to(device)
        self.whole = config.learned == "all"
        learned = self.model if self.whole else self.model.decoder
        self.optimiser = _adamw(learned, config, config.lr, config.betas)
        self.critics: Critics | None = None
        self.critic_optimiser: torch.optim.Optimizer | None = None
        self.quantised = False
        self.bad_steps = 0
        self._parameters = list(learned.parameters())
        self._averages = list((self.average if self.whole else self.average.decoder).parameters())

    def accelerate(self) -> list[str]:
        """bfloat16 and compiled backbones where they pay; lines that say what was chosen."""
        config, model = self.config, self.model
        backbones = [model.encoder.backbone, model.decoder.backbone]
        said = []
        if config.precision == "bfloat16" or (
            config.precision == "auto" and bfloat16_pays(self.device)
        ):
            for backbone in backbones:
                _autocast(backbone, self.device.type)
            said.append("bfloat16 backbones")
        compiler = self.device.type == "cuda" or any(map(shutil.which, ("c++", "g++", "clang++")))
        if config.compile == "on" or (config.compile == "auto" and compiler):
            said.append(self._compile(backbones))
        return said

    def _compile(self, backbones: list[Any]) -> str:
        # nn.Module.compile, not torch.compile: it leaves the names of the weights alone.
        started = time.monotonic()
        shape = self.config.model
        frames = self.config.crop_samples // shape.backbone_hop
        sizes = (
            (frames // shape.encoder_stack, shape.encoder_dim),
            (frames, shape.decoder_dim),
        )
        try:
            for backbone, size in zip(backbones, sizes, strict=True):
                backbone.compile(dynamic=False)
                trial = torch.zeros(
                    self.config.batch_size, *size, device=self.device, requires_grad=True
                )
                backbone(trial).sum().backward()
        except Exception as error:  # whatever the compiler, its cache or its headers raise
            for backbone in backbones:
                backbone._compiled_call_impl = None
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            warnings.warn(f"not compiled, training goes on slower: {reason}", stacklevel=2)
            return "backbones not compiled"
        finally:
            self.optimiser.zero_grad()
        return f"backbones compiled in {time.monotonic() - started:.0f} s"

    def start(self, audio: Tensor) -> None:
        """Begin a new model from the statistics of `audio` [batch, n * hop_length]."""
        self.model.encoder.fit(audio.to(self.device))
        self.copy_to_average()

    @torch.no_grad()
    def fit_codebooks(self, batches: list[Tensor], start: int = 0) -> list[float]:
        """K-means of the codebooks from level `start` on, on the latents of `batches`; the energy
        left after each of these, relative to that of the latents."""
        with torch.compiler.set_stance("force_eager"):
            latents = torch.cat(
                [self.model.encoder(audio.to(self.device)).flatten(0, 1) for audio in batches]
            )
        # K-means draws with a CPU generator, and is cheap enough there.
        generator = torch.Generator().manual_seed(self.config.seed)
        quantiser = self.model.quantiser.cpu()
        left = quantiser.fit(latents.float().cpu(), generator, self.config.kmeans_iterations, start)
        quantiser.to(self.device)
        self.quantised = True
        return left

    def step(
        self, step: int, audio: Tensor, lr: float, judged: Tensor | None = None
    ) -> dict[str, Tensor] | None:
        """Learn from `audio` [batch_size, crop_samples]; the losses, detached, on the device.

        Critics hear the crops that are True in `judged`, bool [batch_size]; all when None.

        "codes" is int64 [levels, batch, frames], -1 where a level was not used. None if something
        was not finite: nothing was learned then. Raises TrainingError after `max_bad_steps` such
        steps in a row.
        """
        losses = self._learn(step, audio.to(self.device), lr, judged)
        self.bad_steps = 0 if losses is not None else self.bad_steps + 1
        if self.bad_steps >= self.config.max_bad_steps:
            raise TrainingError(
                f"the loss or its gradient was not finite for {self.bad_steps} steps in a row, "
                f"up to step {step}; the last checkpoint is from before"
            )
        return losses

    def _learn(
        self, step: int, audio: Tensor, lr: float, judged: Tensor | None
    ) -> dict[str, Tensor] | None:
        config = self.config
        random = step_generator(config.seed, step)
        self.model.train()
        with torch.set_grad_enabled(self.whole):
            latents = self.model.encoder(audio)
        # Before the codebooks learn from them: they would carry a NaN on forever.
        if not bool(torch.isfinite(latents.detach().sum())):
            return None
        losses: dict[str, Tensor] = {}
        phase_share = None
        if self.quantised:
            depths = self._depths(random)
            quantised = self.model.quantiser(latents, depths, learn=self.whole)
            latents, losses["commitment"] = quantised.latents, quantised.commitment
            # A few codebooks cannot carry the waveform: asked for it, they lose the spectrum too.
            phase_share = (depths / config.model.n_codebooks) ** config.phase_power
        # Any keys will do: the signs must not tell the decoder anything.
        keys = torch.from_numpy(random.integers(2**32, size=latents.shape[:2])).to(self.device)
        output = self.model.decoder(latents, keys)
        scales = self.loss.scales
        drawn = [
            random.choice(np.array([i for i, scale in enumerate(scales) if scale.complex == which]))
            for which in (True, False)
        ]
        losses |= self.loss(audio, output, [scales[i] for i in drawn], phase_share)
        if config.loudness_weight:
            losses["loudness"] = self.loudness(audio, output)
        total = sum(
            (getattr(config, f"{name}_weight") * value for name, value in losses.items()),
            start=output.new_zeros(()),
        )
        critics = self._critics(step, random)
        critic_gradients: tuple[Tensor, ...] = ()
        seen = self._judged(judged)
        if critics and len(seen):
            judgement = judge_all(critics, audio[seen], output[seen])
            critic_gradients = torch.autograd.grad(
                judgement.critic, _parameters(critics), retain_graph=True
            )
            # Gradients by the audio alone: the critics' weights must not see these losses.
            total = total + (output * self._pull(step, judgement, total, output)).sum()
            losses |= {
                "critic": judgement.critic,
                "adversarial": judgement.adversarial,
                "features": judgement.features,
            }
        self.optimiser.zero_grad()
        total.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, config.clip_norm, foreach=True)
        if not bool(torch.isfinite(norm + total.detach())):
            return None
        _set_lr(self.optimiser, lr)
        self.optimiser.step()
        if critic_gradients:
            self._step_critics(critics, critic_gradients, lr)
        weight = 1 - min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._parameters, weight)  # type: ignore[arg-type]
        result = {name: value.detach() for name, value in losses.items()} | {"norm": norm}
        if self.quantised:
            result["codes"] = quantised.codes
        return result

    def _depths(self, random: np.random.Generator) -> Tensor:
        """Codebooks used by each crop of the batch, int64 [batch_size]."""
        config = self.config
        levels, batch = config.model.n_codebooks, config.batch_size
        if random.random() < config.full_depth_share:
            return torch.full((batch,), levels, device=self.device)
        choices = np.array([max(1, int(levels * depth)) for depth in config.depths])
        return torch.from_numpy(random.choice(choices, batch)).to(self.device)

    def _critics(self, step: int, random: np.random.Generator) -> list[nn.Module]:
        begin = self.config.adversarial_from
        if begin is None or step < begin:
            return []
        if self.critics is None:
            self.make_critics()
        assert self.critics is not None
        return self.critics.draw(self.config.critics_drawn, random)

    def _judged(self, wanted: Tensor | None) -> Tensor:
        """The numbers of the crops that critics hear, at most `critic_crops`."""
        numbers = torch.arange(self.config.batch_size)
        return (numbers if wanted is None else numbers[wanted])[: self.config.critic_crops]

    def _pull(self, step: int, judgement: Judgement, total: Tensor, output: Tensor) -> Tensor:
        """The gradient of the critics' losses by `output`, growing over the warm-up.

        Their weights say how large it is against the gradient of `total`, the other losses, in the
        crops that were judged: as in EnCodec (Défossez et al. 2022, arXiv 2210.13438, §3.4), but
        step by step.
        """
        config = self.config
        assert config.adversarial_from is not None
        age = step - config.adversarial_from + 1
        grown = min(1.0, age / max(config.adversarial_warmup, 1))
        (own,) = torch.autograd.grad(total, output, retain_graph=True)
        pull = torch.zeros_like(output)
        for weight, loss in (
            (config.adversarial_weight, judgement.adversarial),
            (config.feature_weight, judgement.features),
        ):
            (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
            heard = gradient.abs().amax(1, keepdim=True) > 0
            share = (own * heard).norm() / gradient.norm().clamp(min=1e-12)
            pull += grown * weight * share * gradient
        return pull

    def make_critics(self) -> None:
        config = self.config
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.critics = Critics(
                config.critic_kinds,
                config.critic_channels,
                2 * config.critic_low / config.model.sample_rate,
            ).to(self.device)
        self.critic_optimiser = _adamw(self.critics, config, config.critic_lr, config.critic_betas)

    def _step_critics(
        self, critics: list[nn.Module], gradients: tuple[Tensor, ...], lr: float
    ) -> None:
        assert self.critic_optimiser is not None
        self.critic_optimiser.zero_grad()  # to None: the critics not drawn are left alone
        parameters = _parameters(critics)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        if bool(torch.isfinite(norm)):
            # It decays with the model, so that the balance between the two is kept.
            _set_lr(self.critic_optimiser, self.config.critic_lr * lr / self.config.lr)
            self.critic_optimiser.step()

    @torch.no_grad()
    def copy_to_average(self) -> None:
        self.average.load_state_dict(self.model.state_dict())

    @torch.no_grad()
    def averaged(self) -> CodecModel:
        """The model with averaged parameters and the codebooks as they are now."""
        for average, now in zip(self.average.buffers(), self.model.buffers(), strict=True):
            average.copy_(now)
        return self.average

    def state(self) -> dict[str, Any]:
        """What `load` needs to go on to the bit."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": dict(self.average.named_parameters()),
            "optimiser": self.optimiser.state_dict(),
            "quantised": self.quantised,
            "bad_steps": self.bad_steps,
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["rng_cuda"] = torch.cuda.get_rng_state(self.device)
        if self.critics is not None and self.critic_optimiser is not None:
            state["critics"] = self.critics.state_dict()
            state["critic_optimiser"] = self.critic_optimiser.state_dict()
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["model"] | state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        # The saved groups bring the old run's settings along; this run's count.
        for group in self.optimiser.param_groups:
            group.update(betas=self.config.betas, weight_decay=self.config.weight_decay)
        self.quantised, self.bad_steps = state["quantised"], state["bad_steps"]
        if "critics" in state:
            self.make_critics()
            assert self.critics is not None
            assert self.critic_optimiser is not None
            try:
                self.critics.load_state_dict(state["critics"])
                self.critic_optimiser.load_state_dict(state["critic_optimiser"])
                for group in self.critic_optimiser.param_groups:
                    group.update(betas=self.config.critic_betas)
            except (RuntimeError, ValueError):  # another width was asked for: they start afresh
                self.make_critics()
        torch.set_rng_state(state["rng"].cpu())
        if "rng_cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["rng_cuda"].cpu(), self.device)

    def begin_from(self, state: dict[str, Tensor], levels: int) -> None:
        """Take these weights and codebooks, of which the first `levels` are fitted."""
        self.model.load_state_dict(state)
        self.quantised = levels > 0
        self.copy_to_average()


def step_generator(seed: int, step: int) -> np.random.Generator:
    """The random numbers of `step`, apart from those that its crops are drawn with."""
    # As uint64: numpy would make floats of such a list, and the same key of every step.
    return np.random.Generator(np.random.Philox(key=np.array([seed, 2**63 + step], np.uint64)))


def bfloat16_pays(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster: without native support far from it."""
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


def _autocast(module: Any, device: str) -> None:
    """Make `module` compute in bfloat16 inside and give float32."""
    forward = module.forward

    def run(x: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            out: Tensor = forward(x).float()
        return out

    module.forward = run


def _adamw(
    module: nn.Module, config: TrainConfig, lr: float, betas: tuple[float, ...]
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        module.parameters(),
        lr=lr,
        betas=(betas[0], betas[1]),
        weight_decay=config.weight_decay,
        fused=True,
    )


def _parameters(modules: list[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]


def _set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr
