"""Log-mel spectra, as Whisper's models take them (Radford et al., 2022, section 2.2)."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from codec.errors import AudioError, SpecError
from codec.kernels import load, resolve
from codec.kernels.mel_tables import MelTables, factors, mel_tables

Floats = npt.NDArray[np.float32]

MAX_N_FFT = 1 << 16
# Louder samples could overflow the power of a frame: (MAX_N_FFT * PEAK)^2 must stay below 3.4e38.
PEAK = 1e12


@dataclasses.dataclass(frozen=True)
class MelSpec:
    """A log-mel front end: everything that its output depends on beside the audio.

    Frames of `n_fft` samples every `hop_length`, the first centred on sample 0, under a periodic
    Hann window; power spectrum; `n_mels` triangular filters of equal area, evenly spaced on
    Slaney's mel scale from `fmin` to `fmax` Hz (None: half the sample rate); then
    log10(max(power, 1e-10)), at least the clip's maximum - 8, (. + 4) / 4.

    Raises SpecError on values that make no sense, or an `n_fft` that is not even and a product of
    powers of 2, 3 and 5.
    """

    sample_rate: int = 16_000
    n_fft: int = 400
    hop_length: int = 160
    n_mels: int = 80
    fmin: float = 0.0
    fmax: float | None = None

    def __post_init__(self) -> None:
        if not (2 <= self.n_fft <= MAX_N_FFT and self.n_fft % 2 == 0 and factors(self.n_fft // 2)):
            # factors(1) is the empty product: n_fft = 2 is refused with the rest.
            raise SpecError(
                f"n_fft is even, a product of 2s, 3s and 5s, 4 to {MAX_N_FFT}, not {self.n_fft}"
            )
        if self.sample_rate < 1 or self.hop_length < 1 or self.n_mels < 1:
            raise SpecError("sample_rate, hop_length and n_mels are at least 1")
        if not 0 <= self.fmin < self.top <= self.sample_rate / 2:
            raise SpecError(
                f"0 <= fmin < fmax <= {self.sample_rate / 2} Hz, not {self.fmin} and {self.top}"
            )

    @property
    def top(self) -> float:
        """The upper edge of the highest filter, Hz."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip: the last one that fits a whole hop, as Whisper counts them."""
        return n_samples // self.hop_length


WHISPER_80 = MelSpec()
WHISPER_128 = MelSpec(n_mels=128)  # large-v3


def log_mel(
    audio: npt.ArrayLike, spec: MelSpec = WHISPER_80, *, backend: str | None = None
) -> Floats:
    """Log-mel spectrum of each clip.

    audio: float32 in [-1, 1] or int16, [..., samples] at `spec.sample_rate`. Returns float32
    [..., n_mels, samples // hop_length]; every clip's result is that of the clip alone.

    At both ends the clip is extended by reflection. That needs more than n_fft / 2 samples; a
    shorter clip is first continued with zeros to n_fft / 2 + 1, the frame count staying that of
    the clip. (Whisper pads every clip to 30 s of zeros before this; do so for its encoder.)

    "native" and "numba" give the same bits on every CPU, "torch" the same up to rounding.

    Raises AudioError on audio that is empty, of another dtype, not finite or beyond 1e12 in
    magnitude, BackendError on a backend that cannot run here.
    """
    clips = _clips(audio)
    flat = clips.reshape(-1, clips.shape[-1])
    name = resolve(backend)
    mel: Any
    if name == "native":
        mel = _native_plan(spec)(flat)
    elif name == "numba":
        mel = load("codec.kernels.mel_numba").run(flat, _tables(spec))
    else:
        mel = load("codec.nn.ops").log_mel(load("torch").tensor(flat), spec).numpy()
    return cast(Floats, mel.reshape(*clips.shape[:-1], *mel.shape[1:]))


def mel_filters(spec: MelSpec) -> Floats:
    """Filters [n_mels, n_fft / 2 + 1]: triangles over Slaney's mel scale, 2 / width high.

    Slaney, Auditory Toolbox (1998): linear to 1 kHz, then 27 bands for each factor of 6.4.
    """
    edges = _mel_to_hz(np.linspace(_hz_to_mel(spec.fmin), _hz_to_mel(spec.top), spec.n_mels + 2))
    low, centre, high = (edges[i : i + spec.n_mels, None] for i in range(3))
    bins = np.arange(spec.n_fft // 2 + 1) * (spec.sample_rate / spec.n_fft)
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low))
    return cast(Floats, filters.astype(np.float32))


_HZ_A_MEL = 200 / 3
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _HZ_A_MEL
    return float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = _KNEE_HZ * np.exp((mel - _KNEE_MEL) * _LOG_STEP)
    return np.where(mel < _KNEE_MEL, mel * _HZ_A_MEL, above)


@functools.lru_cache(maxsize=16)
def _tables(spec: MelSpec) -> MelTables:
    return mel_tables(mel_filters(spec), spec.hop_length)


@functools.lru_cache(maxsize=16)
def _native_plan(spec: MelSpec) -> Any:
    return load("codec._native").MelPlan(_tables(spec))


def _clips(audio: npt.ArrayLike) -> Floats:
    samples = np.asarray(audio)
    if samples.ndim == 0 or samples.size == 0:
        raise AudioError(f"audio is [..., samples] and not empty, not {list(samples.shape)}")
    if samples.dtype == np.int16:
        return np.ascontiguousarray(samples) * np.float32(2.0**-15)
    if samples.dtype != np.float32:
        raise AudioError(f"audio is float32 or int16, not {samples.dtype}")
    # Comparisons with NaN are false: this refuses it too.
    if not (samples.min() >= -PEAK and samples.max() <= PEAK):
        raise AudioError("audio has samples that are not finite, or beyond 1e12 in magnitude")
    return np.ascontiguousarray(samples)
