"""The network: a causal transformer over frames, and a small network for each level of a frame.

    x[t]      = sum over levels of embed(codes of frame t - 1) + conditions of frame t
    h         = norm(transformer(x))
    y[t, q]   = h[t] + c + P_q gelu(A_q h[t] + B_q c),   c = sum over r < q of embed(code r)
    scores    = <norm(y[t, q]), embed(code)>             of the codes of level q

The transformer is LLaMA's (arXiv 2302.13971): norm first, RoPE, SwiGLU.

So one step of the large network makes a frame, coarse to fine, as the depth transformers of
RQ-Transformer (arXiv 2203.01941) and Moshi (arXiv 2410.00037) do, with less to compute: a level
sees the ones before it as the sum of their embeddings.

A frame looks back on `context` frames, itself included, in training and in generation alike.
Conditions are added to every frame instead of standing before the first, where a window that moves
on would leave them behind. Each is optional; one that is absent adds exactly nothing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.lm.model.config import LmConfig

PHONE_KERNEL = 5  # frames of each of the two convolutions over phones: one back, three ahead
PHONE_AHEAD = 3
DISTANCES = 32  # that are told apart, from a phone's beginning and to its end
EPSILON = 1e-6


class Norm(nn.Module):
    """Layer normalisation with a gain and no bias.

    RMSNorm does as well, but PyTorch has no fused kernel for it on CPUs: it takes four times as
    long there, which would be a tenth of the time of training.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        done: Tensor = F.layer_norm(x, list(self.gain.shape), self.gain, None, EPSILON)
        return done


