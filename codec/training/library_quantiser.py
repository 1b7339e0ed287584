"""Train the codebooks by vector-quantize-pytorch's `ResidualVQ`, in the buffers of the model."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from codec.errors import TrainingError
from codec.nn.quantiser import Quantised, ResidualQuantiser


class LibraryQuantiser:
    """Quantise and learn by the library, with the interface of `ResidualQuantiser`.

    The library's codebooks, counts and sums are views of the model's buffers, so checkpoints and
    exports do not change. Its exponential averages and its replacement of dead codewords move them,
    in `learn` alone: a step that is not finite changes nothing. Its counts are of vectors in a
    batch, and the model's have a mean of 1, so `learn` scales them by `share` and back.

    The straight-through estimate is that of the model, around all levels: the library's passes the
    gradient once for each level. Shapes depend on the depths, and the host waits for the device.

    inner: the model's quantiser. frames: vectors in a batch. Raises TrainingError if the library is
    not installed.
    """

    def __init__(self, inner: ResidualQuantiser, frames: int) -> None:
        library = _library()
        self.inner = inner
        levels, size, dim = inner.codebooks.shape
        self.share = frames / size
        self.prefixes = [
            library.ResidualVQ(
                dim=dim,
                num_quantizers=depth,
                codebook_size=size,
                decay=inner.decay,
                threshold_ema_dead_code=inner.revive * self.share,
                rotation_trick=False,
                sync_codebook=False,
            ).to(inner.codebooks.device)
            for depth in range(1, levels + 1)
        ]
        layers = self.prefixes[-1].layers
        for prefix in self.prefixes:
            prefix.layers = layers[: len(prefix.layers)]  # the first layers of the deepest
        for level, layer in enumerate(layers):
            book = layer._codebook
            book.embed = inner.codebooks[level : level + 1]
            book.embed_avg = inner.sums[level : level + 1]
            book.cluster_size = inner.counts[level : level + 1]
        self._seen: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, x: Tensor, used: Tensor, *, count: bool = False, mean: Any = None
    ) -> Quantised:
        """Quantise x [batch, n, dim] with the first used[b] levels for item b.

        count: remember what `learn` needs. See `ResidualQuantiser.forward`.
        """
        latents = x.float()
        flat = latents.detach().flatten(0, 1)
        energy = (flat - flat.mean(0)).square().mean(0).sum().clamp(min=1e-6)
        levels = len(self.prefixes)
        out = torch.zeros_like(latents)
        codes = torch.full((levels, *x.shape[:2]), -1, device=x.device)
        errors: list[list[Tensor]] = [[] for _ in range(levels)]
        counts = [0] * levels
        for depth in torch.unique(used).tolist():
            items = torch.nonzero(used == depth)[:, 0]
            # The library gives mean squares over all dimensions, in training mode only.
            words, indices, losses = self.prefixes[depth - 1](latents[items], freeze_codebook=True)
            out[items] = words.detach()
            codes[:depth, items] = indices.movedim(-1, 0)
            for level in range(depth):
                errors[level].append(losses[level] * (len(items) * x.shape[2]))
                counts[level] += len(items)
        if count:
            self._seen = latents.detach(), codes
        relative = [
            torch.stack(error).sum() / (number * energy)
            for error, number in zip(errors, counts, strict=True)
            if number
        ]
        straight = latents + (out - latents).detach()
        return Quantised(straight.to(x.dtype), codes, torch.stack(relative).mean())

    @torch.no_grad()
    def learn(self, number: Tensor, wanted: Tensor) -> None:
        """Move the codebooks by what the last call with `count` saw, if `wanted` is True.

        number: of the step, which the new places of dead codewords are drawn by.
        """
        assert self._seen is not None
        (residual, codes), self._seen = self._seen, None
        if not wanted:
            return
        devices = [residual.device] if residual.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(number))
            for level, layer in enumerate(self.prefixes[-1].layers):
                items = torch.nonzero(codes[level, :, 0] >= 0)[:, 0]
                if not len(items):
                    break
                residual, codes = residual[items], codes[:, items]
                chosen = codes[level]
                words = self.inner.codebooks[level][chosen]
                for average in (self.inner.counts[level], self.inner.sums[level]):
                    average.mul_(self.share)
                layer.update_indices(residual, chosen)
                for average in (self.inner.counts[level], self.inner.sums[level]):
                    average.div_(self.share)
                residual = residual - words


def _library() -> ModuleType:
    try:
        import vector_quantize_pytorch
    except ImportError as error:
        raise TrainingError(
            "quantiser=library needs the package vector-quantize-pytorch: "
            f"pip install vector-quantize-pytorch ({error})"
        ) from None
    library: ModuleType = vector_quantize_pytorch
    return library
