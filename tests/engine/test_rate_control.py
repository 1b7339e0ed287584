"""As many codebooks as a quality takes, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from codec.engine.rate_control import DISTANCE_STEP, RateControl
from codec.errors import BitrateError


def codes_of(backend, seed=0, channels=2):
    rng = np.random.default_rng(seed)
    audio = np.repeat(rng.uniform(-1, 1, (channels, 50)).astype(np.float32), 480, axis=1)
    return np.stack([backend.encode(channel, 12) for channel in audio])


def test_the_distance_is_that_of_what_is_decoded(backend):
    control, codes = RateControl(backend), codes_of(backend)
    distances = [control.distance(codes, k) for k in range(1, 13)]
    assert distances[0] > distances[1] > distances[2]
    assert distances[-1] == 0


@pytest.mark.parametrize("quality", [0, 5, 9.9, 9.9999, 10])
def test_the_fewest_that_are_near_enough(backend, quality):
    control = RateControl(backend)
    target = DISTANCE_STEP * (10 - quality)
    for seed in range(5):
        codes = codes_of(backend, seed)
        count = control.chooser(quality)(codes)
        assert control.distance(codes, count) <= target
        assert count == 1 or quality == 10 or control.distance(codes, count - 1) > target


def test_ends_of_the_scale(backend):
    control, codes = RateControl(backend), codes_of(backend)
    assert control.chooser(10)(codes) == 12
    assert control.chooser(10)(codes[:, :, :1]) == 12
    for quality in (-0.1, 10.1, float("nan")):
        with pytest.raises(BitrateError):
            control.chooser(quality)
