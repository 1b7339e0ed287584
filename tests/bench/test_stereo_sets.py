"""Stereo music out of packages and repositories: what is kept, and a run that goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import stereo_sets
from bench.stereo_sets import (
    collect,
    folder_name,
    is_repository,
    prepare_all,
    read_list,
    unpack,
    why_not,
)
from codec.errors import DataError

RATE = 48_000

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def noise(channels: int, seconds: float = 6.0) -> np.ndarray:
    return np.random.default_rng(channels).uniform(-0.3, 0.3, (round(RATE * seconds), channels))


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """A package of five files of audio, of which one is music in stereo."""
    root = tmp_path / "root"
    games = root / "usr/share/games/some"
    doc = root / "usr/share/doc/some-music"
    for folder in (games, doc, root / "DEBIAN"):
        folder.mkdir(parents=True)
    (doc / "copyright").write_text("CC0-1.0")
    (games / "README.txt").write_text("no audio")
    soundfile.write(games / "good.flac", noise(2), RATE)
    soundfile.write(games / "mono.flac", noise(1), RATE)
    soundfile.write(games / "same.flac", np.repeat(noise(1), 2, axis=1), RATE)
    soundfile.write(games / "short.flac", noise(2, 1.0), RATE)
    soundfile.write(games / "dull.flac", noise(2), 22_050)
    (games / "broken.ogg").write_bytes(b"OggS" + bytes(100))
    (games / "link.flac").symlink_to("/etc/passwd")
    (root / "DEBIAN/control").write_text(
        "Package: some-music\nVersion: 1\nArchitecture: all\n"
        "Maintainer: a <a@b.c>\nDescription: d\n"
    )
    path = tmp_path / "some-music_1_all.deb"
    command = ["dpkg-deb", "-Znone", "--root-owner-group", "-b", str(root), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_the_list_names_sources() -> None:
    sources = read_list()
    assert len(set(sources)) == len(sources) > 5
    folders = [folder_name(source) for source in sources]
    assert len(set(folders)) == len(folders)
    assert {is_repository(source) for source in sources} == {True, False}


@needs_dpkg
def test_music_in_stereo_is_kept(
    deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(package: str, folder: Path) -> Path:
        asked.append(package)
        if package == "missing":
            raise DataError("missing cannot be downloaded: E: no such package")
        return Path(shutil.copy(deb, folder))

    monkeypatch.setattr(stereo_sets, "download", download)
    out = tmp_path / "out"
    (out / "audio/some-music").mkdir(parents=True)
    (out / "audio/some-music/half.flac").write_bytes(b"of a run that was killed")
    (record,) = collect(out, ["missing", "some-music"])
    found = {path.name for path in (out / "audio").rglob("*") if path.is_file()}
    assert found == {"good.flac", "copyright"}
    refused = {Path(name).name: reason for name, reason in record["refused"].items()}
    assert refused.keys() == {"mono.flac", "same.flac", "short.flac", "dull.flac", "broken.ogg"}
    assert refused["mono.flac"] == "1 channels"
    assert refused["same.flac"] == "both channels are the same"
    assert refused["dull.flac"] == "22050 Hz"
    assert record["hours"] == pytest.approx(6 / 3600, abs=1e-4)
    # The next run takes what is there, and asks again for what was not.
    again = collect(out, ["missing", "some-music"])
    assert asked == ["missing", "some-music", "missing"]
    assert again == [record]
    assert [json.loads(line) for line in (out / "sources.jsonl").open()] == [record]
    prepared = prepare_all(out)
    assert (prepared.channels, prepared.sample_rate, len(prepared.files)) == (2, RATE, 1)
    assert prepared.files[0].group == "some-music"
    assert not (out / ".work").exists()


@needs_dpkg
def test_a_damaged_package_is_told_of(deb: Path, tmp_path: Path) -> None:
    data = deb.read_bytes()
    deb.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is damaged"):
        list(unpack(deb, tmp_path / "files"))


def test_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package x' >&2\nexit 100\n")
    (fake / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(fake))
    with pytest.raises(DataError, match="x cannot be downloaded: E: Unable to locate"):
        stereo_sets.download("x", tmp_path)
    (fake / "apt-get").unlink()
    with pytest.raises(DataError, match="apt-get cannot be run"):
        stereo_sets.download("x", tmp_path)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of two commits with music, a pointer of git-lfs and links out of it."""
    root = tmp_path / "games" / "some-music.git"
    (root / "sounds" / "deep").mkdir(parents=True)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b.c")
    git(root, "init", "--quiet")
    soundfile.write(root / "sounds/old.flac", noise(2), RATE)
    (root / "LICENSE.md").write_text("CC0-1.0")
    commit(root)
    git(root, "rm", "--quiet", "sounds/old.flac")
    soundfile.write(root / "sounds/deep/a b.flac", noise(2), RATE)
    soundfile.write(root / "sounds/mono.flac", noise(1), RATE)
    (root / "sounds/large.ogg").write_text("version https://git-lfs.github.com/spec/v1\n")
    (root / "sounds/CREDITS").write_text("a")
    (root / "code.py").write_text("")
    (root / "link.flac").symlink_to("sounds/mono.flac")
    (root / "out").symlink_to(tmp_path)
    commit(root)
    soundfile.write(root / "uncommitted.flac", noise(2), RATE)
    return root


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", root, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "files")


@needs_git
def test_a_repository_is_cloned(repository: Path, tmp_path: Path) -> None:
    """By its folder and by its address; what is in its newest commit counts."""
    for i, source in enumerate((str(repository), repository.as_uri())):
        out = tmp_path / f"out {i}"
        (record,) = collect(out, [source, str(tmp_path / "none" / "x"), "file:///none/at-all"])
        found = {path.relative_to(out / "audio").as_posix() for path in out.rglob("*.flac")}
        assert found == {"games-some-music/sounds/deep/a b.flac"}
        names = {path.name for path in (out / "audio").rglob("*") if path.is_file()}
        assert names == {"a b.flac", "LICENSE.md", "CREDITS"}
        assert record["source"] == source
        assert record["commit"] == git(repository, "rev-parse", "HEAD")
        assert record["kept"] == 1
        assert record["refused"].keys() == {"sounds/mono.flac", "sounds/large.ogg"}
        assert collect(out, [source]) == [record]
        prepared = prepare_all(out)
        assert [entry.group for entry in prepared.files] == ["games-some-music"]
        assert (prepared.channels, prepared.sample_rate) == (2, RATE)
        assert not (out / ".work").exists()


@needs_git
def test_a_repository_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be cloned: fatal: "):
        stereo_sets.clone((tmp_path / "none").as_uri(), tmp_path / "x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="git cannot be run"):
        stereo_sets.clone("https://example.org/a/b", tmp_path / "x")


def test_quiet_sides_count(tmp_path: Path) -> None:
    mid, side = noise(1), noise(1)[::-1]
    for level, kept in ((1e-2, True), (1e-4, False)):
        soundfile.write(tmp_path / "a.wav", np.hstack([mid + level * side, mid - level * side]),
                        RATE, subtype="FLOAT")  # fmt: skip
        assert (why_not(tmp_path / "a.wav")[0] == "") == kept
