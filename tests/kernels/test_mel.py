"""Every implementation of the log-mel front end over the same cases, against torch.stft."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import AudioError, BackendError, SpecError, StateError
from codec.kernels import available, load
from codec.kernels.mel_tables import factors
from codec.mel import (
    PRESETS,
    SPEECH_40HZ,
    WHISPER_80,
    WHISPER_128,
    MelSpec,
    MelStream,
    find_spec,
    log_mel,
    log_scale,
    mel_filters,
    mel_window,
)

EVAL = Path(os.environ.get("CODEC_EVAL", Path(__file__).parents[3] / "shared/data/eval"))
BACKENDS = available()
EXACT = [name for name in ("native", "numba") if name in BACKENDS]
ISAS = load("codec.kernels._native").isas() if "native" in EXACT else ()


def linear(n_fft: int, hop_length: int, n_mels: int, **changes: Any) -> MelSpec:
    """Mel powers as they are."""
    changes = {"log": None, "dynamic_range": None, "drop_last": False, **changes}
    return MelSpec(16_000, n_fft, hop_length, n_mels, **changes)


# Every split of rfft.h with and without its twiddles, steps of radix 2, 3, 4 and 5 first and last,
# odd sizes, bands with no bin under them, hops longer than a frame; and every choice of a spec.
SPECS = [
    WHISPER_80,
    WHISPER_128,
    SPEECH_40HZ,
    MelSpec(n_fft=480, hop_length=100, n_mels=40, fmin=50.0, fmax=7600.0),
    MelSpec(n_fft=450, hop_length=450, n_mels=64),
    MelSpec(sample_rate=24_000, n_fft=1024, hop_length=256, n_mels=100, log="ln", floor=1e-5),
    MelSpec(n_fft=64, hop_length=160, n_mels=80, maximum="running"),
    MelSpec(n_fft=600, hop_length=7, n_mels=20, maximum=1.5, log="db", power=1, window="hamming"),
    MelSpec.torchaudio(16_000, win_length=300, window="blackman"),
    MelSpec.librosa(22_050, log="db", dynamic_range=6.0),
    linear(225, 70, 30, center=False, win_length=200),
    linear(360, 90, 20, power=1, padding="zeros", norm=None, scale="htk"),
    *(linear(n, 5, 2, window="ones") for n in (3, 4, 5, 6, 8, 9, 10, 12, 16, 24, 32, 40, 60)),
]


def name(spec: MelSpec) -> str:
    """What is not as Whisper has it."""
    pairs = dataclasses.asdict(spec).items()
    return ",".join(f"{k}={v}" for k, v in pairs if v != getattr(WHISPER_80, k)) or "whisper-80"


LONG = [spec for spec in SPECS if spec.n_fft > 60]


def reference(audio: np.ndarray, spec: MelSpec) -> np.ndarray:
    """The definition in MelSpec's docstring by torch.stft, in float64."""
    torch = pytest.importorskip("torch")
    samples = torch.tensor(audio, dtype=torch.float64)
    frames = spec.n_frames(len(samples))
    if frames == 0:
        return np.empty((spec.n_mels, 0))
    if spec.padding == "reflect":
        samples = torch.nn.functional.pad(samples, (0, max(0, spec.pad + 1 - len(samples))))
    stft = torch.stft(
        samples,
        spec.n_fft,
        spec.hop_length,
        window=torch.tensor(mel_window(spec), dtype=torch.float64),
        center=spec.center,
        pad_mode="reflect" if spec.padding == "reflect" else "constant",
        return_complex=True,
    )[:, :frames]
    mel = torch.tensor(mel_filters(spec), dtype=torch.float64) @ stft.abs() ** spec.power
    if spec.log is None:
        return mel.numpy()
    log = mel.clamp(min=spec.floor).log10()
    if spec.dynamic_range is not None:
        top = {"clip": log.max(), "running": log.amax(dim=0).cummax(dim=0).values}
        top = torch.as_tensor(top.get(spec.maximum, spec.maximum))
        log = torch.maximum(log, top - spec.dynamic_range)
    scale, offset = log_scale(spec)
    return (log * scale + offset).numpy()


