"""Parts of a file as one file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codec.audio.content import Spliced

DATA = bytes(range(200))
PARTS = st.lists(
    st.binary(max_size=9)
    | st.tuples(st.integers(0, 250), st.integers(0, 250)).map(lambda ends: tuple(sorted(ends))),
    max_size=5,
)


@given(PARTS, st.integers(0, 300), st.integers(0, 300))
def test_reads_as_the_parts_joined(parts: list, start: int, size: int) -> None:
    """Parts that claim more than the file has end where it ends."""
    joined = b"".join(p if isinstance(p, bytes) else DATA[p[0] : p[1]] for p in parts)
    file = Spliced(DATA, parts)
    assert file.seek(start) == start
    assert file.read(size) == joined[start : start + size]
    assert file.seek(0) == 0
    assert file.read() == joined
