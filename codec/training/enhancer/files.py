"""Write an enhancer's file, and the checkpoint that another training begins with.

model.enhancer   float16 safetensors; in the metadata the dimensions and the model's id
a checkpoint     weights, their averages and critics in float32, as PyTorch saves them
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from codec.errors import ModelError, TrainingError
from codec.model.enhancer_config import EnhancerConfig
from codec.nn.enhancer import Enhancer
from codec.support.atomic import replacing
from codec.training.enhancer.config import EnhancerTraining
from codec.training.enhancer.learner import Learner
from codec.training.export import safetensors_bytes

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a training begins with; `critics` is None without critics that have learned."""

    model: EnhancerConfig
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    critics: dict[str, Tensor] | None = None
    shape: str = ""  # of these critics: see `critics_shape`


def enhancer_bytes(network: Enhancer, model_id: bytes, notes: Mapping[str, str]) -> bytes:
    """Lay out the file of `network`, rounded to float16, for the model `model_id`.

    notes: more metadata. Raises ModelError if a weight is not finite in float16.
    """
    halves = {name: tensor.detach().half().cpu() for name, tensor in network.state_dict().items()}
    for name, tensor in halves.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"the enhancer's {name} is not finite in float16")
    metadata = {**notes, "config": network.config.to_json(), "model": model_id.hex()}
    return safetensors_bytes({name: half.numpy() for name, half in halves.items()}, metadata)


def write_enhancer(
    network: Enhancer, output: Path, model_id: bytes, notes: Mapping[str, str], *, overwrite: bool
) -> int:
    """Write `enhancer_bytes`; the size in bytes. Raises ModelError, OutputError."""
    data = enhancer_bytes(network, model_id, notes)
    with replacing(output, overwrite=overwrite) as aside:
        aside.write_bytes(data)
    return len(data)


def save_checkpoint(learner: Learner, path: Path) -> None:
    """Write what `read_beginning` reads, over what is there, whole or not at all."""
    tree = {
        "format": FORMAT,
        "kind": "enhancer",
        "model": learner.config.model.to_json(),
        "weights": learner.network.state_dict(),
        "average": learner.average.state_dict(),
        "critics": learner.critics.state_dict(),
        "taught": learner.taught,
        "shape": critics_shape(learner.config),
    }
    with replacing(path, overwrite=True) as aside:
        torch.save(tree, aside)


def read_beginning(path: Path) -> Beginning:
    """Read a checkpoint, or an enhancer's file, whose weights are also the averages.

    Raises TrainingError if it is missing, damaged, or something else.
    """
    try:
        # PyTorch's files are zip archives, safetensors are not.
        return _of_checkpoint(path) if zipfile.is_zipfile(path) else _of_file(path)
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or 'no such file'}") from None
    except MemoryError:
        raise
    except Exception as error:  # pickle and PyTorch raise anything on bytes that are not theirs
        raise TrainingError(f"{path}: damaged, or neither an enhancer nor a checkpoint") from error


def critics_shape(config: EnhancerTraining) -> str:
    """Name what decides the critics' weights and what they hear."""
    return f"{config.critics} {config.critic_channels} {config.critic_low:g}"


def _of_checkpoint(path: Path) -> Beginning:
    tree = torch.load(path, map_location="cpu", weights_only=True)
    if tree["format"] != FORMAT or tree["kind"] != "enhancer":
        raise ValueError
    model = EnhancerConfig.from_json(tree["model"])
    critics = tree["critics"] if tree["taught"] else None
    return _fitting(Beginning(model, tree["weights"], tree["average"], critics, tree["shape"]))


def _of_file(path: Path) -> Beginning:
    if not path.is_file():
        raise FileNotFoundError(2, "no such file")
    try:
        with safe_open(path, framework="pt") as file:
            model = EnhancerConfig.from_json((file.metadata() or {})["config"])
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError from error
    return _fitting(Beginning(model, weights, weights))


def _fitting(found: Beginning) -> Beginning:
    """Raise RuntimeError unless the weights are of the model."""
    with torch.device("meta"):
        wanted = Enhancer(found.model).state_dict()
    for state in (found.weights, found.average):
        if {name: part.shape for name, part in state.items()} != {
            name: part.shape for name, part in wanted.items()
        }:
            raise RuntimeError("weights of other dimensions")
    return found
