"""The same audio, cut into frames at several places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from codec.errors import AudioError, BitrateError, OptionError
from codec.lm.cuts import CUTS, cuts_of
from tests.helpers.speech import LEVELS, MODEL

RATE, HOP = MODEL.config.sample_rate, MODEL.config.hop_length


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6 * HOP), st.integers(0, 9))
def test_each_cut_is_the_audio_from_a_part_of_a_frame_on(samples: int, seed: int) -> None:
    audio = np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)
    cuts = cuts_of(MODEL, audio, RATE, LEVELS)
    last = (CUTS - 1) * HOP // CUTS
    assert cuts.shape == (CUTS, LEVELS, max(0, samples - last) // HOP)
    for number, codes in enumerate(cuts if cuts.size else ()):
        start = number * HOP // CUTS
        whole = MODEL.encode(audio[start:], RATE, n_codebooks=LEVELS).codes[0]
        np.testing.assert_array_equal(codes, whole[:, : codes.shape[1]])


def test_audio_of_another_rate_is_resampled() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert cuts_of(MODEL, audio, RATE // 2, LEVELS).shape[2] == (2 * RATE - 3 * HOP // 4) // HOP


def test_of_several_channels_the_first_is_cut() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, (2, RATE)).astype(np.float32)
    for several in (audio, audio[:1]):
        cuts = cuts_of(MODEL, several, RATE, LEVELS)
        np.testing.assert_array_equal(cuts, cuts_of(MODEL, audio[0], RATE, LEVELS))


def test_what_cannot_be_cut_is_refused() -> None:
    audio = np.zeros(RATE, np.float32)
    for wrong in (audio * np.nan, audio[:0], audio[None, None], np.float32(0.5), audio.astype(int)):
        with pytest.raises(AudioError):
            cuts_of(MODEL, wrong, RATE, LEVELS)
    with pytest.raises(AudioError, match="full scale is 1"):
        cuts_of(MODEL, audio.astype(np.float64) + 1e300, RATE, LEVELS)
    for rate in (0, -RATE, 44_100.5, "24000"):
        with pytest.raises(AudioError, match="sample rate"):
            cuts_of(MODEL, audio, rate, LEVELS)  # type: ignore[arg-type]
    for frames in (0, -1, 1.5):
        with pytest.raises(OptionError, match="frames"):
            cuts_of(MODEL, audio, RATE, LEVELS, frames)  # type: ignore[arg-type]
    with pytest.raises(BitrateError):
        cuts_of(MODEL, audio[:9], RATE, -1)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9 * HOP), st.integers(1, 5), st.sampled_from([RATE, RATE // 2, 2 * RATE]))
def test_the_last_frames_are_enough(samples: int, frames: int, rate: int) -> None:
    audio = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    last = cuts_of(MODEL, audio, rate, LEVELS, frames)
    tail = audio[max(0, samples - (frames + 1) * HOP * rate // RATE) :]
    np.testing.assert_array_equal(last, cuts_of(MODEL, tail, rate, LEVELS)[:, :, -frames:])
    if samples * RATE >= (frames + 2) * HOP * rate:
        assert last.shape[2] == frames
