"""WavPack with tags behind it, cut, or with another file behind it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from codec.audio import AudioReader

av = pytest.importorskip("av", reason="reading WavPack needs PyAV")

TITLE = b"Title\0"


@pytest.fixture(scope="module")
def wavpack() -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    with av.open(file, "w", format="wv") as container:
        stream = container.add_stream("wavpack", rate=16_000, layout="mono")
        packets = []
        for _ in range(20):
            samples = rng.integers(-3000, 3000, (1, 8_000)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16p", layout="mono")
            frame.sample_rate = 16_000
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def ape(title: bytes = b"hello") -> bytes:
    """An APEv2 tag with a footer only, as WavPack's encoder writes by default."""
    body = struct.pack("<II", len(title), 0) + TITLE + title
    return body + b"APETAGEX" + struct.pack("<4I", 2000, len(body) + 32, 1, 0) + bytes(8)


def read(data: bytes) -> tuple[int, list[str]]:
    with AudioReader(io.BytesIO(data)) as reader:
        n = sum(block.shape[1] for block in reader)
        return n, reader.warnings


def test_tags_are_no_damage(wavpack: bytes) -> None:
    for tags in (b"", ape(), b"TAG" + bytes(125), ape() + b"TAG" + bytes(125)):
        assert read(wavpack + tags) == (160_000, [])


def test_a_cut_file_is_cut_with_tags_too(wavpack: bytes) -> None:
    for tags in (b"", ape()):
        n, warnings = read(wavpack[: len(wavpack) // 2] + tags)
        assert n < 160_000
        assert warnings


def test_a_joined_file_says_that_it_is_not_read_on(wavpack: bytes) -> None:
    for data in (wavpack + wavpack, wavpack + ape() + wavpack, wavpack + wavpack + ape()):
        n, warnings = read(data)
        assert n == 160_000
        assert any("behind the first stream" in warning for warning in warnings)
