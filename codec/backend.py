"""What runs the network: the one interface between the codec and its engines."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from codec.config import ModelConfig
from codec.errors import ModelError

DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "default.safetensors"
MODEL_ID_BYTES = 8


class Backend(Protocol):
    """One channel of audio at the model's rate to codes, and back."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def model_id(self) -> bytes:
        """The first 8 bytes of the SHA-256 of the weights' safetensors file."""

    def encode(self, audio: npt.NDArray[np.float32], n_codebooks: int) -> npt.NDArray[np.uint16]:
        """Codes [n_codebooks, frames] of `audio` [samples], float32 at `config.sample_rate`.

        frames is `config.n_frames(samples)`. The first k codebooks are the same whatever
        `n_codebooks` >= k is asked for.
        """

    def decode(self, codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Audio [frames * config.hop_length] of `codes` [n_codebooks, frames].

        Every delay of the network is compensated: sample i out belongs to sample i in.
        """


def load_backend(weights: Path) -> Backend:
    """The engine for the weights at `weights`. Raises ModelError if it cannot run here."""
    if not weights.is_file():
        raise ModelError(f"{weights}: no such weights")
    try:
        from codec.nn.backend import TorchBackend
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModelError("the model needs PyTorch: pip install 'codec[torch]'") from None
    backend: Backend = TorchBackend(weights)
    return backend
