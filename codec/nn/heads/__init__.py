"""Heads turn backbone frames into samples: short-time spectra, inverse transform, overlap-add.

`ModelConfig.head` names one. `gain_shape` ships, and the native engine runs it alone; the others
are for comparison (`bench/ablate.py`) and run on PyTorch.
"""

from codec.errors import ModelError
from codec.model.config import ModelConfig
from codec.nn.heads.base import SpectralHead
from codec.nn.heads.fourier import GainShapeHead, MagPhaseHead, RealImagHead
from codec.nn.heads.mdct import MdctHead
from codec.nn.heads.signs import noise_keys, noise_signs

HEADS: dict[str, type[SpectralHead]] = {
    "gain_shape": GainShapeHead,
    "mag_phase": MagPhaseHead,
    "real_imag": RealImagHead,
    "mdct": MdctHead,
}


def make_head(config: ModelConfig, dim: int) -> SpectralHead:
    """Make the head that `config` names, for frames of `dim` values. Raises ModelError."""
    if config.head not in HEADS:
        raise ModelError(f"no head {config.head!r}; choose from {', '.join(HEADS)}")
    return HEADS[config.head](config, dim)


__all__ = ["HEADS", "SpectralHead", "make_head", "noise_keys", "noise_signs"]
