"""libcodec reads and writes .nac files byte for byte as Python does, and refuses the same."""

from __future__ import annotations

import ctypes
import dataclasses
import io
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("codec.coders._entropy", reason="the native extension was not built")


from codec.errors import FormatError
from codec.model.limits import frames_for
from codec.nac import Header, Writer
from codec.nac.layout import HEADER_BYTES
from codec.nac.tags import pack_metadata, unpack_metadata
from tests.fuzz.attacks import attacks, resealed, tokens
from tests.fuzz.attacks import written as raw_file
from tests.helpers.c_library import GCC, ROOT, load_parts
from tests.helpers.nac_files import ANY_TOKENS, make, written
from tests.library import nac_binding as nac

PAGE = ROOT / "docs" / "format.md"
pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")


@pytest.fixture(scope="module")
def library(libcodec: ctypes.CDLL) -> ctypes.CDLL:
    """The library, loaded again: here nothing is declared."""
    return ctypes.CDLL(libcodec._name)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The part of the library that counts frames, which it hides."""
    parts = load_parts(tmp_path_factory.mktemp("layout"), "nac_layout", "../common/crc32c")
    parts.nac_frames_of.restype = ctypes.c_uint64
    return parts


@pytest.fixture(scope="module")
def raw(library: ctypes.CDLL) -> Iterator[ctypes.c_void_p]:
    """The raw coder for any file."""
    with nac.opened_coder(library, None, 0, b"") as coder:
        yield coder


@given(of=ANY_TOKENS)
@settings(max_examples=40, deadline=None)
def test_raw_codes_of_any_model(library, raw, of):
    data = written(of)
    _, chunks = nac.read(library, raw, data)
    assert np.array_equal(np.concatenate(chunks, axis=2), of.codes)
    writer = nac.Written(library, raw, dataclasses.replace(Header.unpack(data), n_samples=None))
    writer.write(of.codes)
    header = writer.finish(of.n_samples)
    assert header + bytes(writer.data[HEADER_BYTES:]) == data


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_codes_of_two_channels_together(library, raw, channels):
    of = make(channels=-(-channels // 2), n_samples=3000)
    data = written(of)
    header = dataclasses.replace(Header.unpack(data), channels=channels, together=2)
    file = io.BytesIO()
    python = Writer(file, dataclasses.replace(header, n_samples=None))
    python.write(of.codes)
    python.finish(of.n_samples)
    writer = nac.Written(library, raw, dataclasses.replace(header, n_samples=None))
    writer.write(of.codes)
    writer.finish(of.n_samples)
    assert bytes(writer.data) == file.getvalue()
    read, chunks = nac.read(library, raw, file.getvalue())
    assert (read.info.channels, read.info.together) == (channels, 2)
    assert np.array_equal(np.concatenate(chunks, axis=2), of.codes)


@given(
    st.integers(1, (1 << 64) - 2), st.integers(1000, 768_000), st.integers(1, (1 << 32) - 1),
    st.integers(1, 1 << 16),
)  # fmt: skip
def test_frames_are_counted_without_overflow(layout, n_samples, rate, numerator, denominator):
    frame_rate = Fraction(numerator, denominator)
    info = nac.Info(n_samples=n_samples, sample_rate=rate)
    info.frame_rate, info.frame_divisor = frame_rate.numerator, frame_rate.denominator
    found = layout.nac_frames_of(ctypes.byref(info), ctypes.c_uint64(n_samples))
    assert found == min(frames_for(n_samples, rate, frame_rate), 1 << 32)


TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)


KEYS = st.one_of(st.text("abz09_-", max_size=33), TEXT)


SPACED = st.text("\t \x1c\x85\xa0\u2003\u3000x", max_size=9)


@given(st.dictionaries(KEYS, st.one_of(TEXT, SPACED), max_size=9))
def test_tags_are_packed_as_python_packs_them(library, raw, tags):
    header = Header.unpack(written(make()))
    encoded = {key: value.encode() for key, value in tags.items()}
    writer = nac.Written(library, raw, dataclasses.replace(header, n_samples=None), encoded)
    expected = pack_metadata(tags)
    block = bytes(writer.data[HEADER_BYTES:])
    assert block[:-4] == expected if expected else block == b""


def test_tags_beyond_the_limits_are_left_out(library, raw):
    header = dataclasses.replace(Header.unpack(written(make())), n_samples=None)
    for tags in (
        {f"k{i}": "x" for i in range(300)},
        {f"k{i}": "x" * 6000 for i in range(20)},
        {"a": "x" * 70_000, "b": "y"},
    ):
        encoded = {key: value.encode() for key, value in tags.items()}
        writer = nac.Written(library, raw, header, encoded)
        assert bytes(writer.data[HEADER_BYTES:-4]) == pack_metadata(tags)


PARTS = st.sampled_from([
    b"a=b\0", b"title=T\0", b"=", b"\0", b"a", b"z=\xc3\xa9\0", b"\xff", b"\xc0\x80",
    b"\xed\xa0\x80", b" ", b"b=c=d\0",
])  # fmt: skip


@given(st.lists(PARTS, min_size=1, max_size=5).map(b"".join))
def test_metadata_are_taken_or_refused_as_by_python(library, raw, block):
    data = raw_file(tokens(), {"title": "T" * (len(block) - 7)} if len(block) > 7 else None)
    header = dataclasses.replace(Header.unpack(data), metadata_bytes=len(block))
    body = Header.unpack(data).body
    spoiled = resealed(header.pack() + block + bytes(4), HEADER_BYTES, HEADER_BYTES + len(block),
                       HEADER_BYTES, b"")  # fmt: skip
    try:
        expected: dict[str, str] | None = unpack_metadata(block)
    except FormatError:
        expected = None
    try:
        with nac.opened_file(library, raw, spoiled + data[body:]) as file:
            found: dict[str, str] | None = file.tags
    except nac.StatusError:
        found = None
    assert found == expected


def test_the_example_of_the_format_is_read(library, raw):
    lines = PAGE.read_text().split("## An example")[1].splitlines()
    data = b"".join(
        bytes.fromhex(line[10:57].strip()) for line in lines if line.startswith("    0")
    )
    file, (codes,) = nac.read(library, raw, data)
    assert file.info.n_samples == 7
    assert file.info.sample_rate == 44_100
    assert file.tags == {"title": "Tü"}
    assert codes.ravel().tolist() == [1, 1023, 512, 2]


@pytest.mark.parametrize("attack", list(attacks()), ids=lambda attack: attack.name)
def test_hostile_files_are_refused(library, raw, attack):
    for piece in (0, 100):
        with pytest.raises(nac.StatusError):
            nac.read(library, raw, attack.data, piece)


def test_wrong_calls_are_refused(library: ctypes.CDLL, raw: ctypes.c_void_p) -> None:
    of = make(channels=1, n_codebooks=2, codebook_size=9, n_samples=1000)
    header = dataclasses.replace(Header.unpack(written(of)), n_samples=None)
    writer = nac.Written(library, raw, header)
    with pytest.raises(nac.StatusError):
        writer.write(np.full((1, 2, 1), 9))
    writer.write(of.codes)
    for n_samples in (0, 1, 10_000, nac.UNKNOWN):
        with pytest.raises(nac.StatusError):
            writer.finish(n_samples)
    with pytest.raises(nac.StatusError):
        writer.write_chunk(of.codes[:, :1])
    writer.finish(1000)
    with pytest.raises(nac.StatusError):
        writer.write(of.codes)
    assert nac.read(library, raw, bytes(writer.data))[0].info.n_samples == 1000
    for wrong in (
        {"channels": 0}, {"n_codebooks": 0}, {"sample_rate": 1}, {"frames_per_chunk": 0},
        {"codebook_size": 1},
    ):  # fmt: skip
        info = dataclasses.replace(header)
        for name, value in wrong.items():
            object.__setattr__(info, name, value)
        with pytest.raises(nac.StatusError):
            nac.Written(library, raw, info)


def test_nothing_is_an_argument_that_is_missing(library: ctypes.CDLL, raw: ctypes.c_void_p) -> None:
    library.codec_reader_info.restype = ctypes.c_void_p
    library.codec_reader_frame.restype = ctypes.c_uint64
    library.codec_reader_tags.restype = ctypes.c_size_t
    assert library.codec_reader_info(None) is None
    assert library.codec_reader_frame(None) == library.codec_reader_tags(None) == 0
    header = dataclasses.replace(Header.unpack(written(make())), n_samples=None)
    for tags in ({"title": None}, {"title": b"x", "artist": None}):
        with pytest.raises(nac.StatusError) as caught:
            nac.Written(library, raw, header, tags)  # type: ignore[arg-type]
        assert caught.value.status == nac.ARGUMENT


def test_failures_of_callbacks_are_passed_on(library: ctypes.CDLL, raw: ctypes.c_void_p) -> None:
    data = raw_file(tokens())
    for size in (0, 40, 64, 90, len(data) - 100, len(data)):
        with pytest.raises(nac.StatusError) as caught:
            nac.read(library, raw, data[:size], 10, fails=True)
        assert caught.value.status == nac.IO
    of = make()
    header = dataclasses.replace(Header.unpack(written(of)), n_samples=None)
    for n_bytes in (0, 64, 200):
        with pytest.raises(nac.StatusError) as caught:
            nac.written(library, raw, header, of.codes, of.n_samples, most=n_bytes)
        assert caught.value.status == nac.IO
