"""Define the network: encoder, residual vector quantiser, decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.model.config import ModelConfig
from codec.nn.blocks import Backbone
from codec.nn.frontend import FrontEnd
from codec.nn.heads import make_head, noise_keys
from codec.nn.quantiser import Quantised, ResidualQuantiser


class Encoder(nn.Module):
    """Turn audio into latents.

    audio [batch, n * hop_length] -> latents [batch, n, latent_dim]. With config.channels = 2 audio
    is [batch, 2, n * hop_length], left and right, and the features of mid and side are embedded
    together.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.front = FrontEnd(config)
        self.front_stack = config.encoder_stack
        self.stack = config.hop_length // (config.backbone_hop * config.encoder_stack)
        dim = config.encoder_dim
        self.embed = nn.Linear(config.channels * self.front.size * self.front_stack, dim)
        self.backbone = Backbone(
            dim,
            config.encoder_hidden,
            config.encoder_blocks,
            config.kernel_size,
            config.encoder_lookahead,
        )
        self.project = nn.Linear(dim * self.stack, config.latent_dim)

    @torch.no_grad()
    def fit(self, audio: Tensor) -> None:
        """Start the embedding from the statistics of `audio` [batch, n * hop_length].

        Half of the embedding takes the leading principal components of the log-magnitudes, half
        those of the compressed complex values, each with unit variance. From a random start the
        few large directions (loudness, tilt) drown the many small ones that carry phase, and
        training takes thousands of steps to dig them out.
        """
        self.front.fit(audio)
        features = self.features(audio).flatten(0, 1).double()
        self.embed.weight.zero_()
        self.embed.bias.zero_()
        position = torch.arange(features.shape[1]) % self.front.size
        is_phase = position >= self.front.size - self.front.phase_size
        dim = self.embed.out_features
        half = dim // 2 if self.front.phase_size else dim
        for start, stop, columns in ((0, half, ~is_phase), (half, dim, is_phase)):
            if start == stop:
                continue
            part = features[:, columns]
            k = min(stop - start, part.shape[1])
            values, vectors = torch.linalg.eigh(part.T @ part / len(part))
            values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
            white = vectors / torch.sqrt(values + 0.1 * values.mean())
            self.embed.weight[start : start + k, columns] = white.T.float()

    def features(self, audio: Tensor) -> Tensor:
        """Put the front-end frames that make one encoder frame side by side."""
        x: Tensor = self.front(audio)
        *_, n, size = x.shape
        batch = len(x)
        if x.dim() == 4:  # all frames of the mid, then all of the side
            x = x.reshape(batch, 2, n // self.front_stack, size * self.front_stack)
            return x.transpose(1, 2).flatten(2)
        return x.reshape(batch, n // self.front_stack, size * self.front_stack)

    def forward(self, audio: Tensor) -> Tensor:
        x = self.backbone(self.embed(self.features(audio)))
        batch, n, dim = x.shape
        out: Tensor = self.project(x.reshape(batch, n // self.stack, dim * self.stack))
        return out


class Decoder(nn.Module):
    """Turn latents into audio.

    latents [batch, n, latent_dim] -> audio [batch, n * hop_length], or with config.channels = 2
    [batch, 2, n * hop_length], left and right.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.stack = config.hop_length // config.backbone_hop
        dim = config.decoder_dim
        self.embed = nn.Linear(config.latent_dim, dim * self.stack)
        self.backbone = Backbone(
            dim,
            config.decoder_hidden,
            config.decoder_blocks,
            config.kernel_size,
            config.decoder_lookahead,
        )
        self.head = make_head(config, dim)

    def forward(self, latents: Tensor, keys: Tensor | None = None) -> Tensor:
        """Decode; keys: `noise_keys` of the codes, int64 [batch, n], or None for zeros."""
        if keys is None:
            keys = torch.zeros(latents.shape[:2], dtype=torch.int64, device=latents.device)
        x = self.embed(latents)
        batch, n, dim = x.shape
        x = self.backbone(x.reshape(batch, n * self.stack, dim // self.stack))
        out: Tensor = self.head(x.float(), keys)
        return out


class CodecModel(nn.Module):
    """Hold encoder, quantiser and decoder of one configuration."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantiser = ResidualQuantiser(
            config.n_codebooks, config.codebook_size, config.latent_dim
        )
        self.decoder = Decoder(config)

    @torch.no_grad()
    def encode(self, audio: Tensor, n_codebooks: int | None = None) -> Tensor:
        """Encode audio float32 [batch, n * hop_length], or [batch, 2, n * hop_length] with two
        channels, to codes int64 [n_codebooks, batch, n]."""
        latents: Tensor = self.encoder(audio)
        quantised: Quantised = self.quantiser(latents, levels=n_codebooks)
        return quantised.codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes int64 [n_codebooks, batch, n] to audio, shaped as `encode` takes it."""
        out: Tensor = self.decoder(self.quantiser.decode(codes), noise_keys(codes))
        return out
