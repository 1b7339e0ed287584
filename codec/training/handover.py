"""Hand a run over to another machine: its checkpoint in small, hashed parts without pickle.

    DIR/handover.json               the manifest: the tree, the tensors, the parts, all hashed
    DIR/part-0-HASH.safetensors     ... tensors, at most 15 MB a file

Float32 matrices are stored in 16 bits. Weights, their averages, codebooks and critics become
float16, after a division by a power of two that puts the largest value of a tensor just below 2^15.
That keeps 11 significant bits of each value down to 2^-29 of the largest. On normally distributed
weights the RMS error is 2e-4 of their deviation, and bfloat16's 1.7e-3. An int16 with a scale for
each row would have 3e-5, but would flatten the small counts of rare codewords. Float16 is also
exact for weights that were float16 before, and loses nothing more when a run is handed over again.
Moments of the optimisers become bfloat16, because squared gradients need range more than digits.
Vectors, scalars and integers stay as they are.

Moments are left out unless they are asked for: they are half of a checkpoint, and training
builds them up again within some hundred steps. Until then the learning rate warms up, from the step
in `Checkpoint.restarted` on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from codec.errors import OutputError, TrainingError
from codec.support.atomic import replacing
from codec.training import checkpoint as checkpoints
from codec.training.checkpoint import Checkpoint

FORMAT = 1
MANIFEST = "handover.json"
PART_BYTES = 15_000_000  # at most, of one part
HEADER_BYTES = 160  # at most what safetensors adds for a tensor, beside its name

OPTIMISER_KEYS = {"state", "param_groups"}  # of a torch.optim.Optimizer's state_dict, at most
HALF_TOP = 15  # scaled values are below 2^15; float16 ends at 65504

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    )
}  # fmt: skip


def hand_over(
    checkpoint: Path,
    folder: Path,
    *,
    moments: bool = False,
    average: bool = False,
    part_bytes: int = PART_BYTES,
) -> int:
    """Write the run of the checkpoint file `checkpoint` to `folder`; the bytes of all files.

    A handover that is in `folder` already is replaced: until the new manifest is in place, the old
    one and its parts are intact. moments: include the optimisers' moments. average: hand over the
    averaged weights alone, from which the run then goes on; that saves nearly half of the bytes.

    Raises TrainingError on a bad checkpoint, or one that is inside a decay; OutputError if
    `folder` cannot be written.
    """
    saved = checkpoints.load(checkpoint)
    if saved.decay is not None:
        raise TrainingError(f"{checkpoint} is inside a decay: hand over latest.pt")
    if average:
        learner = saved.learner
        model = {**learner["model"], **learner["average"]}
        saved.learner = {**learner, "model": model, "average": {}}
    tree = checkpoints.to_tree(saved)
    return write_tree(tree, folder, moments=moments, part_bytes=part_bytes)


def take_over(folder: Path) -> Checkpoint:
    """Read the checkpoint that `hand_over` wrote to `folder`.

    Raises TrainingError that names the file if one is missing, damaged or of another format.
    """
    tree, moments = read_tree(folder)
    try:
        checkpoint = checkpoints.from_tree(tree)
    except (KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{folder / MANIFEST}: not of a checkpoint: {error}") from None
    if not moments:
        checkpoint.restarted = checkpoint.step
    return checkpoint


def write_tree(
    tree: dict[str, Any], folder: Path, *, moments: bool = False, part_bytes: int = PART_BYTES
) -> int:
    """Write nested dicts, lists and tuples of tensors and JSON scalars; the bytes of all files."""
    flattened = _Flattened(moments)
    content: dict[str, Any] = {"moments": moments, "tree": flattened.add(tree, "")}
    content["tensors"] = flattened.entries
    parts: list[dict[str, Any]] = []
    content["parts"] = parts
    old = _parts_of(folder)
    for number, part in enumerate(_filled(flattened.tensors, part_bytes)):
        data = save_tensors(part)
        digest = hashlib.sha256(data).hexdigest()
        name = f"part-{number}-{digest[:12]}.safetensors"
        _write(folder / name, data)
        parts.append({"name": name, "bytes": len(data), "sha256": digest})
    manifest = {"format": FORMAT, "sha256": _digest(content), "content": content}
    text = json.dumps(manifest, separators=(",", ":")).encode() + b"\n"
    _write(folder / MANIFEST, text)
    for name in old - {part["name"] for part in parts}:
        (folder / name).unlink(missing_ok=True)
    return len(text) + sum(int(part["bytes"]) for part in parts)


def read_tree(folder: Path) -> tuple[dict[str, Any], bool]:
    """Inverse of `write_tree`, tensors on the CPU in their first dtypes; and `moments`."""
    content = _read_manifest(folder / MANIFEST)
    try:
        entries = content["tensors"]
        sizes = [math.prod(e["shape"]) * DTYPES[e["stored"]].itemsize for e in entries.values()]
        if min(sizes, default=0) < 0 or sum(sizes) > sum(
            part["bytes"] for part in content["parts"]
        ):
            raise TrainingError(f"{folder / MANIFEST}: damaged: its tensors do not fit its parts")
        flat = {
            name: torch.empty(math.prod(entry["shape"]), dtype=DTYPES[entry["stored"]])
            for name, entry in entries.items()
        }
        missing = {name: len(data) for name, data in flat.items()}
        for part in content["parts"]:
            for key, piece in _read_part(folder, part).items():
                name, _, start = key.rpartition("@")
                if piece.dtype != flat[name].dtype:
                    raise TrainingError(f"{folder / part['name']}: {name} has another dtype")
                flat[name][int(start) : int(start) + len(piece)] = piece
                missing[name] -= len(piece)
        if any(missing.values()):
            raise TrainingError(f"{folder}: the parts do not hold all tensors of {MANIFEST}")
        tensors = {name: _decoded(flat.pop(name), entry) for name, entry in entries.items()}
        return _tree(content["tree"], tensors), bool(content["moments"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise TrainingError(f"{folder / MANIFEST}: damaged: {error}") from None


class _Flattened:
    """A tree taken apart: its tensors by their path, flat, as they are stored."""

    def __init__(self, moments: bool) -> None:
        self._moments = moments
        self.tensors: dict[str, Tensor] = {}
        self.entries: dict[str, dict[str, Any]] = {}  # of the manifest

    def add(self, node: Any, path: str, moment: bool = False) -> Any:
        """Take `node` apart, an optimiser's moment or not; what is left of it, as JSON."""
        if isinstance(node, Tensor):
            assert path not in self.tensors, f"two tensors are at {path}"
            self.tensors[path], self.entries[path] = _encoded(node.detach().cpu(), moment)
            return {"tensor": path}
        if isinstance(node, dict):
            optimiser = "state" in node and node.keys() <= OPTIMISER_KEYS
            if optimiser and not self._moments:
                node = {**node, "state": {}}
            items = []
            for key, value in node.items():
                inside = moment or (optimiser and key == "state")
                items.append([key, self.add(value, f"{path}/{key}" if path else str(key), inside)])
            return {"dict": items}
        if isinstance(node, list | tuple):
            kind = "tuple" if isinstance(node, tuple) else "list"
            return {kind: [self.add(v, f"{path}/{i}", moment) for i, v in enumerate(node)]}
        if node is None or isinstance(node, bool | int | float | str):
            return node
        raise TrainingError(f"a handover cannot hold {path}, a {type(node).__name__}")


