"""Runs the torch model as a backend, for any length of audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.errors import ModelError
from codec.model.config import ModelConfig
from codec.model.receptive_field import decoder_reach, encoder_reach
from codec.model.weights_file import (
    CODEBOOKS,
    CODEWORDS,
    SCALES,
    TRAINING_ONLY,
    Tensors,
    WeightsFile,
)
from codec.nn.model import CodecModel

BLOCK_SECONDS = 20


class TorchBackend:
    """A `codec.engine.backend.Backend` in float32 on the CPU.

    PyTorch's sums depend on the machine and on the shapes, so this path defines nothing: the
    native engine is the definition, and this agrees with it up to rounding. The same holds for
    long audio, which is coded in blocks of 20 s, each with all the context that its frames see.

    Raises ModelError if the weights at `weights` are damaged or do not fit their configuration.
    """

    def __init__(self, weights: Path, block_seconds: float = BLOCK_SECONDS) -> None:
        file = WeightsFile(weights)
        self._model = read_model(file)
        self._model_id = file.model_id
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


def read_model(weights: WeightsFile) -> CodecModel:
    """Return the torch model with these weights, in float32. Raises ModelError."""
    model = weights.read(lambda tensors: _model(weights, tensors))
    return model.requires_grad_(False).eval()


def _model(weights: WeightsFile, tensors: Tensors) -> CodecModel:
    try:
        # Without memory first: a damaged configuration may claim any size.
        with torch.device("meta"):
            shapes = CodecModel(weights.config).state_dict()
    except Exception as error:
        raise ModelError(f"its configuration makes no model: {error}") from None
    for key in TRAINING_ONLY:
        shapes.pop(key)
    names = set(tensors)
    packed = {CODEWORDS, SCALES} <= names
    if packed:
        names = names - {CODEWORDS, SCALES} | {CODEBOOKS}
    if shapes.keys() != names:
        key = min(shapes.keys() ^ names)
        raise ModelError(f"{key} is {'missing' if key in shapes else 'not of this model'}")
    state: dict[str, Tensor] = {}
    for key in sorted(names):
        array = weights.codebooks if key == CODEBOOKS and packed else tensors[key]
        if array.shape != shapes[key].shape:
            raise ModelError(f"{key} has shape {list(array.shape)}, not the model's")
        if array.dtype != np.float32:
            raise ModelError(f"{key} is {array.dtype}, not of floating point")
        state[key] = torch.tensor(array)
    model = CodecModel(weights.config)
    model.load_state_dict(state, strict=False)
    return model
