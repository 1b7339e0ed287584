"""Distances of waveforms and spectra, by stated definitions."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import MetricError
from codec.quality.pair import Audio, check_pair, finite, package

# (window in samples, mel bands): low bands stay wider than one FFT bin, so that no band is empty.
MEL_SCALES = ((512, 40), (1024, 80), (2048, 120))
MEL_FLOOR = 1e-5
MEL_RATE = 24_000  # where the windows are 21, 43 and 85 ms

LSD_WINDOW = 2048
LSD_FLOOR = 1e-8  # of power: bins of digital silence count as equal

SI_SDR_LIMIT_DB = 100.0


def mel_distance(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Mean |ln mel(reference) - ln mel(decoded)| over three resolutions; 0 for equal signals.

    Per resolution (windows of 512, 1024, 2048 samples with 40, 80, 120 bands): magnitude STFT
    with a periodic Hann window, hop of a quarter window, signals padded by reflection so that
    frame t is centred on sample t * hop; Slaney mel filters of unit area over 0 Hz to half the
    sample rate; clamped from below at 1e-5; natural logarithm; mean over bands and frames. Then
    the mean of the three. No trimming, no normalisation of loudness.
    """
    check_pair(reference, decoded)
    distances = [
        np.abs(
            log_mel(reference, size, n_mels, sample_rate)
            - log_mel(decoded, size, n_mels, sample_rate)
        ).mean()
        for size, n_mels in MEL_SCALES
    ]
    return finite(np.mean(distances))


def log_spectral_distance(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Log-spectral distance in dB (Gray & Markel 1976); 0 for equal signals.

    Root mean square over frequency of the difference of log power spectra, mean over frames: Hann
    windows of 2048 samples that overlap by three quarters, power clamped from below at 1e-8.
    """
    check_pair(reference, decoded)
    first, second = (
        10
        * np.log10(np.maximum(np.square(_magnitudes(x, LSD_WINDOW), dtype=np.float64), LSD_FLOOR))
        for x in (reference, decoded)
    )
    return finite(np.sqrt(np.square(first - second).mean(axis=1)).mean())


def multi_resolution_stft(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """auraloss's MultiResolutionSTFTLoss with its defaults (Yamamoto et al. 2020): spectral
    convergence and log-magnitude distance, mean of three resolutions; 0 for equal signals."""
    check_pair(reference, decoded)
    torch, loss = package("torch"), _mrstft(package("auraloss.freq"))
    if len(reference) <= max(each.fft_size for each in loss.stft_losses) // 2:
        raise MetricError("MR-STFT: too short")
    pair = (torch.from_numpy(np.ascontiguousarray(x))[None, None] for x in (decoded, reference))
    with torch.no_grad():
        return finite(loss(*pair))


def si_sdr(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019) in dB, of centred signals.

    Held to +-100 dB, where float32 audio has no more to tell: equal signals score 100 and silence
    scores -100. Raises MetricError if the reference is constant.
    """
    check_pair(reference, decoded)
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
    return finite(10 * np.log10(signal / noise))


def log_mel(audio: Audio, window: int, n_mels: int, sample_rate: int = MEL_RATE) -> Audio:
    """ln of the clamped mel magnitudes, float32 [frames, n_mels]; see `mel_distance`."""
    mel: Audio = _magnitudes(audio, window) @ mel_filters(window, n_mels, sample_rate)
    return np.log(np.maximum(mel, np.float32(MEL_FLOOR)))


@functools.cache
def mel_filters(window: int, n_mels: int, sample_rate: int = MEL_RATE) -> Audio:
    """Slaney's mel filters (Auditory Toolbox) of unit area, float32 [window // 2 + 1, n_mels]."""
    # 200/3 Hz a mel below 1 kHz (mel 15), then 27 mels to each factor of 6.4.
    top = 15 + 27 * np.log(sample_rate / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, n_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.linspace(0, sample_rate / 2, window // 2 + 1)[:, None]
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (peak - low), (high - bins) / (high - peak)
    triangles: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (high - low))).astype(np.float32)


def _magnitudes(audio: Audio, window: int) -> Audio:
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    # Reflection needs more samples than it pads: a shorter signal gets zeros first.
    audio = np.pad(audio, (0, max(0, window // 2 + 1 - len(audio))))
    padded = np.pad(audio, window // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 4]
    return np.abs(np.fft.rfft(frames * hann, axis=1)).astype(np.float32)


@functools.cache
def _mrstft(freq: Any) -> Any:
    return freq.MultiResolutionSTFTLoss()
