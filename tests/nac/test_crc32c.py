"""CRC-32C: the published values, and one result in C and in Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.nac.crc32c import crc32c, portable


# RFC 3720, appendix B.4
@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_known_values(data, crc):
    assert crc32c(data) == portable(data) == crc


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_in_pieces_and_in_either_language(one, two):
    native = pytest.importorskip("codec.kernels._native").crc32c
    assert native(two, native(one)) == native(one + two) == portable(two, portable(one))
