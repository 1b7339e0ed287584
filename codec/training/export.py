"""Export a checkpoint as the weights that ship: float16 safetensors, the same bytes every time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from codec.errors import ModelError
from codec.model import codebooks
from codec.model.weights_file import CODEBOOKS, CODEWORDS, SCALES, TRAINING_ONLY
from codec.support.atomic import check_writable, replacing
from codec.training import checkpoint as checkpoints


def export_weights(
    path: Path,
    output: Path,
    *,
    raw: bool = False,
    n_codebooks: int | None = None,
    licence: str = "Apache-2.0",
    overwrite: bool = False,
) -> int:
    """Write the weights of the checkpoint at `path`; returns the size of the file in bytes.

    Averaged weights, or the last ones if `raw`, are rounded to float16. The codebooks are not
    averaged; they are rounded to 8 bits with a scale for each codeword. The rounded values are the
    model from then on. n_codebooks: keep only the first N, which are a model by themselves. The
    metadata holds the model's `config`, and the `step`, the `hours` of audio learned from (audio
    counts each time it is seen), `data` (fingerprint), `losses` (recent means) and `licence`.

    Raises TrainingError if the checkpoint is missing or damaged; ModelError if it has no codebooks
    yet, fewer than `n_codebooks`, or weights that are not finite in float16; OutputError if
    `output` exists and `overwrite` is false, or cannot be written.
    """
    check_writable(output, overwrite=overwrite, source=path)
    saved = checkpoints.load(path)
    if not saved.learner["quantised"]:
        raise ModelError(
            f"{path} has no codebooks yet; training adds them at step"
            f" {saved.config.quantise_from} (quantise_from)"
        )
    model, most = saved.config.model, saved.config.model.n_codebooks
    if n_codebooks is not None:
        if not 1 <= n_codebooks <= most:
            raise ModelError(f"{path} has {most} codebooks, not {n_codebooks}")
        model = dataclasses.replace(model, n_codebooks=n_codebooks)
    weights = saved.learner["model"] | ({} if raw else saved.learner["average"])
    halves = {
        name: tensor.detach().half()
        for name, tensor in weights.items()
        if name not in (*TRAINING_ONLY, CODEBOOKS)
    }
    weights[CODEBOOKS] = weights[CODEBOOKS][: model.n_codebooks]
    for name, tensor in (*halves.items(), (CODEBOOKS, weights[CODEBOOKS].half())):
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} is not finite in float16")
    codewords, scales = codebooks.pack(weights[CODEBOOKS].numpy())
    arrays = {name: tensor.numpy() for name, tensor in halves.items()}
    arrays |= {CODEWORDS: codewords, SCALES: scales}
    metadata = {
        "config": model.to_json(),
        "data": saved.data,
        "hours": f"{saved.audio_seconds / 3600:.2f}",
        "licence": licence,
        "losses": json.dumps({k: round(v, 6) for k, v in saved.losses.items()}, sort_keys=True),
        "step": str(saved.step),
    }
    data = safetensors_bytes(arrays, metadata)
    with replacing(output, overwrite=overwrite) as aside:
        aside.write_bytes(data)
    return len(data)


def safetensors_bytes(arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Lay out a safetensors file of float16 and int8 arrays, float16 first, then by name.

        8 bytes, little-endian: n | n bytes of JSON, padded with spaces to 8 | the data

    A model is named by the hash of its file, and the safetensors library writes metadata in an
    order that changes from call to call.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    parts, end = [], 0
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        dtype, layout = ("I8", "i1") if array.dtype == np.int8 else ("F16", "<f2")
        part = array.astype(layout).tobytes()
        start, end = end, end + len(part)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]}
        parts.append(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)
