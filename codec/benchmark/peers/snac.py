"""Run SNAC by its own package, from a checkpoint in the local cache."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from codec.benchmark.peers.base import Encoded
from codec.errors import PeerError
from codec.quality.pair import Audio

CHECKPOINT = "hubertsiuzdak/snac_24khz"


class Snac:
    """SNAC with all codebooks, whose frame rates differ. Nothing is downloaded."""

    name = "snac"
    title = f"SNAC ({CHECKPOINT})"
    kinds: frozenset[str] | None = None
    settings = ("all",)
    sample_rate = 24_000

    def __init__(self, checkpoint: str = CHECKPOINT) -> None:
        try:
            import huggingface_hub
            import snac  # noqa: F401
        except ImportError as error:
            raise PeerError(f"{error.name} is not installed") from None
        self._folder = Path(checkpoint)
        if not self._folder.is_dir():
            try:
                found = huggingface_hub.snapshot_download(checkpoint, local_files_only=True)
            except OSError:
                raise PeerError(f"{checkpoint} is not in the local cache") from None
            self._folder = Path(found)

    @functools.cached_property
    def model(self) -> Any:
        import torch
        from snac import SNAC

        model = SNAC.from_config(str(self._folder / "config.json"))
        weights = torch.load(self._folder / "pytorch_model.bin", map_location="cpu")
        model.load_state_dict(weights)
        return model.eval()

    def encode(self, audio: Audio, setting: str) -> Encoded:
        import torch

        with torch.no_grad():
            levels = self.model.encode(torch.from_numpy(audio)[None, None])
        codes = [level[0].numpy() for level in levels]
        bits = int(np.log2(self.model.codebook_size))
        sizes = np.array([len(level) for level in codes], np.uint32)
        body = np.concatenate(codes).astype(np.uint16)
        head = np.array([len(codes)], np.uint32).tobytes() + sizes.tobytes()
        return Encoded(head + body.tobytes(), bits * body.size)

    def decode(self, data: bytes, setting: str) -> Audio:
        import torch

        levels = int(np.frombuffer(data, np.uint32, 1)[0])
        sizes = np.frombuffer(data, np.uint32, levels, offset=4)
        body = np.frombuffer(data, np.uint16, offset=4 + 4 * levels).astype(np.int64)
        codes = [torch.from_numpy(part)[None] for part in np.split(body, np.cumsum(sizes)[:-1])]
        with torch.no_grad():
            audio = self.model.decode(codes)
        return np.ravel(audio.numpy()).astype(np.float32)
