"""What runs the network: the one interface between the codec and its engines."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from codec.errors import BackendError, ModelError
from codec.model.config import ModelConfig

DEFAULT_WEIGHTS = Path(__file__).parents[1] / "weights" / "default.safetensors"


class Backend(Protocol):
    """One channel of audio at the model's rate to codes, and back."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def model_id(self) -> bytes:
        """The 8 bytes of `codec.model_id.model_id`."""

    def encode(self, audio: npt.NDArray[np.float32], n_codebooks: int) -> npt.NDArray[np.uint16]:
        """Codes [n_codebooks, frames] of `audio` [samples], float32 at `config.sample_rate`.

        frames is `config.n_frames(samples)`. The first k codebooks are the same whatever
        `n_codebooks` >= k is asked for.
        """

    def decode(self, codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Audio [frames * config.hop_length] of `codes` [n_codebooks, frames].

        Every delay of the network is compensated: sample i out belongs to sample i in.
        """


def load_backend(weights: Path, engine: str | None = None) -> Backend:
    """The engine for the weights at `weights`.

    engine: "native", the definition, exact and fast; "torch", equal to it up to rounding; by
    default the native one where it is installed and knows the model.
    Raises ModelError if the weights cannot run here, BackendError if the engine is unknown or not
    installed.
    """
    if engine not in (None, "native", "torch"):
        raise BackendError(f"engine is native or torch, not {engine!r}")
    if not weights.is_file():
        raise ModelError(f"{weights}: no such weights")
    backend: Backend
    if engine != "torch":
        try:
            from codec.engine.native import NativeBackend, UnsupportedModelError
        except ModuleNotFoundError as error:
            if error.name != "codec.engine._engine":
                raise
            if engine == "native":
                raise BackendError(
                    "the native engine is not here: install a C compiler and reinstall codec"
                ) from None
        else:
            try:
                backend = NativeBackend(weights)
                return backend
            except UnsupportedModelError:
                if engine == "native":
                    raise
    try:
        from codec.nn.backend import TorchBackend
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModelError("the model needs PyTorch: pip install 'codec[torch]'") from None
    backend = TorchBackend(weights)
    return backend
