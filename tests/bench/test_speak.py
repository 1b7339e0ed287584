"""The sentences that speech is measured by, and the sums of its scores."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from bench import speak
from bench.development import Stretch
from bench.speak import Score, sentences

CLIPS = """path\toffset\tduration\tsource\tspeaker\tlang\ttext
train/speech/p.opus\t0.0\t2.0\tphilippmatthes_en\tp\ten\tOne two three four five six.
train/speech/p.opus\t2.0\t2.0\tphilippmatthes_en\tp\ten\tThis one was heard in training before.
train/speech/p.opus\t4.0\t2.0\tphilippmatthes_en\tp\ten\tToo short.
train/speech/l.opus\t0.0\t2.0\tljspeech_part1\tl\ten\tThis one was heard in training, before
"""
EVAL = "path\tseconds\tspeaker\ttext\neval/a.flac\t9.0\tx\t" + " ".join(["WORD"] * 20) + "\n"


def test_sentences_are_unseen_and_from_both_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, table in (("train/clips.tsv", CLIPS), ("eval/transcribed.tsv", EVAL)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(table)
    held = [Stretch("train/speech/p.opus", 0.0, 10.0, "speech", "p", False)]
    monkeypatch.setattr(speak, "read_list", lambda: held)
    found = sentences(tmp_path, 50)
    assert [item.text for item in found] == ["One two three four five six.", "word " * 11 + "word"]
    assert [item.whole for item in found] == [True, False]
    assert len(sentences(tmp_path, 1)) == 1


def test_errors_are_over_all_sentences() -> None:
    score = Score(3, 20, 1, 4, [3.0, 4.0], [], [10.0, 30.0, 90.0])
    assert score.line("ann") == "| ann | 15.0% | 25.0% | 3.50 | - | 30 | - |"
