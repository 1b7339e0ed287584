"""Perceptual measures against the original, each from its well-kept implementation."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from codec.errors import MetricError
from codec.quality.pair import (
    SPEECH_RATE,
    Audio,
    check_pair,
    finite,
    package,
    resampled,
    speech_copies,
)

PESQ_NB_RATE = 8_000
VISQOL_AUDIO_RATE = 48_000


def pesq_wb(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2), MOS-LQO 1.04-4.64, of silence-trimmed 16 kHz copies."""
    return _pesq(speech_copies(reference, decoded, sample_rate), SPEECH_RATE, "wb")


def pesq_nb(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Narrow-band PESQ (ITU-T P.862.1), MOS-LQO 1.02-4.55, of the same copies at 8 kHz."""
    first, second = speech_copies(reference, decoded, sample_rate)
    copies = (
        resampled(first, SPEECH_RATE, PESQ_NB_RATE),
        resampled(second, SPEECH_RATE, PESQ_NB_RATE),
    )
    return _pesq(copies, PESQ_NB_RATE, "nb")


def stoi(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011), at most 1, of the same copies."""
    return _stoi(speech_copies(reference, decoded, sample_rate), extended=False)


def estoi(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Extended STOI (Jensen & Taal 2016), at most 1, of the same copies."""
    return _stoi(speech_copies(reference, decoded, sample_rate), extended=True)


def visqol_speech(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """ViSQOL v3 in speech mode, MOS-LQO 1-5, of silence-trimmed 16 kHz copies.

    The polynomial map from similarity to MOS, scaled to 5, is chosen explicitly: with the lattice
    map the numbers would depend on whether an optional runtime is installed.
    """
    return _visqol("speech", speech_copies(reference, decoded, sample_rate), SPEECH_RATE)


def visqol_audio(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """ViSQOL v3 in audio mode, MOS-LQO 1-5 (about 4.7 at best), of 48 kHz copies, untrimmed."""
    check_pair(reference, decoded)
    copies = (
        resampled(reference, sample_rate, VISQOL_AUDIO_RATE),
        resampled(decoded, sample_rate, VISQOL_AUDIO_RATE),
    )
    return _visqol("audio", copies, VISQOL_AUDIO_RATE)


def _pesq(copies: tuple[Audio, Audio], rate: int, mode: str) -> float:
    pesq = package("pesq")
    try:
        return finite(pesq.pesq(rate, *copies, mode))
    except pesq.PesqError as error:
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise MetricError(f"PESQ: {text}") from None
    except ValueError:
        # The binding turns the score into an error code, whatever it is; NaN cannot be.
        raise MetricError("PESQ: measured nan") from None


def _stoi(copies: tuple[Audio, Audio], *, extended: bool) -> float:
    with warnings.catch_warnings():
        # It then returns 1e-5, which is no measurement.
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return finite(package("pystoi").stoi(*copies, SPEECH_RATE, extended=extended))
        except (IndexError, RuntimeWarning):  # the first, if there is not even one frame
            raise MetricError("STOI: too short or too quiet") from None


@functools.cache
def _visqol_api(mode: str) -> Any:
    api = package("visqol").VisqolApi()
    api.create(mode=mode, use_lattice_model=False)
    return api


def _visqol(mode: str, pair: tuple[Audio, Audio], sample_rate: int) -> float:
    reference, decoded = (x.astype(np.float64) for x in pair)
    if not decoded.any():
        raise MetricError("ViSQOL: the decoded audio is silent")
    api = _visqol_api(mode)
    try:
        result = api.measure_from_arrays(reference, decoded, sample_rate)
    except (ValueError, IndexError):  # it cannot cut a patch out, or hears nothing in any
        raise MetricError("ViSQOL: too short or too quiet") from None
    return finite(result.moslqo)
