"""Where weights lie: those of the package, or a path, and their names in a pickle."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from codec.errors import ModelError
from codec.model.catalogue import FOLDER, release_at, release_named, release_of
from codec.support.arguments import shown

DEFAULT_WEIGHTS = FOLDER / "default.safetensors"


def weights_path(model: str | os.PathLike[str]) -> Path:
    """Return the weights that `model` names: "default", a model of `codec.models`, or a path.

    The path is absolute: a program may change its folder before all of the file is read.

    Raises ModelError if it is neither text nor a path.
    """
    if not isinstance(model, str | os.PathLike):
        raise ModelError(f"a model is 'default' or the path of its weights, not {shown(model)}")
    release = release_named(model) if isinstance(model, str) else None
    return release.weights if release else Path(model).absolute()


def weights_for(model: str | os.PathLike[str], model_id: bytes) -> Path:
    """Return the weights for a file of the model `model_id`.

    They are those that `model` names, as for `weights_path`; but if it names a model that the
    package ships, and the package ships the one that made the file, they are the latter's.
    """
    weights = weights_path(model)
    maker = release_of(model_id) if release_at(weights) else None
    return maker.weights if maker else weights


def weights_name(weights: Path) -> str:
    """Return a name by which `weights_path` finds them again in another process of this user."""
    release = release_at(weights)
    # Interned, so that equal names pickle as one: the bytes are the same however they came about.
    return sys.intern(release.name if release else str(weights.absolute()))


def check_reopened(found: bytes, model_id: bytes) -> None:
    """Raises ModelError unless `found`, the model id of weights that were pickled by their path as
    `model_id`, is still the same."""
    if found != model_id:
        raise ModelError(
            f"pickled with model {model_id.hex()}, but its weights are now those of {found.hex()}"
        )
