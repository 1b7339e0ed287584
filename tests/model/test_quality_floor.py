"""What ships must sound like its input: a floor under the quality of the weights in the package.

The clips in tests/clips are ours: a sentence spoken by espeak-ng, and plucked strings by the
algorithm of Karplus and Strong (1983); both 2.5 s, 24 kHz. At 12 codebooks (3 kbit/s) the weights
of version 0.1.0 reach a mel distance of 0.611 and 0.873, and an SI-SDR of -2.0 and -4.3 dB. The
floors leave 5 % and 1 dB: weights that lose more than that on either clip do not ship.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

import codec
from codec.quality.spectral import mel_distance, si_sdr

CLIPS = Path(__file__).parents[1] / "clips"
LEVELS = 12
# Clip: the most mel distance, and the least SI-SDR in dB.
FLOORS = {"speech": (0.64, -3.0), "strings": (0.92, -5.3)}


@pytest.mark.parametrize("name", FLOORS)
def test_the_shipped_weights_keep_to_the_floor(name: str) -> None:
    audio, rate = soundfile.read(CLIPS / f"{name}.flac", dtype="float32")
    model = codec.load()
    tokens = model.encode(audio, rate, n_codebooks=LEVELS)
    decoded = model.decode(tokens)[0]
    most, least = FLOORS[name]
    assert mel_distance(audio, decoded, rate) <= most
    assert si_sdr(audio, decoded, rate) >= least

    # Codes out of order, and a quarter of them, stay below the floors.
    frames = np.random.default_rng(0).permutation(tokens.codes.shape[-1])
    shuffled = model.decode(dataclasses.replace(tokens, codes=tokens.codes[..., frames]))[0]
    assert mel_distance(audio, shuffled, rate) > most
    assert si_sdr(audio, shuffled, rate) < least
    assert si_sdr(audio, model.decode(tokens.first(LEVELS // 4))[0], rate) < least
