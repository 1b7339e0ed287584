"""Pictures of audio for the pages, as data that an HTML file can hold."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np
import numpy.typing as npt

from codec.errors import MissingPackageError
from codec.quality.pair import Audio
from codec.quality.spectral import log_mel

WINDOW, BANDS = 1024, 80
RANGE_DB = 80.0  # under the loudest of the original
COLOURS = 64
MAX_COLUMNS = 900


def data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def mel_levels(audio: Audio) -> npt.NDArray[np.float32]:
    """dB of mel magnitudes, float32 [columns, BANDS]: of windows of 43 ms at 24 kHz, every quarter
    of one, and the mean of neighbours where these were more than MAX_COLUMNS."""
    levels = log_mel(audio, WINDOW, BANDS) * np.float32(20 / np.log(10))
    group = -(-len(levels) // MAX_COLUMNS)
    whole = levels[: len(levels) // group * group]
    averaged: npt.NDArray[np.float32] = whole.reshape(-1, group, BANDS).mean(axis=1)
    return averaged


def spectrogram(audio: Audio, top: float | None = None) -> str:
    """A PNG of `mel_levels`, low bands below, as a data URI. top: dB of the brightest colour."""
    levels = mel_levels(audio)
    highest = float(levels.max()) if top is None else top
    shares = np.clip((levels - highest) / RANGE_DB + 1, 0, 1)
    return palette_png((shares.T[::-1] * (COLOURS - 1)).round().astype(np.uint8))


def palette_png(indices: npt.NDArray[np.uint8]) -> str:
    """`indices` [rows, columns] below COLOURS as a PNG in magma's colours, as a data URI."""
    try:
        from PIL import Image  # which matplotlib needs
    except ImportError:
        raise MissingPackageError("matplotlib is not there: pip install 'codec[bench]'") from None

    image = Image.fromarray(np.ascontiguousarray(indices), "P")
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return data_uri(file.getvalue(), "image/png")


@functools.cache
def _palette() -> bytes:
    from matplotlib import colormaps

    colours = colormaps["magma"](np.linspace(0, 1, COLOURS))[:, :3]
    return bytes((colours * 255).round().astype(np.uint8).tobytes())
