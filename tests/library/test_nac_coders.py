"""The three coders of libcodec: the files of Python both ways, and no others."""

from __future__ import annotations

import ctypes
import dataclasses
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("codec.coders._entropy", reason="the native extension was not built")

from bench.random_weights import SMALL
from codec.coders.base import CODER_IDS, Coder
from codec.coders.find import load_coder
from codec.errors import FormatError
from codec.model.location import DEFAULT_WEIGHTS
from codec.model.weights_file import WeightsFile
from codec.nac import Header, Reader, SeekableReader, Writer
from codec.nac.layout import HEADER_BYTES, TRAILER_BYTES
from codec.support.workers import Workers
from tests.fuzz.attacks import resealed
from tests.helpers.c_library import GCC
from tests.library import nac_binding as nac
from tests.library.nac_models import write_model

pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")


@pytest.fixture(scope="module")
def library(libcodec: ctypes.CDLL) -> ctypes.CDLL:
    """The library, loaded again: here nothing is declared."""
    return ctypes.CDLL(libcodec._name)


LEVELS, WORDS, HOP = SMALL.n_codebooks, SMALL.codebook_size, SMALL.hop_length


RATE = Fraction(SMALL.sample_rate, SMALL.hop_length)


class Both(NamedTuple):
    """A coder in C and in Python, of the model `model_id`."""

    library: ctypes.CDLL
    c: ctypes.c_void_p
    python: Coder
    model_id: bytes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "small.safetensors")


@pytest.fixture(scope="module", params=CODER_IDS)
def both(library: ctypes.CDLL, model: Path, request: pytest.FixtureRequest) -> Iterator[Both]:
    number = CODER_IDS[request.param]
    data = model.with_suffix(".entropy").read_bytes() if number else b""
    python = load_coder(number, WORDS, model)
    with (
        nac.opened_model(library, model) as weights,
        nac.opened_coder(library, weights, number, data) as coder,
    ):
        yield Both(library, coder, python, WeightsFile(model).model_id)


def random_codes(channels: int, levels: int, frames: int, seed: int = 0) -> np.ndarray[Any, Any]:
    shape = (channels, levels, frames)
    return np.random.default_rng(seed).integers(0, WORDS, shape).astype(np.uint16)


def header_of(both: Both, channels: int, levels: int, **kind: Any) -> Header:
    header = Header.make(
        channels=channels, n_codebooks=levels, codebook_size=WORDS, frame_rate=RATE,
        sample_rate=SMALL.sample_rate, model_id=both.model_id,
    )  # fmt: skip
    return dataclasses.replace(header, **kind)


def by_python(
    both: Both, header: Header, codes: np.ndarray[Any, Any], n_samples: int, **kind: Any
) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header, both.python, **kind)
    writer.write(codes)
    writer.finish(n_samples)
    return file.getvalue()


SHAPES = st.tuples(st.integers(1, 5), st.integers(1, LEVELS), st.integers(1, 130))


def test_a_refused_seek_leaves_the_reader_where_it_is(both: Both) -> None:
    codes = random_codes(1, LEVELS, 30)
    file = by_python(both, header_of(both, 1, LEVELS, frames_per_chunk=9), codes, 30 * HOP)
    broken = bytearray(file)
    broken[-TRAILER_BYTES - 5] ^= 1  # the index
    for data, far in ((file, 30), (bytes(broken), 0)):
        with nac.opened_file(both.library, both.c, data) as opened:
            found = [opened.next()]
            with pytest.raises(nac.StatusError):
                opened.seek(far)
            found += [opened.next() for _ in range(3)]
            assert np.array_equal(np.concatenate(found, axis=2), codes)
            if data == file:
                assert opened.next() is None
                assert opened.seek(10) == 9


