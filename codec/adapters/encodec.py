"""EnCodec (Défossez et al., 2022) by transformers: 75 frames a second, up to 32 codebooks."""

from __future__ import annotations

from typing import Any

from codec.adapters.base import AdapterConfig, TorchAdapter, from_transformers
from codec.errors import ModelError


class Encodec(TorchAdapter):
    """EnCodec at 24 kHz. Any prefix of the codebooks decodes."""

    name = "encodec"

    def _load(self, source: str) -> Any:
        module = from_transformers(self.name, "EncodecModel", source)
        config = module.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
            raise ModelError(
                f"encodec: {source}: only mono models that neither scale nor cut audio, such as"
                " facebook/encodec_24khz"
            )
        return module

    def _describe(self) -> AdapterConfig:
        config = self.module.config
        return AdapterConfig(
            sample_rate=config.sampling_rate,
            hop_length=config.hop_length,
            n_codebooks=config.num_quantizers,
            codebook_size=config.codebook_size,
        )

    def _encode(self, audio: Any, n_codebooks: int) -> Any:
        embeddings = self.module.encoder(audio[None, None])
        # `encode` takes a bandwidth of a list; the quantiser takes any number of codebooks.
        each = self.module.config.frame_rate * self.config.bits_per_code / 1000
        codes = self.module.quantizer.encode(embeddings, (n_codebooks + 0.5) * each)
        return codes[:n_codebooks, 0]

    def _decode(self, codes: Any) -> Any:
        return self.module.decode(codes[None, None], [None]).audio_values
