"""The shape of a model: every dimension in one frozen dataclass, saved beside its weights."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from codec.errors import ModelError


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Every dimension of the network. Lengths are in samples or frames, as each field says."""

    sample_rate: int = 24_000
    hop_length: int = 480  # samples a frame
    n_codebooks: int = 12
    codebook_size: int = 1024

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def bits_per_code(self) -> int:
        return (self.codebook_size - 1).bit_length()

    @property
    def bitrate_per_codebook(self) -> float:
        """Bits a second that one codebook adds, for one channel."""
        return self.frame_rate * self.bits_per_code

    def n_frames(self, n_samples: int) -> int:
        """Frames of `n_samples` samples at `sample_rate`: ceil(n_samples / hop_length)."""
        return -(-n_samples // self.hop_length)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Inverse of `to_json`. Raises ModelError on a field that is missing or unknown."""
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise ModelError(f"not a model configuration: {error}") from None
