"""Frame after frame: the transformer with a cache of keys and values, and the draws of a frame."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.lm.model.network import EPSILON, Block, Network, rotation
from codec.lm.model.sampling import Sampling, draw


class Decoding:
    """The network's state after some frames of `batch` sequences.

    Keys and values of the last `context` frames lie in buffers that are made once, each frame in
    the place of the one that leaves the window.
    """

    def __init__(self, network: Network, batch: int = 1) -> None:
        config = network.config
        shape = (batch, config.heads, config.context, config.width // config.heads)
        self.network, self.frames = network, 0
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
        for layer, block in enumerate(self.network.blocks):
            assert isinstance(block, Block)
            query, key, value = block.heads_of(x, turns)
            keys, values = self._keys[layer], self._values[layer]
            keys.index_copy_(2, places, key)
            values.index_copy_(2, places, value)
            seen = F.scaled_dot_product_attention(
                query, keys[:, :, :held], values[:, :, :held], is_causal=count > 1
            )
            x = block.rest(x, seen)
        self.frames += count
        states: Tensor = self.network.norm(x)
        return states


def frame_of(
    network: Network, states: Tensor, sampling: Sampling, chances: Tensor, guidance: float
) -> tuple[Tensor, Tensor]:
    """Draw a frame: its codes int64 [levels], and the sum of their embeddings [width].

    states: [1, width], or [2, width] with the one that knows less second; its scores u and the
    first one's c become u + guidance (c - u) (classifier-free guidance, arXiv 2207.12598).
    """
    known = torch.zeros_like(states[:1])
    codes = []
    # What the levels take from the frame's state is computed for all of them at once.
    taken = torch.einsum("bw,lwh->lbh", states, network.from_state)
    for level, own in enumerate(taken):
        hidden = F.gelu(own + known @ network.from_codes[level])
        y = states + known + hidden @ network.depth_out[level]
        y = F.layer_norm(y, list(y.shape[1:]), None, None, EPSILON) * network.depth_gain[level]
        scores = y @ network.embed[level].T
        mixed = scores[0] if len(scores) == 1 else scores[1] + guidance * (scores[0] - scores[1])
        code = draw(mixed, sampling, chances[level])
        codes.append(code)
        known = known + network.embed[level, code]
    return torch.stack(codes), known[0]


@torch.inference_mode()
def generate(
    network: Network,
    prompt: Tensor | None,
    conditions: Tensor | None,
    frames: int,
    sampling: Sampling,
    seed: int,
    guidance: float = 1.0,
) -> Iterator[Tensor]:
    """Yield the codes int64 [levels] of `frames` frames that follow `prompt`, each when it is made.

    prompt: int64 [levels, T] or None. conditions: of `Network.conditions`, [1, T + frames or 1,
    width]; [2, ...] for guidance.
    """
    config = network.config
    random = torch.Generator().manual_seed(seed)
    batch = 1 if conditions is None else len(conditions)
    decoding = Decoding(network, batch)
    x = network.begin.expand(batch, 1, -1)
    if prompt is not None and prompt.shape[1]:
        x = torch.cat([x, network.embedded(prompt[None]).sum(2).expand(batch, -1, -1)], 1)
    done = x.shape[1] - 1
    if conditions is not None:
        x = x + (conditions if conditions.shape[1] == 1 else conditions[:, : done + 1])
    x = x[:, -config.context :]
    for step in range(frames):
        states = decoding.advance(x)[:, -1]
        chances = torch.rand(config.levels, generator=random).to(states.device)
        codes, total = frame_of(network, states, sampling, chances, guidance)
        yield codes
        if step + 1 < frames:
            x = total.expand(batch, 1, -1)
            if conditions is not None:
                at = 0 if conditions.shape[1] == 1 else done + step + 1
                x = x + conditions[:, at : at + 1]
