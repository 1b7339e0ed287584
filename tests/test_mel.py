"""Every implementation of the log-mel front end over the same cases, against torch.stft."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import AudioError, BackendError, SpecError
from codec.kernels import available, load
from codec.kernels.mel_tables import factors
from codec.mel import WHISPER_80, WHISPER_128, MelSpec, log_mel, mel_filters

BACKENDS = available()
EXACT = [name for name in ("native", "numba") if name in BACKENDS]
ISAS = load("codec._native").isas() if "native" in EXACT else ()
# A radix-3 step, an odd half, a single step, a power of 2, bands with no bin under them.
SPECS = [
    WHISPER_80,
    WHISPER_128,
    MelSpec(n_fft=480, hop_length=100, n_mels=40, fmin=50.0, fmax=7600.0),
    MelSpec(n_fft=450, hop_length=450, n_mels=64),
    MelSpec(n_fft=10, hop_length=3, n_mels=2),
    MelSpec(sample_rate=24_000, n_fft=1024, hop_length=256, n_mels=100),
    MelSpec(n_fft=64, hop_length=160, n_mels=80),
]


def reference(audio: np.ndarray, spec: MelSpec) -> np.ndarray:
    """Whisper's log_mel_spectrogram written with torch.stft, in float64."""
    torch = pytest.importorskip("torch")
    samples = torch.tensor(audio, dtype=torch.float64)
    short = spec.n_fft // 2 + 1 - len(samples)
    samples_out = len(samples)
    if short > 0:
        samples = torch.nn.functional.pad(samples, (0, short))
    stft = torch.stft(
        samples,
        spec.n_fft,
        spec.hop_length,
        window=torch.hann_window(spec.n_fft, dtype=torch.float64),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = stft[:, : samples_out // spec.hop_length].abs() ** 2
    mel = torch.tensor(mel_filters(spec), dtype=torch.float64) @ power
    log = mel.clamp(min=1e-10).log10()
    if log.numel():
        log = torch.maximum(log, log.max() - 8.0)
    return ((log + 4.0) / 4.0).numpy()


def speechlike(n: int, seed: int = 0) -> np.ndarray:
    """Harmonics over noise, loud and soft by turns: 60 dB between bands and between frames."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16_000
    tones = sum(np.sin(2 * np.pi * 140 * k * t + k) / k**2 for k in range(1, 20))
    loudness = 10 ** (-3 * np.abs(np.sin(2 * np.pi * 3 * t)))
    return (0.3 * loudness * (tones + 0.01 * rng.standard_normal(n))).astype(np.float32)


# What float32 may lose against float64. Rounding leaves a transform within about 4e-7 of its
# largest bin in the worst case (a few u log2 n) and 1e-8 in a typical one (it adds up like noise).
# At the floor, 4 decades of amplitude below, that is 1e-4 of a band's amplitude: log10 of its
# square, scaled by 1/4, is off by 2 * 0.434 * 1e-4 / 4 = 2e-5. Bands far above are off by less.
TOLERANCE = 5e-5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_equals_torch_stft(spec: MelSpec, backend: str) -> None:
    audio = speechlike(8_000)
    mel = log_mel(audio, spec, backend=backend)
    assert mel.dtype == np.float32
    assert mel.shape == (spec.n_mels, spec.n_frames(len(audio)))
    expected = reference(audio, spec)
    np.testing.assert_allclose(mel, expected, atol=TOLERANCE, rtol=0)
    # Nearly all values lie well above the floor, where float32 is far better than at it.
    assert np.sqrt(np.mean((mel - expected) ** 2)) < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", SPECS[:4], ids=str)
def test_edge_lengths(spec: MelSpec, backend: str) -> None:
    half, hop = spec.n_fft // 2, spec.hop_length
    lengths = {1, 2, hop - 1, hop, hop + 1, half - 1, half, half + 1, half + 2, 2 * half, 2 * hop}
    lengths |= {8 * hop - 1, 8 * hop, 8 * hop + 1, 9 * hop}  # the native kernel takes 8 at once
    for n in sorted(lengths):
        audio = speechlike(n, seed=n)
        mel = log_mel(audio, spec, backend=backend)
        assert mel.shape == (spec.n_mels, n // hop)
        np.testing.assert_allclose(mel, reference(audio, spec), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_filters_and_the_scaling_are_whispers(backend: str) -> None:
    """1 kHz is on bin 25; the value that one sine must give, worked out by hand."""
    audio = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    mel = log_mel(audio, backend=backend)
    # A sine on bin k under a periodic Hann window: |X_k| = n_fft / 4, |X_(k±1)| half of that.
    power = np.zeros(201)
    power[25], power[24], power[26] = 100.0**2, 50.0**2, 50.0**2
    # (the narrow-band leakage of other bins vanishes exactly)
    middle = mel[:, 50]
    loud = mel_filters(WHISPER_80) @ power > 1
    expected = (np.log10((mel_filters(WHISPER_80) @ power)[loud]) + 4) / 4
    np.testing.assert_allclose(middle[loud], expected, atol=1e-5)
    assert np.isclose(mel.max() - mel.min(), 8 / 4)  # silent bands rest on the floor


@pytest.mark.parametrize("spec", [WHISPER_80, WHISPER_128, SPECS[2], SPECS[5]], ids=str)
def test_filters_equal_librosas(spec: MelSpec) -> None:
    filters = pytest.importorskip("librosa").filters.mel(
        sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.fmin, fmax=spec.fmax
    )
    np.testing.assert_allclose(mel_filters(spec), filters, rtol=1e-6, atol=1e-8)


@pytest.mark.skipif(len(EXACT) < 2, reason="needs native and numba")
@settings(max_examples=20, deadline=None)
@given(
    spec=st.sampled_from(SPECS),
    n=st.integers(1, 3000),
    seed=st.integers(0, 2**32 - 1),
    gain=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_native_and_numba_give_the_same_bits(spec: MelSpec, n: int, seed: int, gain: float) -> None:
    audio = speechlike(n, seed) * np.float32(gain)
    native = log_mel(audio, spec, backend="native")
    assert native.tobytes() == log_mel(audio, spec, backend="numba").tobytes()


@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_gives_the_same_bits(isa: str) -> None:
    from codec.mel import _native_plan

    clip = speechlike(5_000)[None]
    for spec in SPECS:
        plan = _native_plan(spec)
        assert plan(clip, isa).tobytes() == plan(clip, "base").tobytes()


@pytest.mark.skipif("native" not in EXACT, reason="needs the native kernels")
def test_log10_is_within_its_stated_error() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [
            10 ** rng.uniform(-10, 30, 200_000),
            rng.uniform(0.5, 2, 200_000),
            2.0 ** np.arange(-33, 100),
            np.sqrt(0.5) * 2.0 ** np.arange(-33, 100),
            [np.nextafter(np.float32(1), np.float32(0)), 1, np.finfo(np.float32).max],
        ]
    ).astype(np.float32)
    exact = np.log10(x.astype(np.float64))
    error = np.abs(load("codec._native").log10(x) - exact)
    assert (error <= 2.0**-23 * np.maximum(np.abs(exact), 0.5)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_int16_is_the_float_it_stands_for(backend: str) -> None:
    pcm = (speechlike(2_000) * 32767).astype(np.int16)
    pcm[:2] = -32768, 32767
    as_float = pcm.astype(np.float32) / 32768
    np.testing.assert_array_equal(log_mel(pcm, backend=backend), log_mel(as_float, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_is_its_clips(backend: str) -> None:
    clips = np.stack([speechlike(1_700, seed) * 10.0**-seed for seed in range(6)])
    clips = clips.astype(np.float32).reshape(2, 3, -1)
    batch = log_mel(clips, backend=backend)
    assert batch.shape == (2, 3, 80, 10)
    for i in np.ndindex(2, 3):
        alone = log_mel(clips[i], backend=backend)
        if backend == "torch":
            np.testing.assert_allclose(batch[i], alone, atol=1e-5)
        else:
            np.testing.assert_array_equal(batch[i], alone)


@pytest.mark.parametrize("backend", EXACT)
def test_later_audio_changes_no_frame_before_it(backend: str) -> None:
    """Frame t sees samples up to 160 t + 199; the floor is the one thing that looks at the whole.

    The loudest frame is the first and every band lies above the floor, so it does not come in.
    """
    rng = np.random.default_rng(4)
    audio = rng.standard_normal(8_000).astype(np.float32)
    audio[:1600] *= 4
    whole = log_mel(audio, backend=backend)
    for n in (1_600, 1_761, 4_003):
        settled = (n - 200) // 160 + 1
        part = log_mel(audio[:n], backend=backend)[:, :settled]
        np.testing.assert_array_equal(part, whole[:, :settled])


@pytest.mark.parametrize("backend", BACKENDS)
def test_silence_is_the_clamp(backend: str) -> None:
    mel = log_mel(np.zeros(16_000, np.float32), backend=backend)
    np.testing.assert_allclose(mel, (-10 + 4) / 4, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_and_read_only_audio(backend: str) -> None:
    audio = np.repeat(speechlike(1_000), 2)[::2]
    audio.flags.writeable = False
    expected = log_mel(audio.copy(), backend=backend)
    np.testing.assert_array_equal(log_mel(audio, backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loudest_audio_stays_finite(backend: str) -> None:
    audio = np.full(1_000, 1e12, np.float32)
    assert np.isfinite(log_mel(audio, backend=backend)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e12, -2e12])
def test_refuses_what_is_not_audio(bad: float) -> None:
    audio = speechlike(2_000)
    audio[1_000] = bad
    with pytest.raises(AudioError, match="finite"):
        log_mel(audio)


@pytest.mark.parametrize(
    "audio",
    [
        np.float32(0),
        np.empty(0, np.float32),
        np.empty((0, 100), np.int16),
        np.zeros(1_000),
        np.zeros(1_000, np.int32),
        np.zeros(1_000, np.complex64),
    ],
)
def test_refuses_shapes_and_dtypes(audio: Any) -> None:
    with pytest.raises(AudioError):
        log_mel(audio)


@pytest.mark.parametrize(
    "change",
    [
        {"n_fft": 401},
        {"n_fft": 2},
        {"n_fft": 14},
        {"n_fft": 0},
        {"n_fft": -400},
        {"n_fft": 1 << 17},
        {"hop_length": 0},
        {"n_mels": 0},
        {"sample_rate": 0},
        {"fmin": -1.0},
        {"fmin": 8_000.0},
        {"fmax": 8_001.0},
        {"fmin": float("nan")},
    ],
)
def test_spec_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        dataclasses.replace(WHISPER_80, **change)


@given(st.integers(1, 5_000))
def test_factors_multiply_to_what_they_factor(n: int) -> None:
    found = factors(n)
    if found is None:
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        assert n > 1
    else:
        assert np.prod(found, dtype=int) == n
        assert set(found) <= {2, 3, 4, 5}
        assert found.count(2) <= 1


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(BackendError, match="'gpu'"):
        log_mel(np.zeros(1_000, np.float32), backend="gpu")