def speechlike(n: int, seed: int = 0) -> np.ndarray:
    """Harmonics over noise, loud and soft by turns: 60 dB between bands and between frames."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16_000
    tones = sum(np.sin(2 * np.pi * 140 * k * t + k) / k**2 for k in range(1, 20))
    loudness = 10 ** (-3 * np.abs(np.sin(2 * np.pi * 3 * t)))
    return (0.3 * loudness * (tones + 0.01 * rng.standard_normal(n))).astype(np.float32)


def assert_close(mel: np.ndarray, expected: np.ndarray, spec: MelSpec) -> None:
    """Within what float32 may lose against float64.

    Rounding leaves a transform within about 4e-7 of its largest bin in the worst case (a few
    u log2 n) and 1e-8 in a typical one (it adds up like noise). At Whisper's floor, 4 decades of
    amplitude below, that is 1e-4 of a band's amplitude: log10 of its square is off by
    2 * 0.434 * 1e-4 = 1e-4. Bands far above are off by less.
    """
    assert mel.dtype == np.float32
    assert mel.shape == expected.shape
    if spec.log is None:
        largest = np.abs(expected).max(initial=0)
        np.testing.assert_allclose(mel, expected, rtol=1e-5, atol=1e-6 * largest)
        return
    unit = log_scale(spec)[0]
    np.testing.assert_allclose(mel, expected, atol=2e-4 * unit, rtol=1e-6)
    if mel.size > 1000:
        # Nearly all values lie well above the floor, where float32 is far better than at it.
        assert np.sqrt(np.mean((mel - expected) ** 2)) < 4e-6 * unit


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_equals_torch_stft(spec: MelSpec, backend: str) -> None:
    audio = speechlike(8_000)
    assert_close(log_mel(audio, spec, backend=backend), reference(audio, spec), spec)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", [*SPECS[:4], *LONG[-3:]], ids=name)
def test_edge_lengths(spec: MelSpec, backend: str) -> None:
    half, hop = spec.n_fft // 2, spec.hop_length
    lengths = {1, 2, hop - 1, hop, hop + 1, half - 1, half, half + 1, half + 2, 2 * half, 2 * hop}
    # The native kernel takes 8 or 16 frames at once.
    lengths |= {16 * hop - 1, 16 * hop, 16 * hop + 1, 9 * hop, 17 * hop}
    for n in sorted(lengths):
        audio = speechlike(n, seed=n)
        assert_close(log_mel(audio, spec, backend=backend), reference(audio, spec), spec)


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


@pytest.mark.parametrize("spec", [WHISPER_80, WHISPER_128, SPECS[3], SPECS[5], SPECS[8]], ids=name)
def test_filters_equal_librosas(spec: MelSpec) -> None:
    filters = pytest.importorskip("librosa").filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
        htk=spec.scale == "htk",
        norm=spec.norm,
    )
    np.testing.assert_allclose(mel_filters(spec), filters, rtol=1e-6, atol=1e-8)


def assert_relative(mel: np.ndarray, theirs: np.ndarray) -> None:
    """Within 1e-4, down to 90 dB below the largest: further down lies the noise of float32."""
    assert mel.shape == theirs.shape
    np.testing.assert_allclose(mel, theirs, rtol=1e-4, atol=1e-9 * theirs.max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {}),
        (
            {"n_fft": 1024, "hop_length": 256, "n_mels": 80, "f_min": 20.0, "f_max": 7600.0}
            | {"norm": "slaney", "mel_scale": "slaney"},
            {"n_fft": 1024, "hop_length": 256, "n_mels": 80, "fmin": 20.0, "fmax": 7600.0}
            | {"norm": "slaney", "scale": "slaney"},
        ),
        (
            {"n_fft": 512, "win_length": 400, "n_mels": 40, "power": 1.0, "center": False},
            {"n_fft": 512, "win_length": 400, "n_mels": 40, "power": 1, "center": False},
        ),
    ],
    ids=["defaults", "slaney", "magnitudes"],
)
def test_equals_torchaudio(theirs: dict[str, Any], ours: dict[str, Any], backend: str) -> None:
    transforms = pytest.importorskip("torchaudio").transforms
    torch = load("torch")
    audio = speechlike(20_000)
    expected = transforms.MelSpectrogram(16_000, **theirs).double()(torch.tensor(audio).double())
    mel = log_mel(audio, MelSpec.torchaudio(16_000, **ours), backend=backend)
    assert_relative(mel, expected.numpy())


def test_equals_torchaudios_decibels() -> None:
    transforms = pytest.importorskip("torchaudio").transforms
    audio = speechlike(20_000)
    mel = transforms.MelSpectrogram(16_000)(load("torch").tensor(audio))
    expected = transforms.AmplitudeToDB(top_db=80)(mel).numpy()
    spec = MelSpec.torchaudio(16_000, log="db", dynamic_range=8.0)
    np.testing.assert_allclose(log_mel(audio, spec), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {}),
        (
            {"n_fft": 1200, "hop_length": 300, "n_mels": 64, "htk": True, "norm": None}
            | {"power": 1.0, "fmax": 8000.0, "pad_mode": "reflect"},
            {"n_fft": 1200, "hop_length": 300, "n_mels": 64, "scale": "htk", "norm": None}
            | {"power": 1, "fmax": 8000.0, "padding": "reflect"},
        ),
    ],
    ids=["defaults", "magnitudes"],
)
def test_equals_librosa(theirs: dict[str, Any], ours: dict[str, Any], backend: str) -> None:
    feature = pytest.importorskip("librosa").feature
    audio = speechlike(20_000)
    expected = feature.melspectrogram(y=audio.astype(np.float64), sr=22_050, **theirs)
    assert_relative(log_mel(audio, MelSpec.librosa(22_050, **ours), backend=backend), expected)


@pytest.mark.skipif(not EVAL.is_dir(), reason="needs a folder of recordings, in CODEC_EVAL")
def test_equals_whisper_on_recordings() -> None:
    whisper = pytest.importorskip("whisper.audio")
    from codec.audio import read_audio, resample

    paths = sorted(EVAL.glob("*.flac"))
    assert paths
    for path in paths:
        channels, rate = read_audio(path)
        audio = resample(channels.mean(axis=0), rate, 16_000)
        for n_mels in (80, 128):
            theirs = whisper.log_mel_spectrogram(audio, n_mels).numpy()
            mel = log_mel(audio, f"whisper-{n_mels}")
            np.testing.assert_allclose(mel, theirs, atol=1e-4, rtol=0)


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
    from codec.kernels.mel_exact import native_plan
    from codec.kernels.mel_spec import first_top

    clip = speechlike(3_000)[None]
    for spec in SPECS:

        def mel(isa: str, spec: MelSpec = spec) -> bytes:
            out = np.empty((1, spec.n_mels, spec.n_frames(clip.size)), np.float32)
            top = np.array([first_top(spec)], np.float32)
            assert native_plan(spec)(clip, -spec.pad, top, out, False, isa)
            return out.tobytes()

        assert mel(isa) == mel("scalar")


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
    error = np.abs(load("codec.kernels._native").log10(x) - exact)
    assert (error <= 2.0**-23 * np.maximum(np.abs(exact), 0.5)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_int16_is_the_float_it_stands_for(backend: str) -> None:
    pcm = (speechlike(2_000) * 32767).astype(np.int16)
    pcm[:2] = -32768, 32767
    as_float = pcm.astype(np.float32) / 32768
    np.testing.assert_array_equal(log_mel(pcm, backend=backend), log_mel(as_float, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_is_its_clips(backend: str) -> None:
    loud = np.stack([speechlike(1_700, seed) * 10.0**-seed for seed in range(6)])
    clips = loud.astype(np.float32).reshape(2, 3, -1)
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


STREAMED = [spec for spec in SPECS if not spec.needs_clip]


@pytest.mark.parametrize("backend", EXACT)
@settings(max_examples=30, deadline=None)
@given(
    spec=st.sampled_from(STREAMED),
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    as_int16=st.booleans(),
)
def test_a_stream_gives_the_bits_of_the_whole(
    backend: str, spec: MelSpec, sizes: list[int], seed: int, as_int16: bool
) -> None:
    audio = speechlike(max(sum(sizes), 1), seed)
    if as_int16:
        audio = (audio * 32767).astype(np.int16)
    stream, parts = MelStream(spec, backend=backend), []
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        parts.append(stream.push(audio[end - size : end]))
        # What is given is what can be: a frame more would need samples that are not there yet.
        given = sum(part.shape[1] for part in parts)
        waits_for = given * spec.hop_length - spec.pad + spec.n_fft
        assert waits_for > end or given == spec.n_frames(int(end)) or end <= spec.pad
    if not sum(sizes):
        assert stream.flush().shape == (spec.n_mels, 0)
        return
    parts.append(stream.flush())
    whole = log_mel(audio, spec, backend=backend)
    assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()


@pytest.mark.skipif(not EXACT, reason="needs native or numba")
def test_what_a_stream_refuses() -> None:
    with pytest.raises(SpecError, match="dynamic_range=None"):
        MelStream(WHISPER_80)
    with pytest.raises(BackendError, match="torch"):
        MelStream(SPEECH_40HZ, backend="torch")
    stream = MelStream(SPEECH_40HZ, frame_major=True)
    audio = speechlike(3_000)
    before = stream.push(audio[:1_500])
    with pytest.raises(AudioError, match="finite"):
        stream.push(np.full(1_000, np.nan, np.float32))
    with pytest.raises(AudioError):
        stream.push(np.zeros(10, np.int32))
    with pytest.raises(AudioError):
        stream.push(np.zeros((1, 10), np.float32))
    after = [stream.push(audio[1_500:]), stream.flush()]
    whole = log_mel(audio, SPEECH_40HZ, frame_major=True)
    np.testing.assert_array_equal(np.concatenate([before, *after]), whole)
    for late in (stream.flush, lambda: stream.push(audio)):
        with pytest.raises(StateError, match="ended"):
            late()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", [WHISPER_80, SPEECH_40HZ, SPECS[6], SPECS[10]], ids=name)
def test_frame_major_and_out(spec: MelSpec, backend: str) -> None:
    clips = np.stack([speechlike(n, n)[:4_000] for n in (4_000, 5_000)])
    mel = log_mel(clips, spec, backend=backend)
    turned = log_mel(clips, spec, backend=backend, frame_major=True)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned.swapaxes(1, 2), mel)
    out = np.full_like(turned, np.nan)
    assert log_mel(clips, spec, backend=backend, frame_major=True, out=out) is out
    np.testing.assert_array_equal(out, turned)


@pytest.mark.parametrize(
    "out", [np.empty((80, 9), np.float32), np.empty((80, 10)), np.empty((10, 80), np.float32).T, []]
)
def test_refuses_an_out_that_does_not_fit(out: Any) -> None:
    with pytest.raises(AudioError, match=r"float32 array \[80, 10\]"):
        log_mel(speechlike(1_600), out=out)


def test_presets() -> None:
    assert [find_spec(name) for name in PRESETS] == [WHISPER_80, WHISPER_128, SPEECH_40HZ]
    assert SPEECH_40HZ.n_frames(60 * SPEECH_40HZ.sample_rate) == 2_400
    assert log_mel(speechlike(16_000), "speech-40hz").shape == (80, 40)
    with pytest.raises(SpecError, match="whisper-80, whisper-128, speech-40hz"):
        log_mel(speechlike(1_600), "whisper-96")


def test_a_clip_whose_last_axis_is_strided_is_its_copy() -> None:
    audio = np.stack([speechlike(1_000, seed) for seed in range(3)])
    expected = log_mel(audio)
    np.testing.assert_array_equal(log_mel(np.asfortranarray(audio)), expected)
    np.testing.assert_array_equal(log_mel(np.repeat(audio, 2, axis=0)[::2]), expected)
    np.testing.assert_array_equal(log_mel(audio[::-1]), expected[::-1])


@pytest.mark.parametrize("spec", [WHISPER_80, linear(100, 50, 5, power=1)], ids=name)
def test_torch_has_a_finite_gradient(spec: MelSpec) -> None:
    torch = pytest.importorskip("torch")
    from codec.kernels.torch_ops import log_mel as of_torch

    audio = torch.tensor(speechlike(2_000)[None])
    audio[:, 500:1_500] = 0  # where a magnitude or a logarithm has no derivative
    audio.requires_grad_()
    of_torch(audio, spec).sum().backward()
    assert audio.grad.isfinite().all()
    assert audio.grad.abs().max() > 0


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
        np.zeros(1_000, bool),
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
        {"n_fft": 400.0},
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
        {"scale": "bark"},
        {"norm": "htk"},
        {"power": 3},
        {"win_length": 401},
        {"win_length": 0},
        {"window": "kaiser"},
        {"padding": "wrap"},
        {"log": "log2"},
        {"floor": 0.0},
        {"floor": float("nan")},
        {"dynamic_range": -1.0},
        {"maximum": "loudest"},
        {"maximum": float("nan")},
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
