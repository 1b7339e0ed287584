"""Take one training step as a function of tensors: model, codebooks, critics, averages.

Every shape is fixed by the settings and the `Plan`, and nothing makes the host wait for the device.
So a step can run as it is, be compiled whole, or be captured as a CUDA graph (`runner`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from codec.nn.model import CodecModel
from codec.nn.quantiser import Statistics
from codec.training.balancer import Balancer
from codec.training.config import TrainConfig
from codec.training.critics.ensemble import Critics
from codec.training.critics.judgement import Judgement
from codec.training.critics.phase_rotation import PhaseRotation
from codec.training.distributed import mean_over_ranks, sums_over_ranks, world_size
from codec.training.draws import Inputs, Plan
from codec.training.library_quantiser import LibraryQuantiser
from codec.training.losses.log_mel import LogMelLoss
from codec.training.losses.loudness import LoudnessLoss
from codec.training.losses.multi_resolution import MultiResolutionLoss
from codec.training.losses.phonetic import PhoneticLoss
from codec.training.losses.spectral import SpectralLoss
from codec.training.optimiser import AdamW
from codec.training.phones import UNKNOWN

Losses = dict[str, Tensor]


class Teachers:
    """Hold the critics and their optimiser."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            critics = Critics(
                config.critic_kinds,
                config.critic_channels,
                2 * config.critic_low / config.model.sample_rate,
                rotated=config.critic_rotation,
                adversarial=config.adversarial,
            )
        self.rotation = PhaseRotation().to(device) if config.critic_rotation != "off" else None
        self.critics = critics.to(device)
        self.optimiser = AdamW(self.critics, config.critic_betas, config.weight_decay)

    def judge(self, plan: Plan, inputs: Inputs, output: Tensor) -> Judgement:
        """Let the critics of `plan` compare the crops that they hear with those of `output`."""
        channels = 1 if output.dim() == 2 else output.shape[1]
        target, output = (rows(x[inputs.heard]) for x in (inputs.audio, output))
        turned = None
        if self.rotation is not None:
            angles = self.rotation.angles(inputs.turns).repeat_interleave(channels, 0)
            turned = (self.rotation(target, angles), self.rotation(output, angles))
        return self.critics.judge(plan.critics, target, output, turned, mean_over_ranks)


