"""Files of other programs: `bench.real_files`, a part of it."""

from __future__ import annotations

import shutil

import pytest

from bench.real_files import PROGRAMS, compare, files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs the program ffmpeg"),
]


def test_what_reaches_the_encoder_is_what_ffmpeg_decodes(tmp_path):
    pytest.importorskip("av", reason="needs codec[av]")
    found = [(how, *compare(path, same)) for path, same, how in files(tmp_path, len(PROGRAMS))]
    assert found
    assert [case for case in found if case[1] == "DIFFERENT"] == []
    assert sum(verdict == "equal" for _, verdict, _ in found) > len(found) // 2
