"""Take the first weights of a run from another run, or from exported weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from codec.errors import TrainingError
from codec.model.weights_file import WeightsFile
from codec.nn.backend import read_model
from codec.nn.model import CodecModel
from codec.training import checkpoint as checkpoints


def first_weights(path: Path, model: CodecModel) -> tuple[dict[str, Tensor], int]:
    """Read a state for `model` from a checkpoint (its averages) or a .safetensors file at `path`.

    Returns it, and how many of its codebooks are fitted.

    Where a hidden layer of `model` is narrower, it takes the units that weigh most; where it is
    wider, or `model` has more blocks, what is added changes nothing until it has learned. Where
    `model` has fewer codebooks, it takes the first, and where it has more, the last ones are zero.
    Raises TrainingError if the weights are of another model otherwise, ModelError if the file is
    damaged.
    """
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise TrainingError(f"{path}: No such file")
        source = read_model(WeightsFile(path))
        state, fitted = source.state_dict(), True
        # as if every codeword had won its mean share of one batch
        state["quantiser.sums"] = state["quantiser.codebooks"].clone()
    else:
        saved = checkpoints.load(path).learner
        state, fitted = saved["model"] | saved["average"], saved["quantised"]
    wanted = model.state_dict()
    levels = min(len(state["quantiser.codebooks"]), len(wanted["quantiser.codebooks"]))
    state = of_depth(narrowed(grown(state, wanted), wanted), wanted)
    for key in sorted(state.keys() | wanted.keys()):
        if key not in state or key not in wanted or state[key].shape != wanted[key].shape:
            raise TrainingError(f"{path}: weights of another model: {key} does not fit")
    return state, levels if fitted else 0


def of_depth(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give `state` as many levels of codebooks as `wanted` has; added levels are zeros."""
    result = dict(state)
    for name in ("codebooks", "counts", "sums"):
        key = f"quantiser.{name}"
        kept = state[key][: len(wanted[key])]
        missing = len(wanted[key]) - len(kept)
        result[key] = torch.cat([kept, kept.new_zeros(missing, *kept.shape[1:])])
    return result


def grown(
    state: dict[str, Tensor],
    wanted: dict[str, Tensor],
    backbones: Sequence[str] = ("encoder.backbone", "decoder.backbone"),
) -> dict[str, Tensor]:
    """Give the backbones in `state` the blocks and hidden units that only `wanted` has.

    They take the values of `wanted`, a new model's, but for the weights that add them to their
    block's input (`reduce`), which are zero: the model computes what it did until they learn.
    """
    result = dict(state)
    for backbone in backbones:
        known, blocks = (_count_blocks(weights, backbone) for weights in (state, wanted))
        for block in range(known, blocks):
            prefix = f"{backbone}.{block}."
            result |= {key: value for key, value in wanted.items() if key.startswith(prefix)}
            result[f"{prefix}reduce.weight"] = torch.zeros_like(wanted[f"{prefix}reduce.weight"])
        for end in ("weight", "bias") if blocks > known else ():
            result[f"{backbone}.{blocks}.{end}"] = state[f"{backbone}.{known}.{end}"]
            del result[f"{backbone}.{known}.{end}"]
        for block in range(min(known, blocks)):
            expand, bias, reduce = (
                f"{backbone}.{block}.{end}"
                for end in ("expand.weight", "expand.bias", "reduce.weight")
            )
            have = len(state[expand])
            if len(wanted[expand]) > have:
                added = torch.zeros_like(wanted[reduce][:, have:])
                result[expand] = torch.cat([state[expand], wanted[expand][have:]])
                result[bias] = torch.cat([state[bias], wanted[bias][have:]])
                result[reduce] = torch.cat([state[reduce], added], dim=1)
    return result


def _count_blocks(state: dict[str, Tensor], backbone: str) -> int:
    return sum(key.startswith(backbone) and key.endswith(".expand.weight") for key in state)


def narrowed(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut the hidden layers of the blocks in `state` to the sizes that they have in `wanted`.

    The units kept are those with the largest product of the norms of their input and output
    weights.
    """
    result = dict(state)
    for key, expand in state.items():
        block, _, end = key.rpartition(".expand.")
        if end != "weight" or key not in wanted or len(wanted[key]) >= len(expand):
            continue
        reduce = state[f"{block}.reduce.weight"]
        weight = expand.norm(dim=1) * reduce.norm(dim=0)
        kept = torch.topk(weight, len(wanted[key])).indices.sort().values
        result[key] = expand[kept]
        result[f"{block}.expand.bias"] = state[f"{block}.expand.bias"][kept]
        result[f"{block}.reduce.weight"] = reduce[:, kept].contiguous()
    return result