class Step:
    """Learn from a batch, in place, when called; it returns the losses.

    A step in which anything is not finite changes nothing but the counters `bad`: int64 [3], the
    number of such steps in a row until now, the largest such number so far, and all of them.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: CodecModel,
        average: CodecModel,
        device: torch.device,
    ) -> None:
        self.config, self.model = config, model
        self.teachers: Teachers | None = None
        self.whole = config.learned == "all"
        learned = model if self.whole else model.decoder
        self.phonetic: PhoneticLoss | None = None
        if config.phonetic_weight and self.whole:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                heard = PhoneticLoss(config.first_dims or config.model.latent_dim)
            self.phonetic = heard.to(device)
        # The model's parameters come first: they alone have averages.
        both = nn.ModuleList([learned, *([self.phonetic] if self.phonetic else [])])
        self.optimiser = AdamW(both, config.betas, config.weight_decay)
        self.parameters: list[Tensor] = [*self.optimiser.parameters]
        self.averages: list[Tensor] = list(
            (average if self.whole else average.decoder).parameters()
        )
        self.loss = SpectralLoss(
            config.model.sample_rate, phase_edge=config.phase_edge, phase_tail=config.phase_tail
        ).to(device)
        rate = config.model.sample_rate
        self.others: dict[str, nn.Module] = {}  # losses of target and output alone
        if config.loudness_weight:
            self.others["loudness"] = LoudnessLoss(rate).to(device)
        if config.log_mel_weight:
            self.others["log_mel"] = LogMelLoss(rate).to(device)
        if config.stft_weight:
            self.others["stft"] = MultiResolutionLoss(device)
        self.weights = {
            "mel": config.mel_weight,
            "magnitude": config.magnitude_weight,
            "phase": config.phase_weight,
            "loudness": config.loudness_weight,
            "log_mel": config.log_mel_weight,
            "stft": config.stft_weight,
            "commitment": config.commitment_weight,
            "phonetic": config.phonetic_weight,
        }
        self.library: LibraryQuantiser | None = None
        if config.quantiser == "library":
            frames = config.batch_size * config.crop_samples // config.model.hop_length
            self.library = LibraryQuantiser(model.quantiser, frames)
        # of the other losses' gradient and its own, for each of the critics' two losses
        self.balancer = Balancer(4, device) if config.balance == "average" else None
        self.bad = torch.zeros(3, dtype=torch.int64, device=device)

    def tensors(self) -> list[Tensor]:
        """List all tensors that a step changes."""
        found = [*self.model.parameters(), *self.model.buffers(), *self.averages, self.bad]
        found += self.optimiser.tensors()
        if self.phonetic is not None:
            found += self.phonetic.parameters()
        if self.balancer is not None:
            found += self.balancer.tensors()
        if self.teachers is not None:
            found += [*self.teachers.critics.parameters(), *self.teachers.optimiser.tensors()]
        return [tensor.detach() for tensor in found]

    def __call__(self, plan: Plan, inputs: Inputs) -> Losses:
        """Learn from `inputs`; the losses, detached, and with them

        "norm", of the gradient before it was clipped; "learned", bool: whether anything was
        learned; "codes", int64 [levels, batch, frames], -1 where a level was not used; and where
        phones are learned "wrong_phones", the share of the frames with a known phone that level
        1's linear layer takes for another (NaN without such frames).
        """
        losses, output, codes, won, seen = self._forward(plan, inputs)
        total = torch.stack([self.weights[name] * value for name, value in losses.items()]).sum()
        judgement: Judgement | None = None
        critic_gradients: Sequence[Tensor] = ()
        sizes: Tensor | None = None
        if plan.critics:
            assert self.teachers is not None
            chosen = [self.teachers.critics[number] for number in plan.critics]
            judgement = self.teachers.judge(plan, inputs, output)
            critic_gradients = torch.autograd.grad(
                judgement.critic * inputs.hear, _parameters(chosen), retain_graph=True
            )
            # Gradients by the audio alone: the critics' weights must not see these losses.
            pull, sizes = self.pull(inputs, judgement, total, output)
            objective = total + (output * pull).sum()
        else:
            objective = total
        gradients = torch.autograd.grad(objective, self.parameters)
        with torch.no_grad():
            ok, norm = self._learn(plan, inputs, total, gradients, critic_gradients, won)
            if sizes is not None and self.balancer is not None:
                self.balancer.learn(sizes, ok & (mean_over_ranks(inputs.hear.float()) > 0))
        result = {name: value.detach() for name, value in losses.items()}
        if judgement is not None:
            unheard = torch.full_like(norm, torch.nan)
            result |= {
                name: torch.where(inputs.hear, value.detach(), unheard)
                for name, value in vars(judgement).items()
            }
        result |= seen | {"norm": norm, "learned": ok}
        if codes is not None:
            result["codes"] = codes
        return result

    def _forward(
        self, plan: Plan, inputs: Inputs
    ) -> tuple[Losses, Tensor, Tensor | None, Statistics | None, Losses]:
        """Encode, quantise, decode, compare.

        Returns losses, output, codes, what the codewords won, and what is only watched.
        """
        config = self.config
        with torch.set_grad_enabled(self.whole):
            latents = self.model.encoder(inputs.audio)
        encoded = first = latents
        losses: Losses = {}
        seen: Losses = {}
        phase_share, codes, won = None, None, None
        if plan.quantised:
            quantiser = self.library or self.model.quantiser
            quantised = quantiser(latents, inputs.depths, count=self.whole, mean=mean_over_ranks)
            latents, codes, won = quantised.latents, quantised.codes, quantised.statistics
            losses["commitment"] = quantised.commitment
            if self.phonetic is not None:
                first = encoded + (self.model.quantiser.codebooks[0][codes[0]] - encoded).detach()
            # A few codebooks cannot carry the waveform: asked for it, they lose the spectrum too.
            phase_share = (inputs.depths / config.model.n_codebooks) ** config.phase_power
            phase_share = phase_share.repeat_interleave(config.model.channels)
        output = self.model.decoder(latents, inputs.keys)
        scales = [self.loss.scales[number] for number in plan.scales]
        target, heard_as = rows(inputs.audio), rows(output)
        losses |= self.loss(target, heard_as, scales, phase_share, mean_over_ranks)
        for name, loss in self.others.items():
            losses[name] = loss(target, heard_as)
        if self.phonetic is not None:
            heard = self.phonetic(first, encoded, inputs.phones, mean_over_ranks)
            losses["phonetic"] = heard.loss
            known = mean_over_ranks((inputs.phones != UNKNOWN).float().sum()) > 0
            seen["wrong_phones"] = torch.where(known, heard.wrong, torch.nan)
        return losses, output, codes, won, seen

    def pull(
        self, inputs: Inputs, judgement: Judgement, total: Tensor, output: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the gradient of the critics' losses by `output`, growing over the warm-up.

        Their weights say how large it is against the gradient of `total`, the other losses, in the
        crops that were judged: as in EnCodec (Défossez et al. 2022, arXiv 2210.13438, §3.4), by
        the norms of this step alone or by their averages (`Balancer`). Returns these norms too,
        float32 [4]: of the gradient of `total` and of the loss, for each of the two losses.
        """
        config = self.config
        assert config.adversarial_from is not None
        age = inputs.step - config.adversarial_from + 1
        grown = (age / max(config.adversarial_warmup, 1)).clamp(max=1)
        (own,) = torch.autograd.grad(total, output, retain_graph=True)
        weights = (config.adversarial_weight, config.feature_weight)
        gradients, measured = [], []
        for loss in (judgement.adversarial, judgement.features):
            (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
            peaks = gradient.abs().flatten(1).amax(1)
            heard = peaks.view(-1, *([1] * (gradient.dim() - 1))) > 0
            squares = torch.stack([(own * heard).square().sum(), gradient.square().sum()])
            gradients.append(gradient)
            measured.append(mean_over_ranks(squares).sqrt())
        sizes = torch.cat(measured)
        used = sizes if self.balancer is None else self.balancer.averaged(sizes)
        pull = torch.zeros_like(output)
        parts = zip(weights, gradients, used.view(2, 2), strict=True)
        for weight, gradient, (own_size, size) in parts:
            pull = pull + grown * weight * (own_size / size.clamp(min=1e-12)) * gradient
        return torch.where(inputs.hear, pull, torch.zeros_like(pull)), sizes

    def _learn(
        self,
        plan: Plan,
        inputs: Inputs,
        total: Tensor,
        gradients: Sequence[Tensor],
        critic_gradients: Sequence[Tensor],
        won: Statistics | None,
    ) -> tuple[Tensor, Tensor]:
        """Move all that learns. Returns whether everything was finite, and the gradient's norm."""
        config, count, n = self.config, len(gradients), len(critic_gradients)
        shared = sums_over_ranks([total, *gradients, *critic_gradients, *(won or ())])
        total, means = shared[0], [value / world_size() for value in shared[1 : 1 + count + n]]
        clipped, norm = clip(means[:count], config.clip_norm)
        ok = torch.isfinite(norm + total)
        self.optimiser.step(clipped, inputs.lr, ok)
        weight = 1 - ((1 + inputs.step) / (10 + inputs.step)).clamp(max=config.ema_decay)
        difference = torch._foreach_sub(self.parameters[: len(self.averages)], self.averages)
        torch._foreach_mul_(difference, torch.where(ok, weight, torch.zeros_like(weight)))
        torch._foreach_add_(self.averages, difference)
        number = inputs.step + config.seed % 2**31
        if won is not None:
            statistics = Statistics(*shared[1 + count + n :])
            self.model.quantiser.learn(statistics, number, ok)
        elif self.library is not None and plan.quantised and self.whole:
            self.library.learn(number, ok)
        if critic_gradients:
            self._step_critics(plan, means[count:], inputs, ok)
        row = torch.where(ok, torch.zeros_like(self.bad[0]), self.bad[0] + 1)
        self.bad.copy_(torch.stack([row, torch.maximum(row, self.bad[1]), self.bad[2] + ~ok]))
        return ok, norm

    def _step_critics(
        self, plan: Plan, gradients: Sequence[Tensor], inputs: Inputs, ok: Tensor
    ) -> None:
        assert self.teachers is not None
        clipped, norm = clip(gradients, self.config.clip_norm)
        # It decays with the model, so that the balance between the two is kept.
        lr = inputs.lr * (self.config.critic_lr / self.config.lr)
        own = iter(clipped)
        by_critic = {
            number: [next(own) for _ in self.teachers.critics[number].parameters()]
            for number in plan.critics
        }
        aligned: list[Tensor | None] = []
        for number, critic in enumerate(self.teachers.critics):
            aligned += by_critic.get(number) or [None for _ in critic.parameters()]
        heard = mean_over_ranks(inputs.hear.float()) > 0
        wanted = ok & heard & torch.isfinite(norm)
        self.teachers.optimiser.step(aligned, lr, wanted)


def rows(audio: Tensor) -> Tensor:
    """Give left and right as items of their own: [batch, 2, samples] -> [2 * batch, samples].

    Losses and critics compare what each ear hears: an error of the side counts by what it is beside
    the signal of that ear, and not beside a side that may be next to nothing.
    """
    return audio if audio.dim() == 2 else audio.flatten(0, 1)


def clip(gradients: Sequence[Tensor], largest: float) -> tuple[list[Tensor], Tensor]:
    """Scale `gradients` down together to a norm of at most `largest`; their norm before."""
    norm = torch.linalg.vector_norm(torch.stack(list(torch._foreach_norm(list(gradients)))))
    scale = (largest / (norm + 1e-6)).clamp(max=1)
    return list(torch._foreach_mul(list(gradients), scale)), norm


def _parameters(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]
