"""Hold all critics of a run, made from what the setting `critics` names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from codec.training.critics.grammar import Kind
from codec.training.critics.judgement import Judgement, judge, mean_of
from codec.training.critics.low_band import Narrow, SpectralCritic
from codec.training.critics.period import PeriodCritic
from codec.training.critics.spectrum import SpectrumCritic

ROTATED = ("off", "waveform", "all")


class Critics(nn.ModuleList):
    """One critic for each of `kinds`.

    channels: of the first layer, where a kind names none. low: a critic "1xNFFT" ignores the bins
    below this fraction of the band: where the codes carry phase, a critic's taste costs fidelity.
    rotated: which critics hear audio with rotated phases: "off" (none), "waveform" (those of
    periods) or "all". adversarial: see `judge`.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        channels: int = 32,
        low: float = 0.0,
        *,
        rotated: str = "off",
        adversarial: str = "hinge",
    ) -> None:
        super().__init__(make_critic(kind, channels, low) for kind in kinds)
        self.kinds, self.adversarial = tuple(kinds), adversarial
        self.hears_rotated = [
            rotated == "all" or (rotated == "waveform" and kind.hears_waveform) for kind in kinds
        ]

    def judge(
        self,
        numbers: Sequence[int],
        target: Tensor,
        output: Tensor,
        turned: tuple[Tensor, Tensor] | None = None,
        mean: Callable[[Tensor], Tensor] = Tensor.detach,
    ) -> Judgement:
        """Average what the critics with these numbers say of `output` [batch, samples].

        turned: target and output with their phases rotated, for those that hear them so.
        mean: see `judge`.
        """
        heard = [
            turned if turned and self.hears_rotated[number] else (target, output)
            for number in numbers
        ]
        return mean_of(
            [
                judge(self[number], *pair, self.adversarial, mean)
                for number, pair in zip(numbers, heard, strict=True)
            ]
        )


def make_critic(kind: Kind, channels: int, low: float) -> nn.Module:
    """Make the critic that `kind` describes; see `Critics`."""
    if kind.family == "period":
        return PeriodCritic(kind.size, kind.channels)
    if kind.family == "low":
        if kind.factor == 1:
            return SpectralCritic(kind.size, channels, round(low * kind.size / 2))
        return Narrow(SpectralCritic(kind.size, channels), kind.factor)
    return SpectrumCritic(
        kind.size, kind.channels, magnitude=kind.family == "magnitude", bands=kind.bands
    )