class Block(nn.Module):
    """A layer of the transformer: attention over frames, then a gated network for each frame."""

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, width, bias=False)
        self.dropout = nn.Dropout(0.0)  # of what a layer adds, in training

    def heads_of(self, x: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, T, d] of `x` [B, T, width], the first two rotated."""
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return rotated(query, rotation), rotated(key, rotation), value

    def rest(self, x: Tensor, seen: Tensor) -> Tensor:
        """What follows attention, whose result is `seen` [B, heads, T, d]."""
        x = x + self.dropout(self.out(seen.transpose(1, 2).flatten(2)))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        done: Tensor = x + self.dropout(self.down(F.silu(gate) * up))
        return done

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = self.heads_of(x, rotation)
        if mask is None and query.requires_grad and query.device.type == "cpu":
            return self.rest(x, attended(query, key, value))
        seen = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None
        )
        return self.rest(x, seen)


class Network(nn.Module):
    """Scores of every code of every frame. Codes are int64 [B, levels, T]."""

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.config = config
        width, levels, size = config.width, config.levels, config.codebook_size
        small = 0.3 / math.sqrt(width)
        self.embed = nn.Parameter(torch.randn(levels, size, width) / math.sqrt(levels))
        self.begin = nn.Parameter(torch.randn(width))  # stands before the first frame
        self.dropped = nn.Parameter(torch.randn(width))  # in place of a frame that is hidden
        self.tags = nn.Parameter(torch.randn(max(1, len(config.tags)), width) * 0.3)
        self.voice_in = nn.Linear(width, width)
        self.voice_out = nn.Linear(width, width)
        self.phone = nn.Parameter(torch.randn(config.phones, width))
        self.since = nn.Parameter(torch.randn(DISTANCES, width) * 0.5)
        self.until = nn.Parameter(torch.randn(DISTANCES, width) * 0.5)
        self.phone_convs = nn.ModuleList(
            nn.Conv1d(width, width, PHONE_KERNEL, bias=False) for _ in range(2)
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = Norm(width)
        hidden = config.depth_hidden
        self.from_state = nn.Parameter(torch.randn(levels, width, hidden) / math.sqrt(width))
        self.from_codes = nn.Parameter(torch.randn(levels, width, hidden) * small)
        self.depth_out = nn.Parameter(torch.randn(levels, hidden, width) * small)
        self.depth_gain = nn.Parameter(torch.full((levels, 1, width), 0.1))
        with torch.no_grad():
            for name, weight in self.blocks.named_parameters():
                if name.endswith(("out.weight", "down.weight")):
                    weight.mul_(1 / math.sqrt(2 * config.layers))

    @torch.no_grad()
    def begin_with(self, codebooks: Tensor) -> None:
        """Let codes whose codewords are alike begin alike: embeddings are random projections.

        codebooks: of the codec, float32 [levels or more, codebook_size, dim].
        """
        books = codebooks[: self.config.levels]
        spread = (books - books.mean(1, keepdim=True)).square().mean((1, 2), keepdim=True).sqrt()
        plain = (books - books.mean(1, keepdim=True)) / spread
        width, dim, levels = self.config.width, books.shape[2], len(books)
        there = torch.randn(levels, dim, width) / math.sqrt(dim * levels)
        self.embed.mul_(0.3).add_(plain @ there)

    def embedded(self, codes: Tensor) -> Tensor:
        """The embedding of each code, [B, T, levels, width]."""
        levels, size, width = self.embed.shape
        at = codes + torch.arange(levels, device=codes.device)[:, None] * size
        found = F.embedding(at.transpose(1, 2), self.embed.view(levels * size, width))
        return found.to(self.begin.dtype)

    def conditions(
        self,
        frames: int,
        tags: Tensor | None = None,
        voice: Tensor | None = None,
        phones: Tensor | None = None,
    ) -> Tensor | None:
        """What is added to each of `frames` frames: [B, frames or 1, width], or None for nothing.

        tags: int64 [B, n], numbers into `config.tags`, -1 for none. voice: codes [B, levels, n],
        -1 in all levels of a frame for none. phones: int64 [B, frames, 3], 0 for none.
        """
        parts = []
        if tags is not None and tags.shape[1]:
            known = (tags >= 0).unsqueeze(-1)
            chosen = F.embedding(tags.clamp(min=0), self.tags) * known
            parts.append((chosen.sum(1) / known.sum(1).clamp(min=1)).unsqueeze(1))
        if voice is not None and voice.shape[2]:
            known = (voice[:, 0] >= 0).unsqueeze(-1)
            each = F.gelu(self.voice_in(self.embedded(voice.clamp(min=0)).sum(2))) * known
            count = known.sum(1)
            mean = each.sum(1) / count.clamp(min=1)
            parts.append((self.voice_out(mean) * (count > 0)).unsqueeze(1))
        if phones is not None:
            parts.append(self._phones(phones))
        total: Tensor | None = None
        for part in parts:
            total = part if total is None else total + part
        return total

    def _phones(self, phones: Tensor) -> Tensor:
        name, since, until = phones.clamp(min=0).unbind(-1)
        known = (name > 0).unsqueeze(-1)
        x = F.embedding(name, self.phone)
        x = x + F.embedding(since.clamp(max=DISTANCES - 1), self.since)
        x = (x + F.embedding(until.clamp(max=DISTANCES - 1), self.until)) * known
        for conv in self.phone_convs:
            padded = F.pad(x, (0, 0, PHONE_KERNEL - 1 - PHONE_AHEAD, PHONE_AHEAD))
            x = x + F.gelu(conv(padded.transpose(1, 2)).transpose(1, 2))
        return x * known

    def hidden(
        self, embedded: Tensor, conditions: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """States h [B, T, width] that predict frames 0 to T - 1.

        embedded: of `embedded`, of the same frames. kept: bool [B, T], False where a frame is
        hidden from the ones after it.
        """
        before = embedded.sum(2)
        if kept is not None:
            before = torch.where(kept.unsqueeze(-1), before, self.dropped.to(before.dtype))
        first = self.begin.to(before.dtype).expand(len(before), 1, -1)
        x = torch.cat([first, before[:, :-1]], 1)
        if conditions is not None:
            x = x + conditions
        frames = x.shape[1]
        turns = rotation(torch.arange(frames, device=x.device), self.config)
        mask = None
        if frames > self.config.context:
            ago = torch.arange(frames)[:, None] - torch.arange(frames)[None, :]
            mask = ((ago >= 0) & (ago < self.config.context)).to(x.device)
        for block in self.blocks:
            x = block(x, turns, mask)
        states: Tensor = self.norm(x)
        return states

    def level_states(self, states: Tensor, embedded: Tensor) -> Tensor:
        """States [levels, N, width] that predict each level of frames with `states` [N, width].

        embedded: [N, levels, width], of the frames' own codes: a level uses those before it.
        """
        levels, width = self.config.levels, self.config.width
        by_level = embedded.transpose(0, 1)
        known = torch.cat([torch.zeros_like(by_level[:1]), by_level[:-1].cumsum(0)])
        x = states @ self.from_state.transpose(0, 1).reshape(width, -1).to(states.dtype)
        x = x.reshape(len(x), levels, -1).transpose(0, 1) + torch.bmm(known, self.from_codes)
        y = states + known + torch.bmm(F.gelu(x), self.depth_out)
        normed: Tensor = F.layer_norm(y, [width], None, None, EPSILON) * self.depth_gain
        return normed

    def forward(
        self,
        codes: Tensor,
        conditions: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Scores [levels, B, T, codebook_size] of `codes`, each from what comes before it."""
        embedded = self.embedded(codes)
        states = self.hidden(embedded, conditions, kept)
        y = self.level_states(states.flatten(0, 1), embedded.flatten(0, 1))
        scores = torch.bmm(y, self.embed.to(y.dtype).transpose(1, 2))
        return scores.reshape(len(scores), *codes.shape[::2], -1)


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention [B, heads, T, d] that keeps its weights for the backward pass.

    Windows of training are short. For those a CPU has the gradients sooner from the weights than
    from PyTorch's fused kernel, which makes them anew.
    """
    frames, size = query.shape[-2:]
    later = torch.full((frames, frames), -math.inf, dtype=query.dtype).triu(1)
    scores = torch.baddbmm(
        later.expand(len(query) * query.shape[1], -1, -1),
        query.flatten(0, 1) * size**-0.5,
        key.flatten(0, 1).transpose(1, 2),
    )
    return (torch.softmax(scores, -1) @ value.flatten(0, 1)).view(value.shape)


def rotation(positions: Tensor, config: LmConfig) -> Tensor:
    """Cosines and sines [2, T, d / 2] of rotary positions (RoPE, arXiv 2104.09864)."""
    half = config.width // config.heads // 2
    rates = 10000.0 ** (-torch.arange(half, device=positions.device) / half)
    angles = positions[:, None].float() * rates
    return torch.stack([angles.cos(), angles.sin()])


def rotated(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the halves of each head [..., T, d] by the angles of their positions."""
    cos, sin = turns.to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