def test_a_file_of_fewer_chunks_than_it_claims_cannot_be_sought(both: Both) -> None:
    """All of its checksums are right, and Python refuses it, too."""
    header = header_of(both, 1, LEVELS, frames_per_chunk=9)
    file = by_python(both, header, random_codes(1, LEVELS, 27), 27 * HOP)
    longer = dataclasses.replace(Header.unpack(file), n_samples=28 * HOP).pack()
    trailer = len(file) - TRAILER_BYTES
    data = resealed(file, trailer, trailer + 84, trailer + 4, longer)
    data = longer + data[HEADER_BYTES:]
    with pytest.raises(FormatError, match="do not make its samples"):
        SeekableReader(io.BytesIO(data), lambda _: both.python)
    with nac.opened_file(both.library, both.c, data) as opened, pytest.raises(nac.StatusError):
        opened.seek(0)


def test_frames_behind_a_short_chunk_are_refused(both: Both) -> None:
    codes = random_codes(1, LEVELS, 30)
    writer = nac.Written(both.library, both.c, header_of(both, 1, LEVELS, frames_per_chunk=9))
    writer.write(codes[:, :, :9])
    writer.write_chunk(codes[:, :, 9:14])
    for more in (writer.write, writer.write_chunk):
        with pytest.raises(nac.StatusError) as caught:
            more(codes[:, :, 14:20])
        assert caught.value.status == nac.STATE
    writer.finish(14 * HOP)
    _, chunks = nac.read(both.library, both.c, bytes(writer.data))
    assert np.array_equal(np.concatenate(chunks, axis=2), codes[:, :, :14])


def test_data_are_read_alike_where_subnormals_are_flushed(library: ctypes.CDLL) -> None:
    """As in programs that are linked with -ffast-math; the shipped data have subnormal halves."""
    torch = pytest.importorskip("torch")
    codes = random_codes(1, 8, 50) % 1024
    number, weights = CODER_IDS["best"], DEFAULT_WEIGHTS
    data = weights.with_suffix(".entropy").read_bytes()
    header = Header.make(
        channels=1, n_codebooks=8, codebook_size=1024, frame_rate=Fraction(25),
        sample_rate=24_000, model_id=WeightsFile(weights).model_id,
    )  # fmt: skip
    files = []
    for flushed in (False, True):
        if torch.set_flush_denormal(flushed) is False and flushed:
            pytest.skip("this CPU flushes nothing")
        try:
            with (
                nac.opened_model(library, weights) as model,
                nac.opened_coder(library, model, number, data) as coder,
            ):
                files.append(nac.written(library, coder, header, codes, 50 * 960))
        finally:
            torch.set_flush_denormal(False)
    assert files[0] == files[1]


@given(SHAPES, st.integers(0, 99), st.integers(1, 40), st.sampled_from([0, 1, 3, 1000]))
@settings(max_examples=25, deadline=None)
def test_files_are_the_same_both_ways(
    both: Both, shape: tuple[int, int, int], seed: int, step: int, piece: int
) -> None:
    codes = random_codes(*shape, seed)
    n_samples = shape[2] * SMALL.hop_length - seed
    header = header_of(both, *shape[:2], frames_per_chunk=1 + seed % 60)
    expected = by_python(both, header, codes, n_samples)

    writer = nac.Written(both.library, both.c, header)
    for i in range(0, shape[2], step):
        writer.write(codes[:, :, i : i + step])
    final = writer.finish(n_samples)
    assert bytes(writer.data) == expected
    assert Header.unpack(final).n_samples == n_samples

    file, chunks = nac.read(both.library, both.c, final + expected[HEADER_BYTES:], piece)
    assert np.array_equal(np.concatenate(chunks, axis=2), codes)
    assert file.info.n_samples == n_samples
    file, chunks = nac.read(both.library, both.c, expected, piece)
    assert np.array_equal(np.concatenate(chunks, axis=2), codes)
    assert file.info.n_samples == n_samples


