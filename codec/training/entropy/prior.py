"""The neural prior: a small causal network that predicts each code from all that is known.

Over frames a GRU (Cho et al. 2014, arXiv 1406.1078) reads the dequantised frames so far; within a
frame each level has a layer of its own, which sees the GRU's state and the sum y of the codewords
known in this frame:

    state = GRU(feature(frames before))           h = P_q gelu(A_q feature(y) + S_q state)
    score[k] = tables' score[k] + <h, (codeword k, norm of codeword k)>

The codewords themselves are the output layer: codes whose codewords are alike get alike scores, so
that what is learned is where in the latent space the next residual is, and how sure that is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.coders.data import CONTEXTS, Prior, Tables
from codec.training.entropy.batches import chunks_of
from codec.training.entropy.tables import SHARES

FRAMES = 50  # of a training chunk: that of a file
CHUNKS = 20  # in a batch
LEVELS = 6  # levels that a step trains, drawn anew each time
FULL_DEPTH_SHARE = 0.5  # of the batches have all codebooks, the others any number of them
EPSILON = 1e-6  # of the mean square in `feature`


class PriorNetwork(nn.Module):
    """codebooks float32 [Q, K, D]."""

    books: Tensor
    out: Tensor
    norms: Tensor
    sigma: Tensor

    def __init__(self, codebooks: Tensor, tables: Tables, state: int, hidden: int) -> None:
        super().__init__()
        levels, _, dim = codebooks.shape
        self.register_buffer("books", codebooks)
        self.scale = float(1 / codebooks[0].square().mean().sqrt())
        self.sigma = codebooks.square().mean((1, 2)).sqrt()
        norms = codebooks.square().sum(2)
        norms = norms / norms.mean(1, keepdim=True) - 1
        # as they are stored
        self.norms = norms.half().float()
        out = torch.cat([codebooks / self.sigma[:, None, None], self.norms[..., None]], 2)
        self.register_buffer("out", out)
        self.tables = TablesScore(tables)
        self.gru = nn.GRU(dim + 1, state, batch_first=True)
        self.from_state = nn.ParameterList(_dense(state, hidden) for _ in range(levels))
        self.from_sum = nn.ParameterList(_dense(dim + 1, hidden) for _ in range(levels))
        self.bias = nn.Parameter(torch.zeros(levels, hidden))
        self.predict = nn.ParameterList(_dense(hidden, dim + 1, 0.1) for _ in range(levels))
        self.centre = nn.Parameter(torch.zeros(levels, dim + 1))

    def forward(self, codes: Tensor, levels: list[int]) -> Tensor:
        """Scores [len(levels), B, T, K] of codes int64 [levels that there are, B, T]."""
        sums = [torch.zeros(*codes.shape[1:], self.books.shape[2])]
        for book, level in zip(self.books, codes, strict=False):
            sums.append(sums[-1] + F.embedding(level, book))
        whole = F.pad(sums[-1][:, :-1], (0, 0, 1, 0))
        state = self.gru(self.feature(whole))[0]
        scores = []
        for q in levels:
            hidden = F.linear(state, self.from_state[q], self.bias[q])
            hidden = hidden + F.linear(self.feature(sums[q]), self.from_sum[q])
            h = F.linear(F.gelu(hidden), self.predict[q], self.centre[q])
            scores.append(F.linear(h, self.out[q]).float() + self.tables(codes, q))
        return torch.stack(scores)

    @torch.no_grad()
    def shrink(self, codes: Tensor) -> list[float]:
        """Scales what each level adds to the tables' scores to the share of it that is best for
        `codes` int64 [Q, B, T], which were not learned from; the shares."""
        chosen = []
        for q in range(len(codes)):
            tables = self.tables(codes, q).flatten(0, 1)
            added = self(codes, [q])[0].flatten(0, 1) - tables
            costs = [F.cross_entropy(tables + a * added, codes[q].flatten()) for a in SHARES]
            share = SHARES[int(torch.stack(costs).argmin())]
            self.predict[q].mul_(share)
            self.centre[q].mul_(share)
            chosen.append(share)
        return chosen

    def weights(self) -> Prior:
        """Its parameters as the coder runs them: the codewords' scale is in the last layer."""

        def stack(parts: nn.ParameterList) -> Tensor:
            return torch.stack(list(parts))

        unit = torch.cat(
            [
                (1 / self.sigma)[:, None].expand(-1, self.books.shape[2]),
                torch.ones(len(self.sigma), 1),
            ],
            1,
        )
        parts: dict[str, Tensor] = {
            "input_scale": torch.tensor([self.scale]),
            "gru_input": self.gru.get_parameter("weight_ih_l0"),
            "gru_state": self.gru.get_parameter("weight_hh_l0"),
            "gru_input_bias": self.gru.get_parameter("bias_ih_l0"),
            "gru_state_bias": self.gru.get_parameter("bias_hh_l0"),
            "from_state": stack(self.from_state),
            "from_sum": stack(self.from_sum),
            "bias": self.bias,
            "predict": stack(self.predict) * unit[..., None],
            "centre": self.centre * unit,
            "norms": self.norms,
        }
        return Prior(**{name: part.detach().numpy().copy() for name, part in parts.items()})

    @torch.no_grad()
    def load_weights(self, prior: Prior) -> None:
        """Inverse of `weights`, up to rounding of the scale in the last layer."""
        for name, part in (
            ("weight_ih_l0", prior.gru_input),
            ("weight_hh_l0", prior.gru_state),
            ("bias_ih_l0", prior.gru_input_bias),
            ("bias_hh_l0", prior.gru_state_bias),
        ):
            getattr(self.gru, name).copy_(torch.from_numpy(part))
        for q in range(len(self.books)):
            unit = torch.ones(self.books.shape[2] + 1)
            unit[:-1] = self.sigma[q]
            self.from_state[q].copy_(torch.from_numpy(prior.from_state[q]))
            self.from_sum[q].copy_(torch.from_numpy(prior.from_sum[q]))
            self.predict[q].copy_(torch.from_numpy(prior.predict[q]) * unit[:, None])
            self.centre[q].copy_(torch.from_numpy(prior.centre[q]) * unit)
        self.bias.copy_(torch.from_numpy(prior.bias))

    def feature(self, latents: Tensor) -> Tensor:
        """[..., D] -> [..., D + 1]: direction and logarithm of the size. Sizes span 60 dB."""
        x = latents * self.scale
        square = x.square().mean(-1, keepdim=True) + EPSILON
        return torch.cat([x * square.rsqrt(), 0.5 * torch.log(square)], -1)


