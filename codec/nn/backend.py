"""The torch model behind the interface of the engines, for any length of audio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.errors import ModelError
from codec.model import codebooks
from codec.model.config import ModelConfig
from codec.model.identity import model_id
from codec.model.receptive_field import decoder_reach, encoder_reach
from codec.nn.model import CodecModel
from codec.training.export import CODEBOOKS, CODEWORDS, SCALES, TRAINING_ONLY

BLOCK_SECONDS = 20


class TorchBackend:
    """A `codec.backend.Backend` in float32 on the CPU.

    PyTorch's sums depend on the machine and on the shapes, so this path defines nothing: the
    native engine is the definition, and this agrees with it up to rounding. The same holds for
    long audio, which is coded in blocks of 20 s, each with all the context that its frames see.

    Raises ModelError if the weights at `weights` are damaged or do not fit their configuration.
    """

    def __init__(self, weights: Path, block_seconds: float = BLOCK_SECONDS) -> None:
        data = weights.read_bytes()
        self._model = read_model(data, weights.name)
        self._model_id = model_id(data, self._model.config)
        self._block = max(1, round(block_seconds * self.config.frame_rate))

    @property
    def config(self) -> ModelConfig:
        return self._model.config

    @property
    def model_id(self) -> bytes:
        return self._model_id

    @torch.inference_mode()
    def encode(self, audio: npt.NDArray[np.float32], n_codebooks: int) -> npt.NDArray[np.uint16]:
        """Codes uint16 [n_codebooks, frames] of `audio` float32 [samples]."""
        config = self.config
        total, hop = config.n_frames(len(audio)), config.hop_length
        left, right = encoder_reach(config)
        codes = np.empty((n_codebooks, total), np.uint16)
        for start in range(0, total, self._block):
            stop = min(start + self._block, total)
            first, last = max(0, start - left), min(total, stop + right)
            samples = torch.from_numpy(np.ascontiguousarray(audio[first * hop : last * hop]))
            padded = F.pad(samples, (0, (last - first) * hop - len(samples)))
            found = self._model.encode(padded[None], n_codebooks)[:, 0]
            codes[:, start:stop] = found[:, start - first : stop - first].numpy()
        return codes

    @torch.inference_mode()
    def decode(self, codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Audio float32 [frames * hop_length] of `codes` uint16 [n_codebooks, frames]."""
        config = self.config
        total, hop = codes.shape[1], config.hop_length
        left, right = decoder_reach(config)
        audio = np.empty(total * hop, np.float32)
        for start in range(0, total, self._block):
            stop = min(start + self._block, total)
            first, last = max(0, start - left), min(total, stop + right)
            block = torch.from_numpy(codes[:, None, first:last].astype(np.int64))
            output = self._model.decode(block)[0]
            audio[start * hop : stop * hop] = output[
                (start - first) * hop : (stop - first) * hop
            ].numpy()
        return audio


def read_model(data: bytes, name: str) -> CodecModel:
    """The model in the bytes of a safetensors file, in float32. Raises ModelError."""
    try:
        weights: dict[str, Tensor] = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, OverflowError) as error:
        raise ModelError(f"{name} is damaged, or not a safetensors file: {error}") from None
    config = _config(data, name)
    if CODEWORDS in weights and SCALES in weights:
        try:
            unpacked = codebooks.unpack(weights.pop(CODEWORDS).numpy(), weights.pop(SCALES).numpy())
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from None
        weights[CODEBOOKS] = torch.from_numpy(unpacked)
    try:
        # Without memory first: a damaged configuration may claim any size.
        with torch.device("meta"):
            shapes = {key: value.shape for key, value in CodecModel(config).state_dict().items()}
    except Exception as error:
        raise ModelError(f"{name}: its configuration makes no model: {error}") from None
    for key in TRAINING_ONLY:
        shapes.pop(key)
    if shapes.keys() != weights.keys():
        key = min(shapes.keys() ^ weights.keys())
        raise ModelError(f"{name}: {key} is {'missing' if key in shapes else 'not of this model'}")
    for key, tensor in weights.items():
        if tensor.shape != shapes[key]:
            raise ModelError(f"{name}: {key} has shape {list(tensor.shape)}, not the model's")
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{name}: {key} has values that are not finite numbers")
    model = CodecModel(config)
    model.load_state_dict({key: tensor.float() for key, tensor in weights.items()}, strict=False)
    return model.requires_grad_(False).eval()


def _config(data: bytes, name: str) -> ModelConfig:
    # The library gives the metadata of files on disk only; it has checked the header before.
    end = 8 + int.from_bytes(data[:8], "little")
    config = json.loads(data[8:end]).get("__metadata__", {}).get("config")
    if config is None:
        raise ModelError(f"{name} has no model configuration: not weights of codec")
    return ModelConfig.from_json(config)
