"""Hostile .nac files, made and not kept, each with the error that it must give.

    python -m tests.fuzz.attacks FOLDER      # writes them, to try another reader with

`attacks()` gives them to tests/fuzz/test_attacks.py, which reads each in all ways there are.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codec.nac.crc32c import crc32c
from codec.nac.layout import CHUNK_HEADER_BYTES, CHUNK_MARKER, HEADER_BYTES, TRAILER_BYTES
from codec.nac.writer import Writer
from codec.tokens import Tokens, header_of

FRAMES = 120


class Attack(NamedTuple):
    """A file, and what the error says that reading it front to back gives."""

    name: str
    data: bytes
    error: str


def tokens(seed: int = 0, channels: int = 2) -> Tokens:
    """What the files hold before they are spoiled: 120 frames of 25 Hz, in chunks of 50."""
    codes = np.random.default_rng(seed).integers(0, 1024, (channels, 3, FRAMES), np.uint16)
    return Tokens(codes, 25.0, FRAMES * 960 - 7, 24_000, 1024, b"modelid8")


def written(of: Tokens, tags: dict[str, str] | None = None) -> bytes:
    """A sound file."""
    file = io.BytesIO()
    writer = Writer(file, header_of(of), tags=tags)
    writer.write(of.codes)
    writer.finish(of.n_samples)
    return file.getvalue()


def resealed(data: bytes, start: int, stop: int, offset: int, value: bytes) -> bytes:
    """`data` with `value` at `offset`, and a CRC of [start, stop) after it that is right again."""
    changed = bytearray(data)
    changed[offset : offset + len(value)] = value
    changed[stop : stop + 4] = struct.pack("<I", crc32c(bytes(changed[start:stop])))
    return bytes(changed)


def chunk_of(fields: tuple[int, int, int, int, int], payload: bytes) -> bytes:
    """A chunk that claims anything, under a CRC that is right."""
    head = struct.pack("<4sIIHBB", CHUNK_MARKER, *fields)
    return head + struct.pack("<I", crc32c(payload, crc32c(head))) + payload


def attacks() -> Iterator[Attack]:
    """All of them."""
    good = written(tokens())
    n = len(good)
    chunk = CHUNK_HEADER_BYTES + -(-50 * 2 * 3 * 10 // 8)
    first, second = HEADER_BYTES, HEADER_BYTES + chunk
    header, a, b, rest = good[:first], good[first:second], good[second : second + chunk], good[
        second + chunk :
    ]  # fmt: skip

    yield Attack("empty", b"", "empty")
    yield Attack("text", b"hello\n", "not a .nac file")
    yield Attack("wav", b"RIFF\x24\0\0\0WAVEfmt ", "WAV audio")
    yield Attack("magic-only", good[:8], "8 of the header's 64 bytes")
    yield Attack("no-chunks", header, "truncated after 0 frames")
    yield Attack("half-a-chunk", good[: first + 100], "truncated: 80 of 375 bytes of chunk 0")
    yield Attack("no-index", good[: -TRAILER_BYTES - 36], "truncated after 120 frames")
    yield Attack("no-trailer", good[:-TRAILER_BYTES], "bytes of the trailer")
    yield Attack("more-after-the-end", good + b"\0", "more after its end")

    for name, offset, value, error in (
        ("version-1", 8, b"\1\0", "version 1, a development format that is no longer read"),
        ("version-65535", 8, b"\xff\xff", "version 65535"),
        ("flags", 10, b"\x82", "one form"),
        ("unknown-coder", 11, b"\xc8", "coder 200, which this codec does not know"),
        ("raw-with-tables", 20, b"tables!!", "which raw codes have none of"),
        ("rate-0", 28, bytes(4), "0 Hz"),
        ("rate-4g", 28, b"\xff" * 4, "4294967295 Hz"),
        ("no-samples", 32, bytes(8), "0 samples"),
        ("samples-2-63", 32, struct.pack("<Q", 1 << 63), "samples"),
        ("samples-one-more", 32, struct.pack("<Q", FRAMES * 960 + 1), "do not agree"),
        ("frame-rate-0", 40, bytes(4), "one form|frame rate"),
        ("frame-rate-by-0", 44, bytes(4), "one form"),
        ("frame-rate-50-by-2", 40, struct.pack("<II", 50, 2), "one form"),
        ("frame-rate-4g", 40, b"\xff" * 4, "frame rate"),
        ("codebook-of-1", 48, struct.pack("<I", 1), "1 entries"),
        ("codebook-of-4g", 48, b"\xff" * 4, "4294967295 entries"),
        ("chunks-of-0", 52, bytes(2), "0 frames a chunk"),
        ("chunks-of-4-million-codes", 52, b"\xff\xff\xff\xff", "more than 524288 codes"),
        ("no-channels", 54, b"\0", "0 channels"),
        ("no-codebooks", 55, b"\0", "0 codebooks"),
        ("metadata-of-4-gib", 56, b"\xff" * 4, "4294967295 bytes of metadata"),
        ("metadata-that-are-chunks", 56, struct.pack("<I", 50), "metadata are damaged"),
    ):
        yield Attack(name, resealed(good, 0, HEADER_BYTES - 4, offset, value), error)
    yield Attack("header-crc", good[:60] + b"\0\0\0\0" + good[64:], "header is damaged")

    yield Attack("chunks-swapped", header + b + a + rest, "chunk 0 is damaged: it does not belong")
    yield Attack("chunk-repeated", header + a + a + b + rest, "chunk 1 is damaged: it does not")
    yield Attack("chunk-dropped", header + b + rest, "chunk 0 is damaged: it does not belong")
    other = written(tokens(seed=1))
    yield Attack("chunk-of-another-file", header + a + other[second : second + chunk] + rest,
                 "trailer is damaged")  # fmt: skip
    yield Attack("end-of-another-file", good[:-TRAILER_BYTES] + other[-TRAILER_BYTES:],
                 "trailer is damaged")  # fmt: skip
    mono = written(tokens(channels=1))
    yield Attack("header-of-another-file", mono[:HEADER_BYTES] + good[first:], "cannot be decoded")
    payload = a[CHUNK_HEADER_BYTES:]
    for name, fields, body, error in (
        ("chunk-of-no-frames", (0, 375, 0, 3, 0), payload, "0 frames"),
        ("chunk-too-long", (0, 375, 51, 3, 0), payload, "51 frames"),
        ("chunk-of-no-codebooks", (0, 375, 50, 0, 0), payload, "0 codebooks"),
        ("chunk-of-too-many-codebooks", (0, 375, 50, 4, 0), payload, "4 codebooks"),
        ("chunk-of-varying-codebooks", (0, 250, 50, 2, 0), payload[:250], "2 codebooks"),
        ("chunk-of-4-gib", (0, 0xFFFFFFFF, 50, 3, 0), payload, "a payload of"),
        ("chunk-of-nothing", (0, 0, 50, 3, 0), b"", "a payload of"),
        ("chunk-reserved", (0, 375, 50, 3, 1), payload, "always 0"),
        ("chunk-out-of-step", (7, 375, 50, 3, 0), payload, "frame 7"),
        ("chunk-years-later", (0xFFFFFFFF // 50 * 50 - 50, 375, 50, 3, 0), payload, "not belong"),
        ("payload-too-short", (0, 374, 50, 3, 0), payload[:-1], "cannot be decoded: 374 bytes"),
        ("payload-too-long", (0, 376, 50, 3, 0), payload + b"\0", "cannot be decoded: 376 bytes"),
    ):  # fmt: skip
        yield Attack(name, header + chunk_of(fields, body) + b + rest, error)
    short = chunk_of((50, 300, 40, 3, 0), payload[:300])
    yield Attack("short-chunk-in-the-middle", header + a + short + rest, "does not belong here")
    yield Attack("markers", header + CHUNK_MARKER * 5000, "it claims")
    longest = struct.pack("<4sIIHBB", CHUNK_MARKER, 0, 1 << 20, 50, 3, 0) + b"\0" * 4
    yield Attack("false-chunks", header + longest * 60_000, "chunk 0 is damaged")

    index = n - TRAILER_BYTES - 36
    for name, offset, value in (
        ("index-of-4g", index + 4, b"\xff" * 4),
        ("index-of-none", index + 4, bytes(4)),
        ("index-out-of-the-file", index + 16, b"\xff" * 8),
        ("index-into-a-chunk", index + 16, struct.pack("<Q", second + 5)),
    ):
        changed = resealed(good, index, n - TRAILER_BYTES - 4, offset, value)
        yield Attack(name, changed, "the index is damaged")
    end = n - TRAILER_BYTES
    for name, offset, value, error in (
        ("trailer-index-offset", end + 68, b"\xff" * 8, "trailer is damaged"),
        ("trailer-of-4g-chunks", end + 76, b"\xff" * 4, "trailer is damaged"),
        ("trailer-digest", end + 80, bytes(4), "trailer is damaged"),
    ):
        yield Attack(name, resealed(good, end, n - 12, offset, value), error)
    inner = resealed(good, end + 4, end + 4 + 60, end + 4 + 32, b"\xff" * 8)
    yield Attack("trailer-without-length", resealed(inner, end, n - 12, end, b""),
                 "does not say how many samples")  # fmt: skip

    tagged = written(tokens(), {"title": "A" * 40})
    block = HEADER_BYTES + len(b"title=\0") + 40
    for name, offset, value in (
        ("metadata-not-utf-8", HEADER_BYTES + 8, b"\xff"),
        ("metadata-without-end", block - 1, b"A"),
        ("metadata-key", HEADER_BYTES, b"T"),
        ("metadata-empty", HEADER_BYTES + 6, b"\0"),
    ):
        yield Attack(name, resealed(tagged, HEADER_BYTES, block, offset, value), "the metadata are")


def main() -> None:
    """Write all attacks below the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for attack in attacks():
        (folder / f"{attack.name}.nac").write_bytes(attack.data)
        print(f"{attack.name}.nac: {attack.error}")


if __name__ == "__main__":
    main()
