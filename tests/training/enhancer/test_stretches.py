"""The audio is coded once: what crops are decoded from is what the whole file's codes are."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("codec.engine._engine", reason="needs the native engine")

from bench.random_weights import SMALL
from codec.engine.native import NativeBackend
from codec.errors import BackendError, TrainingError
from codec.support.workers import Workers
from codec.training.enhancer import stretches
from codec.training.enhancer.stretches import Stretch, code, planned
from codec.training.prepare import PreparedAudio
from tests.helpers.enhancer_training import TINY, batches
from tests.helpers.mean_backend import MeanBackend

REFINED = dataclasses.replace(TINY, refined_share=1.0, refine_steps=3, refine_paths=2)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files of 75 frames into stretches of 25."""
    monkeypatch.setattr(stretches, "SECONDS", 1)


@pytest.mark.usefixtures("short")
def test_codes_are_those_of_the_whole_files(audio: PreparedAudio, weights: Path):
    backend = NativeBackend(weights)
    found = code(audio, backend, TINY)
    assert [stretch.samples for stretch in found] == 6 * [24_000]
    for number, file in enumerate(audio.files):
        own = [stretch for stretch in found if stretch.file == number]
        samples = audio.audio()[file.offset :][: file.samples].astype(np.float32) / 32768
        assert np.array_equal(
            np.concatenate([stretch.codes for stretch in own], 1), backend.encode(samples, 3)
        )
        assert [stretch.begin - file.offset for stretch in own] == [0, 24_000, 48_000]


@pytest.mark.usefixtures("short")
def test_refined_codes_are_of_a_depth_and_a_number_of_steps(audio: PreparedAudio, weights: Path):
    asked = []

    class Asked(NativeBackend):
        def encode_refined(self, audio, n_codebooks, steps, first, last, beam=1, stopped=None):
            asked.append((n_codebooks, steps, beam))
            return super().encode_refined(audio, n_codebooks, steps, first, last, beam, stopped)

    backend, config = Asked(weights), dataclasses.replace(REFINED, depths=(0.34, 1.0))
    found = code(audio, backend, config)
    assert [stretch.codes.shape for stretch in found] == [(depth, 25) for depth, _, _ in asked]
    assert all(stretch.refined for stretch in found)
    assert {depth for depth, _, _ in asked} == {1, 3}
    assert 1 < len({steps for _, steps, _ in asked}) <= 3
    assert {paths for _, _, paths in asked} == {2}
    # The stretch in the middle is refined within the file.
    file = audio.audio()[: audio.files[0].samples].astype(np.float32) / 32768
    depth, steps, _ = asked[1]
    own = NativeBackend(weights).encode_refined(file, depth, steps, 25, 50, 2)
    assert np.array_equal(found[1].codes, own)


@pytest.mark.usefixtures("short")
def test_a_share_is_refined(audio: PreparedAudio, weights: Path):
    def refined(share: float, seed: int = 0) -> list[bool]:
        config = dataclasses.replace(REFINED, refined_share=share, seed=seed)
        return [stretch.refined for stretch in code(audio, NativeBackend(weights), config)]

    assert not any(refined(0))
    assert 0 < sum(refined(0.5)) < 6
    assert refined(0.5) == refined(0.5) != refined(0.5, seed=1)


@pytest.mark.usefixtures("short")
def test_threads_change_nothing(audio: PreparedAudio, weights: Path):
    backend, config = NativeBackend(weights), dataclasses.replace(REFINED, refined_share=0.5)
    shares: list[float] = []
    one = code(audio, backend, config, progress=shares.append)
    with Workers(2) as workers:
        other = code(audio, backend, config, workers)
    assert all(np.array_equal(a.codes, b.codes) for a, b in zip(one, other, strict=True))
    assert shares == pytest.approx([number / 6 for number in range(1, 7)])


def test_a_crop_sounds_as_in_the_whole_stretch(audio: PreparedAudio, weights: Path):
    backend = NativeBackend(weights)
    stretch = code(audio, backend, TINY)[0]
    for depth, place in ((1, 0), (3, 12_345), (2, 60_000)):
        whole = backend.decode(stretch.codes[:depth])
        found = stretch.decode(backend, depth, place, 9_600)
        assert np.array_equal(found, whole[place : place + 9_600])


def test_outside_of_a_stretch_is_silence():
    backend = MeanBackend()
    codes = backend.encode(np.full(960, 0.5, np.float32), 2)
    decoded = Stretch(0, 0, 900, codes, False).decode(backend, 2, -300, 2000)
    assert not decoded[:300].any()
    assert not decoded[1200:].any()
    assert decoded[300:1200] == pytest.approx(0.5, abs=1e-4)


def test_refined_codes_keep_their_depth():
    backend = MeanBackend()
    stretch = Stretch(0, 0, 960, np.full((3, 2), 700, np.uint16), True)
    assert np.array_equal(stretch.decode(backend, 1, 0, 960), backend.decode(stretch.codes))


def test_the_waveform_counts_by_the_depth_that_was_heard(audio: PreparedAudio, weights: Path):
    config = dataclasses.replace(REFINED, depths=(0.67,))
    shares = batches(audio, NativeBackend(weights), config).draw(0).shares
    assert shares.tolist() == pytest.approx([2 / 3] * 2)


def test_files_are_cut_evenly(audio: PreparedAudio):
    """And no stretch is so short that most crops would be zeros."""
    lengths = (1, 960, 961, 240_000, 240_001, 500_000)
    begins = np.cumsum((0, *lengths))
    files = tuple(
        dataclasses.replace(audio.files[0], offset=int(begin), samples=length)
        for begin, length in zip(begins, lengths, strict=False)
    )
    many = dataclasses.replace(audio, files=files)
    work = planned(many, SMALL, TINY)
    for number, length in enumerate(lengths):
        own = [one for one in work if one.file == number]
        assert own[0].begin == begins[number]
        assert sum(one.samples for one in own) == length
        assert all(one.begin + one.samples == after.begin for one, after in itertools.pairwise(own))
        assert [one.before > 0 for one in own] == [False] + [True] * (len(own) - 1)
        assert [one.after > 0 for one in own] == [True] * (len(own) - 1) + [False]
        assert all(one.samples <= 240_000 for one in own)
        assert max(one.samples for one in own) - min(one.samples for one in own) < 2 * 960
    assert [sum(one.file == number for one in work) for number in range(6)] == [1, 1, 1, 1, 2, 3]
    longer = dataclasses.replace(TINY, crop_samples=239_040)
    assert all(
        one.samples == length
        for one, length in zip(planned(many, SMALL, longer), lengths, strict=True)
    )


def test_what_cannot_be_refined_is_named(audio: PreparedAudio):
    with pytest.raises(BackendError, match="cannot refine codes"):
        code(audio, MeanBackend(), REFINED)


def test_it_can_be_stopped(audio: PreparedAudio, weights: Path):
    with pytest.raises(TrainingError, match="nothing was written"):
        code(audio, NativeBackend(weights), TINY, stopped=lambda: True)
