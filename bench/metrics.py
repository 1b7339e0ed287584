"""Objective measures of decoded audio against its original, at the codec's 24 kHz, mono.

Every function takes float arrays of one dimension and equal length and returns one finite float,
or raises MetricError: a number that could not be measured is never passed on to a mean.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from codec.errors import CodecError

Audio = npt.NDArray[np.float32]

SAMPLE_RATE = 24_000
SPEECH_RATE = 16_000

SILENCE_DB = -40.0
SILENCE_FRAME = 0.02

# (window in samples, mel bands): low bands stay wider than one FFT bin, so that no band is empty.
MEL_SCALES = ((512, 40), (1024, 80), (2048, 120))
MEL_FLOOR = 1e-5

SI_SDR_LIMIT_DB = 100.0


class MetricError(CodecError, ValueError):
    """A measure that has no value for this pair: no speech found, not finite, unequal lengths."""


def trim_silence(reference: Audio, decoded: Audio, sample_rate: int) -> tuple[Audio, Audio]:
    """Both signals without the reference's leading and trailing silence.

    Silent means: frames of 20 ms whose energy is more than 40 dB under that of the loudest frame
    of the reference. The same cut is made in both. Raises MetricError on a reference of zeros.
    """
    size = round(SILENCE_FRAME * sample_rate)
    padded = np.pad(reference, (0, -len(reference) % size)).astype(np.float64)
    energy = np.square(padded.reshape(-1, size)).sum(axis=1)
    if not energy.any():
        raise MetricError("the reference is silent")
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (SILENCE_DB / 10))
    kept = slice(loud[0] * size, (loud[-1] + 1) * size)
    return reference[kept], decoded[kept]


def speech_copies(reference: Audio, decoded: Audio) -> tuple[Audio, Audio]:
    """Silence-trimmed copies at 16 kHz, as PESQ, STOI and ViSQOL's speech mode hear them.

    Raises MetricError if either is silent: PESQ and ViSQOL have no value then.
    """
    _check_pair(reference, decoded)
    copies = (soxr.resample(x, SAMPLE_RATE, SPEECH_RATE, "VHQ") for x in (reference, decoded))
    trimmed = trim_silence(*copies, SPEECH_RATE)
    if not trimmed[1].any():
        raise MetricError("the decoded audio is silent")
    return trimmed


def pesq_wb(reference: Audio, decoded: Audio) -> float:
    """Wide-band PESQ (ITU-T P.862.2), MOS-LQO 1.04-4.64, of silence-trimmed 16 kHz copies."""
    import pesq

    copies = speech_copies(reference, decoded)
    try:
        return _finite(pesq.pesq(SPEECH_RATE, *copies, "wb"))
    except pesq.PesqError as error:
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise MetricError(f"PESQ: {text}") from None
    except ValueError:
        # The binding turns the score into an error code, whatever it is; NaN cannot be.
        raise MetricError("PESQ: measured nan") from None


def stoi(reference: Audio, decoded: Audio) -> float:
    """Short-time objective intelligibility (Taal et al. 2011), at most 1, of the same copies."""
    import pystoi

    return _finite(pystoi.stoi(*speech_copies(reference, decoded), SPEECH_RATE))


def visqol_speech(reference: Audio, decoded: Audio) -> float:
    """ViSQOL v3 in speech mode, MOS-LQO 1-5, of silence-trimmed 16 kHz copies.

    The polynomial map from similarity to MOS, scaled to 5, is chosen explicitly: with the lattice
    map the numbers would depend on whether an optional runtime is installed.
    """
    copies = speech_copies(reference, decoded)
    return _visqol("speech", copies, SPEECH_RATE)


def visqol_audio(reference: Audio, decoded: Audio) -> float:
    """ViSQOL v3 in audio mode, MOS-LQO 1-5 (about 4.7 at best), of 48 kHz copies, untrimmed."""
    _check_pair(reference, decoded)
    copies = tuple(soxr.resample(x, SAMPLE_RATE, 48_000, "VHQ") for x in (reference, decoded))
    return _visqol("audio", (copies[0], copies[1]), 48_000)


def mel_distance(reference: Audio, decoded: Audio) -> float:
    """Mean |ln mel(reference) - ln mel(decoded)| over three resolutions; 0 for equal signals.

    Per resolution (windows of 512, 1024, 2048 samples with 40, 80, 120 bands): magnitude STFT
    with a periodic Hann window, hop of a quarter window, signals padded by reflection so that
    frame t is centred on sample t * hop; Slaney mel filters of unit area over 0-12 kHz; clamped
    from below at 1e-5; natural logarithm; mean over bands and frames. Then the mean of the three.
    No trimming, no normalisation of loudness.
    """
    _check_pair(reference, decoded)
    distances = [
        np.abs(log_mel(reference, size, n_mels) - log_mel(decoded, size, n_mels)).mean()
        for size, n_mels in MEL_SCALES
    ]
    return _finite(np.mean(distances))


def si_sdr(reference: Audio, decoded: Audio) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019) in dB, of centred signals.

    Held to +-100 dB, where float32 audio has no more to tell: equal signals score 100 and silence
    scores -100. Raises MetricError if the reference is constant.
    """
    _check_pair(reference, decoded)
    target, estimate = (
        x.astype(np.float64) - x.mean(dtype=np.float64) for x in (reference, decoded)
    )
    power = float(target @ target)
    if power == 0:
        raise MetricError("SI-SDR: the reference is silent")
    scaled = (float(estimate @ target) / power) * target
    error = estimate - scaled
    signal, noise = float(scaled @ scaled), float(error @ error)
    limit = 10 ** (SI_SDR_LIMIT_DB / 10)
    if signal == 0 or noise >= signal * limit:
        return -SI_SDR_LIMIT_DB
    if noise * limit <= signal:
        return SI_SDR_LIMIT_DB
    return _finite(10 * np.log10(signal / noise))


