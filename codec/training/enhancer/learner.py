"""Hold what an enhancer's training learns, and learn from a batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from codec.errors import TrainingError
from codec.model.enhancer_config import SAMPLE_RATE
from codec.nn.enhancer import Enhancer
from codec.training import distributed
from codec.training.critics.ensemble import Critics
from codec.training.critics.judgement import Judgement
from codec.training.enhancer.batches import Batch
from codec.training.enhancer.config import EnhancerTraining
from codec.training.losses.loudness import LoudnessLoss
from codec.training.losses.spectral import SpectralLoss
from codec.training.optimiser import AdamW
from codec.training.step import clip


class Learner:
    """Train an enhancer step by step, on `device`.

    Processes that `torchrun` started share each step: every one learns the same from the mean of
    their gradients (`codec.training.distributed`).

    `network` learns, `average` is its moving average, and `critics` teach it from step
    `critics_from` on.
    """

    def __init__(self, config: EnhancerTraining, device: torch.device | None = None) -> None:
        self.config, self.device = config, device or torch.device("cpu")
        self.critics_from = config.critics_from
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = Enhancer(config.model).to(self.device)
            low = 2 * config.critic_low / SAMPLE_RATE
            self.critics = Critics(config.critic_kinds, config.critic_channels, low)
            self.critics.to(self.device)
        usual = self.device.type == "cuda" or native_bfloat16()
        half = {"float32": False, "bfloat16": True}.get(config.precision, usual)
        self.network.backbone.in_bfloat16 = half
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self._spectral = SpectralLoss(SAMPLE_RATE, phase_tail=0.0).to(self.device)
        self._loudness = LoudnessLoss(SAMPLE_RATE).to(self.device)
        self._optimiser = AdamW(self.network, config.betas, config.weight_decay)
        self._critic_optimiser = AdamW(self.critics, config.critic_betas, 0.0)
        self._bad = 0
        self.taught = False  # whether the critics have learned anything

    @torch.no_grad()
    def begin_from(
        self,
        weights: dict[str, Tensor],
        average: dict[str, Tensor],
        critics: dict[str, Tensor] | None,
    ) -> None:
        """Take weights and averages, and critics that have learned, which then teach at once.

        Raises RuntimeError if they are of other dimensions.
        """
        self.network.load_state_dict(weights)
        self.average.load_state_dict(average)
        if critics is not None:
            self.critics.load_state_dict(critics)
            self.critics_from, self.taught = 0, True

    def learn(self, step: int, batch: Batch, rate: float) -> dict[str, float]:
        """Learn from `batch` at `rate` times the learning rates; the losses.

        A step in which anything is not finite teaches nothing. Raises TrainingError after
        `max_bad_steps` of them in a row.
        """
        config = self.config
        batch = batch.to(self.device)
        context = config.context_samples
        output = self.network(batch.seen, batch.known)
        output = output[:, context : context + config.crop_samples]
        losses = self._losses(batch, output)
        total = torch.stack(list(losses.values())).sum()
        (by_output,) = torch.autograd.grad(total, output)
        critic_gradients: Sequence[Tensor | None] = ()
        if step >= self.critics_from and len(batch.heard):
            judgement = self.critics.judge(
                batch.critics, batch.target[batch.heard], output[batch.heard]
            )
            critic_gradients = torch.autograd.grad(
                judgement.critic,
                list(self.critics.parameters()),
                retain_graph=True,
                allow_unused=True,
            )
            grown = min(1.0, (step - self.critics_from + 1) / max(config.critics_warmup, 1))
            by_output += grown * self._pull(judgement, by_output, output, batch.heard)
            losses |= {"critic": judgement.critic, "features": judgement.features}
        gradients = torch.autograd.grad(output, list(self.network.parameters()), by_output)
        self._step(gradients, critic_gradients, total, rate)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _losses(self, batch: Batch, output: Tensor) -> dict[str, Tensor]:
        """Compare `output` [batch, crop_samples] with what it should be, by weighted losses."""
        config = self.config
        found = self._spectral(batch.target, output, None, batch.shares)
        return {
            "mel": config.mel_weight * found["mel"],
            "magnitude": config.magnitude_weight * found["magnitude"],
            "phase": config.phase_weight * found["phase"],
            "loudness": config.loudness_weight * self._loudness(batch.target, output),
        }

    def _pull(self, judgement: Judgement, own: Tensor, output: Tensor, heard: Tensor) -> Tensor:
        """Compute the gradient of the critics' losses by `output`, float32 of its shape.

        Their weights say how large each is against `own`, that of the other losses, in the crops
        that were judged, as in EnCodec (Défossez et al. 2022, arXiv 2210.13438, §3.4).
        """
        config = self.config
        size = own[heard].norm()
        pull = torch.zeros_like(output)
        for weight, loss in (
            (config.adversarial_weight, judgement.adversarial),
            (config.feature_weight, judgement.features),
        ):
            (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
            pull += weight * size / gradient.norm().clamp(min=1e-12) * gradient
        return pull

    @torch.no_grad()
    def _step(
        self,
        gradients: Sequence[Tensor],
        critic_gradients: Sequence[Tensor | None],
        total: Tensor,
        rate: float,
    ) -> None:
        """Move all that learns, or count a bad step."""
        config = self.config
        gradients, critic_gradients, total = self._shared(gradients, critic_gradients, total)
        clipped, norm = clip(gradients, config.clip_norm)
        critics = [gradient for gradient in critic_gradients if gradient is not None]
        critics, critic_norm = clip(critics, config.clip_norm) if critics else ([], norm)
        good = torch.isfinite(norm + critic_norm + total)
        if not good:
            self._bad += 1
            if self._bad >= config.max_bad_steps:
                raise TrainingError(
                    f"the loss or its gradient was not finite for {self._bad} steps in a row"
                )
            return
        self._bad = 0
        self._optimiser.step(clipped, torch.tensor(config.lr * rate, device=self.device), good)
        if critics:
            left = iter(critics)
            aligned = [None if found is None else next(left) for found in critic_gradients]
            # It decays with the network, so that the balance between the two is kept.
            self._critic_optimiser.step(
                aligned, torch.tensor(config.critic_lr * rate, device=self.device), good
            )
            self.taught = True
        steps = float(self._optimiser.steps[0])
        keep = min(config.ema_decay, steps / (steps + 20))
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.network.parameters()), 1 - keep
        )

    def _shared(
        self, gradients: Sequence[Tensor], critic_gradients: Sequence[Tensor | None], total: Tensor
    ) -> tuple[Sequence[Tensor], Sequence[Tensor | None], Tensor]:
        """Average what the processes found; a critic that heard nothing in one counts there as 0.

        `total` becomes its sum, which is finite only if all are.
        """
        count = distributed.world_size()
        if count == 1:
            return gradients, critic_gradients, total
        critics = list(self.critics.parameters())
        found = list(critic_gradients) or [None] * len(critics)
        judged = total.new_tensor([float(gradient is not None) for gradient in found])
        filled = [
            torch.zeros_like(critic) if gradient is None else gradient
            for gradient, critic in zip(found, critics, strict=True)
        ]
        sums = distributed.sums_over_ranks([*gradients, *filled, judged, total.reshape(1)])
        means = [one / count for one in sums[:-2]]
        own, others = means[: len(gradients)], means[len(gradients) :]
        taught = [mean if n else None for mean, n in zip(others, sums[-2].tolist(), strict=True)]
        return own, taught if any(sums[-2].tolist()) else (), sums[-1][0]


def native_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16, as those with AVX512_BF16 do.

    `codec.training.learner.bfloat16_pays` measures, and says now one thing, now the other where
    other work runs beside: the same command would then make other files.
    """
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(asked is not None and asked())
