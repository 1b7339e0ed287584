"""Hostile files: the error each must give, and that none makes a reader allocate or hang."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from codec.errors import FormatError
from codec.nac.layout import MAX_FRAMES
from codec.nac.reader import own_coder
from codec.nac.salvage import read_run, survey
from codec.nac.seek import SeekableReader
from codec.tokens import read_tokens
from tests.fuzz.attacks import Attack, attacks, tokens, written

ATTACKS = list(attacks())
MOST_BYTES = 64 << 20


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_attack(attack: Attack) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=attack.error):
            read_tokens(io.BytesIO(attack.data))
        try_to_salvage(attack.data)
        try_to_seek(attack.data)
        assert tracemalloc.get_traced_memory()[1] - len(attack.data) < MOST_BYTES
    finally:
        tracemalloc.stop()


def try_to_salvage(data: bytes) -> None:
    try:
        found = survey(data)
        for run in found.runs:
            for codes in read_run(data, found.header, run, own_coder):
                assert codes.max() < found.header.codebook_size
    except FormatError:
        return
    assert not found.intact


def try_to_seek(data: bytes) -> None:
    try:
        reader = SeekableReader(io.BytesIO(data), own_coder)
        for first in (0, 70, MAX_FRAMES):
            for _ in reader.read(first, first + 10)[1]:
                pass
    except FormatError:
        pass


def test_what_they_are_made_from_is_sound() -> None:
    assert read_tokens(io.BytesIO(written(tokens()))) == tokens()
    assert survey(written(tokens(), {"title": "x"})).intact
