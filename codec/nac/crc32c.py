"""Computes CRC-32C, the checksum of the file format: in C where it is compiled, else in Python."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

_POLYNOMIAL = 0x82F63B78  # bits reversed: the lowest is the first of a byte


def crc32c(data: bytes, crc: int = 0) -> int:
    """Extend the checksum `crc` (0 for no bytes) by `data`."""
    return _implementation()(data, crc)


@functools.cache
def _implementation() -> Callable[[bytes, int], int]:
    try:
        native = importlib.import_module("codec.kernels._native")
    except ImportError:
        return portable
    checksum: Callable[[bytes, int], int] = native.crc32c
    return checksum


def portable(data: bytes, crc: int = 0) -> int:
    """Compute `crc32c` in Python, some hundred times slower."""
    table = _table()
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