class TablesScore(nn.Module):
    """The scores of the integer tables, in natural logarithms; constant."""

    embed: Tensor
    out: Tensor
    bias: Tensor
    unit: Tensor

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self.register_buffer("embed", torch.from_numpy(tables.embed.astype(np.float32)))
        self.register_buffer("out", torch.from_numpy(tables.out.astype(np.float32)))
        self.register_buffer("bias", torch.from_numpy(tables.bias.astype(np.float32)))
        unit = np.log(2) * 2.0 ** -tables.fraction_bits.astype(np.float64)
        self.register_buffer("unit", torch.from_numpy(unit.astype(np.float32)))

    def forward(self, codes: Tensor, q: int) -> Tensor:
        """Scores [B, T, K] of level q; codes int64 [levels, B, T], each row a chunk's beginning."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            hidden = torch.zeros(*codes.shape[1:], self.embed.shape[3])
            for number, context in enumerate(CONTEXTS):
                level = context.level(q)
                if level is None:
                    continue
                term = F.embedding(codes[level], self.embed[q, number])
                hidden += F.pad(term[:, :-1], (0, 0, 1, 0)) if context.back else term
            return (hidden @ self.out[q] + self.bias[q]) * self.unit[q]


def train_prior(
    codes: list[npt.NDArray[np.uint16]],
    held_out: list[npt.NDArray[np.uint16]],
    codebooks: npt.NDArray[np.float32],
    tables: Tables,
    *,
    state: int,
    hidden: int,
    seconds: float,
    seed: int = 0,
    bfloat16: bool = True,
    say: Callable[[str], None],
) -> Prior:
    """A prior learned from `codes`, uint16 [Q, frames] of each file, in `seconds`."""
    torch.manual_seed(seed)
    network = PriorNetwork(torch.from_numpy(codebooks), tables, state, hidden)
    data = torch.from_numpy(np.concatenate(codes, axis=1).astype(np.int64))
    test = chunks_of(held_out, FRAMES, 60)
    levels = len(codebooks)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.0, betas=(0.9, 0.98))
    random = np.random.default_rng(seed)
    begun, steps, shown = time.monotonic(), 0, 0.0
    say(f"prior: {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters")
    while (progress := (time.monotonic() - begun) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2.5e-3 * min(1, (steps + 1) / 50) * (1 - progress) + 1e-5
        first = torch.from_numpy(random.integers(0, data.shape[1] - FRAMES, CHUNKS))
        batch = data[:, first[:, None] + torch.arange(FRAMES)]
        full = random.random() < FULL_DEPTH_SHARE
        depth = levels if full else int(random.integers(1, levels + 1))
        chosen = random.choice(depth, min(depth, LEVELS), replace=False).tolist()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            scores = network(batch[:depth], chosen)
        loss = F.cross_entropy(scores.flatten(0, 2), batch[chosen].flatten())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        steps += 1
        if progress >= shown:
            shown += 0.1
            say(f"prior: {steps} steps, {progress:4.0%}: " + _report(bits(network, test)))
    say(f"prior: {steps} steps: " + _report(bits(network, test)))
    shares = network.shrink(test)
    say(f"prior: by {' '.join(f'{share:g}' for share in shares)}: " + _report(bits(network, test)))
    return network.weights()


@torch.no_grad()
def bits(network: PriorNetwork, codes: Tensor) -> npt.NDArray[np.float64]:
    """Mean bits of each level's codes, [2, Q]: by the tables alone, and by the network."""
    result = np.zeros((2, len(codes)))
    for q in range(len(codes)):
        target = codes[q].flatten()
        by_tables = F.cross_entropy(network.tables(codes, q).flatten(0, 1), target)
        by_network = F.cross_entropy(network(codes, [q]).flatten(0, 2), target)
        result[:, q] = float(by_tables) / np.log(2), float(by_network) / np.log(2)
    return result


def _report(measured: npt.NDArray[np.float64]) -> str:
    tables, network = measured.mean(axis=1)
    levels = " ".join(f"{value:.2f}" for value in measured[1])
    return f"held out {network:.3f} bits a code, tables {tables:.3f} (levels {levels})"


def _dense(inputs: int, outputs: int, gain: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(outputs, inputs) * gain / inputs**0.5)
