"""Folders as people have them: links in circles, pipes, names of any bytes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from codec.support.terminal import shown, utf8
from codec.support.walk import walk


def found(root: Path) -> dict[str, str | None]:
    return {
        item.path.relative_to(root).as_posix(): item.trouble
        for item in walk(root, lambda name: name.endswith(".wav"))
    }


def test_links_to_folders_are_followed_once(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "a").mkdir(parents=True)
    other.mkdir()
    for path in (root / "1.wav", root / "a/2.wav", other / "3.wav", other / "3.txt"):
        path.touch()
    (root / "a/again").symlink_to(root)
    (root / "a/up").symlink_to(tmp_path)
    (root / "Z").symlink_to(other)
    (root / "Zz").symlink_to(other)
    (other / "back").symlink_to(root / "a")
    assert found(root) == dict.fromkeys(["1.wav", "a/2.wav", "Z/3.wav"])


def test_special_files_and_dangling_links_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.wav").symlink_to("nowhere")
    (tmp_path / "device.wav").symlink_to("/dev/null")
    (tmp_path / "circle.wav").symlink_to("circle.wav")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(tmp_path / "socket.wav"))
        items = {item.path.name: item for item in walk(tmp_path, lambda n: n.endswith(".wav"))}
    lost = {"gone.wav": True, "circle.wav": True}
    lost |= {"pipe.wav": False, "device.wav": False, "socket.wav": False}
    assert {name: item.lost for name, item in items.items()} == lost
    assert all(item.trouble for item in items.values())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "shut").mkdir(mode=0)
    assert found(tmp_path) == {"shut": "permission denied"}


def test_text_is_one_safe_line():
    assert shown("Dr. Smith \u65e5\u672c") == "Dr. Smith \u65e5\u672c"
    assert shown("a\x1b[31m\nb\t\x7f\x9b\u202e") == r"a\x1b[31m\nb\t\x7f\x9b\u202e"
    assert shown(os.fsdecode(b"x\xe9")) == utf8(os.fsdecode(b"x\xe9")) == r"x\xe9"
    assert utf8("a\nb\u65e5") == "a\nb\u65e5"
    assert utf8("\ud800") == r"\ud800"
