"""The models that the package ships: their names, and which of them made a file.

A model that was in a release stays here, so that its files can be decoded for ever. `weights/
models.json` lists them, the oldest first; `weights/` also holds their weights and, beside each,
the data of its entropy coders.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

from codec.errors import ModelError
from codec.model.config import ModelConfig
from codec.model.identity import same_tokens
from codec.model.weights_file import WeightsFile

DEFAULT_MODEL = "default"
FOLDER = Path(__file__).parents[1] / "weights"


@dataclasses.dataclass(frozen=True)
class Release:
    """A model that the package ships."""

    name: str
    model_id: bytes  # 8 bytes, see codec.model.identity
    weights: Path
    licence: str  # an SPDX identifier
    since: str  # the version of the package that had it first
    default: bool  # whether `codec.load()` takes it

    @functools.cached_property
    def config(self) -> ModelConfig:
        """The dimensions of the model, read from its weights. Raises ModelError."""
        return WeightsFile(self.weights).config

    @property
    def n_bytes(self) -> int:
        """The size of its weights and of the data of its entropy coders, in bytes."""
        return sum(
            path.stat().st_size for path in self.weights.parent.glob(f"{self.weights.stem}.*")
        )


@functools.cache
def _releases(folder: Path) -> tuple[Release, ...]:
    path = folder / "models.json"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            Release(
                name=model["name"],
                model_id=bytes.fromhex(model["id"]),
                weights=folder / model["weights"],
                licence=model["licence"],
                since=model["since"],
                default=model["name"] == listed["default"],
            )
            for model in listed["models"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is missing or damaged: {error}") from None


def releases() -> tuple[Release, ...]:
    """Return the models that the package ships, the oldest first. Raises ModelError."""
    return _releases(FOLDER)


def release_named(name: str) -> Release | None:
    """Return the model of that name, or the default model; None if the name is unknown."""
    for release in releases():
        if release.name == name or (name == DEFAULT_MODEL and release.default):
            return release
    return None


def release_of(model_id: bytes) -> Release | None:
    """Return the newest model that makes and reads the codes of `model_id`; None: none does."""
    for release in reversed(releases()):
        if same_tokens(release.model_id, model_id):
            return release
    return None


def release_at(weights: Path) -> Release | None:
    """Return the model whose weights are that file; None if the package does not ship it."""
    for release in releases():
        if release.weights == weights:
            return release
    return None