def log_mel(audio: Audio, window: int, n_mels: int) -> Audio:
    """ln of the clamped mel magnitudes, float32 [frames, n_mels]; see `mel_distance`."""
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    # Reflection needs more samples than it pads: a shorter signal gets zeros first.
    audio = np.pad(audio, (0, max(0, window // 2 + 1 - len(audio))))
    padded = np.pad(audio, window // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 4]
    magnitudes = np.abs(np.fft.rfft(frames * hann, axis=1)).astype(np.float32)
    mel: Audio = magnitudes @ mel_filters(window, n_mels)
    return np.log(np.maximum(mel, np.float32(MEL_FLOOR)))


@functools.cache
def mel_filters(window: int, n_mels: int) -> Audio:
    """Slaney's mel filters (Auditory Toolbox) of unit area, float32 [window // 2 + 1, n_mels]."""
    # 200/3 Hz a mel below 1 kHz (mel 15), then 27 mels to each factor of 6.4.
    top = 15 + 27 * np.log(SAMPLE_RATE / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, n_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.linspace(0, SAMPLE_RATE / 2, window // 2 + 1)[:, None]
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (peak - low), (high - bins) / (high - peak)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (high - low))).astype(np.float32)


Metric = Callable[[Audio, Audio], float]

# What is measured for which kind of clip, in the table's order.
ALWAYS: dict[str, Metric] = {"mel": mel_distance, "si_sdr": si_sdr}
SPEECH_ONLY: dict[str, Metric] = {"pesq": pesq_wb, "stoi": stoi}


def metrics_for(kind: str, visqol: bool = False) -> dict[str, Metric]:
    """The measures of clips of `kind` ("speech", or anything else) by name."""
    speech = kind == "speech"
    chosen = {**SPEECH_ONLY, **ALWAYS} if speech else dict(ALWAYS)
    if visqol:
        chosen["visqol"] = visqol_speech if speech else visqol_audio
    return chosen


def measure(
    reference: Audio, decoded: Audio, kind: str, visqol: bool = False, clip: str = "clip"
) -> dict[str, float]:
    """All measures of one clip by name. A MetricError's message begins with `clip`."""
    try:
        return {
            name: metric(reference, decoded) for name, metric in metrics_for(kind, visqol).items()
        }
    except MetricError as error:
        raise MetricError(f"{clip}: {error}") from None


@functools.cache
def _visqol_api(mode: str) -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode=mode, use_lattice_model=False)
    return api


def _visqol(mode: str, pair: tuple[Audio, Audio], sample_rate: int) -> float:
    reference, decoded = (x.astype(np.float64) for x in pair)
    if not decoded.any():
        raise MetricError("ViSQOL: the decoded audio is silent")
    result = _visqol_api(mode).measure_from_arrays(reference, decoded, sample_rate)
    return _finite(result.moslqo)


def _check_pair(reference: Audio, decoded: Audio) -> None:
    if reference.ndim != 1 or reference.shape != decoded.shape or not len(reference):
        raise MetricError(
            f"need two signals of one equal length, got {reference.shape} and {decoded.shape}"
        )
    for name, audio in (("reference", reference), ("decoded audio", decoded)):
        if not np.isfinite(audio).all():
            raise MetricError(f"the {name} has samples that are not finite")


def _finite(value: Any) -> float:
    number = float(value)
    if not np.isfinite(number):
        raise MetricError(f"measured {number}")
    return number
