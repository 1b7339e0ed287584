"""Mean and deviation of a model's latents, by which users see them at a common scale.

    model.safetensors -> model.latents

The file is safetensors: `mean` and `deviation` float32 [dim], and in the metadata the model's id.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from codec.errors import ModelError
from codec.model.identity import same_tokens
from codec.support.atomic import replacing

Floats = npt.NDArray[np.float32]

SUFFIX = ".latents"


@dataclasses.dataclass(frozen=True, eq=False)
class LatentScale:
    """The mean and the deviation of each dimension over a corpus, float32 [dim]."""

    mean: Floats
    deviation: Floats

    def normalise(self, latents: Floats) -> Floats:
        """Return (latents - mean) / deviation, float32 [dim, frames]."""
        return (latents - self.mean[:, None]) / self.deviation[:, None]

    def restore(self, latents: Floats) -> Floats:
        """Return latents * deviation + mean, float32 [dim, frames].

        Product and sum are rounded one after the other, never fused, so the bits are the same on
        every machine.
        """
        scaled = latents * self.deviation[:, None]
        scaled += self.mean[:, None]
        return scaled

    def save(self, path: Path, model_id: bytes, *, overwrite: bool = False) -> None:
        """Write it beside the weights of `model_id`. Raises OutputError if `path` exists."""
        data = save(
            {"mean": self.mean, "deviation": self.deviation}, metadata={"model": model_id.hex()}
        )
        with replacing(path, overwrite=overwrite) as aside:
            aside.write_bytes(data)


def load_latent_scale(weights: Path, model_id: bytes, dim: int) -> LatentScale:
    """Read the scale that lies beside `weights`.

    Raises ModelError if it is missing, damaged, or of another model than `model_id`.
    """
    path = weights.with_suffix(SUFFIX)
    if not path.is_file():
        raise ModelError(
            f"{path.name} is missing: `codec fit-latents` makes it; or pass normalized=False"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            made_for = bytes.fromhex((file.metadata() or {}).get("model", ""))
            mean, deviation = file.get_tensor("mean"), file.get_tensor("deviation")
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path.name} is damaged: {error}") from None
    if not same_tokens(made_for, model_id):
        raise ModelError(f"{path.name} is of model {made_for.hex()}, not {model_id.hex()}")
    for values in (mean, deviation):
        if values.dtype != np.float32 or values.shape != (dim,) or not np.isfinite(values).all():
            raise ModelError(f"{path.name} is damaged: it needs {dim} finite values of float32")
    if not (deviation > 0).all():
        raise ModelError(f"{path.name} is damaged: a deviation is not above 0")
    return LatentScale(mean, deviation)
