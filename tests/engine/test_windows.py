"""Spans joined are the whole, however audio is cut and whatever works on it."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.random_weights import SMALL, noise, write_weights
from codec.engine import windows as spans
from codec.engine.windows import decode_spans, encode_spans, span_lengths, windows
from codec.model.receptive_field import Reach, decoder_reach, encoder_reach
from codec.support.workers import Workers
from tests.helpers.surroundings import Surroundings, cut

CUTS = st.lists(st.integers(1, 4000), min_size=1, max_size=4)


@given(
    units=st.integers(0, 300),
    frame=st.integers(1, 7),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    reach=st.builds(Reach, st.integers(0, 9), st.integers(0, 9)),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=4),
)
def test_windows_tile_the_whole_with_all_that_is_within_reach(units, frame, lengths, reach, sizes):
    whole = np.arange(2 * units).reshape(2, units)
    total = -(-units // frame)
    at = 0
    for window in windows(cut(whole, sizes), frame, itertools.cycle(lengths), reach):
        assert window.start == min(at, reach.before)
        begin = (at - window.start) * frame
        at += window.stop - window.start
        end = min(at + reach.after, total) * frame
        assert np.array_equal(np.concatenate(window.pieces, axis=-1), whole[:, begin:end])
    assert at == total


@pytest.fixture
def short_spans(monkeypatch):
    monkeypatch.setattr(spans, "SHORTEST_SPAN", 3)
    monkeypatch.setattr(spans, "FRAMES_AT_WORK", 40)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_spans_joined_are_the_whole(short_spans, threads, channels):
    backend = Surroundings()
    rng = np.random.default_rng(channels)
    for samples in (1, 959, 960, 961, 100_003):
        audio = rng.integers(-9, 10, (channels, samples)).astype(np.float32)
        codes = np.stack([backend.encode(channel, 2) for channel in audio])
        decoded = np.stack([backend.decode(channel) for channel in codes])
        with Workers(threads, files=2) as workers:
            found = list(encode_spans(backend, cut(audio, [7, 5000]), 2, workers))
            back = list(decode_spans(backend, cut(codes, [1, 40]), workers))
        assert np.array_equal(np.concatenate(found, axis=2), codes)
        assert np.array_equal(np.concatenate(back, axis=1), decoded)
        assert len(found) > 5 or samples < 100_003


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    from codec.engine.native import NativeBackend

    return NativeBackend(write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", SMALL))


@settings(max_examples=15, deadline=None)
@given(samples=st.integers(1, 70_000), sizes=CUTS, threads=st.integers(1, 3))
def test_the_engine_s_spans_joined_are_its_whole(engine, samples, sizes, threads):
    audio = noise(2 * samples).reshape(2, samples)
    codes = np.stack([engine.encode(channel, 3) for channel in audio])
    with pytest.MonkeyPatch.context() as patch, Workers(threads) as workers:
        patch.setattr(spans, "SHORTEST_SPAN", 5)
        patch.setattr(spans, "FRAMES_AT_WORK", 20)
        found = list(encode_spans(engine, cut(audio, sizes), 3, workers))
        back = list(decode_spans(engine, cut(codes, [17, 1]), workers))
    assert np.array_equal(np.concatenate(found, axis=2), codes)
    decoded = np.stack([engine.decode(channel) for channel in codes])
    assert np.array_equal(np.concatenate(back, axis=1), decoded)


def test_who_leaves_does_not_wait_for_searches_under_way():
    started = threading.Event()

    class Endless(Surroundings):
        def encode_beam(self, audio, n_codebooks, beam, stopped=None):
            started.set()
            while not stopped():
                time.sleep(0.001)
            raise RuntimeError

    def blocks():
        yield noise(400 * 960)[None]
        started.wait()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Workers(2) as workers:
        next(encode_spans(Endless(), blocks(), 1, workers, beam=2))


def test_the_reach_holds_all_that_the_engine_needs(engine):
    hop = engine.config.hop_length
    for reach, half in [
        (encoder_reach(engine.config), engine.encoder),
        (decoder_reach(engine.config), engine.decoder),
    ]:
        assert reach.before >= half.context
        assert reach.after * hop >= half.lookahead


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_workers_keep_order_and_do_not_run_ahead(threads):
    begun = []
    lock = threading.Lock()

    def call(i):
        with lock:
            begun.append(i)
        return i

    with Workers(threads) as workers:
        for i, result in enumerate(workers.run((lambda i=i: call(i)) for i in range(50))):
            assert result == i
            assert len(begun) <= i + 1 + workers.in_flight


@pytest.mark.parametrize("threads", [1, 3])
def test_workers_pass_on_what_goes_wrong(threads):
    with Workers(threads) as workers:
        results = workers.run([lambda: 1, lambda: 1 // 0, lambda: 2])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            list(results)


@pytest.mark.parametrize("threads", [1, 2, 64])
@pytest.mark.parametrize("files", [1, 64])
@pytest.mark.parametrize("channels", [1, 2, 8, 255])
def test_windows_at_work_are_bounded(threads, files, channels):
    files = min(files, threads)
    with Workers(threads, files) as workers:
        longest = list(itertools.islice(span_lengths(workers, channels), 20))
    assert longest == sorted(longest)
    rows = -(-workers.in_flight // channels) + 1
    at_work = files * rows * channels * longest[-1]
    assert at_work <= 2 * spans.FRAMES_AT_WORK or longest[-1] == spans.SHORTEST_SPAN


def test_the_number_of_codebooks_may_change_anywhere(backend):
    rng = np.random.default_rng(0)
    chunks = [rng.integers(0, 1024, (1, count, 9), np.uint16) for count in (3, 3, 1, 2)]
    decoded = np.concatenate(list(decode_spans(backend, chunks, Workers())), axis=1)
    expected = np.concatenate([backend.decode(chunk[0]) for chunk in chunks])
    assert np.array_equal(decoded[0], expected)


@settings(max_examples=15, deadline=None)
@given(
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=12),
    frames=st.integers(1, 9),
    threads=st.integers(1, 3),
)
def test_pieces_of_spans_joined_are_the_whole(engine, counts, frames, threads):
    rng = np.random.default_rng(frames)
    chunks = [rng.integers(0, 50, (2, count, frames), np.uint16) for count in counts]
    with pytest.MonkeyPatch.context() as patch, Workers(threads) as workers:
        patch.setattr(spans, "SHORTEST_SPAN", 5)
        patch.setattr(spans, "FRAMES_AT_WORK", 20)
        found = np.concatenate(list(decode_spans(engine, chunks, workers)), axis=1)
    whole = [engine.decode_pieces([chunk[channel] for chunk in chunks]) for channel in (0, 1)]
    assert np.array_equal(found, np.stack(whole))
