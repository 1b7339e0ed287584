"""The Python API over a backend that can be reasoned about, and over the real one if present."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
import codec.rvq
from bench.random_weights import SMALL as RANDOM
from bench.random_weights import noise, write_weights
from codec.audio import read_audio
from codec.engine.backend import Refinement
from codec.errors import (
    AudioError,
    BackendError,
    BitrateError,
    FormatError,
    ModelError,
    OptionError,
    OutputError,
    TokensError,
)
from codec.model.config import ModelConfig
from codec.model.limits import frames_for
from codec.model.weights_file import WeightsFile
from codec.quality.spectral import mel_distance
from tests.helpers.mean_backend import Endless, MeanBackend, steps
from tests.helpers.processes import python

SMALL = codec.load(backend=MeanBackend())


def test_import_is_light():
    # click too: the library does not need it.
    loaded = python("import sys, codec; codec.load; codec.Recorder; print(*sys.modules)").split()
    assert "codec.api" in loaded
    assert not {"torch", "numba", "soundfile", "soxr", "tqdm", "click"} & set(loaded)


def test_version_is_the_project_s():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert re.findall(r'^version = "(.*)"$', text, re.MULTILINE) == [codec.__version__]


@pytest.mark.parametrize("samples", [*range(1, 8), 479, 480, 481, 961, 24_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_audio_comes_back_at_its_length_and_place(samples, channels):
    audio = steps(samples, channels)
    tokens = SMALL.encode(audio, 24_000)
    assert tokens.codes.shape == (channels, 12, -(-samples // 480))
    back = SMALL.decode(tokens)
    assert back.dtype == np.float32
    assert back.shape == audio.shape
    assert np.abs(back - audio).max() < 1e-6


def test_token_rate_is_exact_for_every_length_up_to_a_second():
    config = SMALL.config
    for samples in range(1, 24_001):
        exact = -(-samples * 50 // 24_000)
        assert config.n_frames(samples) == frames_for(samples, 24_000, Fraction(50)) == exact
    for samples in range(1, 1450, 7):
        tokens = SMALL.encode(np.zeros(samples, np.float32), 24_000, n_codebooks=1)
        assert tokens.n_frames == -(-samples * 50 // 24_000)


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(1, 3000), rate=st.integers(1_000, 768_000))
def test_any_rate_and_length(samples, rate):
    tokens = SMALL.encode(np.full(samples, 0.25), rate, n_codebooks=2)
    resampled = -(-samples * 24_000 // rate)
    assert tokens.n_frames == -(-resampled // 480)
    assert SMALL.decode(tokens).shape == (1, samples)


def test_resampled_audio_stays_in_place():
    step = np.concatenate([np.full(22_050, -0.5), np.full(22_050, 0.5)])
    back = SMALL.decode(SMALL.encode(step, 44_100))[0]
    assert np.abs(back[2000:21_000] + 0.5).max() < 1e-3
    assert np.abs(back[23_100:42_100] - 0.5).max() < 1e-3


def test_dtypes_agree():
    audio = (steps(1000) * 32767).round().astype(np.int16)
    floats = audio / 32768
    for same in (audio, audio[0], floats, floats.astype(np.float32)):
        assert SMALL.encode(same, 24_000) == SMALL.encode(audio, 24_000)


def test_a_batch_is_its_items_whatever_their_order(small):
    items = [steps(n, channels) for n, channels in ((9600, 1), (1, 2), (4801, 1), (700, 3))]
    rates = [24_000, 8000, 44_100, 24_000]
    alone = [small.encode(*pair, n_codebooks=3) for pair in zip(items, rates, strict=True)]
    for threads in (1, 3):
        for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
            batch = small.encode_batch(
                [items[i] for i in order], [rates[i] for i in order], n_codebooks=3, threads=threads
            )
            for i, tokens, audio in zip(
                order, batch, small.decode_batch(batch, threads=threads), strict=True
            ):
                assert np.array_equal(tokens.codes, alone[i].codes)
                assert tokens.sample_rate == rates[i]
                assert np.array_equal(audio, small.decode(alone[i]))
    assert small.encode_batch([], 24_000) == []
    with pytest.raises(AudioError, match="1 sample rates for 4 items"):
        small.encode_batch(items, [24_000])


def test_channels_do_not_touch_each_other():
    audio = steps(1000, 3)
    whole = SMALL.encode(audio, 24_000)
    for channel, codes in zip(audio, whole.codes, strict=True):
        assert np.array_equal(SMALL.encode(channel, 24_000).codes[0], codes)


def test_a_prefix_of_the_codebooks_is_the_coarser_encoding():
    audio = steps(2000, 2)
    whole = SMALL.encode(audio, 24_000)
    for count in (1, 5, 12):
        assert whole.first(count) == SMALL.encode(audio, 24_000, n_codebooks=count)
    errors = [np.abs(SMALL.decode(whole.first(n)) - audio).max() for n in (1, 2, 3)]
    assert errors[0] > 10 * errors[1] > 0
    for count in (0, 13):
        with pytest.raises(TokensError):
            whole.first(count)


def test_codes_of_a_language_model_are_checked_and_copied():
    codes = SMALL.encode(steps(2000, 2), 24_000).codes.copy()
    tokens = SMALL.tokens(codes)
    before = tokens.codes.copy()
    codes[:] = 0
    assert np.array_equal(tokens.codes, before)
    for shape in ((1, 4, 0), (1, 0, 10), (0, 4, 10), (4, 0)):
        with pytest.raises(TokensError, match="no codes"):
            SMALL.tokens(np.zeros(shape, np.int64))


def test_bitrates():
    for kbps, count in [(0.5, 1), (0.99, 1), (1, 2), (1.5, 3), (3, 6), (3.2, 6), (6, 12)]:
        tokens = SMALL.encode(steps(480), 24_000, bitrate=kbps * 1000)
        assert tokens.n_codebooks == count
        assert tokens.bitrate == count * 500
    for bitrate in (0, 3, 499, 6100, -1, np.nan, np.inf):
        with pytest.raises(BitrateError, match=r"this model has 0\.5 to 6 in steps of 0\.5"):
            SMALL.encode(steps(480), 24_000, bitrate=bitrate)
    with pytest.raises(BitrateError, match="not both"):
        SMALL.encode(steps(480), 24_000, n_codebooks=1, bitrate=3000)
    for count in (0, 13):
        with pytest.raises(BitrateError, match="1 to 12"):
            SMALL.encode(steps(480), 24_000, n_codebooks=count)


@pytest.mark.parametrize("each", [0.7, 3.3, 275.0, 500.0, 1000 / 3])
def test_every_multiple_of_the_codebook_rate_is_a_bitrate(each):
    class Config(ModelConfig):
        bitrate_per_codebook = each

    tool = codec.load(backend=MeanBackend(Config()))
    assert [tool.codebooks_for(n * each) for n in range(1, 13)] == list(range(1, 13))
    assert [tool.codebooks_for(float(f"{n * each / 1000:.9g}") * 1000) for n in (1, 7)] == [1, 7]


def test_bytes_round_trip():
    audio = steps(30_000, 2)
    data = SMALL.compress(audio, 24_000, n_codebooks=3)
    back, rate = SMALL.decompress(data)
    assert rate == 24_000
    assert np.array_equal(back, SMALL.decode(SMALL.encode(audio, 24_000, n_codebooks=3)))
    with pytest.raises(FormatError):
        SMALL.decompress(data[:-1])
    spread = bytearray(2 * len(data))
    spread[::2] = data
    assert np.array_equal(SMALL.decompress(memoryview(spread)[::2])[0], back)


@pytest.mark.parametrize("rate", [0, -1, 999, 768_001, 24_000.5, "24000", None])
def test_sample_rates_that_cannot_be(rate):
    with pytest.raises(AudioError, match="sample rate"):
        SMALL.encode(steps(480), rate)


def test_another_model_s_tokens_are_refused():
    tokens = SMALL.encode(steps(480), 24_000)
    other = codec.load(backend=MeanBackend(model_id=bytes(8)))
    with pytest.raises(ModelError, match=tokens.model_id.hex()):
        other.decode(tokens)
    for config in (
        ModelConfig(hop_length=480, n_codebooks=8),
        ModelConfig(hop_length=480, n_codebooks=12, codebook_size=512),
        ModelConfig(hop_length=960, n_codebooks=12),
    ):
        with pytest.raises(ModelError, match="dimensions"):
            codec.load(backend=MeanBackend(config)).decode(tokens)


@pytest.mark.parametrize(
    "change",
    [
        {"codes": np.zeros((1, 2, 2), np.int64)},
        {"codes": np.zeros((2, 2), np.uint16)},
        {"codes": [[[0, 0]]]},
        {"codes": np.zeros((0, 2, 2), np.uint16)},
        {"codes": np.zeros((1, 0, 2), np.uint16)},
        {"codes": np.zeros((1, 2, 3), np.uint16)},
        {"codes": np.full((1, 2, 2), 1024, np.uint16)},
        {"n_samples": 0},
        {"n_samples": 480},
        {"n_samples": 961},
        {"sample_rate": 0},
        {"frame_rate": 0.0},
        {"frame_rate": float("nan")},
        {"codebook_size": 1},
        {"model_id": b"short"},
        {"together": np.array([1, 2])},
        {"together": 3},
        {"lone": np.array([0, 0])},
        {"lone": True},
        {"lone": "no"},
    ],
)
def test_tokens_must_fit_together(change):
    sound = codec.Tokens(np.zeros((1, 2, 2), np.uint16), 50.0, 960, 24_000, 1024, bytes(8))
    with pytest.raises(TokensError):
        dataclasses.replace(sound, **change)


@given(
    numerator=st.integers(1, 768_000),
    denominator=st.integers(1, 1 << 16),
)
def test_the_frame_rate_is_exact_although_a_float(numerator, denominator):
    exact = Fraction(numerator, denominator)
    tokens = codec.Tokens(
        np.zeros((1, 1, frames_for(1000, 768_000, exact)), np.uint16),
        float(exact), 1000, 768_000, 2, bytes(8),
    )  # fmt: skip
    assert tokens.exact_frame_rate == exact


def test_missing_weights(tmp_path):
    with pytest.raises(ModelError, match="no such weights"):
        codec.load(tmp_path / "none.safetensors")


def test_the_shipped_model_keeps_the_same_promises(shipped):
    config = shipped.config
    for samples in (1, 7, config.hop_length, config.hop_length + 1, 5000):
        tokens = shipped.encode(np.zeros(samples, np.float32), config.sample_rate)
        assert tokens.n_frames == config.n_frames(samples)
        audio = shipped.decode(tokens)
        assert audio.shape == (1, samples)
        assert np.isfinite(audio).all()
    tone = np.sin(np.arange(12_000) * 0.05).astype(np.float32) * 0.3
    tokens = shipped.encode(tone, config.sample_rate)
    assert tokens.first(2) == shipped.encode(tone, config.sample_rate, n_codebooks=2)
    assert np.corrcoef(np.abs(shipped.decode(tokens)[0]), np.abs(tone))[0, 1] > 0


@pytest.mark.parametrize("wrong", [None, b"bytes", ["a.nac"], np.zeros(3), io.StringIO()])
def test_tokens_are_kept_in_a_path_or_a_file(wrong):
    tokens = SMALL.encode(steps(480), 24_000)
    with pytest.raises(OutputError, match="must be a path or a binary file"):
        tokens.save(wrong)
    with pytest.raises(FormatError, match="must be a path or a binary file"):
        codec.Tokens.load(wrong)
    for name in ("a\0b", "a\ud800"):
        with pytest.raises(OutputError, match="must be a path"):
            tokens.save(name)
        with pytest.raises(FormatError, match="must be a path"):
            codec.Tokens.load(name)
    with pytest.raises(ModelError, match="'default' or the path") as raised:
        codec.load(np.zeros((9, 9)))
    assert len(str(raised.value).splitlines()) == 1


@pytest.fixture(scope="module")
def searching(tmp_path_factory):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    path = write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", RANDOM)
    return codec.load(path)


def test_a_beam_search_gives_codes_like_any_other(searching):
    audio = np.stack([noise(60_000, seed) for seed in (1, 2)])
    for count in (1, 2, 3):
        tokens = searching.encode(audio, 24_000, n_codebooks=count, beam=6)
        assert searching.encode(audio, 24_000, n_codebooks=count, beam=6, threads=3) == tokens
        latents = searching.encode_latents(audio, 24_000, normalized=False)
        books = WeightsFile(searching.backend._path).codebooks
        for channel, codes in zip(latents, tokens.codes, strict=True):
            found = codec.rvq.encode(
                np.ascontiguousarray(channel.T), books, n_codebooks=count, beam=6
            )
            assert np.array_equal(codes, found)
        file = searching.compress(audio, 24_000, n_codebooks=count, beam=6, effort="raw")
        assert np.array_equal(searching.decompress(file)[0], searching.decode(tokens))
    assert tokens != searching.encode(audio, 24_000)
    assert searching.encode_batch([audio, audio[:1]], 24_000, beam=6) == [
        searching.encode(part, 24_000, beam=6) for part in (audio, audio[:1])
    ]
    stream = searching.stream_encoder(n_codebooks=2, beam=6)
    codes = np.concatenate([stream.push(audio[0]), stream.flush()], axis=1)
    assert np.array_equal(codes, searching.encode(audio[0], 24_000, n_codebooks=2, beam=6).codes[0])


@pytest.mark.parametrize("beam", [0, 65, -1, 2.5, "8", None, True, float("nan")])
def test_other_beams_are_refused(searching, beam):
    audio = steps(480)
    for act in (searching.encode, searching.compress, searching.encode_batch):
        with pytest.raises(OptionError, match="beam"):
            act(audio, 24_000, beam=beam)
    with pytest.raises(OptionError, match="beam"):
        searching.stream_encoder(beam=beam)


def test_a_refined_stream_gives_the_codes_of_the_whole(searching):
    audio, search = noise(115_000, 1), {"n_codebooks": 2, "beam": 2, "refine": 20}
    stream = searching.stream_encoder(**search)
    codes = [stream.push(audio[at : at + 9000]) for at in range(0, len(audio), 9000)]
    whole = searching.encode(audio, 24_000, **search)
    assert np.array_equal(np.concatenate([*codes, stream.flush()], axis=1), whole.codes[0])
    assert whole != searching.encode(audio, 24_000, n_codebooks=2, beam=2)


def test_refined_codes_are_like_any_other(searching):
    audio = np.stack([noise(115_000, seed) for seed in (1, 2)])
    plain = searching.encode(audio, 24_000, n_codebooks=2)
    tokens = searching.encode(audio, 24_000, n_codebooks=2, refine=20)
    assert tokens.codes.shape == plain.codes.shape
    assert tokens != plain
    assert searching.encode(audio, 24_000, n_codebooks=2, refine=20, threads=3) == tokens
    assert searching.encode(audio, 24_000, n_codebooks=2, refine=0) == plain
    file = searching.compress(audio, 24_000, n_codebooks=2, refine=20, effort="raw")
    assert np.array_equal(searching.decompress(file)[0], searching.decode(tokens))
    # A file says nothing of how its codes were found.
    assert len(file) == len(searching.compress(audio, 24_000, n_codebooks=2, effort="raw"))
    parts = [audio[:, :9000], audio[:1, :961]]
    assert searching.encode_batch(parts, 24_000, refine=20) == [
        searching.encode(part, 24_000, refine=20) for part in parts
    ]


def test_refined_audio_is_closer_to_the_original(shipped, monkeypatch):
    if not isinstance(shipped.backend, Refinement):
        pytest.skip("needs the native engine")
    monkeypatch.setattr("codec.engine.refine.SPAN", 20)  # several windows
    monkeypatch.setattr("codec.engine.refine.MARGIN", 4)
    audio, rate = read_audio(Path(__file__).parent / "clips/strings.flac")
    distances = []
    for count in (0, 10):
        tokens = shipped.encode(audio, rate, n_codebooks=2, refine=count)
        distances.append(mel_distance(audio[0], shipped.decode(tokens)[0], rate))
    assert distances[1] < 0.95 * distances[0]


@pytest.mark.parametrize("refine", [-1, 1001, 2.5, "8", None, True, float("nan")])
def test_other_numbers_of_steps_are_refused(searching, refine):
    audio = steps(480)
    for act in (searching.encode, searching.compress, searching.encode_batch):
        with pytest.raises(OptionError, match="refine"):
            act(audio, 24_000, refine=refine)
    with pytest.raises(OptionError, match="refine"):
        searching.stream_encoder(refine=refine)


def test_each_step_searches_with_a_beam(searching):
    audio = noise(30_000)
    both = searching.encode(audio, 24_000, n_codebooks=3, refine=10, beam=8)
    assert both != searching.encode(audio, 24_000, n_codebooks=3, refine=10)
    assert both != searching.encode(audio, 24_000, n_codebooks=3, beam=8)
    assert searching.encode_batch([audio], 24_000, n_codebooks=3, refine=10, beam=8) == [both]


def test_a_batch_that_fails_does_not_wait_for_its_refinements():
    backend = Endless()

    def bad(*_):
        assert backend.started.wait(60)
        raise RuntimeError("no samples")

    class Bad:
        __array__ = bad

    with pytest.raises(AudioError):
        codec.load(backend=backend).encode_batch(
            [np.zeros(9600, np.float32), Bad()], 24_000, refine=1, threads=2
        )
    assert backend.stopped.is_set()


def test_a_backend_without_a_beam_search_says_so(searching):
    with pytest.raises(BackendError, match="cannot refine codes; native can"):
        SMALL.encode(steps(480), 24_000, refine=2)
    with pytest.raises(BackendError, match="no beam search; native has"):
        SMALL.encode(steps(480), 24_000, beam=2)
    with pytest.raises(BackendError, match="cannot refine codes; native can"):
        SMALL.stream_encoder(refine=2)
    for search in ({"beam": 2}, {"refine": 2}):
        with pytest.raises(BitrateError, match="leave out n_codebooks, bitrate, beam and refine"):
            searching.stream_encoder(latents=True, **search)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_warning_names_the_line_that_encodes(threads: int):
    """That of the caller, not one of this package or of a thread."""
    loud = np.full(480, 3, np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        here = sys._getframe().f_lineno
        SMALL.encode(loud, 24_000, threads=threads)
        SMALL.compress(loud, 24_000, effort="raw", threads=threads)
        SMALL.encode_batch([loud], 24_000, threads=threads)
    lines = [(warning.filename, warning.lineno - here) for warning in caught]
    assert lines == [(__file__, 1), (__file__, 2), (__file__, 3)]


def test_codebooks_lead_from_latents_to_codes_and_to_audio():
    """What `codec.rvq` makes of the encoder's latents are the codes, bit for bit. Their sums give
    the codes' audio below 3.5 kHz; above 4 kHz the decoder draws signs from their last bits."""
    model = codec.load()
    audio = noise(24_000, seed=5)
    codes = model.encode(audio, 24_000).codes[0]
    latents = model.encode_latents(audio, 24_000, normalized=False)[0]
    assert model.codebooks.shape == (*codes.shape[:1], 1024, len(latents))
    assert np.array_equal(codec.rvq.encode(latents.T, model.codebooks), codes)
    sums = codec.rvq.decode(codes[:4], model.codebooks)
    decoded = model.decode(model.tokens(codes[:4]))[0]
    restored = model.decode_latents(sums.T, normalized=False)[0]
    wanted, got = (np.fft.rfft(audio)[:3500] for audio in (decoded, restored))  # bins of 1 Hz
    assert np.abs(wanted - got).max() < 1e-3 * np.abs(wanted).max()
    with pytest.raises(ValueError, match="read-only"):
        model.codebooks[0] = 0
    with pytest.raises(ModelError, match="no codebooks"):
        _ = SMALL.codebooks
