"""The weights file: safetensors in float16, the configuration in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from codec.errors import ModelError
from codec.lm.model.config import LmConfig
from codec.lm.model.network import Network
from codec.support.atomic import replacing

FORMAT = "codec language model 1"


def write_network(
    network: Network,
    path: Path,
    *,
    kinds: Sequence[Sequence[str]] = (),
    extra: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> int:
    """Write a network's weights; their size in bytes.

    kinds: the tags that occurred together in training, the most frequent first. extra: more
    metadata, such as the licence. Raises OutputError.
    """
    tensors = {
        name: tensor.detach().cpu().half().contiguous()
        for name, tensor in network.state_dict().items()
    }
    config = network.config.to_json()
    metadata = {**(extra or {}), "format": FORMAT, "config": config, "kinds": json.dumps(kinds)}
    data = save(tensors, metadata)
    with replacing(path, overwrite=overwrite) as aside:
        aside.write_bytes(data)
    return len(data)


def read_network(path: Path) -> tuple[Network, tuple[tuple[str, ...], ...]]:
    """Read what `write_network` wrote: the network, in float32, and the kinds.

    Raises ModelError if the file is missing, damaged or another, or does not fit its configuration.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ModelError(f"{path.name} holds no weights of a language model")
            config = LmConfig.from_json(metadata.get("config", ""))
            kinds = tuple(tuple(map(str, kind)) for kind in json.loads(metadata.get("kinds", "[]")))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (
        SafetensorError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ) as error:
        raise ModelError(f"{path.name} is damaged, or not a safetensors file: {error}") from None
    with torch.device("meta"):
        network = Network(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != shapes:
        raise ModelError(f"{path.name} does not fit its configuration")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ModelError(f"{path.name} holds values that are not finite")
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False), kinds
