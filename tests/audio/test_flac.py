"""FLACs that do not state how long they are: their last frame shows it."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from codec.audio import flac
from tests.helpers import audio_inputs as inputs


def crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        for k in range(7, -1, -1):
            top = crc >> 7 ^ byte >> k & 1
            crc = crc << 1 & 0xFF ^ (7 if top else 0)
    return crc


def coded(number: int) -> bytes:
    """A number as UTF-8 codes it, went on to 36 bits."""
    if number < 128:
        return bytes([number])
    n, tail = 0, b""
    while n == 0 or number >= 1 << 6 - n:
        n, tail, number = n + 1, bytes([0x80 | number & 0x3F]) + tail, number >> 6
    return bytes([0xFF << 7 - n & 0xFF | number]) + tail


def frame(number: int, samples: int, variable: bool, body: bytes) -> bytes:
    size = struct.pack(">H", samples - 1)
    head = bytes([0xFF, 0xF9 if variable else 0xF8, 0x70, 0x08]) + coded(number) + size
    return head + bytes([crc8(head)]) + body


@given(
    st.booleans(),
    st.integers(0, 1 << 30),
    st.integers(16, 65_535),
    st.integers(0, 5),
    st.integers(1, 65_535),
    st.binary(max_size=40),
    st.binary(max_size=300),
)
def test_the_last_frame_shows_the_length(
    variable: bool, start: int, size: int, n_full: int, last: int, body: bytes, behind: bytes
) -> None:
    """Wherever the numbers begin, and whatever is behind. The last frame may be shorter."""
    last = min(last, size)
    step = size if variable else 1
    frames = [frame(start + k * step, size, variable, body) for k in range(n_full)]
    frames.append(frame(start + n_full * step, last, variable, body))
    data = inputs.with_total(inputs.flac(1), 0)[:42]
    data = data[:4] + b"\x80" + data[5:] + b"".join(frames) + behind
    assert flac.streams(data)[0].claimed == n_full * size + last


def test_what_looks_like_a_frame_behind_the_last_is_none() -> None:
    data = inputs.with_total(inputs.flac(30_000), 0)
    for alike in (frame(0, 500, False, b""), frame(77, 500, False, b""), b"\xff\xf8" * 5000):
        assert flac.streams(data + bytes(100) + alike + bytes(9))[0].claimed == 30_000


def test_a_search_for_a_frame_ends() -> None:
    data = inputs.with_total(inputs.flac(30_000), 0)
    assert flac.streams(data + b"\xff\xf8" * 3_000_000)[0].claimed == 0


def test_without_a_frame_no_length_is_known() -> None:
    data = inputs.with_total(inputs.flac(30_000), 0)
    for cut in (8, 30, 42, 60):
        assert [stream.claimed for stream in flac.streams(data[:cut])] == [0]
