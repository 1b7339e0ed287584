"""What the fuzzer checks, on mutations of a sound file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import FormatError
from codec.nac.layout import HEADER_BYTES, Header
from tests.fuzz.attacks import attacks, tokens, written
from tests.fuzz.replay import replay, resealed

SOUND = written(tokens(channels=1), {"title": "x"})


def test_sealing_changes_no_sound_file():
    assert resealed(SOUND) == SOUND


def test_every_attack():
    for attack in attacks():
        if len(attack.data) < 100_000:
            replay(attack.data)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.binary(max_size=4)), max_size=4))
def test_mutations(changes):
    data = bytearray(SOUND)
    for at, octets in changes:
        data[at : at + len(octets)] = octets
    replay(bytes(data))


def test_a_coder_that_needs_a_model_is_refused():
    for number in (1, 2):
        data = bytearray(SOUND)
        data[11] = number
        replay(bytes(data))


def test_more_frames_than_samples_are_refused():
    data = bytearray(SOUND)
    data[40:44] = (24_001).to_bytes(4, "little")  # of frames a second, of audio at 24 kHz
    replay(bytes(data))
    with pytest.raises(FormatError, match="frame rate"):
        Header.unpack(resealed(bytes(data))[:HEADER_BYTES])
