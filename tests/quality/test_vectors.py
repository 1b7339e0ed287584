"""Measures against scores that their reference tools gave, once, for the same signals.

STOI and ESTOI: the authors' own MATLAB code (Taal et al. 2011, Jensen & Taal 2016), run by
Octave 7.3. PESQ: ITU-T's C code of P.862.2, as the package pesq 0.0.4 wraps it. Where PESQ's own
example is (audio/ of github.com/ludlows/PESQ), CODEC_PESQ_AUDIO may name its folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from codec.quality import METRICS, perceptual

RATE = 16_000

# seed, signal to noise in dB -> PESQ-WB, STOI, ESTOI
VECTORS = [
    (0, 0, 1.02786124, 0.66275995, 0.04002078),
    (1, 10, 1.11165059, 0.95710910, 0.10278375),
    (2, 20, 1.84490728, 0.99706901, 0.11593387),
    (3, 30, 4.30596495, 0.99975415, 0.43502022),
]


def pair(seed: int, snr: float) -> tuple[np.ndarray, np.ndarray]:
    """Bursts of harmonics, never silent, so that no measure trims them; and white noise on them.
    In 16 bits, so that the last bits of `sin` do not count."""
    rng = np.random.default_rng(seed)
    time = np.arange(4 * RATE) / RATE
    voice = sum(
        np.sin(2 * np.pi * (100 + 20 * seed) * k * time + 0.3 * k * k) / k for k in range(1, 40)
    )
    envelope = 0.1 + np.clip(np.sin(2 * np.pi * (2 + 0.3 * seed) * time), 0, None)
    clean = 0.1 * voice * envelope + 1e-4 * rng.standard_normal(len(time))
    noise = rng.standard_normal(len(time))
    noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-snr / 20)
    first, second = (np.rint(x * 2**15) / 2**15 for x in (clean, clean + noise))
    return first.astype(np.float32), second.astype(np.float32)


@pytest.mark.parametrize(("seed", "snr", "pesq", "stoi", "estoi"), VECTORS)
def test_stored_scores(seed, snr, pesq, stoi, estoi):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    clean, spoiled = pair(seed, snr)
    assert METRICS["pesq_wb"](clean, spoiled, RATE) == pytest.approx(pesq, abs=1e-6)
    assert METRICS["stoi"](clean, spoiled, RATE) == pytest.approx(stoi, abs=1e-7)
    assert METRICS["estoi"](clean, spoiled, RATE) == pytest.approx(estoi, abs=1e-7)


def test_pesqs_own_example():
    pytest.importorskip("pesq")
    folder = os.environ.get("CODEC_PESQ_AUDIO")
    if not folder:
        pytest.skip("CODEC_PESQ_AUDIO does not name the folder of PESQ's example")
    soundfile = pytest.importorskip("soundfile")
    copies = [
        soundfile.read(Path(folder, name), dtype="float32")[0]
        for name in ("speech.wav", "speech_bab_0dB.wav")
    ]
    # Untrimmed, as there.
    assert perceptual._pesq((copies[0], copies[1]), RATE, "wb") == 1.0832337141036987
    assert perceptual._pesq((copies[0], copies[1]), RATE, "nb") == 1.6072081327438354
