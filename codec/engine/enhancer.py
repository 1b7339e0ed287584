"""The enhancer of a model: a second stage of its decoder, which lies in a file beside its weights.

    model.safetensors -> model.enhancer

The file is safetensors, in the metadata the dimensions (`codec.model.enhancer_config`) and the
model's id. csrc/engine/enhancer.h defines what it does, to the bit.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from safetensors import SafetensorError, safe_open

from codec.engine.post import Post
from codec.errors import BackendError, ModelError
from codec.model.enhancer_config import SAMPLE_RATE
from codec.model.location import weights_name, weights_path
from codec.model.receptive_field import Reach
from codec.support.packages import needed
from codec.support.warning import warn

SUFFIX = ".enhancer"
MISSING = BackendError("the enhancer needs the native engine, which is not built")


def load_enhancer(weights: Path, model_id: bytes, sample_rate: int) -> Post:
    """Read the enhancer that lies beside `weights`.

    Raises ModelError if it is missing, damaged, or of another model than `model_id`, BackendError
    without the native engine.
    """
    path = weights.with_suffix(SUFFIX)
    if not path.is_file():
        raise ModelError(f"{path.name} is missing: `codec train-enhancer` makes it")
    try:
        data = path.read_bytes()
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        made_for = bytes.fromhex(metadata.get("model", ""))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path.name} is damaged: {error}") from None
    if not made_for:
        raise ModelError(f"{path.name} is damaged: it names no model")
    if made_for != model_id:
        raise ModelError(f"{path.name} is of model {made_for.hex()}, not {model_id.hex()}")
    if sample_rate != SAMPLE_RATE:
        raise ModelError(f"an enhancer is for models of {SAMPLE_RATE} Hz, not {sample_rate} Hz")
    with needed("codec.engine._engine", MISSING):
        from codec.engine import _engine
    try:
        run = _engine.Enhancer(data, os.environ.get("CODEC_ISA") or None)
    except ValueError as error:
        raise ModelError(f"{path.name} is damaged: {error}") from None
    identity = hashlib.sha256(data).digest()[:8]
    return Post(
        name="enhancer",
        made_by=(_reopened, (weights_name(weights), model_id, sample_rate, identity)),
        hop=run.hop,
        reach=Reach(*run.reach),
        run=run,
        stream=run,
        span=run.span,
        identity=identity,
    )


def find_enhancer(weights: Path, model_id: bytes, sample_rate: int) -> Post | None:
    """Read the enhancer that lies beside `weights`, or return None where there is none, or with a
    CodecWarning without the native engine.

    Raises ModelError if there is one that is damaged, or of another model.
    """
    if not weights.with_suffix(SUFFIX).is_file():
        return None
    if find_spec("codec.engine._engine") is None:
        warn(f"{MISSING}: audio is not enhanced")
        return None
    try:
        return load_enhancer(weights, model_id, sample_rate)
    except ModelError as error:
        raise ModelError(f"{error}; --no-enhance does without") from None


def _reopened(model: str, model_id: bytes, sample_rate: int, identity: bytes) -> Post:
    post = load_enhancer(weights_path(model), model_id, sample_rate)
    if post.identity != identity:
        raise ModelError("pickled with an enhancer whose weights are now others")
    return post
