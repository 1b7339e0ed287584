"""Let a model learn from what it is about to go on with: dynamic evaluation (Krause et al., ICML
2018, arXiv 1709.07432).

A prompt tells the model of a voice by attention alone, and a voice that is like none of training's
is drawn towards those. A few steps of Adam on the prompt's own seconds move the weights to the
voice instead. Codes of one cut would be learned by heart. The same audio, cut a part of a frame
later, has other codes of the same sound, so that what is learned is what the cuts share.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.lm.model.network import Network

Report = Callable[[int, int], None]  # takes the steps that are done, and all


def unreported(done: int, steps: int) -> None:
    """Tell nobody."""


def adapted(
    network: Network,
    cuts: Tensor,
    parts: Mapping[str, Tensor],
    *,
    steps: int,
    learning_rate: float,
    report: Report = unreported,
) -> Network:
    """Return a copy of `network` after `steps` steps on `cuts`, int64 [cuts, levels, frames].

    parts: of `Network.conditions`, of one sequence; they hold for all cuts.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # copies can be learned from where the caller has turned gradients off
        cuts, parts = cuts.clone(), {name: part.clone() for name, part in parts.items()}
        learner = copy.deepcopy(network).requires_grad_(True)
        optimiser = torch.optim.Adam(learner.parameters(), learning_rate)
        wanted = cuts.transpose(0, 1).flatten()
        for step in range(steps):
            report(step, steps)
            scores = learner(cuts, learner.conditions(cuts.shape[2], **parts))
            loss = F.cross_entropy(scores.flatten(0, 2), wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        report(steps, steps)
        optimiser.zero_grad()  # gradients take as much memory as the weights
    return learner.requires_grad_(False)
