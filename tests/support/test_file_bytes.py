"""A large file's bytes are what they are in memory, or an error."""

from __future__ import annotations

import gzip
import io
import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.support import file_bytes
from codec.support.file_bytes import FileBytes, descriptor

places = st.none() | st.integers(-40, 40)


@given(st.binary(max_size=30), st.binary(max_size=3), places, places, st.integers(1, 7))
def test_it_is_as_bytes(data, wanted, start, stop, window):
    with tempfile.TemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_bytes, "WINDOW", window)
        file.write(data)
        file.flush()
        held = FileBytes(file.fileno())
        assert len(held) == len(data)
        assert held[start:stop] == data[start:stop]
        if wanted:
            assert held.find(wanted, start or 0, stop) == data.find(wanted, start or 0, stop)
            assert held.rfind(wanted, start or 0, stop) == data.rfind(wanted, start or 0, stop)
        assert [held[k] for k in range(-len(data), len(data))] == [*data, *data]
        with pytest.raises(IndexError):
            held[len(data)]


def test_what_is_gone_is_an_error_that_stays(tmp_path):
    (tmp_path / "x").write_bytes(b"x" * 100)
    with (tmp_path / "x").open("rb") as file:
        held = FileBytes(file.fileno())
        os.truncate(tmp_path / "x", 50)
        for _ in range(2):
            with pytest.raises(OSError, match="became shorter"):
                held[40:60]
        assert held.problem is not None
        assert len(held) == 100


def test_only_a_plain_file_has_a_descriptor(tmp_path):
    with gzip.open(tmp_path / "x.gz", "wb") as packed:
        packed.write(b"x")
    with (tmp_path / "x.gz").open("rb") as plain, gzip.open(tmp_path / "x.gz") as packed:
        assert descriptor(plain) == plain.fileno()
        assert descriptor(packed) is descriptor(io.BufferedReader(packed)) is None
    with tempfile.NamedTemporaryFile() as named:
        assert descriptor(named) == named.fileno()
    assert descriptor(io.BytesIO()) is None
