"""Where the samples of AIFF, CAF, AU and others end, by their headers and by what is there."""

from __future__ import annotations

from typing import Literal

from codec.audio import riff, sphere
from codec.audio.content import Bytes, Part, only_zeros


def missing_bytes(data: Bytes, kind: str) -> int:
    """Count the bytes of samples that a header claims and that are missing from the file."""
    if kind == "wav":
        wave = riff.Walker(data)
        return max(0, (wave.head.size or 0) - (len(data) - wave.at))
    if kind == "au" and len(data) >= 12:
        offset, size = _au_samples(data)
        return max(0, offset + size - len(data)) if size else 0
    if kind == "sphere":
        return max(0, sum(sphere.extent(data)) - len(data))
    if kind in ("aiff", "caf", "rifx"):
        name = b"SSND" if kind == "aiff" else b"data"
        at, wide = (8, 8) if kind == "caf" else (12, 4)
        while at + 4 + wide <= len(data):
            size = int.from_bytes(data[at + 4 : at + 4 + wide], "big", signed=kind == "caf")
            end = at + 4 + wide + max(0, size)
            if data[at : at + 4] == name:
                return max(0, end - len(data))
            if not any(data[at : at + 4]):
                break
            at = end + (0 if kind == "caf" else size % 2)
    return 0


def second_file(data: Bytes, kind: str) -> int | None:
    """Find where a second file of this kind begins, right behind the first; None if none does."""
    if kind in ("aiff", "rifx"):
        size = int.from_bytes(data[4:8], "big")
        end = 8 + size + size % 2
        return end if data[end : end + 4] == data[:4] else None
    if kind == "au":
        offset, size = _au_samples(data)
        return (
            offset + size if size and data[offset + size : offset + size + 4] == data[:4] else None
        )
    at = 8
    while kind == "caf" and at + 12 <= len(data):
        for begin in (at, at + 1):  # libsndfile adds a byte behind an odd number of them
            if data[begin : begin + 4] == data[:4]:
                return begin
        size = int.from_bytes(data[at + 4 : at + 12], "big", signed=True)
        if size < 0 or not any(data[at : at + 4]):
            break
        at += 12 + size
    return None


def whole_au(data: Bytes) -> list[Part]:
    """Return an AU that is read to its end, or to that of its samples if only zeros follow."""
    offset, size = _au_samples(data)
    end = offset + size
    if not (size and end < len(data) and only_zeros(data, end)):
        end = len(data)
    return [(0, 8), b"\xff" * 4, (12, end)]


def _au_samples(data: Bytes) -> tuple[int, int]:
    """Return where an AU's samples begin, and their bytes, 0 if it does not say."""
    order: Literal["big", "little"] = "big" if data[:1] == b"." else "little"
    offset, size = (int.from_bytes(data[k : k + 4], order) for k in (4, 8))
    return offset, 0 if size == riff.UNKNOWN else size


def finished_caf(data: Bytes) -> list[Part]:
    """Return a CAF with the size of its last chunk of samples filled in, without zeros behind."""
    at = 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 12], "big", signed=True)
        if data[at : at + 4] == b"data" and (size < 0 or size > len(data) - at - 12):
            there = (len(data) - at - 12).to_bytes(8, "big")
            return [(0, at + 4), there, (at + 12, len(data))]
        if not any(data[at : at + 4]):  # a file allocated ahead, which libsndfile would search
            return [(0, at)]
        at += 12 + max(0, size)
    return [(0, len(data))]
