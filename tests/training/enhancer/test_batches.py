"""What an enhancer learns from: decoded audio beside what it was, drawn by seed and step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("codec.engine._engine", reason="needs the native engine")

import torch

from codec.engine.native import NativeBackend
from codec.errors import DataError, TrainingError
from codec.support.workers import Workers
from codec.training.prepare import AUDIO_NAME, AudioEntry, PreparedAudio
from tests.helpers.enhancer_training import TINY, batches
from tests.helpers.mean_backend import MeanBackend

MARGIN = TINY.model.fft - TINY.model.hop
MIDDLE = slice(TINY.context_samples, TINY.context_samples + TINY.crop_samples)


def decoded(seen: torch.Tensor) -> np.ndarray:
    """Cut the decoded audio out of what the network sees."""
    return seen[:, 0, MARGIN : MARGIN + TINY.whole_samples].numpy()


def test_what_is_seen_is_the_decoded_target(audio: PreparedAudio, weights: Path):
    """With a codec that changes nothing, both are the same."""

    whole = (audio.audio().astype(np.float32) / 32768).reshape(2, 75, 960)

    class Through(NativeBackend):
        def encode(self, audio, n_codebooks):
            file = int(np.array_equal(audio, whole[1].ravel()))
            return np.stack([np.arange(75), np.full(75, file)]).astype(np.uint16)

        def decode(self, codes):
            return whole[codes[1], codes[0]].ravel()

    config = dataclasses.replace(TINY, depths=(1.0,))
    batch = batches(audio, Through(weights), config).draw(0)
    assert np.array_equal(decoded(batch.seen)[:, MIDDLE], batch.target.numpy())
    assert batch.known.shape == (2, TINY.whole_samples // 240 + 3, 3)


def test_it_is_a_function_of_seed_and_step(audio: PreparedAudio, weights: Path):
    backend = NativeBackend(weights)
    one = batches(audio, backend, TINY)
    with Workers(2) as workers:
        other = batches(audio, backend, TINY, workers)
        for step in (3, 0):
            for left, right in zip(one.draw(step)[:5], other.draw(step)[:5], strict=True):
                assert torch.equal(left, right)
    assert not torch.equal(one.draw(0).target, one.draw(1).target)
    changed = batches(audio, backend, dataclasses.replace(TINY, seed=1))
    assert not torch.equal(one.draw(0).target, changed.draw(0).target)


def test_depths_are_shares_of_the_model_s_codebooks(audio: PreparedAudio, weights: Path):
    asked = []

    class Asked(NativeBackend):
        def decode(self, codes):
            asked.append(len(codes))
            return super().decode(codes)

    config = dataclasses.replace(TINY, depths=(0.01, 0.7, 1.0), batch_size=40)
    batch = batches(audio, Asked(weights), config).draw(0)
    assert set(asked) == {1, 2, 3}
    assert torch.equal(batch.shares, torch.tensor(asked) / 3)


def test_no_gain_makes_it_clip(audio: PreparedAudio):
    config = dataclasses.replace(TINY, level_db=(40.0, 40.0), batch_size=8)
    batch = batches(audio, MeanBackend(), config).draw(0)
    assert 0.9 < float(batch.target.abs().max()) <= 1.0001
    quiet = dataclasses.replace(config, level_db=(-20.0, -20.0))
    plain = dataclasses.replace(config, level_db=(0.0, 0.0))
    lowered, whole = (batches(audio, MeanBackend(), one).draw(0) for one in (quiet, plain))
    assert torch.allclose(10 * lowered.target, whole.target)
    assert torch.allclose(10 * lowered.seen[:, 0], whole.seen[:, 0])


def test_the_waveform_counts_less_where_no_critic_hears(audio: PreparedAudio):
    few = dataclasses.replace(TINY, critic_files="speech/0*", batch_size=8, critic_crops=8)
    half = dataclasses.replace(few, unheard_phase=0.25)
    whole = dataclasses.replace(half, unheard_phase=1.0)
    found, expected = (batches(audio, MeanBackend(), one).draw(0) for one in (half, whole))
    rest = torch.full((8,), 0.25)
    rest[expected.heard] = 1
    assert 0 < len(expected.heard) < 8
    torch.testing.assert_close(found.shares, expected.shares * rest)


def test_critics_hear_the_files_of_their_glob(audio: PreparedAudio):
    assert len(batches(audio, MeanBackend(), TINY).draw(0).heard) == 2
    one = dataclasses.replace(TINY, critic_files="speech/0*", batch_size=8, critic_crops=3)
    heard = [batches(audio, MeanBackend(), one).draw(step).heard for step in range(4)]
    assert max(map(len, heard)) == 3
    none = dataclasses.replace(TINY, critic_files="voices/*")
    with pytest.raises(TrainingError, match="critic_files 'voices/\\*' matches no file"):
        batches(audio, MeanBackend(), none)
    with pytest.raises(DataError, match=r"\*voices\*"):
        batches(audio, MeanBackend(), dataclasses.replace(TINY, data_weights={"*voices*": 2.0}))


def levels(folder: Path, files: list[tuple[int, float]]) -> PreparedAudio:
    """Make files of so many samples, each of one value."""
    parts = [np.full(samples, round(32768 * value), "<i2") for samples, value in files]
    np.concatenate(parts).tofile(folder / AUDIO_NAME)
    begins = np.cumsum([0, *map(len, parts)])
    entries = [
        AudioEntry(f"{number}.wav", "all", int(begin), len(part), 24_000, 1, True, 1.0, 1.0)
        for number, (begin, part) in enumerate(zip(begins, parts, strict=False))
    ]
    return PreparedAudio(folder, 24_000, tuple(entries), (), "fingerprint")


PLAIN = dataclasses.replace(TINY, critic_files="*", level_db=(0.0, 0.0))


def test_files_are_drawn_by_duration_and_weight(tmp_path: Path):
    """A silent file nearly never; one without weight, even if it is the last, not at all."""
    audio = levels(tmp_path, [(96_000, 0.25), (48_000, 0.5), (48_000, 0.0), (480_000, 0.75)])
    config = dataclasses.replace(
        PLAIN, batch_size=1000, data_weights={"1.wav": 3.0, "3.wav": 0.0, "[02].wav": 1.0}
    )
    target = batches(audio, MeanBackend(), config).draw(0).target
    values, counts = np.unique(np.abs(target.mean(1).numpy()), return_counts=True)
    shares = dict(zip(values.round(3).tolist(), counts / 1000, strict=True))
    assert shares[0.25] == pytest.approx(0.4, abs=0.06)
    assert shares[0.5] == pytest.approx(0.6, abs=0.06)
    assert shares.get(0.0, 0.0) < 0.01
    assert 0.75 not in shares
    assert float((target[:, 0] < 0).float().mean()) == pytest.approx(0.5, abs=0.06)


def test_a_short_file_lies_at_any_place_in_zeros(tmp_path: Path):
    config = dataclasses.replace(PLAIN, batch_size=50, context_samples=0)
    batch = batches(levels(tmp_path, [(960, 0.5)]), MeanBackend(), config).draw(0)
    sounds = batch.target != 0
    assert (sounds.sum(1) == 960).all()
    places = sounds.int().argmax(1)
    assert 0 <= int(places.min()) < 300
    assert config.crop_samples - 960 - 300 < int(places.max()) <= config.crop_samples - 960


def test_some_file_must_have_weight(audio: PreparedAudio):
    with pytest.raises(DataError, match="every file has weight 0"):
        batches(audio, MeanBackend(), dataclasses.replace(TINY, data_weights={"*": 0.0}))
