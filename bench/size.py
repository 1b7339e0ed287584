"""Print the weights and the multiply-adds per second of audio of each part of the shipped model.

`python -m bench.size` computes them from the configuration in the weights' metadata. Transforms,
norms and activations are left out: they are a few per cent of the multiply-adds.
"""

from __future__ import annotations

import codec
from codec.model.config import ModelConfig


def parts(config: ModelConfig) -> dict[str, tuple[int, float]]:
    """Return the parts by name: weights of its products, and multiply-adds per second of audio."""
    short_hop = config.short_fft // 2
    features = (
        config.long_fft // 2
        + 1
        + config.backbone_hop // short_hop * (short_hop + 1)
        + 2 * config.phase_bins
        + config.waveform * config.long_fft
    )
    frames = config.sample_rate / config.backbone_hop
    encoder_rate = frames / config.encoder_stack
    stack = config.hop_length // (config.backbone_hop * config.encoder_stack)
    spectra = config.backbone_hop // config.synthesis_hop
    outputs = spectra * (config.gain_bands + 2 * (config.synthesis_fft // 2 + 1))

    def blocks(number: int, dim: int, hidden: int) -> int:
        return number * (2 * dim * hidden + config.kernel_size * dim)

    embed = config.encoder_stack * features * config.encoder_dim
    encoder = blocks(config.encoder_blocks, config.encoder_dim, config.encoder_hidden)
    project = stack * config.encoder_dim * config.latent_dim
    codewords = config.n_codebooks * config.codebook_size * config.latent_dim
    rows = config.hop_length // config.backbone_hop
    expand = config.latent_dim * rows * config.decoder_dim
    decoder = blocks(config.decoder_blocks, config.decoder_dim, config.decoder_hidden)
    head = config.decoder_dim * outputs
    return {
        "encoder": (
            embed + encoder + project,
            (embed + encoder) * encoder_rate + project * config.frame_rate,
        ),
        "codebooks (full search)": (codewords, codewords * config.frame_rate),
        "decoder": (
            expand + decoder + head,
            expand * config.frame_rate + (decoder + head) * frames,
        ),
    }


def main() -> None:
    """Print the table."""
    found = parts(codec.load().config)
    print("| part | weights | multiply-adds a second |\n|---|--:|--:|")
    for name, (weights, products) in found.items():
        print(f"| {name} | {weights / 1e6:.2f} M | {products / 1e9:.3f} G |")
    total = [sum(values) for values in zip(*found.values(), strict=True)]
    print(f"| all | {total[0] / 1e6:.2f} M | {total[1] / 1e9:.3f} G |")


if __name__ == "__main__":
    main()
