"""Refined codes are a function of the audio alone: windows always lie in the same places."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.random_weights import SMALL, STEREO, noise, signal, uneven, write_weights
from codec.engine import refine
from codec.engine.backend import Refinement, load_backend, refinement
from codec.engine.refine import refined_spans
from codec.errors import AudioError, BackendError, BitrateError
from codec.model.receptive_field import encoder_reach
from codec.support.workers import Workers
from tests.helpers.mean_backend import MeanBackend
from tests.helpers.surroundings import Surroundings, cut


class Refining(Surroundings):
    """Codes that tell of every code and sample between `first` and `last`, and where these lie."""

    def check_refinement(self):
        """It can."""

    def encode_refined(self, audio, n_codebooks, steps, first, last, beam=1, stopped=None):
        hop = self.config.hop_length
        seen = self.encode(audio, n_codebooks)[:, first:last].astype(np.int64)
        heard = int(audio[first * hop : last * hop].sum())
        place = np.arange(1, last - first + 1)
        return ((place * (heard + seen @ place[:, None]) + steps + 7 * beam) % 1024).astype(
            np.uint16
        )


HOP = Refining.config.hop_length
AFTER = encoder_reach(Refining.config).after


def expected(backend, audio, n_codebooks, steps, span, margin):
    """The definition: every window is refined with its margins, of codes of the whole."""
    samples, hop = audio.shape[-1], backend.config.hop_length
    after = encoder_reach(backend.config).after
    frames = -(-samples // hop)
    parts, start = [], 0
    while start < frames:
        full = samples >= (start + span + after + margin) * hop
        stop = start + span if full else frames
        first, last = max(0, start - margin), min(frames, stop + margin)
        codes = backend.encode_refined(audio, n_codebooks, steps, first, last)
        parts.append(codes[:, start - first : stop - first])
        start = stop
    return np.concatenate(parts, axis=1)


@settings(max_examples=30)
@given(
    samples=st.one_of(st.integers(1, 60 * HOP), st.integers(1, 60).map(lambda n: n * HOP)),
    span=st.integers(1, 12),
    margin=st.integers(0, 5),
    sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=3),
    threads=st.integers(1, 3),
)
def test_windows_lie_where_the_audio_says(samples, span, margin, sizes, threads):
    backend = Refining()
    audio = np.random.default_rng(samples).integers(-9, 10, (2, samples)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch, Workers(threads) as workers:
        patch.setattr(refine, "SPAN", span)
        patch.setattr(refine, "MARGIN", margin)
        found = list(refined_spans(backend, cut(audio, sizes), 2, 7, workers))
    whole = [expected(backend, channel, 2, 7, span, margin) for channel in audio]
    assert np.array_equal(np.concatenate(found, axis=2), np.stack(whole))


def test_windows_are_four_seconds_long():
    audio = np.zeros((1, 450 * HOP), np.float32)
    lengths = [codes.shape[2] for codes in refined_spans(Refining(), [audio], 1, 1, Workers())]
    assert lengths == [100, 100, 100, 100, 50]
    rest = 100 + AFTER + refine.MARGIN
    for samples, expected_lengths in (
        (rest * HOP - 1, [rest]),
        (rest * HOP, [100, AFTER + refine.MARGIN]),
    ):
        spans = refined_spans(Refining(), [audio[:, :samples]], 1, 1, Workers())
        assert [codes.shape[2] for codes in spans] == expected_lengths


def test_no_audio_has_no_codes():
    assert list(refined_spans(Refining(), [], 2, 1, Workers())) == []


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    return write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", SMALL)


@pytest.fixture(scope="module")
def native(weights):
    return load_backend(weights, "native")


@settings(max_examples=8)
@given(
    samples=st.integers(1, 30 * SMALL.hop_length),
    sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=3),
    threads=st.integers(1, 3),
    count=st.integers(1, 3),
)
def test_the_engine_s_codes_do_not_depend_on_the_cutting(native, samples, sizes, threads, count):
    audio = noise(2 * samples, seed=samples).reshape(2, samples)
    with pytest.MonkeyPatch.context() as patch, Workers(threads) as workers:
        patch.setattr(refine, "SPAN", 8)
        patch.setattr(refine, "MARGIN", 3)
        found = list(refined_spans(native, cut(audio, sizes), count, 12, workers))
    whole = [expected(native, channel, count, 12, 8, 3) for channel in audio]
    assert np.array_equal(np.concatenate(found, axis=2), np.stack(whole))


def test_the_last_frame_is_continued_by_silence(native):
    audio = noise(5 * SMALL.hop_length - 123, seed=3)
    padded = np.append(audio, np.zeros(123, np.float32))
    codes = native.encode_refined(audio, 3, 20, 0, 5)
    assert codes.shape == (3, 5)
    assert np.array_equal(codes, native.encode_refined(padded, 3, 20, 0, 5))


def test_the_engine_refuses_what_encode_refuses(native):
    audio = noise(3000)
    with pytest.raises(AudioError):
        native.encode_refined(audio.astype(np.float64), 3, 1, 0, 4)
    with pytest.raises(AudioError, match="finite"):
        native.encode_refined(np.append(audio, np.float32(np.nan)), 3, 1, 0, 4)
    for count in (0, 4):
        with pytest.raises(BitrateError):
            native.encode_refined(audio, count, 1, 0, 4)


def test_extremes_run(native):
    for audio in (np.zeros(5000), np.ones(5000), np.full(5000, 3e38), np.full(5000, 1e-42)):
        samples = audio.astype(np.float32)
        codes = native.encode_refined(samples, 3, 2, 0, 6)
        assert codes.max() < SMALL.codebook_size
        assert np.array_equal(codes, native.encode_refined(samples, 3, 2, 0, 6))


def test_a_backend_that_cannot_refine_says_so():
    for blind in (MeanBackend(), Surroundings()):
        with pytest.raises(BackendError, match="cannot refine codes; native can, on the CPU"):
            refinement(blind)
        with pytest.raises(BackendError, match="cannot refine"):
            refined_spans(blind, [noise(960)[None]], 1, 1, Workers())
    assert refinement(Refining())


@settings(max_examples=6)
@given(
    samples=st.integers(1, 25 * STEREO.hop_length),
    sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=3),
    threads=st.integers(1, 3),
)
def test_pairs_do_not_depend_on_the_cutting_either(stereo, samples, sizes, threads):
    audio = np.stack([signal(STEREO, samples, seed) for seed in (1, 2)])
    with pytest.MonkeyPatch.context() as patch, Workers(threads) as workers:
        patch.setattr(refine, "SPAN", 8)
        patch.setattr(refine, "MARGIN", 3)
        pieces = cut(audio.reshape(4, -1), sizes)
        blocks = (piece.reshape(2, 2, -1) for piece in pieces)
        found = list(refined_spans(stereo, blocks, 2, 5, workers))
    whole = [expected(stereo, pair, 2, 5, 8, 3) for pair in audio]
    assert np.array_equal(np.concatenate(found, axis=2), np.stack(whole))


@pytest.fixture(scope="module")
def stereo(tmp_path_factory):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    return load_backend(
        write_weights(tmp_path_factory.mktemp("stereo") / "w.safetensors", STEREO), "native"
    )


def test_a_hop_that_no_resolution_fits_is_refused(tmp_path):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    backend = load_backend(write_weights(tmp_path / "w.safetensors", uneven(SMALL)), "native")
    with pytest.raises(BackendError, match="refined with a hop of 300 samples"):
        refinement(backend).encode_refined(noise(3000), 3, 1, 0, 4)


def test_who_leaves_does_not_wait_for_windows_under_way():
    started = threading.Event()

    class Endless(Refining):
        def encode_refined(self, audio, n_codebooks, steps, first, last, beam=1, stopped=None):
            started.set()
            while not stopped():
                time.sleep(0.001)
            raise RuntimeError

    def blocks():
        yield noise(150 * HOP)[None]
        started.wait()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Workers(2) as workers:
        next(refined_spans(Endless(), blocks(), 1, 1, workers))


def test_the_other_backends_cannot_refine():
    pytest.importorskip("torch")
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    from codec.engine.cuda import CudaBackend
    from codec.engine.native import NativeBackend
    from codec.nn.backend import TorchBackend

    able = [issubclass(one, Refinement) for one in (NativeBackend, CudaBackend, TorchBackend)]
    assert able == [True, False, False]
