"""One step of training, in bfloat16 with weights and moments in float32."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codec.errors import ModelError
from codec.lm.model.config import LmConfig
from codec.lm.model.data import Batch
from codec.lm.model.loss import cross_entropy
from codec.lm.model.network import Block, Network


@dataclasses.dataclass(frozen=True)
class Settings:
    """What training does. `steps` may change when a run goes on; all else may not."""

    batch: int = 8  # stretches of `LmConfig.context` frames
    steps: int = 10_000
    lr: float = 2e-3
    warmup: int = 100  # steps
    decay: float = 0.25  # share of the steps, the last, in which the rate falls to 0
    weight_decay: float = 0.05
    clip: float = 1.0  # largest norm of a gradient
    dropout: float = 0.0  # share of what layers add that is left out, at random (Srivastava, 2014)
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step: it rises, stays and falls (WSD, arXiv 2404.06395)."""
        falling = max(1, round(self.steps * self.decay))
        rising = min(1.0, (step + 1) / self.warmup)
        return self.lr * rising * min(1.0, max(0.0, (self.steps - step) / falling))


class Learner:
    """A network in bfloat16, its exact weights, and AdamW.

    codebooks: of the codec, float32 [levels or more, size, dim], to begin with; or None.
    """

    def __init__(
        self,
        config: LmConfig,
        settings: Settings,
        codebooks: Tensor | None = None,
        device: torch.device | str = "cpu",
        *,
        bfloat16: bool = True,
    ) -> None:
        torch.manual_seed(settings.seed)
        exact = Network(config)
        if codebooks is not None:
            exact.begin_with(codebooks)
        self.config, self.settings, self.device = config, settings, torch.device(device)
        self.exact = exact.to(self.device)
        self.network = Network(config).to(self.device)
        if bfloat16:
            # Gradients of the tables are sums over many frames: those stay in float32.
            table = self.network.embed.data
            self.network.bfloat16()
            self.network.embed.data = table
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout
        vectors = [p for p in self.exact.parameters() if p.ndim < 2]
        matrices = [p for p in self.exact.parameters() if p.ndim >= 2]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=settings.lr,
            betas=(0.9, 0.95),
            fused=True,
        )
        self._copy()

    def learn(self, batch: Batch, step: int) -> Tensor:
        """Take a step; the loss of each level in nats, float32 [levels]."""
        network = self.network
        # What is left out is a function of the step, so that a run can go on to the bit.
        torch.manual_seed((self.settings.seed + (step << 32)) % (1 << 64))
        losses = losses_of(network, batch, self.device)
        losses.mean().backward()  # type: ignore[no-untyped-call]
        for exact, rounded in zip(self.exact.parameters(), network.parameters(), strict=True):
            exact.grad = None if rounded.grad is None else rounded.grad.float()
            rounded.grad = None
        nn.utils.clip_grad_norm_(self.exact.parameters(), self.settings.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(step)
        self.optimiser.step()
        self._copy()
        return losses.detach()

    def begin_with(self, network: Network) -> None:
        """Take the weights of `network`, which may have fewer layers but no other dimensions.

        The layers that it does not have add nothing at first, so that the deeper model begins
        where the other one ended (Net2Net, arXiv 1511.05641). Raises ModelError if it does not fit.
        """
        known = network.config.layers
        if known > self.config.layers or self.config != dataclasses.replace(
            network.config, layers=self.config.layers
        ):
            raise ModelError(
                f"the weights to begin with are of another model: {network.config.to_json()}"
            )
        self.exact.load_state_dict(network.state_dict(), strict=False)
        with torch.no_grad():
            for block in list(self.exact.blocks)[known:]:
                assert isinstance(block, Block)
                block.out.weight.zero_()
                block.down.weight.zero_()
        self._copy()

    def state(self) -> dict[str, Any]:
        """All that a run goes on from."""
        return {"weights": self.exact.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Invert `state`."""
        self.exact.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._copy()

    @torch.no_grad()
    def _copy(self) -> None:
        for exact, rounded in zip(self.exact.parameters(), self.network.parameters(), strict=True):
            rounded.copy_(exact)


def losses_of(network: Network, batch: Batch, device: torch.device) -> Tensor:
    """Mean cross-entropy of each level in nats, float32 [levels], of all codes that are there."""
    codes = torch.from_numpy(batch.codes).to(device)
    conditions = conditions_of(network, batch, device)
    embedded = network.embedded(codes.clamp(min=0))
    states = network.hidden(embedded, conditions, torch.from_numpy(batch.kept).to(device))
    y = network.level_states(states.flatten(0, 1), embedded.flatten(0, 1))
    return cross_entropy(y, network.embed, codes.transpose(0, 1).flatten(1))


def conditions_of(network: Network, batch: Batch, device: torch.device) -> Tensor | None:
    """`Network.conditions` of a batch, without the work for those that no item has."""

    def there(array: np.ndarray[Any, Any], present: bool) -> Tensor | None:
        return torch.from_numpy(array).to(device) if present else None

    return network.conditions(
        batch.codes.shape[2],
        there(batch.tags, bool((batch.tags >= 0).any())),
        there(batch.voice, bool((batch.voice >= 0).any())),
        there(batch.phones, bool(batch.phones.any())),
    )