def _tree(node: Any, tensors: dict[str, Tensor]) -> Any:
    """Inverse of `_skeleton`."""
    if not isinstance(node, dict):
        return node
    ((kind, value),) = node.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _tree(item, tensors) for key, item in value}
    values = [_tree(item, tensors) for item in value]
    return {"list": values, "tuple": tuple(values)}[kind]


def _encoded(tensor: Tensor, moment: bool) -> tuple[Tensor, dict[str, Any]]:
    """`tensor` flat, as it is stored, and its entry in the manifest."""
    entry: dict[str, Any] = {"shape": list(tensor.shape), "dtype": _name(tensor.dtype)}
    flat = tensor.reshape(-1)
    if tensor.dtype == torch.float32 and tensor.dim() >= 2 and bool(torch.isfinite(flat).all()):
        if moment:
            flat = flat.bfloat16()
        else:
            entry["exponent"] = exponent = _exponent(flat)
            flat = (flat.double() * 2.0**-exponent).half()
    entry["stored"] = _name(flat.dtype)
    return flat.contiguous(), entry


def _exponent(flat: Tensor) -> int:
    """The e for which |flat| / 2^e is below 2^15."""
    top = float(flat.abs().max()) if len(flat) else 0.0
    return math.frexp(top)[1] - HALF_TOP if top else 0


