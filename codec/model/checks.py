"""What every backend asks of its arguments, checked before the network sees them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec.errors import AudioError, BitrateError, TokensError
from codec.model.config import ModelConfig
from codec.support.arguments import as_array
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]


def check_audio(audio: Floats, channels: int = 1) -> Floats:
    """Return `audio`, contiguous.

    Raises AudioError unless it is float32 [samples], or [channels, samples] for a model that codes
    several channels together, all finite.
    """
    samples, shape = np.ascontiguousarray(audio), np.shape(audio)
    fits = len(shape) == 1 if channels == 1 else len(shape) == 2 and shape[0] == channels
    if samples.dtype != np.float32 or not fits:
        wanted = "[samples]" if channels == 1 else f"[{channels}, samples]"
        raise AudioError(f"audio is float32 {wanted}, not {samples.dtype} {list(shape)}")
    if not np.isfinite(samples).all():
        raise AudioError("audio is not finite: it holds NaN or infinity")
    return samples


def check_codebooks(n_codebooks: int, config: ModelConfig) -> None:
    """Raises BitrateError unless the model has `n_codebooks` codebooks, at least 1."""
    if not 1 <= n_codebooks <= config.n_codebooks:
        raise BitrateError(f"{n_codebooks} codebooks; the model has 1 to {config.n_codebooks}")


def check_codes(codes: npt.ArrayLike, config: ModelConfig) -> Codes:
    """Return `codes`, contiguous uint16.

    Raises TokensError unless they are integers [1 to Q codebooks, frames], all within the codebook.
    """
    try:
        array = as_array(codes)
    except ValueError as error:
        raise TokensError(f"codes are no array of integers: {error}") from None
    if array.ndim != 2 or not 1 <= len(array) <= config.n_codebooks or array.dtype.kind not in "iu":
        raise TokensError(
            f"codes are integers [1 to {config.n_codebooks}, frames], "
            f"not {array.dtype} {list(array.shape)}"
        )
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < config.codebook_size:
        raise TokensError(f"codes are 0 to {config.codebook_size - 1}")
    return np.ascontiguousarray(array, np.uint16)
