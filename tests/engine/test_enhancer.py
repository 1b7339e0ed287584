"""The enhancer: the same bits however audio is cut, by every door, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

import codec
from bench.random_weights import SMALL, write_weights
from codec.engine.enhancer import load_enhancer
from codec.engine.post import Post
from codec.errors import CodecWarning, ModelError, OptionError
from codec.model.enhancer_config import EnhancerConfig
from codec.model.location import DEFAULT_WEIGHTS
from codec.model.receptive_field import Reach
from codec.support.workers import Workers
from tests.helpers.enhancers import TINY, enhancer_file, tensors, write_enhancer
from tests.helpers.mean_backend import MeanBackend
from tests.helpers.postfiltered import voice

_engine = pytest.importorskip("codec.engine._engine", reason="needs the native engine")

RATE, HOP = 24_000, 240


def whole(run: object, audio: np.ndarray) -> np.ndarray:
    return run(audio, 0, -(-len(audio) // run.hop))  # type: ignore[operator,attr-defined]


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        dataclasses.replace(TINY, fft=480, hop=120, wide=241, narrow=0, lookahead=0),
        dataclasses.replace(TINY, fft=1920, hop=480, blocks=0, lookahead=0, kernel_size=1),
    ],
    ids=["tiny", "short", "lone"],
)
def test_every_instruction_set_has_the_same_bits(config):
    audio, data = voice(9001, 0.1), enhancer_file(config)
    found = [whole(_engine.Enhancer(data, isa), audio) for isa in _engine.isas()]
    assert np.abs(found[0] - audio).max() > 0.01
    assert np.isfinite(found[0]).all()
    for other in found[1:]:
        assert np.array_equal(other, found[0])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 20_000),
    st.lists(st.integers(1, 5000), max_size=12),
    st.integers(1, 30),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
)
def test_however_it_is_cut(samples, cuts, span, threads, channels):
    run = _engine.Enhancer(enhancer_file(TINY))
    audio = np.stack([voice(samples, 0.1, seed) for seed in range(channels)])
    edges = [0, *np.minimum(np.cumsum(cuts, dtype=int), samples), samples]
    blocks = [audio[:, a:b] for a, b in itertools.pairwise(edges)]
    post = Post("enhancer", (Post, ()), run.hop, Reach(*run.reach), run, run, span)
    with Workers(threads) as workers:
        enhanced = np.concatenate(list(post.blocks(blocks, workers)), axis=1)
    assert np.array_equal(enhanced, np.stack([whole(run, one) for one in audio]))


def test_hardly_more_than_its_reach_is_seen():
    run = _engine.Enhancer(enhancer_file(TINY))
    audio = voice(60 * HOP, 0.1)
    before, after = run.reach
    expected = whole(run, audio)[30 * HOP : 31 * HOP]

    def seen(before: int, after: int) -> np.ndarray:
        return run(audio[(30 - before) * HOP : (31 + after) * HOP], before, before + 1)

    assert np.array_equal(seen(before, after), expected)
    assert not np.array_equal(seen(before - 2, after), expected)
    assert not np.array_equal(seen(before, after - 2), expected)


def test_one_that_gives_no_factors_changes_nothing():
    found = tensors(TINY)
    for name in ("factors.weight", "factors.bias"):
        found[name] = np.zeros_like(found[name])
    run = _engine.Enhancer(save(found, metadata={"config": TINY.to_json()}))
    audio = voice(5000, 0.1)
    assert np.abs(whole(run, audio) - audio).max() < 1e-6


def test_silence_stays_silent_and_no_audio_is_too_loud():
    run = _engine.Enhancer(enhancer_file(TINY))
    assert not whole(run, np.zeros(3000, np.float32)).any()
    for level in (1e-30, 1e30, np.inf, np.nan):
        assert whole(run, np.full(3000, level, np.float32)).shape == (3000,)


def test_hops_outside_the_audio_are_refused():
    run = _engine.Enhancer(enhancer_file(TINY))
    audio = voice(1000, 0)
    for first, last in ((0, 6), (3, 3), (4, 3)):
        with pytest.raises(ValueError, match="not in the audio"):
            run(audio, first, last)


@pytest.fixture
def small(tmp_path) -> Path:
    """A model of 24 kHz with random weights and an enhancer."""
    path = write_weights(tmp_path / "w.safetensors", SMALL)
    write_enhancer(path, codec.load(path).model_id)
    return path


def test_every_door_enhances_alike(small, tmp_path, cli_of_weights):
    import soundfile

    model = codec.load(small)
    audio = 0.2 * voice(3 * RATE, 0.1)
    for rate in (RATE, 16_000):
        tokens = model.encode(audio, rate)
        plain, enhanced = model.decode(tokens), model.decode(tokens, enhance=True)
        assert enhanced.shape == plain.shape
        assert not np.array_equal(enhanced, plain)
        assert np.array_equal(model.decode(tokens, enhance=True, threads=2), enhanced)
        (one,) = model.decode_batch([tokens], enhance=True)
        assert np.array_equal(one, enhanced)
        data = model.compress(audio, rate, effort="raw")
        assert np.array_equal(model.decompress(data, enhance=True)[0], enhanced)
        for start, duration in ((0, 0.3), (1.3337, 1.0), (2.5, None)):
            part, _ = model.decompress(data, start=start, duration=duration, enhance=True)
            first = round(start * rate)
            assert np.array_equal(part, enhanced[:, first : first + part.shape[1]])
    path = tmp_path / "a.nac"
    path.write_bytes(data)
    expected = np.rint(enhanced[0] * 32768).clip(-32768, 32767)
    to_enhance = ("--enhance", "--model", str(small), "-f")
    for extra in ([], ["--salvage"], ["--threads", "2"]):
        copy = tmp_path / f"copy{len(extra)}.wav"
        assert cli_of_weights("decompress", path, "-o", copy, *to_enhance, *extra)[0] == 0
        assert np.array_equal(soundfile.read(copy, dtype="int16")[0], expected)
    code, file, _ = cli_of_weights("decompress", path, "-o", "-", *to_enhance)
    piped = cli_of_weights("decompress", "-", *to_enhance, stdin=data)
    assert (code, *piped[:2]) == (0, 0, file)


def test_the_command_enhances_where_it_can(small, tmp_path, cli_of_weights):
    model, path = codec.load(small), tmp_path / "a.nac"
    path.write_bytes(model.compress(voice(RATE, 0.1), RATE, effort="raw"))

    def restored(*words: str) -> bytes:
        words = ("decompress", path, "-o", "-", "--model", small, *words)
        code, out, error = cli_of_weights(*words)
        assert (code, error) == (0, "")
        return out

    usual, enhanced, plain = restored(), restored("--enhance"), restored("--no-enhance")
    assert usual == enhanced
    assert len({enhanced, plain, restored("--postfilter")}) == 3
    beside = small.with_suffix(".enhancer")
    data = beside.read_bytes()
    beside.unlink()
    assert restored() == plain
    for wrong in (data[:-1], enhancer_file(TINY, bytes(8))):
        beside.write_bytes(wrong)
        assert restored("--no-enhance") == plain
        code, out, error = cli_of_weights("decompress", path, "-o", "-", "--model", small)
        assert (code, out, error.count("\n")) == (1, b"", 1)
        assert error.endswith("; --no-enhance does without\n")


def test_without_the_engine_nothing_is_enhanced_unless_asked_for(small, monkeypatch):
    monkeypatch.setattr("codec.engine.enhancer.find_spec", lambda name: None)
    pipeline = codec.load(small).pipeline
    with pytest.warns(CodecWarning, match="which is not built: audio is not enhanced"):
        assert pipeline.improvement("usual") is None
    assert pipeline.improvement("enhancer") is not None


def test_the_default_model_has_one():
    model = codec.load()
    post = load_enhancer(DEFAULT_WEIGHTS, model.model_id, model.config.sample_rate)
    assert post.hop == HOP
    tokens = model.encode(voice(RATE, 0.05), RATE, n_codebooks=6)
    assert not np.array_equal(model.decode(tokens), model.decode(tokens, enhance=True))


def test_both_at_once_are_refused(cli_of_weights):
    model = codec.load()
    tokens = model.encode(voice(9000, 0.01), RATE)
    with pytest.raises(OptionError, match="choose the postfilter or the enhancer, not both"):
        model.decode(tokens, postfilter=True, enhance=True)
    code, _, error = cli_of_weights("decompress", "a.nac", "--postfilter", "--enhance")
    assert code == 2
    assert "choose --postfilter or --enhance, not both" in error


def test_a_model_without_one_is_refused(small):
    shutil.move(small.with_suffix(".enhancer"), small.with_suffix(".other"))
    model = codec.load(small)
    tokens = model.encode(voice(9000, 0.01), RATE)
    for act in (
        lambda: model.decode(tokens, enhance=True),
        lambda: model.decode_batch([tokens], enhance=True),
        lambda: model.decompress(model.compress(voice(9000, 0.01), RATE), enhance=True),
    ):
        with pytest.raises(ModelError, match=r"w\.enhancer is missing: `codec train-enhancer`"):
            act()
    bare = codec.load(backend=MeanBackend())
    with pytest.raises(ModelError, match="without a file of weights has no enhancer"):
        bare.decode(bare.encode(voice(9000, 0.01), RATE), enhance=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "is damaged"),
        (lambda data: b"", "is damaged"),
        (lambda data: data.replace(b"embed.bias", b"embed.Bias"), "embed.bias"),
        (lambda data: enhancer_file(TINY, bytes(8)), "is of model 0000000000000000, not"),
        (lambda data: save(tensors(TINY), metadata={"model": "00"}), "is of model 00, not"),
        (lambda data: save(tensors(TINY), metadata={"config": "{}"}), "it names no model"),
    ],
)
def test_damaged_files_are_refused(small, damage, message):
    path = small.with_suffix(".enhancer")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=message):
        load_enhancer(small, codec.load(small).model_id, RATE)


def test_frames_that_would_take_all_memory_are_refused():
    most = dataclasses.replace(
        TINY, fft=15_360, hop=120, wide=7681, narrow=7681, dim=1, hidden=1, blocks=256
    )
    data = enhancer_file(dataclasses.replace(most, kernel_size=256))
    with pytest.raises(ValueError, match="frames are too large"):
        _engine.Enhancer(data)


def test_what_is_lost_is_silent_and_lies_between_two_clips(small, tmp_path, cli_of_weights):
    import soundfile

    model = codec.load(small)
    audio = 0.2 * voice(9 * RATE, 0.1)
    data = bytearray(model.compress(audio, RATE, effort="raw"))
    data[len(data) // 2] ^= 255
    path = tmp_path / "a.nac"
    path.write_bytes(data)
    found = {}
    for option in ("--no-enhance", "--enhance", "--postfilter"):
        out = tmp_path / f"{option}.wav"
        arguments = ("--salvage", "--model", str(small), "-q", "-o", out)
        cli_of_weights("decompress", path, *arguments, option)
        found[option] = soundfile.read(out, dtype="float32")[0]
    plain = found["--no-enhance"]
    (gap,) = (stretch for stretch in quiet_stretches(plain) if stretch[1] - stretch[0] > RATE)
    run = _engine.Enhancer(small.with_suffix(".enhancer").read_bytes())
    for part in (slice(0, gap[0]), slice(gap[1], None)):
        assert np.abs(found["--enhance"][part] - whole(run, plain[part])).max() < 0.01
    for other in found.values():
        assert not other[slice(*gap)].any()


def quiet_stretches(audio: np.ndarray) -> list[tuple[int, int]]:
    """List [first, last) of the stretches of zeros."""
    zero = np.concatenate([[0], audio == 0, [0]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(zero))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def test_a_model_of_another_rate_is_refused(tmp_path):
    path = write_weights(tmp_path / "w.safetensors", dataclasses.replace(SMALL, sample_rate=16_000))
    write_enhancer(path, codec.load(path).model_id)
    with pytest.raises(ModelError, match="for models of 24000 Hz, not 16000 Hz"):
        load_enhancer(path, codec.load(path).model_id, 16_000)


@pytest.mark.parametrize(
    "fields",
    [
        {"fft": 0},
        {"fft": 960.0},
        {"hop": 200},
        {"fft": 720},
        {"wide": 500},
        {"narrow": 60, "wide": 40},
        {"bands": 1},
        {"lookahead": 3},
        {"dim": True},
    ],
)
def test_dimensions_that_do_not_fit(fields):
    good = dataclasses.asdict(TINY)
    with pytest.raises(ModelError, match=f"an enhancer's {next(iter(fields))}|wide|hop"):
        EnhancerConfig.from_json(json.dumps(good | fields))
    metadata = {"config": json.dumps(good | fields)}
    with pytest.raises(ValueError, match=r"enhancer|configuration|shape"):
        _engine.Enhancer(save(tensors(TINY), metadata=metadata))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fft": 960, "more": 1}', "[" * 100_000])
def test_a_configuration_that_is_none(text):
    with pytest.raises(ModelError, match="configuration"):
        EnhancerConfig.from_json(text)
    with pytest.raises(ValueError, match="missing or out of range"):
        _engine.Enhancer(save(tensors(TINY), metadata={"config": text}))


def test_configurations_come_back():
    assert EnhancerConfig.from_json(TINY.to_json()) == TINY
