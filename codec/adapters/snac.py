"""SNAC (Siuzdak, 2024) by its own package: codebooks at several rates, as rows of one rate.

A frame here is one step of the slowest codebook. A codebook that is `s` times as fast gives `s`
rows, so that SNAC at 24 kHz, with rates 1, 2 and 4, has 7 codebooks of 11.7 frames a second.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from codec.adapters.base import AdapterConfig, TorchAdapter
from codec.errors import MissingPackageError, ModelError, TokensError


class Snac(TorchAdapter):
    """SNAC. All of its codebooks are needed to decode."""

    name = "snac"
    library = "snac"

    def _load(self, source: str) -> Any:
        try:
            from snac import SNAC
        except ImportError:
            raise MissingPackageError("snac is not installed: pip install snac") from None
        import torch

        folder = Path(source)
        if not folder.is_dir():
            folder = _cached(source)
        try:
            module = SNAC.from_config(str(folder / "config.json"))
            weights = torch.load(
                folder / "pytorch_model.bin", map_location="cpu", weights_only=True
            )
            module.load_state_dict(weights)
        except Exception as error:  # of whatever the two files hold
            raise ModelError(f"snac: {source}: {' '.join(str(error).split())[:200]}") from None
        return module

    def _describe(self) -> AdapterConfig:
        module = self.module
        self._repeats = [max(module.vq_strides) // stride for stride in module.vq_strides]
        return AdapterConfig(
            sample_rate=module.sampling_rate,
            hop_length=math.prod(module.encoder_rates) * max(module.vq_strides),
            n_codebooks=sum(self._repeats),
            codebook_size=module.codebook_size,
        )

    def _encode(self, audio: Any, n_codebooks: int) -> Any:
        levels = self.module.encode(audio[None, None])
        frames = min(
            level.shape[-1] // repeat for level, repeat in zip(levels, self._repeats, strict=True)
        )
        rows = [
            level[0, : frames * repeat].reshape(frames, repeat).T
            for level, repeat in zip(levels, self._repeats, strict=True)
        ]
        return self._torch.cat(rows)[:n_codebooks]

    def _decode(self, codes: Any) -> Any:
        if len(codes) != self.config.n_codebooks:
            raise TokensError(f"snac decodes from all {self.config.n_codebooks} codebooks only")
        rows = self._torch.split(codes, self._repeats)
        return self.module.decode([row.T.reshape(1, -1) for row in rows])


def _cached(source: str) -> Path:
    try:
        import huggingface_hub

        return Path(huggingface_hub.snapshot_download(source, local_files_only=True))
    except ImportError:
        raise MissingPackageError("huggingface_hub is not installed") from None
    except (OSError, ValueError):
        raise ModelError(f"snac: {source}: not a folder, nor in the local cache") from None
