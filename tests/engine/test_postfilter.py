"""The postfilter: what it is defined as, on audio cut anyhow, by every door."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from bench.random_weights import SMALL, write_weights
from codec.engine.postfilter import postfilter_at
from codec.errors import BackendError
from codec.support.workers import Workers
from tests.helpers.mean_backend import MeanBackend
from tests.helpers.postfiltered import RATE, voice, whole

pytest.importorskip("codec.engine._engine", reason="needs the native engine")

HOP = 120
SOURCES = Path(__file__).parents[2] / "csrc" / "engine"


def table(source: str, name: str) -> np.ndarray:
    """Return half a filter as the C source has it."""
    text = (SOURCES / f"{source}.c").read_text()
    found = re.search(name + r"\[\w+\] = \{([^}]*)\}", text)
    assert found
    return np.array([float(value.rstrip("f")) for value in re.split(r",\s*", found[1].strip())])


def reference(audio: np.ndarray) -> np.ndarray:
    """Filter as postfilter.h says, in float64 and by other means."""
    margin = 1000
    x = np.pad(audio.astype(float), margin)
    low, slow = (
        np.convolve(x, np.concatenate([half[:0:-1], half]), "same")
        for half in (table("postfilter", "LOW_PASS"), table("periods", "SLOW_PASS"))
    )
    moments = -(-len(audio) // HOP) + 1
    shares, lags = np.zeros(moments), np.zeros(moments, int)
    for moment in range(moments):
        centre = margin + moment * HOP
        now = slow[centre - 240 : centre + 240 : 4]
        alike = {}
        for lag in range(15, 101):
            then = slow[centre - 240 - 4 * lag : centre + 240 - 4 * lag : 4]
            alike[lag] = now @ then / np.sqrt((now @ now + 1e-9) * (then @ then + 1e-9))
        best = max(alike, key=lambda lag: (alike[lag] * (1 - 0.0012 * lag), lag))
        lags[moment] = 4 * best
        if alike[best] <= 0.4:
            continue
        if 15 < best < 100:
            longer, shorter = alike[best + 1], alike[best - 1]
            bend = longer - 2 * alike[best] + shorter
            to = np.clip(0.5 * (longer - shorter) / bend if bend < 0 else 0, -0.5, 0.5)
            lags[moment] -= int(4 * to + 8.5) - 8
        shares[moment] = 1 - 1 / (1 + 0.3 * min(alike[best], 1))
    y = audio.astype(float)
    for at in range(len(audio)):
        hop, within = divmod(at, HOP)
        fade = (within + 0.5) / HOP
        for moment, weight in ((hop, 1 - fade), (hop + 1, fade)):
            around = low[margin + at - lags[moment]] + low[margin + at + lags[moment]]
            y[at] += weight * shares[moment] * (around / 2 - low[margin + at])
    return y


def test_the_filters_are_scipy_s():
    scipy_signal = pytest.importorskip("scipy.signal")
    for half, taps, edge in (
        (table("postfilter", "LOW_PASS"), 97, 2000),
        (table("periods", "SLOW_PASS"), 63, 1000),
    ):
        expected = scipy_signal.firwin(taps, edge, fs=RATE)[taps // 2 :]
        assert np.abs(expected[: len(half)] - half).max() < 1e-9
        assert np.abs(expected[len(half) :]).max(initial=0) < 1e-9


@pytest.mark.parametrize("samples", [1, 119, 120, 121, 5000])
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_it_is_what_it_is_defined_as(samples, noise):
    audio = voice(samples, noise)
    filtered = whole(audio)
    assert filtered.dtype == np.float32
    assert np.abs(filtered - reference(audio)).max() < 2e-7
    if samples == 5000:
        assert np.abs(filtered - audio).max() > 1e-2


@settings(max_examples=30)
@given(
    st.integers(1, 9000),
    st.lists(st.integers(1, 3000), max_size=12),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
)
def test_however_it_is_cut(samples, cuts, threads, channels):
    audio = np.stack([voice(samples, 0.1, seed) for seed in range(channels)])
    edges = [0, *np.minimum(np.cumsum(cuts, dtype=int), samples), samples]
    blocks = [audio[:, a:b] for a, b in itertools.pairwise(edges)]
    with Workers(threads) as workers:
        filtered = np.concatenate(list(postfilter_at(RATE).blocks(blocks, workers)), axis=1)
    assert np.array_equal(filtered, np.stack([whole(one) for one in audio]))


def test_harmonics_stay_and_the_noise_between_them_falls():
    clean, noisy = voice(24_000, 0), voice(24_000, 0.05)
    inside = slice(1000, -1000)  # a period is missing at the ends
    assert np.array_equal(whole(clean)[inside], clean[inside])
    between = voice(24_000, 0, period=171.5)  # half a sample beside the nearest lag
    error = np.abs(whole(between) - between)[inside].max() / np.abs(between).max()
    assert 0 < error < 0.0015
    window = np.hanning(22_000)

    def below_1_5_khz(error: np.ndarray) -> float:
        return float((np.abs(np.fft.rfft(error[inside] * window)[:1375]) ** 2).sum())

    # Three independent samples of noise are weighted 1 - g, g / 2 and g / 2, with g near 0.22.
    left = below_1_5_khz(whole(noisy) - clean) / below_1_5_khz(noisy - clean)
    assert left == pytest.approx(0.78**2 + 2 * 0.11**2, abs=0.02)


def test_silence_and_what_has_no_period_stay_as_they_are():
    assert not whole(np.zeros(5000, np.float32)).any()
    click = np.zeros(5000, np.float32)
    click[2500] = 1
    assert np.array_equal(whole(click), click)


def test_every_door_filters_alike(tmp_path, cli_of_weights, wav):
    import soundfile

    model = codec.load()
    audio = voice(9 * RATE, 0.1)
    for rate in (RATE, 16_000):
        tokens = model.encode(audio, rate, n_codebooks=8)
        plain, filtered = model.decode(tokens), model.decode(tokens, postfilter=True)
        assert filtered.shape == plain.shape
        assert not np.array_equal(filtered, plain)
        assert np.array_equal(model.decode(tokens, postfilter=True, threads=2), filtered)
        (one,) = model.decode_batch([tokens], postfilter=True)
        assert np.array_equal(one, filtered)
        data = model.compress(audio, rate, n_codebooks=8)
        assert np.array_equal(model.decompress(data, postfilter=True)[0], filtered)
        for start, duration in ((0, 0.3), (3.3337, 2.0), (8, None)):
            part, _ = model.decompress(data, start=start, duration=duration, postfilter=True)
            first = round(start * rate)
            assert np.array_equal(part, filtered[:, first : first + part.shape[1]])
    path = tmp_path / "a.nac"
    path.write_bytes(data)
    expected = np.rint(filtered[0] * 32768).clip(-32768, 32767)
    for extra in ([], ["--salvage"], ["--threads", "2"]):
        copy = tmp_path / f"copy{len(extra)}.wav"
        assert cli_of_weights("decompress", path, "-o", copy, "--postfilter", *extra, "-f")[0] == 0
        samples = soundfile.read(copy, dtype="int16")[0]
        assert np.array_equal(samples, expected)


def test_from_pipe_to_pipe_it_is_the_same(tmp_path, cli_of_weights):
    model = codec.load()
    data = model.compress(voice(2 * RATE, 0.1), RATE, n_codebooks=4)
    path = tmp_path / "a.nac"
    path.write_bytes(data)
    code, file, _ = cli_of_weights("decompress", path, "-o", "-", "--postfilter")
    piped = cli_of_weights("decompress", "-", "--postfilter", stdin=data)
    assert (code, *piped[:2]) == (0, 0, file)
    assert file != cli_of_weights("decompress", path, "-o", "-")[1]


def test_a_model_of_another_rate_is_refused(tmp_path):
    config = dataclasses.replace(SMALL, sample_rate=16_000)
    model = codec.load(write_weights(tmp_path / "w.safetensors", config))
    tokens = model.encode(np.zeros(4800, np.float32), 16_000)
    for act in (
        lambda: model.decode(tokens, postfilter=True),
        lambda: model.decode_batch([tokens], postfilter=True),
        lambda: postfilter_at(16_000),
        lambda: postfilter_at(48_000),
    ):
        with pytest.raises(BackendError, match=r"is for models of 24000 Hz, not (16|48)000 Hz"):
            act()


def test_any_backend_s_audio_is_filtered():
    model = codec.load(backend=MeanBackend())
    tokens = model.encode(voice(9000, 0.01), RATE)
    assert not np.array_equal(model.decode(tokens), model.decode(tokens, postfilter=True))
    file = io.BytesIO(model.compress(voice(9000, 0.01), RATE)).getvalue()
    filtered, _ = model.decompress(file, postfilter=True)
    assert np.array_equal(filtered, model.decode(tokens, postfilter=True))
