"""Where weights lie: those of the package, or a path, and their names in a pickle."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from codec.errors import ModelError
from codec.support.arguments import shown

DEFAULT_MODEL = "default"
DEFAULT_WEIGHTS = Path(__file__).parents[1] / "weights" / "default.safetensors"


def weights_path(model: str | os.PathLike[str]) -> Path:
    """The weights that `model` names: "default", or a path. Raises ModelError if it is neither."""
    if not isinstance(model, str | os.PathLike):
        raise ModelError(f"a model is 'default' or the path of its weights, not {shown(model)}")
    return DEFAULT_WEIGHTS if model == DEFAULT_MODEL else Path(model)


def weights_name(weights: Path) -> str:
    """A name by which `weights_path` finds the weights again in another process of this user."""
    # Interned, so that equal names pickle as one: the bytes are the same however they came about.
    return DEFAULT_MODEL if weights == DEFAULT_WEIGHTS else sys.intern(str(weights.absolute()))


def check_reopened(found: bytes, model_id: bytes) -> None:
    """Raises ModelError unless `found`, the model id of weights that were pickled by their path as
    `model_id`, is still the same."""
    if found != model_id:
        raise ModelError(
            f"pickled with model {model_id.hex()}, but its weights are now those of {found.hex()}"
        )
