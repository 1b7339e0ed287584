"""X-Codec 2 (Ye et al., Llasa, 2025) by transformers: one codebook of 65,536 at 50 Hz."""

from __future__ import annotations

import math
from typing import Any

from codec.adapters.base import AdapterConfig, TorchAdapter, from_transformers
from codec.errors import ModelError


class Xcodec2(TorchAdapter):
    """X-Codec 2 at 16 kHz, for speech."""

    name = "xcodec2"

    def _load(self, source: str) -> Any:
        module = from_transformers(self.name, "Xcodec2Model", source)
        from transformers import AutoFeatureExtractor

        extractor: Any = AutoFeatureExtractor
        try:
            self._features = extractor.from_pretrained(source, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"xcodec2: {source}: {' '.join(str(error).split())[:200]}") from None
        return module

    def _describe(self) -> AdapterConfig:
        config = self.module.config
        return AdapterConfig(
            sample_rate=config.sampling_rate,
            hop_length=math.prod(config.downsampling_ratios),
            n_codebooks=1,
            codebook_size=math.prod(config.quantization_levels),
        )

    def _encode(self, audio: Any, n_codebooks: int) -> Any:
        given = self._features(
            audio.cpu().numpy(), sampling_rate=self.config.sample_rate, return_tensors="pt"
        )
        given = {key: value.to(self._device) for key, value in given.items()}
        return self.module.encode(**given).audio_codes[0]

    def _decode(self, codes: Any) -> Any:
        if codes.shape[1] > 1:
            return self.module.decode(audio_codes=codes[None]).audio_values
        # Its norms refuse a single frame: decode it twice in a row, and keep the first.
        audio = self.module.decode(audio_codes=codes[None].repeat(1, 1, 2)).audio_values
        return audio[..., : self.config.hop_length]
