"""A few seconds of the fuzzing of the readers of audio; `audio_replay` does it for longer."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.audio_replay import mutated, replay
from tests.helpers.audio_inputs import EVERYTHING

IN_A_PROCESS = {"alaw", "adpcm", "aiff", "au", "caf", "sphere"}  # which takes a while to start


@pytest.mark.parametrize(
    "seeds", [range(8), pytest.param(range(8, 50), marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.parametrize("name", EVERYTHING)
def test_damaged_files_are_read_or_refused(name, seeds, capfd):
    data = EVERYTHING[name]()
    assert replay(data)
    for seed in seeds[:: 8 if name in IN_A_PROCESS else 1]:
        replay(mutated(data, random.Random(seed)))
    assert capfd.readouterr().err == ""
