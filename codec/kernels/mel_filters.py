"""Windows and mel filters, in float64: what librosa, torchaudio and Whisper compute in float32."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

# Coefficients of 1, cos(2 pi j / n), cos(4 pi j / n).
WINDOWS = {
    "hann": (0.5, -0.5),
    "hamming": (0.54, -0.46),
    "blackman": (0.42, -0.5, 0.08),
    "ones": (1.0,),
}


def window(kind: str, size: int, n_fft: int) -> Doubles:
    """Compute the periodic window of `size` samples, centred in n_fft, with zeros around it."""
    phase = 2 * np.pi * np.arange(size) / size
    values = np.sum([c * np.cos(i * phase) for i, c in enumerate(WINDOWS[kind])], axis=0)
    if kind == "hann":
        values = np.sin(np.pi * np.arange(size) / size) ** 2  # the same, exact near 0
    left = (n_fft - size) // 2
    return np.pad(values, (left, n_fft - size - left))


def filters(
    sample_rate: int, n_fft: int, n_mels: int, low: float, high: float, scale: str, area: bool
) -> Doubles:
    """Compute triangles [n_mels, n_fft // 2 + 1], evenly spaced in mel from `low` to `high` Hz.

    Each is 1 high, or with `area` 2 / its width in Hz.
    """
    to_mel, to_hz = (_slaney_mel, _slaney_hz) if scale == "slaney" else (_htk_mel, _htk_hz)
    edges = to_hz(np.linspace(to_mel(low), to_mel(high), n_mels + 2))
    below, centre, above = (edges[i : i + n_mels, None] for i in range(3))
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    rising, falling = (bins - below) / (centre - below), (above - bins) / (above - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return cast(Doubles, triangles * (2 / (above - below)) if area else triangles)


# Slaney, Auditory Toolbox (1998): linear to 1 kHz, then 27 bands for each factor of 6.4.
_HZ_A_MEL = 200 / 3
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27


def _slaney_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _HZ_A_MEL
    return float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _slaney_hz(mel: Doubles) -> Doubles:
    above = _KNEE_HZ * np.exp((mel - _KNEE_MEL) * _LOG_STEP)
    return np.where(mel < _KNEE_MEL, mel * _HZ_A_MEL, above)


# O'Shaughnessy (1987), as in HTK.
def _htk_mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))


def _htk_hz(mel: Doubles) -> Doubles:
    return 700 * (10 ** (mel / 2595) - 1)
