"""Which output belongs to which input, and outputs that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from codec.engine import refine
from codec.engine.refine import Search
from codec.errors import OutputError
from codec.files.inspect import inspect_file
from codec.files.plan import Failure, Job, plan, readings
from codec.files.transcode import Coding, Task, compress_file, decompress_file
from codec.support.atomic import replacing
from codec.support.workers import Workers
from tests.helpers.mean_backend import MeanBackend

AUDIO = {".wav", ".flac"}


class Refining(MeanBackend):
    def check_refinement(self):
        """It can."""

    def encode_refined(self, audio, n_codebooks, steps, first, last, beam=1, stopped=None):
        return self.encode(audio, n_codebooks)[:, first:last]


def tree(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def pairs(inputs, output=None):
    jobs, failures = plan([str(name) for name in inputs], output, AUDIO, ".nac")
    assert not failures
    return [(job.source, job.target) for job in jobs]


@pytest.fixture
def corpus(tmp_path):
    for name in ("in/b/2.FLAC", "in/1.wav", "in/b/.hidden.wav", "in/.git/3.wav", "in/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "in"


def test_one_file(corpus, tmp_path):
    source = corpus / "1.wav"
    assert pairs([source]) == [(source, corpus / "1.nac")]
    assert pairs([source], "-") == [(source, None)]
    assert pairs([source], str(tmp_path / "x.nac")) == [(source, tmp_path / "x.nac")]
    assert pairs([source], str(tmp_path)) == [(source, tmp_path / "1.nac")]
    assert pairs([source], f"{tmp_path}/new/") == [(source, tmp_path / "new/1.nac")]
    assert pairs([corpus / "notes.txt"]) == [(corpus / "notes.txt", corpus / "notes.nac")]


def test_pipes(tmp_path):
    assert pairs(["-"], "-") == pairs(["-"]) == [(None, None)]
    assert pairs(["-"], str(tmp_path / "x.nac")) == [(None, tmp_path / "x.nac")]
    assert pairs(["-"], str(tmp_path)) == [(None, tmp_path / "stdin.nac")]


def test_folders_are_mirrored_without_what_is_hidden_or_no_audio(corpus, tmp_path):
    sources = [corpus / "1.wav", corpus / "b/2.FLAC"]
    assert pairs([corpus]) == [(s, s.with_suffix(".nac")) for s in sources]
    out = tmp_path / "out"
    assert pairs([corpus], str(out)) == [
        (sources[0], out / "1.nac"), (sources[1], out / "b/2.nac"),
    ]  # fmt: skip
    assert pairs(sources, str(out)) == [
        (sources[0], out / "1.nac"), (sources[1], out / "2.nac"),
    ]  # fmt: skip


def test_many_inputs_need_a_folder(corpus, tmp_path):
    for inputs in ([corpus], [corpus / "1.wav", corpus / "b/2.FLAC"]):
        for output in ("-", str(corpus / "notes.txt")):
            with pytest.raises(OutputError, match="many inputs need a folder"):
                pairs(inputs, output)


def test_inputs_that_are_none(corpus, tmp_path):
    (corpus / "1.flac").write_bytes(b"")
    empty = tmp_path / "empty"
    empty.mkdir()
    jobs, failures = plan(
        [str(corpus), str(empty), str(tmp_path / "none.wav")], None, AUDIO, ".nac"
    )
    assert [job.source.name for job in jobs] == ["1.flac", "2.FLAC"]
    assert [failure.name for failure in failures] == [
        str(corpus / "1.wav"), str(empty), str(tmp_path / "none.wav"),
    ]  # fmt: skip
    assert f"already the output of {corpus / '1.flac'}" in failures[0].message
    assert failures[1].message == "no .flac .wav files in this folder"
    assert failures[2].message == "no such file or folder"
    assert plan([str(tmp_path / "none")], "x.nac", AUDIO, ".nac") == (
        [], [Failure(str(tmp_path / "none"), "no such file or folder")],
    )  # fmt: skip


def write_half(target, error):
    with replacing(target, overwrite=True) as aside:
        aside.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, error):
    with pytest.raises(error):
        write_half(tmp_path / "new/folder/out", error)
    assert tree(tmp_path) == []
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(error):
        write_half(tmp_path / "out", error)
    assert tree(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


def test_a_finished_write_replaces_and_has_the_usual_mode(tmp_path):
    target, usual = tmp_path / "new/out", tmp_path / "usual"
    usual.write_bytes(b"")
    for content in (b"one", b"two"):
        with replacing(target, overwrite=True) as aside:
            aside.write_bytes(content)
            assert not target.exists() or target.read_bytes() == b"one"
        assert target.read_bytes() == content
    assert target.stat().st_mode == usual.stat().st_mode
    assert tree(tmp_path) == ["new", "new/out", "usual"]


def test_what_is_in_the_way_is_not_replaced(tmp_path):
    fifo, file = tmp_path / "fifo", tmp_path / "file"
    os.mkfifo(fifo)
    file.write_bytes(b"old")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    for target, overwrite, message in [
        (tmp_path, True, "is a folder"),
        (fifo, True, "not a regular file"),
        (Path(os.devnull), True, "not a regular file"),
        (file, False, "exists"),
        (dangling, False, "exists"),
        (file / "below", True, "is not a folder"),
    ]:
        with (
            pytest.raises(OutputError, match=message),
            replacing(target, overwrite=overwrite),
        ):
            pytest.fail("got as far as writing")
    # Nor what came into the way in the meantime.
    late = tmp_path / "late"
    with pytest.raises(OutputError, match="exists"), replacing(late, overwrite=False):
        late.write_bytes(b"theirs")
    assert late.read_bytes() == b"theirs"
    assert tree(tmp_path) == ["dangling", "fifo", "file", "late"]


def test_a_file_there_and_back(small, wav, tmp_path):
    source = wav("a.wav", samples=5000, rate=24_000, channels=2)
    packed, restored = tmp_path / "a.nac", tmp_path / "b.wav"
    said = []

    def report(*seconds):
        said.append(seconds)

    compress_file(Task(small.pipeline, Job(source, packed), Workers(), report), Coding(3))
    # Whole frames are coded.
    assert said == [(11 / 50, 5000 / 24_000)]
    held = inspect_file(packed)
    assert (held.n_samples, held.n_frames, held.n_chunks) == (5000, 11, 1)
    assert held.n_bytes == packed.stat().st_size
    assert held.channel_bitrate == 1500
    decompress_file(Task(small.pipeline, Job(packed, restored), Workers(), report), ".wav")
    assert said[1:] == [(held.duration, held.duration)] == [(5000 / 24_000, 5000 / 24_000)]
    # Three codebooks of MeanBackend are exact to 16 bits, up to rounding.
    assert restored.stat().st_size == source.stat().st_size
    before, after = (soundfile.read(path, dtype="int16")[0] for path in (source, restored))
    assert np.abs(before.astype(int) - after).max() <= 1


def test_refining_is_reported_window_by_window(wav, tmp_path, monkeypatch):
    monkeypatch.setattr(refine, "SPAN", 10)
    monkeypatch.setattr(refine, "MARGIN", 0)
    backend = Refining()
    source, packed = wav("a.wav", 35 * 480 - 100), tmp_path / "a.nac"
    said = []
    with Workers(2) as workers:  # of which chunks would wait to be written
        task = Task(
            codec.load(backend=backend).pipeline,
            Job(source, packed), workers, lambda *seconds: said.append(seconds),
        )  # fmt: skip
        compress_file(task, Coding(3, search=Search(refine=1)))
    total = (35 * 480 - 100) / 24_000
    assert said == [(frames / 50, total) for frames in (10, 20, 30, 35)]
    plain = tmp_path / "b.nac"
    compress_file(Task(task.pipeline, Job(source, plain), Workers(), lambda *_: None), Coding(3))
    assert packed.read_bytes() == plain.read_bytes()


def test_inputs_that_are_only_read_do_not_stand_in_each_other_s_way(tmp_path):
    """`codec info a.nac a.nac` has no outputs, and `codec fit-latents` takes a.wav and a.flac."""
    names = [tmp_path / "a.wav", tmp_path / "a.flac"]
    for name in names:
        name.touch()
    inputs = [str(names[0]), *map(str, names), str(tmp_path), str(tmp_path / "none"), "-"]
    jobs, failures = readings(inputs, {".wav", ".flac"})
    assert [job.source for job in jobs] == [names[0], *names, names[1], names[0], None]
    assert all(job.target is None for job in jobs)
    assert [failure.message for failure in failures] == ["no such file or folder"]
