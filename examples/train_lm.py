"""Train a small decoder-only transformer on audio tokens, and say how many bits a second it needs.

    codec tokenize speech/ -o tokens --format bin
    python examples/train_lm.py tokens --codebooks 3 --steps 500

The codec spends 10 bits on every code of 1,024; a language model that has learned something spends
less. The loss is that of all ids of a sequence, divided by the seconds of audio in it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.corpus import TokenBatches, TokenDataset
from codec.lm.layouts import make_layout
from codec.lm.vocabulary import Vocabulary


class Decoder(nn.Module):
    """A transformer of pre-norm blocks that sees what came before."""

    def __init__(self, n_ids: int, length: int, dim: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_ids, dim)
        self.place = nn.Parameter(torch.zeros(length, dim))
        block = nn.TransformerEncoderLayer(
            dim, dim // 64, 4 * dim, 0.0, F.gelu, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(
            block, layers, nn.LayerNorm(dim), enable_nested_tensor=False
        )
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        n = ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(n, device=ids.device)
        out: Tensor = self.blocks(self.embed(ids) + self.place[:n], mask, is_causal=True)
        return out @ self.embed.weight.T  # the same embedding on both sides


def main(arguments: Sequence[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tokens", help="folder of a `codec tokenize` run")
    parser.add_argument("--codebooks", type=int, default=3)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--dim", type=int, default=256, help="a multiple of 64")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    options = parser.parse_args(arguments)

    card = TokenDataset(options.tokens, 1).card
    layout = make_layout("flat", options.codebooks, card["vocabulary"])
    vocabulary = Vocabulary(0, layout, card["frame_rate"])
    dataset = TokenDataset(options.tokens, options.length + 1, vocabulary=vocabulary)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = Decoder(vocabulary.size, options.length, options.dim, options.layers).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), options.lr, betas=(0.9, 0.95))
    raw = vocabulary.frame_rate * options.codebooks * math.log2(layout.codebook_size)
    rate = float("nan")
    for batch in (batches := TokenBatches(dataset, options.batch_size)):
        ids = batch.to(device)
        logits = model(ids[:, :-1])
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        for group in optimiser.param_groups:  # warm up, then a cosine to nothing
            done = batches.step / options.steps
            group["lr"] = (
                options.lr * min(1, batches.step / 50) * (1 + math.cos(math.pi * done)) / 2
            )
        optimiser.zero_grad()
        losses.mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        codes = (ids[:, 1:] >= vocabulary.audio_start).sum()
        seconds = codes / options.codebooks / vocabulary.frame_rate
        rate = float(losses.detach().sum() / math.log(2) / seconds)
        if batches.step % 50 == 0 or batches.step == options.steps:
            print(
                f"step {batches.step}: {rate:.0f} bit/s of audio; the codec's own rate is {raw:.0f}"
            )
        if batches.step >= options.steps:
            break
    return rate


if __name__ == "__main__":
    main()
