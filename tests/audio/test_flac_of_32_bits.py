"""FLAC with 32 bits a sample (RFC 9639, 2024), written here as verbatim subframes."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from codec.audio import AudioReader

BLOCK = 256  # samples a frame


def crc(data: bytes, polynomial: int, bits: int) -> int:
    value, top = 0, 1 << (bits - 1)
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value & top else 0)
            value &= (1 << bits) - 1
    return value


def flac(channels: np.ndarray, rate: int) -> bytes:
    """A file of int32 [channels, samples], at most 128 frames."""
    count, n = channels.shape
    facts = (rate << 44) | ((count - 1) << 41) | (31 << 36) | n
    info = struct.pack(">HH", BLOCK, BLOCK) + bytes(6) + facts.to_bytes(8, "big") + bytes(16)
    file = b"fLaC\x80\x00\x00\x22" + info
    for number, start in enumerate(range(0, n, BLOCK)):
        piece = channels[:, start : start + BLOCK]
        # Sync, block size in 16 bits below, independent channels of 32 bits, the frame's number.
        head = bytes([0xFF, 0xF8, 0x70, (count - 1) << 4 | 0x0E, number])
        head += struct.pack(">H", piece.shape[1] - 1)
        frame = head + bytes([crc(head, 0x07, 8)])
        frame += b"".join(b"\x02" + channel.astype(">i4").tobytes() for channel in piece)
        file += frame + struct.pack(">H", crc(frame, 0x8005, 16))
    return file


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000])
def test_all_bits_arrive(count: int, n: int) -> None:
    pytest.importorskip("av", reason="libsndfile reads FLAC of at most 24 bits")
    rng = np.random.default_rng(n)
    samples = rng.integers(-(2**31), 2**31, (count, n)).astype(np.int32)
    with AudioReader(io.BytesIO(flac(samples, 16_000))) as reader:
        audio = np.concatenate(list(reader), axis=1)
        assert (reader.sample_rate, reader.warnings) == (16_000, [])
    np.testing.assert_array_equal(audio, (samples / 2**31).astype(np.float32))


def test_a_cut_file_says_so() -> None:
    pytest.importorskip("av", reason="libsndfile reads FLAC of at most 24 bits")
    whole = flac(np.zeros((1, 1000), np.int32), 16_000)
    with AudioReader(io.BytesIO(whole[: len(whole) // 2])) as reader:
        samples = sum(block.shape[1] for block in reader)
        assert samples < 1000
        assert reader.warnings
