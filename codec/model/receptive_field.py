"""How far the network sees: the frames around one on which its codes, or samples, depend."""

from __future__ import annotations

from typing import NamedTuple

from codec.model.config import ModelConfig


class Reach(NamedTuple):
    """Token frames before and after a frame that it depends on, rounded up."""

    before: int
    after: int


EVERYTHING = Reach(1 << 40, 1 << 40)  # more frames than any audio has


def encoder_reach(config: ModelConfig) -> Reach:
    """Of the codes of a frame, on the samples of frames."""
    if config.whole:
        return EVERYTHING
    # The windows reach beyond their frames, centred on them; the short ones no further.
    reach = config.long_fft - config.backbone_hop
    before, after = reach // 2, reach - reach // 2
    left, right = _backbone(config.encoder_blocks, config.kernel_size, config.encoder_lookahead)
    frame = config.backbone_hop * config.encoder_stack
    return Reach(
        -(-(left * frame + before) // config.hop_length),
        -(-(right * frame + after) // config.hop_length),
    )


def decoder_reach(config: ModelConfig) -> Reach:
    """Of the samples of a frame, on the codes of frames."""
    if config.whole:
        return EVERYTHING
    reach = config.synthesis_fft - config.synthesis_hop
    left, right = _backbone(config.decoder_blocks, config.kernel_size, config.decoder_lookahead)
    before, after = (side * config.backbone_hop + reach // 2 for side in (left, right))
    return Reach(-(-before // config.hop_length), -(-after // config.hop_length))


def _backbone(blocks: int, kernel_size: int, lookahead: int) -> tuple[int, int]:
    ahead = min(lookahead, blocks)
    return blocks * (kernel_size - 1) - ahead, ahead
