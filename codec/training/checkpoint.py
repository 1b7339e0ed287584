"""Save checkpoints of a run, whole or not at all, and keep the one before.

latest.pt     the run, to continue from         previous.pt   the one before it
decaying.pt   a decay that was interrupted      decayed.pt    the end of a decay
best.pt       the averaged weights that evaluated best, without optimisers
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from codec.errors import TrainingError
from codec.support.atomic import replacing
from codec.training.config import Decay, TrainConfig

FORMAT = 1


@dataclasses.dataclass
class Checkpoint:
    """Say where a run stands. `learner` is `Learner.state()`."""

    config: TrainConfig
    learner: dict[str, Any]
    step: int  # steps done
    data: str  # fingerprint of the prepared audio
    audio_seconds: float = 0.0  # learned from, over the whole run
    seconds_per_step: float = 0.0  # lately
    best: float | None = None  # mel distance of best.pt
    losses: dict[str, float] = dataclasses.field(default_factory=dict)  # recent means
    decay: Decay | None = None
    restarted: int = 0  # step at which the optimisers' moments began


def to_tree(checkpoint: Checkpoint) -> dict[str, Any]:
    """Give nested dicts, lists and tuples of tensors, strings and numbers: what `save` writes."""
    fields = dict(vars(checkpoint))
    fields["config"] = checkpoint.config.to_json()
    fields["decay"] = dataclasses.astuple(checkpoint.decay) if checkpoint.decay else None
    return {"format": FORMAT, **fields}


def from_tree(tree: dict[str, Any]) -> Checkpoint:
    """Invert `to_tree`. Raises TrainingError on another format, KeyError or TypeError."""
    fields = dict(tree)
    if fields.pop("format", None) != FORMAT:
        raise TrainingError("not a checkpoint of this version of codec")
    fields["config"] = TrainConfig.from_json(fields["config"])
    fields["decay"] = Decay(*fields["decay"]) if fields["decay"] else None
    return Checkpoint(**fields)


def save(checkpoint: Checkpoint, path: Path, keep: Path | None = None) -> None:
    """Write to `path`; a file that is there becomes `keep`. A kill at any moment leaves one."""
    with replacing(path, overwrite=True) as aside:
        torch.save(to_tree(checkpoint), aside)
        if keep is not None and path.exists():
            path.replace(keep)


def load(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read what `save` wrote. Raises TrainingError if it is missing, damaged or another format."""
    try:
        fields = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise TrainingError(f"{path}: not a checkpoint of this version of codec")
        return from_tree(fields)
    except FileNotFoundError:
        raise TrainingError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception as error:  # pickle and PyTorch raise anything on bytes that are not theirs
        raise TrainingError(f"{path}: damaged, or not a checkpoint") from error
