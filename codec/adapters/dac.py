"""Descript Audio Codec (Kumar et al., 2023) by transformers."""

from __future__ import annotations

import math
from typing import Any

from codec.adapters.base import AdapterConfig, TorchAdapter, from_transformers


class Dac(TorchAdapter):
    """DAC at 16, 24 or 44.1 kHz. Any prefix of the codebooks decodes."""

    name = "dac"

    def _load(self, source: str) -> Any:
        return from_transformers(self.name, "DacModel", source)

    def _describe(self) -> AdapterConfig:
        config = self.module.config
        return AdapterConfig(
            sample_rate=config.sampling_rate,
            hop_length=math.prod(config.downsampling_ratios),
            n_codebooks=config.n_codebooks,
            codebook_size=config.codebook_size,
        )

    def _encode(self, audio: Any, n_codebooks: int) -> Any:
        return self.module.encode(audio[None, None], n_quantizers=n_codebooks).audio_codes[0]

    def _decode(self, codes: Any) -> Any:
        return self.module.decode(audio_codes=codes[None]).audio_values
