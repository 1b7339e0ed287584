"""Audio in folders, found by content where the name does not tell."""

from __future__ import annotations

import os

import pytest

from codec.audio.folders import find_audio, passed_over
from tests.helpers.audio_inputs import EVERYTHING

NAMES = ("wav_named.raw", "Dr. Smith interview", "REC0001", "take.2024-01-01", "x.txt", "old.bin")
OTHERS = {
    "README.txt": b"the recordings of 2024",
    "utt2spk": b"dns.1 speaker\n",  # begins with a signature of AU
    "list": b"MAC addresses",  # and with that of Monkey's Audio
    "cover.heic": b"\0\0\0\x18ftypheic" + bytes(80),
    "page.html": "\ufeff<html>".encode("utf-16"),
    "zeros.raw": bytes(9000),
    "ones.raw": b"\xff" * 9000,
    "empty": b"",
    "short": b"R",
}


@pytest.mark.parametrize("kind", EVERYTHING)
def test_every_kind_is_found_under_any_name(tmp_path, kind):
    for name in NAMES:
        (tmp_path / name).write_bytes(EVERYTHING[kind]())
    found, others = find_audio(tmp_path)
    assert sorted(item.path.name for item in found) == sorted(NAMES)
    assert not any(item.trouble for item in found)
    assert not others


def test_what_is_not_audio_is_passed_over(tmp_path):
    for name, content in OTHERS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty.wav").touch()  # named as audio: it is read, and said to be none
    (tmp_path / ".hidden").write_bytes(EVERYTHING["wav"]())
    os.mkfifo(tmp_path / "pipe")
    found, others = find_audio(tmp_path)
    assert {item.path.name: item.lost for item in found} == {"empty.wav": False, "pipe": False}
    assert sorted(path.name for path in others) == sorted(OTHERS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_what_cannot_be_opened_may_be_audio(tmp_path):
    for name in ("REC0001", "README.txt", "talk.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
        (tmp_path / name).chmod(0)
    found, others = find_audio(tmp_path)
    assert {item.path.name: item.lost for item in found} == {"REC0001": True, "talk.wav": True}
    assert [path.name for path in others] == ["README.txt"]


def test_a_file_named_as_audio_that_may_not_be_read_is_lost(tmp_path, monkeypatch):
    for name in ("a.wav", "shut.wav"):
        (tmp_path / name).write_bytes(EVERYTHING["wav"]())
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "shut.wav")
    found, _ = find_audio(tmp_path)
    assert [(item.path.name, item.trouble, item.lost) for item in found] == [
        ("a.wav", None, False), ("shut.wav", "permission denied", True),
    ]  # fmt: skip


def test_a_line_names_few_and_counts_many(tmp_path):
    labels = [tmp_path / f"{k}.lab" for k in range(10_000)]
    assert passed_over(labels) == "10000 files are not audio: 10000 .lab"
    assert passed_over([tmp_path / "a\n.x"]).endswith(r"/a\n.x")
    many = [tmp_path.with_name(f"u{k}") for k in range(9)]
    line = passed_over([path.relative_to(tmp_path.parent) for path in [*many, labels[0]]])
    assert line == "10 files are not audio: u0, u1, u2, u3, u4, 4 more, 1 .lab"
    assert passed_over(labels[:1]) == "1 file is not audio: 1 .lab"


def test_a_link_to_nowhere_may_be_audio_unless_its_name_says_what_it_is(tmp_path):
    for name in ("gone.wav", "gone", "notes.txt", "loop.json"):
        (tmp_path / name).symlink_to("loop.json" if name == "loop.json" else "nowhere")
    found, others = find_audio(tmp_path)
    assert [(item.path.name, item.lost) for item in found] == [("gone", True), ("gone.wav", True)]
    assert [path.name for path in others] == ["loop.json", "notes.txt"]
