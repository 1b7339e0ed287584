"""Training the entropy coders: from audio to a data file that codes, in seconds."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("codec.coders._entropy", reason="the native extension was not built")


from bench.random_weights import SMALL, write_weights
from codec.coders import entropy
from codec.coders.data import SUFFIX, EntropyData
from codec.engine.native import NativeBackend
from codec.errors import DataError, ModelError, OutputError
from codec.training.entropy.corpus import choose_held_out, open_corpus
from codec.training.entropy.tables import train_tables
from codec.training.entropy.train import train_entropy
from codec.training.prepare import PreparedAudio, prepare

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def audio(tmp_path: Path) -> PreparedAudio:
    import soundfile

    random = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    for i in range(3):
        envelope = np.repeat(random.uniform(0, 0.3, 100), 960)
        samples = envelope * random.standard_normal(len(envelope))
        soundfile.write(tmp_path / "audio" / f"{i}.wav", samples, 24_000)
    return prepare(tmp_path / "audio", tmp_path / "prepared")


def test_from_audio_to_coders(audio: PreparedAudio, tmp_path: Path):
    weights = write_weights(tmp_path / "small.safetensors", SMALL)
    target, cache = weights.with_suffix(SUFFIX), tmp_path / "cache"
    said: list[str] = []
    train_entropy(audio, weights, target, cache, minutes=0.03, say=said.append)
    assert said
    with pytest.raises(OutputError):
        train_entropy(audio, weights, target, cache, minutes=0.01, say=said.append)

    backend = NativeBackend(weights)
    assert EntropyData.read(target).model_id == backend.model_id
    codes = open_corpus(audio, backend, cache).train[0][None, :, :50]
    for coder_id in (1, 2):
        coder = entropy.load(weights, coder_id)
        assert np.array_equal(coder.decode(coder.encode(codes), *codes.shape), codes)

    other = write_weights(tmp_path / "other.safetensors", SMALL, seed=1)
    target.rename(other.with_suffix(SUFFIX))
    with pytest.raises(ModelError, match=r"other\.entropy is of"):
        entropy.load(other, 1)


def test_codes_are_made_once(audio: PreparedAudio, tmp_path: Path):
    backend = NativeBackend(write_weights(tmp_path / "small.safetensors", SMALL))
    first = open_corpus(audio, backend, tmp_path / "cache")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert len(files) == len(audio.files)
    lost = min(files)
    lost.write_bytes(b"")  # damaged: made again
    again = open_corpus(audio, backend, tmp_path / "cache")
    kept = {path for path, when in files.items() if path.stat().st_mtime_ns == when}
    assert kept == set(files) - {lost}
    for one, other in zip(first.train + first.held_out, again.train + again.held_out, strict=True):
        assert np.array_equal(one, other)


def test_files_are_held_out_whole():
    frames = [100] * 50
    chosen = choose_held_out(frames)
    assert 0.04 <= sum(frames[i] for i in chosen) / sum(frames) < 0.08
    assert choose_held_out(frames) == chosen
    assert len(choose_held_out([1, 1000])) == 1
    with pytest.raises(DataError):
        choose_held_out([100])


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count a hundredth of a second for each step of training, on any machine."""
    ticks = itertools.count()
    monkeypatch.setattr("codec.training.entropy.tables.time.monotonic", lambda: next(ticks) / 100)


@pytest.mark.usefixtures("steps")
def test_tables_learn_what_follows_from_what():
    random = np.random.default_rng(0)
    codes = np.zeros((2, 4000), np.uint16)
    codes[0] = random.integers(0, 16, 4000)
    codes[1] = 15 - codes[0]  # known, once level 0 is
    tables = train_tables(codes, codes, 16, rank=8, seconds=4, say=lambda line: None)
    coder = entropy.TablesCoder(EntropyData(bytes(8), tables, None, bytes(8)))
    _, bits, _ = coder.costs(codes[None, :, :500])
    assert bits[0, 0].mean() == pytest.approx(4, abs=0.3)  # uniform
    assert bits[0, 1].mean() < 0.5


@pytest.mark.usefixtures("steps")
def test_what_only_the_recordings_say_costs_nothing():
    random = np.random.default_rng(0)
    codes, others = random.integers(0, 64, (2, 2, 3000)).astype(np.uint16)
    tables = train_tables(codes, others, 64, rank=8, seconds=4, say=lambda line: None)
    coder = entropy.TablesCoder(EntropyData(bytes(8), tables, None, bytes(8)))
    _, bits, _ = coder.costs(random.integers(0, 64, (1, 2, 3000)).astype(np.uint16))
    assert bits.mean() < 6.02
