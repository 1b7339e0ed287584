"""Mean opinion scores predicted from the decoded audio alone."""

from __future__ import annotations

import contextlib
import functools
import io
from typing import Any

import numpy as np

from codec.errors import MetricError
from codec.quality.pair import SPEECH_RATE, Audio, check_pair, finite, package, resampled


def dnsmos(reference: Audio, decoded: Audio, sample_rate: int, part: str) -> float:
    """DNSMOS P.835 (Reddy et al. 2022), 1-5, of a 16 kHz copy; part: "ovrl", "sig" or "bak"."""
    check_pair(reference, decoded)
    scores = _dnsmos(decoded.astype(np.float32).tobytes(), sample_rate)
    return finite(scores[f"{part}_mos"])


def distillmos(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """DistillMOS (Stahl & Gamper 2025), 1-5, of a 16 kHz copy."""
    check_pair(reference, decoded)
    torch = package("torch")
    copy = torch.from_numpy(resampled(decoded, sample_rate, SPEECH_RATE))[None]
    with torch.no_grad():
        return finite(_distillmos()(copy))


@functools.lru_cache(maxsize=2)  # three measures of one clip
def _dnsmos(samples: bytes, sample_rate: int) -> Any:
    audio = resampled(np.frombuffer(samples, np.float32), sample_rate, SPEECH_RATE)
    if not audio.any():
        raise MetricError("DNSMOS: the decoded audio is silent")
    return package("speechmos.dnsmos").run(np.clip(audio, -1, 1), SPEECH_RATE)


@functools.cache
def _distillmos() -> Any:
    # It prints where its weights are, which standard output is not for.
    with contextlib.redirect_stdout(io.StringIO()):
        return package("distillmos").ConvTransformerSQAModel().eval()
