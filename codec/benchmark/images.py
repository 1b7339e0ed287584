"""Draw audio for the pages, as data URIs."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np
import numpy.typing as npt

from codec.quality.pair import Audio
from codec.quality.spectral import log_mel
from codec.support.packages import require

WINDOW, BANDS = 1024, 80
RANGE_DB = 80.0  # below the loudest value of the original
COLOURS = 64
MAX_COLUMNS = 900


def data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def mel_levels(audio: Audio) -> npt.NDArray[np.float32]:
    """Compute mel magnitudes in dB, float32 [columns, BANDS].

    Windows are 43 ms at 24 kHz with a hop of a quarter. Neighbours are averaged if there would be
    more than MAX_COLUMNS columns.
    """
    levels = log_mel(audio, WINDOW, BANDS) * np.float32(20 / np.log(10))
    group = -(-len(levels) // MAX_COLUMNS)
    whole = levels[: len(levels) // group * group]
    averaged: npt.NDArray[np.float32] = whole.reshape(-1, group, BANDS).mean(axis=1)
    return averaged


def spectrogram(audio: Audio, top: float | None = None) -> str:
    """Return `mel_levels` as a PNG data URI, low bands below. top: dB of the brightest colour."""
    levels = mel_levels(audio)
    highest = float(levels.max()) if top is None else top
    shares = np.clip((levels - highest) / RANGE_DB + 1, 0, 1)
    return palette_png((shares.T[::-1] * (COLOURS - 1)).round().astype(np.uint8))


def palette_png(indices: npt.NDArray[np.uint8]) -> str:
    """Return `indices` [rows, columns], below COLOURS, as a PNG data URI in magma's colours."""
    require(["matplotlib"], "bench")
    from PIL import Image  # which matplotlib needs

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
