"""Streams: pushed in any pieces, saved and restored, they give what the whole gives."""

from __future__ import annotations

import dataclasses
import pickle
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.random_weights import SMALL, noise, write_weights
from codec.errors import AudioError, BitrateError, StateError, TokensError

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.latents import LatentStreamEncoder
from codec.engine.native import NativeBackend, isas
from codec.engine.stream import StreamDecoder, StreamEncoder
from tests.helpers.processes import python

AHEAD = dataclasses.replace(
    SMALL, encoder_lookahead=1, decoder_lookahead=2, hop_length=1920, encoder_stack=2
)


@pytest.fixture(scope="module", params=[SMALL, AHEAD], ids=["small", "ahead"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", request.param)


@pytest.fixture(scope="module")
def backend(path: Path) -> NativeBackend:
    return NativeBackend(path)


@pytest.fixture(scope="module")
def small_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("small") / "w.safetensors", SMALL)


@pytest.fixture(scope="module")
def small(small_path: Path) -> NativeBackend:
    return NativeBackend(small_path)


def pieces(x: np.ndarray, sizes: Iterator[int]) -> Iterator[np.ndarray]:
    """x cut along its last axis."""
    start = 0
    for size in sizes:
        yield x[..., start : start + size]
        start += size
        if start >= x.shape[-1]:
            return


def encode(stream: StreamEncoder, parts: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate([*(stream.push(part) for part in parts), stream.flush()], axis=1)


def decode(stream: StreamDecoder, parts: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate([*(stream.push(part) for part in parts), stream.flush()])


def repeat(size: int) -> Iterator[int]:
    while True:
        yield size


@pytest.mark.parametrize("size", [1, 17, 960, 24_000])
def test_chunks_give_the_codes_of_the_whole(backend: NativeBackend, size: int) -> None:
    audio = noise(50 * size + 777 if size < 960 else 40_007, seed=1)
    codes = encode(StreamEncoder(backend), pieces(audio, repeat(size)))
    np.testing.assert_array_equal(codes, backend.encode(audio, 3))


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_chunks_give_the_samples_of_the_whole(backend: NativeBackend, size: int) -> None:
    codes = np.random.default_rng(2).integers(0, 50, (3, 61)).astype(np.uint16)
    audio = decode(StreamDecoder(backend), pieces(codes, repeat(size)))
    np.testing.assert_array_equal(audio, backend.decode(codes))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 6000),
    sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=20).filter(any),
)
def test_any_chunks(small: NativeBackend, n: int, sizes: list[int]) -> None:
    audio = noise(n, seed=3)
    endless = (sizes[i % len(sizes)] for i in range(100_000))
    codes = encode(StreamEncoder(small), pieces(audio, endless))
    np.testing.assert_array_equal(codes, small.encode(audio, 3))
    endless = (sizes[i % len(sizes)] for i in range(100_000))
    np.testing.assert_array_equal(
        decode(StreamDecoder(small), pieces(codes, endless)), small.decode(codes)
    )


def test_codes_come_as_soon_as_the_latency_says(backend: NativeBackend) -> None:
    config, hop = backend.config, backend.config.hop_length
    encoder, decoder = StreamEncoder(backend), StreamDecoder(backend)
    assert encoder.latency + decoder.latency == config.latency
    received = frames = samples = 0
    for part in pieces(noise(20_000), repeat(60)):
        received += len(part)
        codes = encoder.push(part)
        frames += codes.shape[1]
        assert frames == max(0, received + hop - encoder.latency) // hop
        samples += len(decoder.push(codes))
        assert samples == max(0, frames * hop - decoder.latency)
    assert frames > 5


def test_an_impulse_changes_nothing_earlier_than_the_latency_allows(
    backend: NativeBackend,
) -> None:
    """The first frame whose latents an impulse moves is the one that `latency` promises: a sample
    later than a frame waits for leaves it alone, the last one that it waits for does not."""
    hop = backend.config.hop_length
    reach = StreamEncoder(backend).latency - hop
    silence = np.zeros(16 * hop, np.float32)
    still = backend.encoder.latents(silence)

    def first_moved(at: int) -> int:
        audio = silence.copy()
        audio[at] = 1
        moved = np.flatnonzero((backend.encoder.latents(audio) != still).any(axis=1))
        return int(moved[0])

    # Hann windows are zero at their first sample and all but zero at their last few.
    for frame in (5, 9):
        end = (frame + 1) * hop + reach
        assert first_moved(end) > frame
        assert first_moved(end - 20) == frame


def test_a_code_changes_nothing_earlier_than_the_latency_allows(backend: NativeBackend) -> None:
    hop, latency = backend.config.hop_length, StreamDecoder(backend).latency
    codes = np.zeros((3, 40), np.uint16)
    still = backend.decode(codes)
    for frame in (20, 31):
        changed = codes.copy()
        changed[:, frame] = 1
        moved = np.flatnonzero(backend.decode(changed) != still)
        assert moved[0] >= frame * hop - latency
        assert moved[0] < frame * hop - latency + 8
        # and nothing after what the receptive field says
        assert moved[-1] < (frame + 1 + backend.decoder.context) * hop


