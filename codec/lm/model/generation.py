"""Frame after frame: the transformer with a cache of keys and values, and the draws of a frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.lm.model.network import EPSILON, Block, Network, rotation
from codec.lm.model.sampling import Sampling, draw


@dataclasses.dataclass(frozen=True)
class View:
    """What one of the sequences that are scored together knows, and how much its scores count.

    conditions: of `Network.conditions`, [1, frames or 1, width], or None for none. blind: so many
    frames of the prompt are hidden from those that follow it.
    """

    conditions: Tensor | None = None
    weight: float = 1.0
    blind: int = 0


class Decoding:
    """The network's state after some frames of sequences, one for each number of `blind`.

    Keys and values of the last `context` frames lie in buffers that are made once, each frame in
    the place of the one that leaves the window. blind: the first so many frames of a sequence are
    hidden from all that come after these.
    """

    def __init__(self, network: Network, blind: Sequence[int] = (0,)) -> None:
        config = network.config
        shape = (len(blind), config.heads, config.context, config.width // config.heads)
        self.network, self.frames = network, 0
        self._blind = torch.tensor(blind, device=network.begin.device)[:, None, None, None]
        self._blinded = max(blind)
        self._keys = [network.begin.new_empty(shape) for _ in network.blocks]
        self._values = [network.begin.new_empty(shape) for _ in network.blocks]

    def advance(self, x: Tensor) -> Tensor:
        """States [B, T, width] of the next T frames, whose inputs are `x` [B, T, width].

        T is 1, or any number at the beginning, up to the context.
        """
        count, context = x.shape[1], self.network.config.context
        assert count == 1 or (self.frames == 0 and count <= context)
        at = torch.arange(self.frames, self.frames + count, device=x.device)
        turns, places = rotation(at, self.network.config), at % context
        held = min(self.frames + count, context)
        mask = self._mask(at, held)
        for layer, block in enumerate(self.network.blocks):
            assert isinstance(block, Block)
            query, key, value = block.heads_of(x, turns)
            keys, values = self._keys[layer], self._values[layer]
            keys.index_copy_(2, places, key)
            values.index_copy_(2, places, value)
            seen = F.scaled_dot_product_attention(
                query,
                keys[:, :, :held],
                values[:, :, :held],
                attn_mask=mask,
                is_causal=mask is None and count > 1,
            )
            x = block.rest(x, seen)
        self.frames += count
        states: Tensor = self.network.norm(x)
        return states

    def _mask(self, at: Tensor, held: int) -> Tensor | None:
        """What frames `at` see of the first `held` places: bool [B, 1, T, held]; None for all."""
        last, context = int(at[-1]), self.network.config.context
        if self._blinded <= max(0, last + 1 - held):
            return None  # no sequence is blind, or what was hidden has left the window
        places = torch.arange(held, device=at.device)
        frames = last - (last - places) % context
        seen = frames <= at[:, None]
        return seen & ((frames >= self._blind) | (at[:, None] < self._blind))


def frame_of(
    network: Network, states: Tensor, sampling: Sampling, chances: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw a frame: its codes int64 [levels], and the sum of their embeddings [width].

    states: [B, width], of the views, whose scores are summed by `weights` [B].
    """
    known = torch.zeros_like(states[:1])
    codes = []
    # What the levels take from the frame's state is computed for all of them at once.
    taken = torch.einsum("bw,lwh->lbh", states, network.from_state)
    for level, own in enumerate(taken):
        hidden = F.gelu(own + known @ network.from_codes[level])
        y = states + known + hidden @ network.depth_out[level]
        y = F.layer_norm(y, list(y.shape[1:]), None, None, EPSILON) * network.depth_gain[level]
        code = draw(weights @ (y @ network.embed[level].T), sampling, chances[level])
        codes.append(code)
        known = known + network.embed[level, code]
    return torch.stack(codes), known[0]


@torch.inference_mode()
def generate(
    network: Network,
    prompt: Tensor | None,
    views: Sequence[View],
    frames: int,
    sampling: Sampling,
    seed: int,
) -> Iterator[Tensor]:
    """Yield the codes int64 [levels] of `frames` frames that follow `prompt`, each when it is made.

    prompt: int64 [levels, T] or None. views: one, or several for guidance; conditions that tell
    frames apart are of T + frames.
    """
    config, device = network.config, network.begin.device
    random = torch.Generator().manual_seed(seed)
    weights = network.begin.new_tensor([view.weight for view in views])
    x = network.begin[None, None]
    if prompt is not None and prompt.shape[1]:
        x = torch.cat([x, network.embedded(prompt[None]).sum(2)], 1)
    done = x.shape[1] - 1
    x = torch.cat([_told(x, view, 0) for view in views])[:, -config.context :]
    left = done + 1 - x.shape[1]  # frames of the prompt that are beyond the window
    decoding = Decoding(network, [max(0, view.blind - left) for view in views])
    for step in range(frames):
        states = decoding.advance(x)[:, -1]
        chances = torch.rand(config.levels, generator=random).to(device)
        codes, total = frame_of(network, states, sampling, chances, weights)
        yield codes
        if step + 1 < frames:
            total = total[None, None]
            x = torch.cat([_told(total, view, done + step + 1) for view in views])


def _told(x: Tensor, view: View, first: int) -> Tensor:
    """Add the view's conditions to frames from `first` on, `x` [1, T, width]."""
    if view.conditions is None:
        return x
    if view.conditions.shape[1] == 1:
        return x + view.conditions
    return x + view.conditions[:, first : first + x.shape[1]]
