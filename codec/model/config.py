"""Define the shape of a model: every dimension, saved with its weights."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar

from codec.errors import ModelError


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Every dimension of the network. Lengths are in samples or frames, as each field says."""

    # Whether audio must be coded in one piece, because codes depend on all of it: not by our
    # network, but by those of other people (codec.adapters).
    whole: ClassVar[bool] = False

    sample_rate: int = 24_000
    hop_length: int = 960  # samples a token frame
    channels: int = 1  # coded together: 1, or 2 as mid and side in one latent
    n_codebooks: int = 28
    codebook_size: int = 1024
    latent_dim: int = 160

    backbone_hop: int = 480  # samples a frame of the front end and the decoder; divides hop_length
    encoder_stack: int = 2  # front-end frames that make one encoder frame

    long_fft: int = 960  # analysis window of the log-magnitudes with fine frequency resolution
    short_fft: int = 240  # and of those with fine time resolution, every short_fft / 2 samples
    phase_bins: int = 160  # bins of the long FFT given to the encoder as compressed complex values
    waveform: bool = False  # give it the samples of the long window too

    encoder_dim: int = 384
    encoder_hidden: int = 768  # between the two linear layers of a block
    encoder_blocks: int = 4
    encoder_lookahead: int = 0  # encoder frames
    decoder_dim: int = 384
    decoder_hidden: int = 1024
    decoder_blocks: int = 5
    decoder_lookahead: int = 0  # decoder frames
    kernel_size: int = 7  # frames, of the depthwise convolutions

    head: str = "gain_shape"
    synthesis_fft: int = 960
    synthesis_hop: int = 240
    gain_bands: int = 32
    noise_from: int = 4000  # hertz, from which on the decoder gives its spectra random signs

    def __post_init__(self) -> None:
        if type(self.channels) is not int or self.channels not in (1, 2):
            raise ModelError(f"a model codes 1 or 2 channels together, not {self.channels!r}")

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def bits_per_code(self) -> int:
        return (self.codebook_size - 1).bit_length()

    @property
    def bitrate_per_codebook(self) -> float:
        """Bits a second that one codebook adds, for the `channels` that are coded together."""
        return self.frame_rate * self.bits_per_code

    @property
    def latency(self) -> int:
        """Samples from an input sample's arrival to its output, at the worst: the frame it opens,
        what both networks look ahead, and the reach of the analysis and synthesis windows."""
        analysis = (self.long_fft - self.backbone_hop) // 2
        synthesis = (self.synthesis_fft - self.synthesis_hop) // 2
        lookahead = self.backbone_hop * (
            self.encoder_lookahead * self.encoder_stack + self.decoder_lookahead
        )
        return self.hop_length + analysis + lookahead + synthesis

    def n_frames(self, n_samples: int) -> int:
        """Frames of `n_samples` samples at `sample_rate`: ceil(n_samples / hop_length)."""
        return -(-n_samples // self.hop_length)

    def dimensions(self) -> dict[str, Any]:
        """Return every field, but `channels` only where it is not 1.

        The first models were named, and their weights written, before there was such a field.
        """
        fields = dataclasses.asdict(self)
        if self.channels == 1:
            del fields["channels"]
        return fields

    def to_json(self) -> str:
        return json.dumps(self.dimensions(), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Inverse of `to_json`. Raises ModelError on a field that is missing or unknown."""
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(**fields)
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(f"not a model configuration: {error}") from None