@given(
    st.integers(1, 3), st.lists(st.integers(1, LEVELS), min_size=1, max_size=12), st.integers(1, 9)
)
@settings(max_examples=20, deadline=None)
def test_the_number_of_codebooks_may_vary(
    both: Both, channels: int, kept: list[int], last: int
) -> None:
    header = header_of(both, channels, LEVELS, variable=True, frames_per_chunk=9)
    frames = [9] * (len(kept) - 1) + [last]
    chunks = [random_codes(channels, *one) for one in zip(kept, frames, strict=True)]
    n_samples = sum(frames) * SMALL.hop_length
    file = io.BytesIO()
    python = Writer(file, header, both.python, variable=True)
    for _ in python.write_chunks(chunks, Workers()):
        pass
    python.finish(n_samples)
    writer = nac.Written(both.library, both.c, header)
    for chunk in chunks:
        writer.write_chunk(chunk)
    writer.finish(n_samples)
    assert bytes(writer.data) == file.getvalue()
    _, found = nac.read(both.library, both.c, file.getvalue())
    assert len(found) == len(chunks)
    assert all(map(np.array_equal, found, chunks))


@given(st.integers(1, 200), st.integers(1, 70), st.data())
@settings(max_examples=25, deadline=None)
def test_any_stretch_is_read_as_python_reads_it(
    both: Both, frames: int, step: int, data: st.DataObject
) -> None:
    codes = random_codes(2, LEVELS, frames)
    header = header_of(both, 2, LEVELS, frames_per_chunk=step)
    file = by_python(both, header, codes, frames * SMALL.hop_length)
    seekable = SeekableReader(io.BytesIO(file), lambda _: both.python)
    with nac.opened_file(both.library, both.c, file) as opened:
        for _ in range(3):
            frame = data.draw(st.integers(0, frames - 1))
            start, expected = seekable.read(frame, frames)
            assert opened.seek(frame) == start
            for chunk in expected:
                assert np.array_equal(opened.next(), chunk)
            assert opened.next() is None
        with pytest.raises(nac.StatusError):
            opened.seek(frames)


def test_a_file_needs_its_model_and_coder(
    library: ctypes.CDLL, model: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "other.safetensors", seed=1)
    codes = random_codes(1, LEVELS, 3)
    python = load_coder("fast", WORDS, model)
    file = io.BytesIO()
    header = Header(1, LEVELS, WORDS, RATE, SMALL.sample_rate, WeightsFile(model).model_id, 50)
    writer = Writer(file, header, python)
    writer.write(codes)
    writer.finish(3 * SMALL.hop_length)
    data = {path: path.with_suffix(".entropy").read_bytes() for path in (model, other)}
    expected = {(model, 1): 0, (model, 2): nac.CODER, (other, 1): nac.CODER, (model, 0): nac.CODER}
    for (path, number), status in expected.items():
        with (
            nac.opened_model(library, path) as weights,
            nac.opened_coder(library, weights, number, data[path] if number else b"") as coder,
        ):
            try:
                nac.read(library, coder, file.getvalue())
                found = 0
            except nac.StatusError as error:
                found = error.status
            assert found == status
    with nac.opened_model(library, other) as weights:
        opened = nac.opened_coder(library, weights, 1, data[model])
        with pytest.raises(nac.StatusError):
            opened.__enter__()


def test_every_truncation_is_refused_as_such(both: Both) -> None:
    data = by_python(both, header_of(both, 1, LEVELS), random_codes(1, LEVELS, 60), 57_600)
    for size in range(len(data)):
        with pytest.raises(nac.StatusError) as caught:
            nac.read(both.library, both.c, data[:size], 7 * (size % 2))
        assert caught.value.status == nac.TRUNCATED


def test_every_flipped_bit_is_noticed(both: Both) -> None:
    tags = {"title": "T"}
    codes = random_codes(1, LEVELS, 12)
    data = by_python(both, header_of(both, 1, LEVELS), codes, 12 * SMALL.hop_length, tags=tags)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(nac.StatusError) as caught:
            nac.read(both.library, both.c, bytes(damaged))
        assert caught.value.status in nac.DAMAGE


def test_the_reader_gives_what_pythons_gives(both: Both) -> None:
    data = by_python(both, header_of(both, 2, 2), random_codes(2, 2, 101), 101 * SMALL.hop_length)
    _, chunks = nac.read(both.library, both.c, data)
    expected = list(Reader(io.BytesIO(data), lambda _: both.python))
    assert [chunk.shape for chunk in chunks] == [chunk.shape for chunk in expected]
