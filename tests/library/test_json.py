"""csrc/library/json.c accepts what Python's json accepts, and reads the same from it."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers.c_library import GCC, load_parts

pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")

DEPTH = 16
NULL, FALSE, TRUE, NUMBER, STRING, ARRAY, OBJECT = range(7)


class Node(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("text", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("count", ctypes.c_size_t),
        ("next", ctypes.c_size_t),
    )


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = load_parts(tmp_path_factory.mktemp("json"), "json")
    library.nac_json_parse.restype = ctypes.c_size_t
    library.nac_json_parse.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_size_t,
    ]
    library.nac_json_string.restype = ctypes.c_size_t
    library.nac_json_string.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.nac_json_member.restype = ctypes.c_size_t
    library.nac_json_member.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    return library


class Refused(Exception):
    pass


def read(parts: ctypes.CDLL, text: bytes) -> Any:
    """What the C parser finds in `text`, as Python's values."""
    held = ctypes.create_string_buffer(text, len(text) or 1)
    n = parts.nac_json_parse(held, len(text), None, 0)
    if n == 0:
        raise Refused
    nodes = (Node * n)()
    assert parts.nac_json_parse(held, len(text), nodes, n) == n

    def value(i: int) -> tuple[Any, int]:
        node = nodes[i]
        raw = ctypes.string_at(node.text, node.size)
        if node.type in (NULL, FALSE, TRUE):
            found: Any = (None, False, True)[node.type]
        elif node.type == NUMBER:
            integer = ctypes.c_int64()
            whole = parts.nac_json_integer(ctypes.byref(node), ctypes.byref(integer))
            found = integer.value if whole else json.loads(raw)
        elif node.type == STRING:
            out = ctypes.create_string_buffer(node.size or 1)
            size = parts.nac_json_string(ctypes.byref(node), out, node.size)
            assert size <= node.size
            found = out.raw[:size].decode()
        else:
            found, at = ([], i + 1) if node.type == ARRAY else ({}, i + 1)
            for _ in range(node.count):
                if node.type == OBJECT:
                    key, at = value(at)
                    found[key], at = value(at)
                else:
                    item, at = value(at)
                    found.append(item)
            assert at == node.next
        return found, int(node.next)

    found, end = value(0)
    assert end == n
    return found


# Python's strings may hold lone surrogates, which UTF-8 cannot say.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS
SCALARS |= st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_reads_what_python_writes(
    parts: ctypes.CDLL, value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    if depth(value) <= DEPTH:
        assert read(parts, text) == value
    else:
        with pytest.raises(Refused):
            read(parts, text)


def strict(text: bytes) -> Any:
    """Python's reading of what the grammar allows: no NaN, no lone surrogates."""

    def never(name: str) -> None:
        raise ValueError(name)

    value = json.loads(text.decode("utf-8"), parse_constant=never)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


PIECES = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"u", b"d83d", b"\\ude00", b"\xc3"]
PIECES += [b"\xa9", b"\xed\xa0\x80", b"1", b"-", b"0", b".", b"e", b"+", b" ", b"\n", b"\x00"]
PIECES += [b"true", b"null", b'"a"', b"NaN", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80"]


@given(st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join) | st.binary(max_size=8))
@example(b'{"a":1,"a":2}')
@example(b'"\\ud83d\\ude00"')
@example(b'"\\ude00"')
@example(b"01")
@example(b"[1,]")
@example(b"9223372036854775807")
@example(b"-9223372036854775808")
def test_refuses_what_python_refuses(parts: ctypes.CDLL, text: bytes) -> None:
    try:
        value = strict(text)
    except (ValueError, RecursionError):
        with pytest.raises(Refused):
            read(parts, text)
    else:
        assert read(parts, text) == value


def test_depth_is_bounded(parts: ctypes.CDLL) -> None:
    assert read(parts, b"[" * DEPTH + b"]" * DEPTH)
    for n in (DEPTH + 1, 100_000):
        with pytest.raises(Refused):
            read(parts, b"[" * n + b"]" * n)


def test_the_last_member_counts(parts: ctypes.CDLL) -> None:
    text = b'{"a": [1, {"b": 2}], "b": 3, "\\u0061": 4}'
    held = ctypes.create_string_buffer(text, len(text))
    nodes = (Node * 20)()
    assert parts.nac_json_parse(held, len(text), nodes, 20)
    for name, expected in ((b"a", b"4"), (b"b", b"3")):
        node = nodes[parts.nac_json_member(nodes, 0, name)]
        assert ctypes.string_at(node.text, node.size) == expected
    assert parts.nac_json_member(nodes, 0, b"c") == 0