def _decoded(flat: Tensor, entry: dict[str, Any]) -> Tensor:
    if "exponent" in entry:
        flat = flat.double() * 2.0 ** int(entry["exponent"])
    return flat.to(DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _filled(tensors: dict[str, Tensor], part_bytes: int) -> Iterator[dict[str, Tensor]]:
    """Tensors cut into parts; each piece is named NAME@FIRST, its first element in the tensor."""
    part: dict[str, Tensor] = {}
    room = part_bytes - HEADER_BYTES
    for name, flat in tensors.items():
        start = 0
        while start < len(flat) or f"{name}@{start}" not in part:
            key = f"{name}@{start}"
            extra = HEADER_BYTES + len(json.dumps(key))
            count = min(len(flat) - start, (room - extra) // flat.element_size())
            if count > 0 or (count == 0 and not len(flat)):
                # a clone, as safetensors refuses two tensors of one memory
                part[key] = flat[start : start + count].clone()
                room -= extra + count * flat.element_size()
                start += count
                if start == len(flat):
                    break
            elif part:
                yield part
                part, room = {}, part_bytes - HEADER_BYTES
            else:
                raise TrainingError(f"parts of {part_bytes} bytes are too small")
    if part:
        yield part


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        version, content = manifest["format"], manifest["content"]
        if version != FORMAT:
            raise TrainingError(
                f"{path}: a handover of format {version}; this codec reads {FORMAT}"
            )
        if manifest["sha256"] != _digest(content):
            raise TrainingError(f"{path}: damaged: its hash is another")
    except FileNotFoundError:
        raise TrainingError(f"{path}: no such handover") from None
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: damaged: {error}") from None
    return dict(content)


def _read_part(folder: Path, expected: dict[str, Any]) -> dict[str, Tensor]:
    name = expected["name"]
    if Path(name).name != name:
        raise TrainingError(f"{folder / MANIFEST}: {name!r} is not the name of a part")
    path = folder / name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise TrainingError(f"{path}: this part of the handover is missing") from None
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}") from None
    if len(data) != expected["bytes"]:
        raise TrainingError(
            f"{path}: damaged: it has {len(data)} bytes, the manifest says {expected['bytes']}"
        )
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise TrainingError(f"{path}: damaged: its hash is not the manifest's")
    try:
        tensors: dict[str, Tensor] = load_tensors(data)
    except SafetensorError as error:
        raise TrainingError(f"{path}: damaged: {error}") from None
    return tensors


def _parts_of(folder: Path) -> set[str]:
    """The names of the parts of an earlier handover in `folder`, if there is an intact one."""
    with contextlib.suppress(TrainingError, KeyError, TypeError):
        return {Path(part["name"]).name for part in _read_manifest(folder / MANIFEST)["parts"]}
    return set()


def _write(path: Path, data: bytes) -> None:
    try:
        with replacing(path, overwrite=True) as aside:
            aside.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from None


def _digest(content: dict[str, Any]) -> str:
    """The SHA-256 of `content` as canonical JSON."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
