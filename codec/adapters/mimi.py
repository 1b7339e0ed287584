"""Mimi (Défossez et al., Moshi, 2024) by transformers: 12.5 frames a second, level 1 semantic."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from codec.adapters.base import AdapterConfig, TorchAdapter, from_transformers
from codec.adapters.mimi_stream import MimiDecoder, MimiEncoder


class Mimi(TorchAdapter):
    """Mimi at 24 kHz. Any prefix of the codebooks decodes."""

    name = "mimi"

    @property
    def streaming(self) -> Mimi:  # type: ignore[override]
        """Mimi itself: its frames of 80 ms come out as they fill up."""
        return self

    @cached_property
    def encoder(self) -> MimiEncoder:
        """The encoder as a stream. Raises ModelError if the model is not causal."""
        return MimiEncoder(self.module, self._device, self.config.hop_length)

    @cached_property
    def decoder(self) -> MimiDecoder:
        """The decoder as a stream. Raises ModelError if the model is not causal."""
        return MimiDecoder(self.module, self._device, self.config.hop_length)

    def _load(self, source: str) -> Any:
        return from_transformers(self.name, "MimiModel", source)

    def _describe(self) -> AdapterConfig:
        config = self.module.config
        return AdapterConfig(
            sample_rate=config.sampling_rate,
            hop_length=round(config.sampling_rate / config.frame_rate),
            n_codebooks=config.num_quantizers,
            codebook_size=config.codebook_size,
        )

    def _encode(self, audio: Any, n_codebooks: int) -> Any:
        return self.module.encode(audio[None, None], num_quantizers=n_codebooks).audio_codes[0]

    def _decode(self, codes: Any) -> Any:
        return self.module.decode(codes[None]).audio_values
