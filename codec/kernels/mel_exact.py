"""Runs the exact log-mel kernels, C or numba: the same bits on every CPU."""

from __future__ import annotations

import functools
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from codec.errors import AudioError
from codec.kernels.choose import load, resolve
from codec.kernels.mel_spec import MelSpec, first_top, tables
from codec.support.arguments import as_bool, named_array, to_float32

Floats = npt.NDArray[np.float32]

# Louder samples could overflow the power of a frame: (2 * MAX_N_FFT * PEAK)^2 is below 3.4e38.
PEAK = 1e12


def log_mel(
    audio: npt.ArrayLike,
    spec: MelSpec,
    *,
    backend: str | None = None,
    frame_major: bool = False,
    out: Floats | None = None,
) -> Floats:
    """Run `codec.mel.log_mel` on "native" or "numba", None for the first that is installed."""
    clips = check_clips(audio)
    frame_major = as_bool(frame_major, "frame_major", AudioError)
    flat = clips.reshape(-1, clips.shape[-1])
    mel = result_for(spec, clips, frame_major, out)
    tops = np.full(len(flat), first_top(spec), np.float32)
    frames = mel.reshape(len(flat), *mel.shape[-2:])
    run(resolve(backend), spec, flat, -spec.pad, tops, frames, frame_major)
    return mel


def result_for(
    spec: MelSpec, clips: npt.NDArray[Any], frame_major: bool, out: Floats | None
) -> Floats:
    """Return `out`, or a new array, for the result of `clips` [..., samples].

    Raises AudioError unless `out` is a C-contiguous, writeable float32 array of that shape.
    """
    frames = spec.n_frames(clips.shape[-1])
    shape = clips.shape[:-1]
    shape += (frames, spec.n_mels) if frame_major else (spec.n_mels, frames)
    return np.empty(shape, np.float32) if out is None else _check_out(out, shape)


@functools.lru_cache(maxsize=16)
def native_plan(spec: MelSpec) -> Any:
    """Prepare a spec for the C kernel."""
    return load("codec.kernels._native").MelPlan(tables(spec))


def run(
    backend: str,
    spec: MelSpec,
    clips: npt.NDArray[Any],
    start: int,
    tops: Floats,
    out: Floats,
    frame_major: bool,
) -> None:
    """Write frames of `clips` [B, samples], the first from sample `start` on, to `out` [B, ...].

    tops: float32 [B], the running maximum of each clip; updated. Raises AudioError.
    """
    if backend == "native":
        finite = native_plan(spec)(clips, start, tops, out, frame_major)
    else:
        numba = load("codec.kernels.mel_numba")
        finite = numba.run(in_float32(clips), tables(spec), start, tops, out, frame_major)
    if not finite:
        raise AudioError("audio has samples that are not finite, or beyond 1e12 in magnitude")


def check_clips(audio: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return `audio` with its samples side by side. Raises AudioError on a wrong shape or dtype."""
    samples = named_array(audio, "audio", AudioError)
    if samples.ndim == 0 or samples.size == 0:
        raise AudioError(f"audio is [..., samples] and not empty, not {list(samples.shape)}")
    samples = to_float32(samples)
    if samples.dtype not in (np.float32, np.int16):
        raise AudioError(f"audio is floats or int16, not {samples.dtype}")
    beside = samples.strides[-1] == samples.itemsize or samples.shape[-1] == 1
    return samples if beside else np.ascontiguousarray(samples)


def in_float32(samples: npt.NDArray[Any]) -> Floats:
    """Scale int16 to float32 in [-1, 1); return float32 unchanged."""
    return samples * np.float32(2.0**-15) if samples.dtype == np.int16 else samples


def check_finite(samples: npt.NDArray[Any]) -> None:
    """Raise AudioError on samples that are not finite, or beyond `PEAK`."""
    # Comparisons with NaN are false, so this refuses NaN too.
    if not (samples.min() >= -PEAK and samples.max() <= PEAK):
        raise AudioError("audio has samples that are not finite, or beyond 1e12 in magnitude")


def _check_out(out: Any, shape: tuple[int, ...]) -> Floats:
    fits = isinstance(out, np.ndarray) and out.dtype == np.float32 and out.shape == shape
    if not (fits and out.flags.c_contiguous and out.flags.writeable):
        raise AudioError(f"out is a C-contiguous, writeable float32 array {list(shape)}")
    return cast(Floats, out)
