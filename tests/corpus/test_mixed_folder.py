"""One folder of every kind of file through `compress` and `tokenize`: each is accounted for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from codec.files.plan import renamed
from tests.helpers.audio_inputs import EVERYTHING

SUFFIXES = {
    "flac": ".flac", "flac_in_ogg": ".oga", "vorbis": ".ogg", "opus": ".opus", "mp3": ".mp3",
    "bare_mp3": ".mp3", "aiff": ".aiff", "au": ".au", "caf": ".caf", "sphere": ".sph",
    "w64": ".w64",
}  # fmt: skip
REFUSED = {"page.mp3": b"<html>not audio</html>", "empty.wav": b""}
SPECIAL = {"pipe.wav", "gone.flac"}
UNNAMED = {"wav_named.raw": "wav", "Dr. Smith interview": "flac", "REC1": "vorbis"}
OTHERS = {"README.txt": b"words", "utt2spk": b"1 a", "noise.raw": bytes(99)}
TOLD = "3 files are not audio: noise.raw, utt2spk, 1 .txt"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, make in EVERYTHING.items():
        (folder / f"{name}{SUFFIXES.get(name, '.wav')}").write_bytes(make())
    for name, content in REFUSED.items():
        (folder / name).write_bytes(content)
    for name, kind in UNNAMED.items():
        (folder / name).write_bytes(EVERYTHING[kind]())
    for name, content in OTHERS.items():
        (folder / name).write_bytes(content)
    (folder / "cut.wav").write_bytes(EVERYTHING["wav"]()[:-400])
    os.mkfifo(folder / "pipe.wav")
    (folder / "gone.flac").symlink_to("nowhere")
    return folder


def test_compress(cli, mixed, tmp_path):
    code, _, err = cli("compress", mixed, "-o", tmp_path / "out", "-t", 2)
    made = {path.name for path in (tmp_path / "out").glob("*.nac")}
    assert {"wav_named.nac", "Dr. Smith interview.nac", "REC1.nac"} <= made
    assert f"codec: {mixed}: {TOLD}" in err.splitlines()
    named = [line for line in err.splitlines() if "in/" in line]
    assert code == 1
    for path in mixed.iterdir():
        if path.name in OTHERS:
            continue
        lines = [line for line in named if path.name in line]
        if path.name in REFUSED or path.name in SPECIAL:
            assert renamed(path, ".nac").name not in made
            assert len(lines) == 1
        elif renamed(path, ".nac").name not in made:  # a format whose decoder is not installed
            assert "codec[av]" in lines[0]
        else:
            assert bool(lines) == (path.name == "cut.wav")
    assert "internal error" not in err


def test_tokenize(cli, mixed, tmp_path):
    out = tmp_path / "out"
    code, _, err = cli("tokenize", mixed, "-o", out, "--format", "bin", "-t", 2)
    rows = [json.loads(line) for path in out.glob("data/*.jsonl") for line in path.open()]
    refused = [json.loads(line) for line in (out / "rejects.jsonl").open()]
    names = [row["path"] for row in [*rows, *refused]]
    assert code == 1
    assert sorted(names) == sorted({path.name for path in mixed.iterdir()} - set(OTHERS))
    assert f"codec: {TOLD}" in err.splitlines()
    told = {row["path"]: row["reason"] for row in refused}
    assert set(told) >= {*REFUSED, *SPECIAL}
    assert all("codec[av]" in told[name] for name in set(told) - {*REFUSED, *SPECIAL})
    assert [row["path"] for row in rows if row.get("warning")] == ["cut.wav"]
    card = json.loads((out / "dataset.json").read_text())
    assert (card["rows"], card["rejects"], card["warnings"]) == (len(rows), len(refused), 1)
    assert card["not_audio"] == len(OTHERS)
    assert "internal error" not in err
