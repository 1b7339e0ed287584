"""Runs the torch model as a backend, for any length of audio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.errors import BackendError, ModelError
from codec.model.checks import check_audio, check_codebooks, check_codes
from codec.model.config import ModelConfig
from codec.model.location import check_reopened, weights_name, weights_path
from codec.model.receptive_field import decoder_reach, encoder_reach
from codec.model.weights_file import (
    CODEBOOKS,
    CODEWORDS,
    SCALES,
    TRAINING_ONLY,
    Tensors,
    WeightsFile,
)
from codec.nn.heads import noise_keys
from codec.nn.model import CodecModel
from codec.support.arguments import shown
from codec.support.immutable import Immutable

BLOCK_SECONDS = 20


class TorchBackend(Immutable):
    """A `codec.engine.backend.Backend` in float32, on the CPU or on another device.

    PyTorch's sums depend on the machine and on the shapes, so this backend defines nothing: the
    native engine is the definition, and this agrees with it up to rounding. The same holds for
    long audio, which is coded in blocks of 20 s, each with all the context that its frames see.
    It pickles by the path of its weights.

    device: as `torch.device` takes it: "cpu", "cuda", "cuda:1", "mps".
    Raises ModelError if the weights at `weights` are damaged or do not fit their configuration,
    BackendError if the device is unknown or not available.
    """

    streaming = None

    def __init__(
        self,
        weights: Path,
        block_seconds: float = BLOCK_SECONDS,
        device: str | torch.device = "cpu",
    ) -> None:
        self._arguments = (weights_name(weights), block_seconds, str(device))
        self._device = available_device(device)
        file = WeightsFile(weights)
        self._model = read_model(file).to(self._device)
        self._model_id = file.model_id
        self._block = max(1, round(block_seconds * self.config.frame_rate))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (*self._arguments, self.model_id)

    @property
    def device(self) -> torch.device:
        """What the network runs on."""
        return self._device

    @property
    def config(self) -> ModelConfig:
        """The dimensions of the model."""
        return self._model.config

    @property
    def model_id(self) -> bytes:
        """The 8 bytes that name the weights."""
        return self._model_id

    @torch.inference_mode()
    def encode(self, audio: npt.NDArray[np.float32], n_codebooks: int) -> npt.NDArray[np.uint16]:
        """Encode `audio` float32 [samples] to codes uint16 [n_codebooks, frames].

        A model that codes two channels together takes [2, samples], left and right.

        Raises AudioError, BitrateError.
        """
        config = self.config
        audio = check_audio(audio, config.channels)
        check_codebooks(n_codebooks, config)
        total, hop = config.n_frames(audio.shape[-1]), config.hop_length
        left, right = encoder_reach(config)
        codes = np.empty((n_codebooks, total), np.uint16)
        for start in range(0, total, self._block):
            stop = min(start + self._block, total)
            first, last = max(0, start - left), min(total, stop + right)
            # A copy, because the caller's array may be read-only.
            samples = torch.tensor(audio[..., first * hop : last * hop], device=self._device)
            padded = F.pad(samples, (0, (last - first) * hop - samples.shape[-1]))
            found = self._model.encode(padded[None], n_codebooks)[:, 0]
            codes[:, start:stop] = found[:, start - first : stop - first].cpu().numpy()
        return codes

    def decode(self, codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Decode `codes` uint16 [n_codebooks, frames] to audio float32 [frames * hop_length].

        A model that codes two channels together gives [2, samples]. Raises TokensError.
        """
        return self.decode_pieces([codes])

    @torch.inference_mode()
    def decode_pieces(self, pieces: Sequence[npt.NDArray[np.uint16]]) -> npt.NDArray[np.float32]:
        """Decode codes [1 to Q, frames] that follow one another, as `decode` does: the number of
        codebooks may change from one piece to the next. Raises TokensError."""
        config = self.config
        latents, keys = [], []
        for codes in pieces:
            checked = check_codes(codes, config)[:, None].astype(np.int64)
            on_device = torch.from_numpy(checked).to(self._device)
            latents.append(self._model.quantiser.decode(on_device))
            keys.append(noise_keys(on_device))
        latent, key = torch.cat(latents, dim=1), torch.cat(keys, dim=1)
        total, hop = key.shape[1], config.hop_length
        left, right = decoder_reach(config)
        shape = (total * hop,) if config.channels == 1 else (config.channels, total * hop)
        audio = np.empty(shape, np.float32)
        for start in range(0, total, self._block):
            stop = min(start + self._block, total)
            first, last = max(0, start - left), min(total, stop + right)
            output = self._model.decoder(latent[:, first:last], key[:, first:last])[0]
            wanted = output[..., (start - first) * hop : (stop - first) * hop]
            audio[..., start * hop : stop * hop] = wanted.cpu().numpy()
        return audio


def available_device(device: str | torch.device) -> torch.device:
    """Return the device. Raises BackendError if it is unknown or not available here."""
    try:
        found = torch.device(device)
        if found.type == "meta":
            raise RuntimeError("it computes nothing")
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, TypeError, ValueError, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackendError(f"device {shown(device)} is not available: {reason}") from None
    return found


def _reopened(model: str, block_seconds: float, device: str, model_id: bytes) -> TorchBackend:
    backend = TorchBackend(weights_path(model), block_seconds, device)
    check_reopened(backend.model_id, model_id)
    return backend


def read_model(weights: WeightsFile) -> CodecModel:
    """Return the torch model with these weights, in float32. Raises ModelError."""
    model = weights.read(lambda tensors: _model(weights, tensors))
    return model.requires_grad_(False).eval()


def _model(weights: WeightsFile, tensors: Tensors) -> CodecModel:
    try:
        # On the meta device first: a damaged configuration may claim any size.
        with torch.device("meta"):
            shapes = CodecModel(weights.config).state_dict()
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"its configuration makes no model: {reason}") from None
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
