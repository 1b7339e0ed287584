"""FLACs that do not state how long they are, are cut off, or damaged."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.audio import Audio, AudioReader, flac
from codec.errors import AudioError
from tests.helpers import audio_inputs as inputs


def flac_samples(data: bytes) -> tuple[Audio, list[str]]:
    """What is read of a file [channels, samples], and the warnings."""
    with AudioReader(io.BytesIO(data)) as reader:
        return np.concatenate(list(reader), axis=1), reader.warnings


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


WHOLE = inputs.flac(120_000)
SAMPLES = flac_samples(WHOLE)[0]
FIRST = WHOLE.index(b"\xff\xf8")
SECOND = WHOLE.index(b"\xff\xf8" + WHOLE[FIRST + 2 : FIRST + 4] + b"\1")


@given(st.integers(SECOND, len(WHOLE) - 1), st.binary(max_size=50))
@settings(max_examples=30)
def test_of_a_stream_that_is_cut_off_all_whole_frames_are_read(cut: int, behind: bytes) -> None:
    """Also where other bytes follow, as in a file whose space was allocated ahead."""
    audio, warnings = flac_samples(WHOLE[:cut] + behind)
    assert audio.shape[1] % 4096 == 0
    assert np.array_equal(audio, SAMPLES[:, : audio.shape[1]])
    assert warnings == [f"cut off: {audio.shape[1]} of 120000 samples are there"]


def test_without_one_whole_frame_there_is_no_audio() -> None:
    for data in (WHOLE[: FIRST + 40], WHOLE[: SECOND - 1], WHOLE[:FIRST] + bytes(9000)):
        with pytest.raises(AudioError):
            flac_samples(data)


@given(st.integers(FIRST, len(WHOLE) - 9000), st.binary(min_size=1, max_size=3000))
@settings(max_examples=20)
def test_damaged_frames_are_silent_and_all_others_as_they_were(at: int, wrong: bytes) -> None:
    data = WHOLE[:at] + wrong + WHOLE[at + len(wrong) :]
    with AudioReader(io.BytesIO(data)) as reader:
        audio, warnings = np.concatenate(list(reader), axis=1), reader.warnings
    assert audio.shape == SAMPLES.shape
    differ = (audio != SAMPLES).any(axis=0)
    places = [range(first, first + n) for first, n in reader._source.damaged]
    assert all(any(sample in place for place in places) for sample in np.flatnonzero(differ))
    assert not audio[:, differ].any()
    assert bool(warnings) >= bool(differ.any())
    assert differ.sum() <= len(wrong) // 20 * 4096 + 3 * 4096
    for warning in warnings:
        assert warning.startswith("damaged: the audio cannot be decoded in ")


def test_every_place_is_counted() -> None:
    data = bytearray(WHOLE)
    for share in (0.3, 0.5, 0.7):
        data[int(share * len(data))] ^= 0xFF
    audio, warnings = flac_samples(bytes(data))
    assert audio.shape == SAMPLES.shape
    assert warnings == ["damaged: the audio cannot be decoded in 3 places, and is silent there"]


def recoded(data: bytes, at: int, bits: int) -> bytes:
    """`data` with bits of the byte at `at` of its second frame turned, and its checksums right."""
    third = data.index(b"\xff\xf8" + data[FIRST + 2 : FIRST + 4] + b"\2", SECOND)
    frame = bytearray(data[SECOND:third])
    frame[at] ^= bits
    frame[5] = crc8(bytes(frame[:5]))
    frame[-2:] = flac._crc16(bytes(frame[:-2])).to_bytes(2, "big")
    return data[:SECOND] + bytes(frame) + data[third:]


def test_a_frame_that_has_right_checksums_and_cannot_be_decoded_is_silent() -> None:
    assert flac._crc16(WHOLE[FIRST:SECOND]) == 0
    same, _ = flac_samples(recoded(WHOLE, 12, 0))
    assert np.array_equal(same, SAMPLES)
    audio, warnings = flac_samples(recoded(WHOLE, 6, 0x7E))  # a reserved type of subframe
    assert warnings == ["damaged: the audio cannot be decoded in one place, and is silent there"]
    assert audio.shape == SAMPLES.shape
    assert not audio[:, 4096:8192].any()
    assert np.array_equal(audio[:, 8192:], SAMPLES[:, 8192:])


@given(st.integers(0, FIRST - 1), st.integers(0, 7))
@settings(max_examples=30)
def test_a_damaged_header_is_read_or_refused(at: int, bit: int) -> None:
    """It never takes long, and no file is silence alone."""
    data = bytearray(WHOLE)
    data[at] ^= 1 << bit
    try:
        audio, _ = flac_samples(bytes(data))
    except AudioError:
        return
    assert audio.any()


def test_stretches_are_warned_of_what_is_damaged_in_them_alone() -> None:
    middle = SAMPLES.shape[1] // 2
    data = bytearray(WHOLE)
    data[len(data) // 2] ^= 0xFF
    wrong = np.flatnonzero((flac_samples(bytes(data))[0] != SAMPLES).any(axis=0))
    assert abs(wrong.mean() - middle) < middle / 4
    first, last = wrong[0] / inputs.RATE, wrong[-1] / inputs.RATE
    for start, duration, told in (
        (0, first - 0.5, False),
        (0, first + 0.1, True),
        (first, 0.1, True),
        (last + 0.1, 0.5, False),
    ):
        with AudioReader(io.BytesIO(data), start, duration, strict=told) as reader:
            if told:
                with pytest.raises(AudioError, match="damaged"):
                    list(reader)
            else:
                list(reader)
            assert bool(reader.warnings) == told


def test_no_checksum_is_made_of_what_follows_a_stream_that_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Space that was allocated ahead may be gigabytes, of which one in Python takes minutes."""
    sizes: list[int] = []
    crc16 = flac._crc16

    def measured(data: bytes) -> int:
        sizes.append(len(data))
        return crc16(data)

    monkeypatch.setattr(flac, "_crc16", measured)
    cut = WHOLE[: len(WHOLE) // 2]
    audio, warnings = flac_samples(cut)
    again = flac_samples(cut + bytes(10_000_000))
    assert np.array_equal(again[0], audio)
    assert again[1] == warnings
    assert max(sizes) < 4000  # a frame has 1,870 bytes


def test_numbers_of_frames_may_begin_anywhere() -> None:
    """Also where the first frame's header cannot be read."""
    renumbered, at = WHOLE[:FIRST], FIRST
    for k in range(28):
        end = WHOLE.find(b"\xff\xf8" + WHOLE[FIRST + 2 : FIRST + 4] + coded(k + 1), at)
        body = WHOLE[at + 6 : end if end > 0 else len(WHOLE)]
        head = WHOLE[at : at + 4] + coded(k + 100)
        one = head + bytes([crc8(head)]) + body[:-2]
        renumbered, at = renumbered + one + flac._crc16(one).to_bytes(2, "big"), end
    whole, warnings = flac_samples(renumbered)
    assert (whole.shape[1], warnings) == (
        28 * 4096,
        ["cut off: 114688 of 120000 samples are there"],
    )
    damaged = bytearray(renumbered)
    damaged[FIRST] = 0
    audio, warnings = flac_samples(bytes(damaged))
    assert audio.shape[1] <= whole.shape[1]
    assert np.array_equal(audio[:, -4096:], whole[:, -4096:])
    assert warnings


def test_a_hole_of_a_minute_is_an_end() -> None:
    """The number of a frame may be wrong, and no file makes silence without end."""
    data = inputs.flac(80 * inputs.RATE)
    middle, end = len(data) // 80, data.rindex(b"\xff\xf8")
    audio, warnings = flac_samples(data[:middle] + data[end:])
    assert 0 < audio.shape[1] < 15 * inputs.RATE
    assert warnings == [f"cut off: {audio.shape[1]} of {80 * inputs.RATE} samples are there"]


@given(st.integers(2, 8))
@settings(max_examples=8)
def test_flac_in_ogg_goes_on_behind_a_missing_page(page: int) -> None:
    """Its packets end anywhere, so that a page less leaves frames without their ends."""
    data = inputs.flac_in_ogg(120_000)
    whole, _ = flac_samples(data)
    pages = [match.start() for match in re.finditer(b"OggS", data)]
    audio, warnings = flac_samples(data[: pages[page]] + data[pages[page + 1] :])
    assert audio.shape == whole.shape
    differ = (audio != whole).any(axis=0)
    assert 0 < differ.sum() <= 5 * 4096
    assert not audio[:, differ].any()
    assert [text.split(":")[0] for text in warnings] == ["damaged", "damaged"]


def test_flac_in_ogg_that_is_cut_off_is_read_to_its_last_whole_frame() -> None:
    data = inputs.flac_in_ogg(120_000)
    whole, _ = flac_samples(data)
    pages = [match.start() for match in re.finditer(b"OggS", data)]
    for cut in (pages[5], pages[5] + 100, len(data) // 2):
        audio, warnings = flac_samples(data[:cut])
        assert np.array_equal(audio, whole[:, : audio.shape[1]])
        assert audio.shape[1] > 4096
        assert warnings == [f"cut off: {audio.shape[1]} of 120000 samples are there"]
