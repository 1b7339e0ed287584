"""A few seconds of the fuzzing of the readers of audio; `audio_replay` does it for longer."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.audio_replay import mutated, replay
from tests.helpers.audio_inputs import EVERYTHING

IN_A_PROCESS = {"alaw", "adpcm", "aiff", "au", "caf", "sphere"}  # which takes a while to start


@pytest.mark.parametrize("name", EVERYTHING)
def test_damaged_files_are_read_or_refused(name, capfd):
    data = EVERYTHING[name]()
    assert replay(data)
    for seed in range(2 if name in IN_A_PROCESS else 30):
        replay(mutated(data, random.Random(seed)))
    assert capfd.readouterr().err == ""