def test_decoded_audio_has_no_offset(backend: NativeBackend) -> None:
    """A change of one frame of codes moves most energy in that frame's own samples."""
    hop = backend.config.hop_length
    codes = np.zeros((3, 40), np.uint16)
    changed = codes.copy()
    changed[:, 20] = 7
    moved = np.square(backend.decode(changed) - backend.decode(codes)).reshape(-1, hop).sum(1)
    assert int(moved.argmax()) == 20


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 8000), isa=st.sampled_from(isas()))
def test_a_restored_stream_goes_on(
    small: NativeBackend, small_path: Path, cut: int, isa: str
) -> None:
    """Also in another engine, with another instruction set and other blocks."""
    other = NativeBackend(small_path, isa, block=3)
    audio = noise(9000, seed=5)
    first, second = StreamEncoder(small), StreamEncoder(other)
    head = first.push(audio[:cut])
    second.push(noise(1234, seed=6))
    second.restore(first.save())
    codes = np.concatenate([head, second.push(audio[cut:]), second.flush()], axis=1)
    np.testing.assert_array_equal(codes, small.encode(audio, 3))
    # the one that was saved goes on as well
    first.push(audio[cut:])
    first.flush()

    cut //= 960
    decoder, restored = StreamDecoder(small), StreamDecoder(other)
    begin = decoder.push(codes[:, :cut])
    restored.restore(decoder.save())
    end = restored.push(codes[:, cut:])
    np.testing.assert_array_equal(
        np.concatenate([begin, end, restored.flush()]), small.decode(codes)
    )


def test_many_streams_at_once(backend: NativeBackend) -> None:
    audio = [noise(7000 + 100 * i, seed=i) for i in range(5)]
    streams = [StreamEncoder(backend) for _ in audio]
    found: list[list[np.ndarray]] = [[] for _ in audio]
    for start in range(0, 8000, 500):
        for stream, samples, codes in zip(streams, audio, found, strict=True):
            codes.append(stream.push(samples[start : start + 500]))
    for stream, samples, codes in zip(streams, audio, found, strict=True):
        whole = np.concatenate([*codes, stream.flush()], axis=1)
        np.testing.assert_array_equal(whole, backend.encode(samples, 3))


def test_pushes_leave_nothing_behind(small_path: Path) -> None:
    code = (
        "import sys, numpy; from pathlib import Path;"
        "from codec.engine.native import NativeBackend;"
        "from codec.engine.stream import StreamEncoder;"
        "from tracemalloc import start, get_traced_memory;"
        f"backend = NativeBackend(Path({str(small_path)!r})); encoder = StreamEncoder(backend);"
        "sample = numpy.zeros(1, 'f4'); encoder.push(sample); start();"
        "before = get_traced_memory()[0];"
        "any(encoder.push(sample).size > 9 for _ in range(50_000));"
        "grown = get_traced_memory()[0] - before;"
        "assert grown < 100_000, grown;"
        "del encoder, backend"  # a chain of wrappers would overflow the stack here
    )
    python(code)


def test_fewer_codebooks(small: NativeBackend) -> None:
    audio = noise(5000)
    codes = encode(StreamEncoder(small, 2), pieces(audio, repeat(999)))
    np.testing.assert_array_equal(codes, small.encode(audio, 3)[:2])
    np.testing.assert_array_equal(
        decode(StreamDecoder(small), pieces(codes, repeat(1))), small.decode(codes)
    )
    with pytest.raises(BitrateError):
        StreamEncoder(small, 4)


def test_after_the_end_only_reset_helps(small: NativeBackend) -> None:
    audio = noise(3000)
    encoder, decoder = StreamEncoder(small), StreamDecoder(small)
    codes = encode(encoder, iter([audio]))
    samples = decode(decoder, iter([codes]))
    for call in (lambda: encoder.push(audio), encoder.flush, decoder.flush):
        with pytest.raises(StateError, match="ended"):
            call()
    with pytest.raises(StateError, match="ended"):
        decoder.push(codes)
    restored = StreamEncoder(small)
    restored.restore(encoder.save())
    with pytest.raises(StateError, match="ended"):
        restored.flush()
    encoder.reset()
    decoder.reset()
    np.testing.assert_array_equal(encode(encoder, iter([audio])), codes)
    np.testing.assert_array_equal(decode(decoder, iter([codes])), samples)


