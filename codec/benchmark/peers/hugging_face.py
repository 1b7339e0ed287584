"""Run neural codecs through transformers, from checkpoints in the local cache."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from codec.benchmark.peers.base import Encoded
from codec.errors import PeerError
from codec.quality.pair import Audio


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """A neural codec. Settings are numbers of codebooks, or kbit/s for EnCodec.

    The payload is log2 of the codebook size for each code, without a container. Nothing is
    downloaded.
    """

    name: str
    label: str
    checkpoint: str  # on the hub, or a folder
    model_class: str
    settings: tuple[str, ...]
    kinds: frozenset[str] | None = None

    def __post_init__(self) -> None:
        try:
            import transformers  # noqa: F401
        except ImportError:
            raise PeerError("transformers is not installed") from None
        assert self.model is not None  # so that a missing checkpoint is reported now

    @property
    def title(self) -> str:
        return f"{self.label} ({self.checkpoint})"

    @property
    def sample_rate(self) -> int:
        return int(self.model.config.sampling_rate)

    @functools.cached_property
    def model(self) -> Any:
        import transformers

        try:
            found = getattr(transformers, self.model_class).from_pretrained(
                self.checkpoint, local_files_only=True
            )
        except (OSError, ValueError):
            raise PeerError(f"{self.checkpoint} is not in the local cache") from None
        return found.eval()

    def encode(self, audio: Audio, setting: str) -> Encoded:
        codes = self._codes(audio, setting)
        bits = int(np.log2(self.model.config.codebook_size))
        return Encoded(
            np.array(codes.shape, np.uint32).tobytes() + codes.astype(np.uint16).tobytes(),
            bits * codes.size,
        )

    def decode(self, data: bytes, setting: str) -> Audio:
        import torch

        levels, frames = np.frombuffer(data, np.uint32, 2)
        codes = np.frombuffer(data, np.uint16, offset=8).reshape(levels, frames)
        given = torch.from_numpy(codes.astype(np.int64))[None]
        with torch.no_grad():
            if self.model_class == "EncodecModel":
                audio = self.model.decode(given[None], [None]).audio_values
            elif self.model_class == "DacModel":
                audio = self.model.decode(audio_codes=given).audio_values
            else:
                audio = self.model.decode(given).audio_values
        return np.ravel(audio.numpy()).astype(np.float32)

    def _codes(self, audio: Audio, setting: str) -> Any:
        import torch

        given = torch.from_numpy(audio)[None, None]
        try:
            if self.model_class == "EncodecModel":
                with torch.no_grad():
                    found = self.model.encode(given, bandwidth=float(setting)).audio_codes[0]
            elif self.model_class == "DacModel":
                with torch.no_grad():
                    found = self.model.encode(given, n_quantizers=int(setting)).audio_codes
            else:
                with torch.no_grad():
                    found = self.model.encode(given, num_quantizers=int(setting)).audio_codes
        except ValueError as error:
            raise PeerError(f"{self.name} at {setting}: {error}") from None
        return found[0].numpy()


def encodec() -> HuggingFace:
    rates = ("1.5", "3", "6", "12")
    return HuggingFace("encodec", "EnCodec", "facebook/encodec_24khz", "EncodecModel", rates)


def dac() -> HuggingFace:
    return HuggingFace("dac", "DAC", "descript/dac_24khz", "DacModel", ("2", "4", "8"))


def mimi() -> HuggingFace:
    return HuggingFace("mimi", "Mimi", "kyutai/mimi", "MimiModel", ("4", "8", "16", "32"))