def test_bad_input_leaves_the_stream_as_it_was(small: NativeBackend) -> None:
    encoder, decoder = StreamEncoder(small), StreamDecoder(small)
    before = encoder.save(), decoder.save()
    with pytest.raises(AudioError):
        encoder.push(np.array([np.nan], np.float32))
    with pytest.raises(AudioError):
        encoder.push(np.zeros(4, np.int64))
    for loud in (np.full(4, 257, np.float32), np.array([0, -1e6]), np.array([1e300])):
        with pytest.raises(AudioError, match="full scale is 1, so scale it first"):
            encoder.push(loud)
        with pytest.raises(AudioError, match="full scale is 1, so scale it first"):
            LatentStreamEncoder(small).push(loud)
    with pytest.raises(TokensError):
        decoder.push(np.full((3, 1), 50, np.uint16))
    assert (encoder.save(), decoder.save()) == before


def test_states_that_are_not_the_streams(backend: NativeBackend, tmp_path: Path) -> None:
    encoder, decoder = StreamEncoder(backend), StreamDecoder(backend)
    good = encoder.save()
    other = NativeBackend(write_weights(tmp_path / "o.safetensors", backend.config, seed=9))
    flipped = bytearray(good)
    flipped[-1] ^= 1
    for bad in (
        b"", good[:-1], good + b"\0", bytes(flipped), b"XXXX" + good[4:], decoder.save(),
        StreamEncoder(backend, 2).save(), StreamEncoder(other).save(),
    ):  # fmt: skip
        with pytest.raises(StateError):
            encoder.restore(bad)
        assert encoder.save() == good


def test_a_forged_state_is_safe(backend: NativeBackend) -> None:
    """Any number where one that addresses memory belongs is refused, or runs within bounds."""
    rng = np.random.default_rng(0)
    extremes = [-1, 1, 2, 6, 7, 100, 2**31, 2**63 - 1, -(2**63)]
    codes, audio = np.zeros((3, 3), np.uint16), noise(3000)
    for stream in (StreamEncoder(backend), StreamDecoder(backend)):
        good = stream.save()
        for field in range(8):
            for value in extremes:
                forged = bytearray(good)
                struct.pack_into("<q", forged, 18 + 8 * field, value)
                struct.pack_into("<I", forged, 14, zlib.crc32(forged[18:]))
                try:
                    stream.restore(bytes(forged))
                    result = (
                        stream.push(audio) if isinstance(stream, StreamEncoder)
                        else stream.push(codes)
                    )  # fmt: skip
                    assert result.size < 10_000
                    stream.flush()
                except StateError:
                    pass
        for _ in range(20):  # garbage where the samples and rows are
            forged = bytearray(good)
            forged[18 + 64 :] = rng.bytes(len(forged) - 18 - 64)
            struct.pack_into("<I", forged, 14, zlib.crc32(forged[18:]))
            stream.restore(bytes(forged))
            if isinstance(stream, StreamEncoder):
                assert (stream.push(audio) < 50).all()
            else:
                assert len(stream.push(codes)) <= 3 * backend.config.hop_length


@pytest.mark.parametrize("wrong", [None, 3, "text", [1, 2], np.zeros(4)])
def test_a_state_is_bytes(shipped, wrong):
    for stream in (shipped.stream_encoder(), shipped.stream_decoder()):
        with pytest.raises(StateError, match="is bytes"):
            stream.restore(wrong)
        stream.restore(memoryview(bytearray(stream.save())))


@pytest.mark.parametrize("wrong", [[[1, 2], [3]], [[0.5]], None, "codes", [[-1]], [[1 << 70]]])
def test_a_decoder_refuses_what_are_no_codes(shipped, wrong):
    with pytest.raises(TokensError):
        shipped.stream_decoder().push(wrong)


def test_a_decoder_takes_codes_of_every_library(shipped):
    torch = pytest.importorskip("torch")
    codes = np.random.default_rng(0).integers(0, 1024, (4, 9))
    expected = shipped.stream_decoder().push(codes)
    for same in (codes.tolist(), torch.tensor(codes), torch.tensor(codes, dtype=torch.int16)):
        assert np.array_equal(shipped.stream_decoder().push(same), expected)


@pytest.mark.parametrize("size", [1, 17, 960, 24_000])
def test_chunks_give_the_codes_of_the_whole_with_a_beam_too(
    backend: NativeBackend, size: int
) -> None:
    audio = noise(20 * size + 777 if size < 960 else 40_007, seed=1)
    whole = backend.encode_beam(audio, 3, 5)
    stream = StreamEncoder(backend, 3, beam=5)
    np.testing.assert_array_equal(encode(stream, pieces(audio, repeat(size))), whole)
    assert (whole != backend.encode(audio, 3)).any()


def test_a_copy_of_a_stream_keeps_its_beam(small: NativeBackend) -> None:
    audio = noise(9600, seed=1)
    stream = StreamEncoder(small, 3, beam=5)
    first = stream.push(audio[:5000])
    copy = pickle.loads(pickle.dumps(stream))
    rest = np.concatenate([copy.push(audio[5000:]), copy.flush()], axis=1)
    whole = small.encode_beam(audio, 3, 5)
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), whole)
