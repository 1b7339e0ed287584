"""Preparation of training data: what lands in the memory map, and that kills leave no trace."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from codec.audio import AudioReader, arrays
from codec.errors import DataError, OutputError
from codec.training import decoders
from codec.training import prepare as module
from codec.training.decoders import Decoders
from codec.training.decoding import Spectrum, Unusable, is_full_band
from codec.training.prepare import open_prepared, prepare
from tests.helpers import audio_inputs as inputs
from tests.helpers.cli import Cli
from tests.helpers.processes import python
from tests.helpers.signals import noise

RATE = 24_000


def write(path: Path, audio: np.ndarray, rate: int, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, **options)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Files of several formats, rates and channel counts in two groups, and a stray text."""
    folder = tmp_path / "source"
    write(folder / "music" / "deep" / "c.ogg", noise(44_100, 1), 44_100)
    write(folder / "music" / "d.MP3", noise(20_000, 2), 32_000, format="MP3")
    write(folder / "speech" / "a.wav", noise(10_001, 3), RATE)
    write(folder / "speech" / "b.flac", noise(40_000, 4).reshape(-1, 2), 48_000)
    write(folder / "speech" / "e.opus", noise(16_000, 5), 16_000, format="OGG", subtype="OPUS")
    write(folder / "loose.wav", noise(5_000, 6), 8_000)
    (folder / "notes.txt").write_text("not audio")
    (folder / "speech" / "._a.wav").write_bytes(b"what file managers leave behind")
    return folder


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_index_describes_the_map(source: Path, tmp_path: Path) -> None:
    prepared = prepare(source, tmp_path / "out")
    assert [(entry.path, entry.group, entry.source_sample_rate) for entry in prepared.files] == [
        ("loose.wav", "audio", 8_000),
        ("music/d.MP3", "music", 32_000),
        ("music/deep/c.ogg", "music", 44_100),
        ("speech/a.wav", "speech", RATE),
        ("speech/b.flac", "speech", 48_000),
        ("speech/e.opus", "speech", 16_000),
    ]
    audio = prepared.audio()
    assert audio.dtype == np.int16
    assert len(audio) == prepared.n_samples
    offset = 0
    for entry in prepared.files:
        assert entry.offset == offset
        offset += entry.samples
        samples = audio[entry.offset : offset] / 32768
        assert entry.peak == pytest.approx(np.abs(samples).max(), abs=2 / 32768)
        assert entry.rms == pytest.approx(np.sqrt(np.mean(samples**2)), rel=1e-3)
    assert [entry.source_channels for entry in prepared.files] == [1, 1, 1, 1, 2, 1]
    assert prepared.seconds == pytest.approx(
        5 / 8 + 5 / 8 + 1 + 10_001 / RATE + 5 / 12 + 1, abs=0.1
    )
    assert sorted(contents(tmp_path / "out")) == ["audio.i16", "index.json"]


def test_sixteen_bits_at_the_right_rate_are_kept(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 30_000, dtype=np.int16)
    write(tmp_path / "source" / "a.wav", samples, RATE)
    assert np.array_equal(prepare(tmp_path / "source", tmp_path / "out").audio(), samples)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = np.arange(-3000, 3000, dtype=np.int16) * 2
    write(tmp_path / "source" / "a.wav", np.stack([left, 3 * left], axis=1), RATE)
    assert np.array_equal(prepare(tmp_path / "source", tmp_path / "out").audio(), 2 * left)


def test_blocks_leave_no_seam(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(source, tmp_path / "whole")
    monkeypatch.setattr(arrays, "_BLOCK_VALUES", 1000)
    prepare(source, tmp_path / "blocks")
    assert contents(tmp_path / "whole") == contents(tmp_path / "blocks")


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_resampling_is_that_of_soxr(tmp_path: Path, rate: int) -> None:
    audio = noise(rate)
    write(tmp_path / "source" / "a.wav", audio, rate, subtype="FLOAT")
    expected = np.rint(soxr.resample(audio, rate, RATE, "VHQ") * 32768)
    found = prepare(tmp_path / "source", tmp_path / "out").audio()
    assert len(found) == len(expected)
    # The two run in blocks of other sizes; float32 rounding may tip a half.
    assert np.abs(found - expected).max() <= 1


def test_overshoot_is_clipped_not_wrapped(tmp_path: Path) -> None:
    audio = np.array([1.3, -1.3, 0.5] * 100, np.float32)
    write(tmp_path / "source" / "a.wav", audio, RATE, subtype="FLOAT")
    prepared = prepare(tmp_path / "source", tmp_path / "out")
    assert prepared.audio()[:3].tolist() == [32767, -32768, 16384]
    assert prepared.files[0].peak == pytest.approx(1.3)


def test_bad_files_are_reported_listed_and_left_out(source: Path, tmp_path: Path) -> None:
    good = prepare(source, tmp_path / "good")
    bad = {
        "aaa.wav": "format not recognised",
        "music/nan.wav": "not finite",
        "music/loud.wav": "times full scale",
        "speech/empty.wav": "0 samples",
        "speech/silent.flac": "silent",
        "speech/slow.wav": "sample rate of 10 hz",
    }
    spoiled = noise(400_000)  # spoiled late: samples were already written when it shows
    spoiled[390_000] = np.nan
    (source / "aaa.wav").write_bytes(b"nothing of the kind")
    write(source / "music" / "nan.wav", spoiled, RATE, subtype="FLOAT")
    write(source / "music" / "loud.wav", noise(100) * 99, RATE, subtype="FLOAT")
    write(source / "speech" / "empty.wav", noise(0), RATE)
    write(source / "speech" / "silent.flac", np.zeros(9000), RATE)
    write(source / "speech" / "slow.wav", noise(9000), 10)

    lines: list[str] = []
    prepared = prepare(source, tmp_path / "out", report=lines.append)
    assert prepared.files == good.files
    assert np.array_equal(prepared.audio(), good.audio())
    assert [path for path, _ in prepared.skipped] == sorted(bad)
    assert lines.pop(0) == "1 file is not audio: 1 .txt"
    assert len(lines) == len(bad)
    for (path, reason), line in zip(prepared.skipped, lines, strict=True):
        assert bad[path] in reason.lower()
        assert line == f"skipped {path}: {reason}"
        assert "\n" not in line


def test_files_as_people_have_them(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    files = {
        os.fsdecode(b"caf\xe9.wav"): inputs.wav(),
        "by content": inputs.flac(),
        "joined.ogg": inputs.ogg() + inputs.ogg(),
        "page.au": b"<html>not audio</html>",
        "cut.wav": inputs.wav()[:-2000],
        "never filled in.wav": inputs.wav(size=0),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.wav")
    (folder / "gone.wav").symlink_to("nowhere")
    (folder / "\x1bloop.wav").symlink_to("\x1bloop.wav")
    lines: list[str] = []
    prepared = prepare(folder, tmp_path / "out", report=lines.append)
    lengths = {entry.path: round(entry.samples * inputs.RATE / RATE) for entry in prepared.files}
    assert lengths == {
        os.fsdecode(b"caf\xe9.wav"): 8000,
        "by content": inputs.RATE,
        "joined.ogg": 2 * inputs.RATE,
        "cut.wav": 7000,
        "never filled in.wav": 8000,
    }
    cut = "cut off: 7000 of 8000 samples are there"
    assert {e.path: e.warning for e in prepared.files if e.warning} == {"cut.wav": cut}
    assert sorted(lines) == [
        f"cut.wav: {cut}",
        r"skipped \x1bloop.wav: too many levels of symbolic links",
        "skipped gone.wav: a link that leads nowhere",
        "skipped page.au: cannot read audio: format not recognised",
        "skipped pipe.wav: a named pipe, not a regular file: skipped",
    ]


def test_what_cannot_be_read_is_an_error_in_the_end(cli: Cli, source: Path, tmp_path: Path) -> None:
    """What is no audio is not, and neither keeps the rest from being prepared."""
    n_files = len(prepare(source, tmp_path / "good").files)
    (source / "bad.wav").write_bytes(b"nothing of the kind")
    out = tmp_path / "out"
    assert cli("prepare", source, "-o", out)[0] == 0
    (source / "gone.wav").symlink_to("nowhere")
    for _ in range(2):
        code, said, err = cli("prepare", source, "-o", out)
        assert code == 1
        assert said.startswith(b"%d files" % n_files)
        assert "skipped gone.wav: a link that leads nowhere\n" in err
        assert err.endswith("codec: 1 file or folder could not be read\n")


def test_what_fails_while_it_is_read_counts_as_unread(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the folder that was prepared is found again."""
    whole = AudioReader.__iter__

    def failing(reader: AudioReader) -> Iterator[arrays.Audio]:
        if reader.sample_rate == 48_000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        yield from whole(reader)

    monkeypatch.setattr(AudioReader, "__iter__", failing)
    lines: list[str] = []
    for _ in range(2):
        prepared = prepare(source, tmp_path / "out", jobs=1, report=lines.append)
        assert prepared.unread == 1
        assert prepared.skipped == (("speech/b.flac", "input/output error"),)
    assert [line for line in lines if "skipped" in line] == [
        "skipped speech/b.flac: input/output error"
    ]


def test_a_process_tells_what_it_could_not_read(source: Path, tmp_path: Path) -> None:
    with Decoders(1) as processes:
        for path, unread in ((tmp_path / "missing.wav", True), (source / "notes.txt", False)):
            with pytest.raises(Unusable) as caught:
                processes.decode(path, tmp_path / "audio", RATE)
            assert caught.value.unread == unread


def test_prepared_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(source, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(module, "decode", lambda *arguments: pytest.fail("decoded again"))
        assert prepare(source, tmp_path / "out") == first
    write(source / "speech" / "new.wav", noise(100), RATE)
    assert len(prepare(source, tmp_path / "out").files) == len(first.files) + 1
    assert prepare(source, tmp_path / "out", sample_rate=16_000).sample_rate == 16_000
    assert {entry.group for entry in prepare(source, tmp_path / "out", kind="x").files} == {"x"}


class Killed(BaseException):
    """What a test throws in place of a signal: nothing catches it."""


@pytest.mark.parametrize("after", range(1, 7))
@pytest.mark.parametrize("torn", [b"", b'{"path": "torn', b'{"path": "x", "samples": 99999}\n'])
def test_resumed_is_fresh(source: Path, tmp_path: Path, after: int, torn: bytes) -> None:
    (source / "music" / "bad.wav").write_bytes(b"?")
    lines: list[str] = []
    prepare(source, tmp_path / "fresh", report=lines.append)

    seen: list[str] = []

    def kill(name: str, done: int, total: int, seconds: float) -> None:
        seen.append(name)
        if len(seen) == after:
            raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        prepare(source, out, progress=kill, report=lines.append)
    with pytest.raises(DataError, match="not prepared"):
        open_prepared(out)
    for name, tail in ((module.PART_NAME, b"half a file"), (module.JOURNAL_NAME, torn)):
        with (out / name).open("ab") as file:
            file.write(tail)
    rest: list[tuple[str, int, int, float]] = []
    prepare(source, out, progress=lambda *state: rest.append(state), report=lines.append)
    assert contents(out) == contents(tmp_path / "fresh")
    assert len(seen) + len(rest) == 7
    assert not set(seen) & {name for name, *_ in rest}
    assert all(done == total for _, done, total, _ in rest[-1:])


@pytest.mark.parametrize("publishing", [False, True])
def test_an_unfinished_preparation_is_no_source(
    source: Path, tmp_path: Path, publishing: bool
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        prepare(source, out, progress=kill, report=lambda line: None)
    if publishing:  # killed between the two files that take their final names
        (out / module.PART_NAME).rename(out / module.AUDIO_NAME)
    with pytest.raises(DataError, match=r"unfinished: the same codec prepare continues it$"):
        prepare(out, tmp_path / "again")
    # Beside audio, its files are files like any other.
    write(out / "a.wav", noise(5_000, 1), RATE)
    assert [entry.path for entry in prepare(out, tmp_path / "again").files] == ["a.wav"]


def with_bad_files(source: Path) -> Path:
    """Files that fail at once, late, and before and after good ones."""
    spoiled = noise(400_000)
    spoiled[390_000] = np.nan
    write(source / "music" / "nan.wav", spoiled, RATE, subtype="FLOAT")
    (source / "aaa.wav").write_bytes(b"nothing of the kind")
    (source / "zzz.wav").write_bytes(b"nothing of the kind")
    return source


@pytest.mark.parametrize("jobs", [2, 5])
def test_processes_change_nothing(source: Path, tmp_path: Path, jobs: int) -> None:
    with_bad_files(source)
    results = []
    for name, count in (("one", 1), ("several", jobs)):
        lines: list[str] = []
        states: list[tuple[str, int, int, float]] = []
        prepare(
            source,
            tmp_path / name,
            jobs=count,
            report=lines.append,
            progress=lambda *state, states=states: states.append(state),
        )
        results.append((contents(tmp_path / name), lines, states))
    assert len(results[0][1]) == 4  # three files, and a text
    assert results[0] == results[1]


def test_killed_with_processes_and_resumed(source: Path, tmp_path: Path) -> None:
    with_bad_files(source)
    prepare(source, tmp_path / "fresh", report=lambda line: None)

    def kill(name: str, done: int, total: int, seconds: float) -> None:
        if name == "music/d.MP3":
            raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        prepare(source, out, jobs=2, progress=kill, report=lambda line: None)
    assert sorted(contents(out)) == [module.PART_NAME, module.JOURNAL_NAME]
    # What a kill that nothing catches leaves behind.
    (out / (module.AHEAD_PREFIX + "x")).mkdir()
    (out / (module.AHEAD_PREFIX + "x") / "0.i16").write_bytes(b"half a file")
    prepare(source, out, jobs=2, report=lambda line: None)
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_process_that_ends_is_an_error(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_START", "import sys; sys.stdin.readline(); sys.exit(3)")
    with pytest.raises(DataError, match=r"loose.wav ended \(3\)"):
        prepare(source, tmp_path / "out", jobs=2)
    monkeypatch.undo()
    prepare(source, tmp_path / "out", jobs=2)
    prepare(source, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_process_says_what_it_could_not_write(source: Path, tmp_path: Path) -> None:
    with Decoders(1) as processes, pytest.raises(FileNotFoundError) as raised:
        processes.decode(source / "loose.wav", tmp_path / "missing" / "a.i16", RATE)
    assert raised.value.filename == str(tmp_path / "missing" / "a.i16")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_ctrl_c_ends_the_processes(source: Path, tmp_path: Path) -> None:
    for number in range(30):
        write(source / "speech" / f"{number:02}.wav", noise(100_000, number), RATE)
    out = tmp_path / "out"
    script = (
        "import sys; from pathlib import Path; from codec.training.prepare import prepare\n"
        "prepare(Path(sys.argv[1]), Path(sys.argv[2]), jobs=2,\n"
        "        progress=lambda *state: print(state, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(source), str(out)],
        cwd=Path(module.__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert errors.strip().endswith("KeyboardInterrupt")
    assert sorted(contents(out)) == [module.PART_NAME, module.JOURNAL_NAME]
    prepare(source, out, jobs=2)
    prepare(source, tmp_path / "fresh", jobs=1)
    assert contents(out) == contents(tmp_path / "fresh")


def test_no_processes_make_no_sense(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="in 0 processes"):
        prepare(source, tmp_path / "out", jobs=0)


def test_audio_lost_from_a_part_is_decoded_again(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "fresh")

    def kill(name: str, done: int, total: int, seconds: float) -> None:
        if name == "speech/a.wav":
            raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        prepare(source, out, progress=kill)
    with (out / module.PART_NAME).open("r+b") as part:
        part.truncate(20_000)
    prepare(source, out)
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_changed_source_is_not_resumed(source: Path, tmp_path: Path) -> None:
    def kill(name: str, done: int, total: int, seconds: float) -> None:
        if name == "speech/a.wav":
            raise Killed

    with pytest.raises(Killed):
        prepare(source, tmp_path / "out", progress=kill)
    write(source / "loose.wav", noise(7_000, 9), 8_000)
    prepare(source, tmp_path / "out")
    prepare(source, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("renames", [0, 1])
def test_killed_while_publishing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """Over an older preparation: the old index never describes the new audio."""
    out = tmp_path / "out"
    prepare(source, out)
    write(source / "loose.wav", noise(7_000, 9), 8_000)
    left, replace = [renames], Path.replace

    def dying(self: Path, target: Path) -> Path:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(Killed):
            prepare(source, out)
    with pytest.raises(DataError, match="not prepared"):
        open_prepared(out)
    prepare(source, out)
    prepare(source, tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")


@pytest.mark.skipif(sys.platform == "win32", reason="no fcntl")
def test_one_process_at_a_time(source: Path, tmp_path: Path) -> None:
    def again(name: str, done: int, total: int, seconds: float) -> None:
        with pytest.raises(OutputError, match="another process works"):
            prepare(source, tmp_path / "out")

    prepare(source, tmp_path / "out", progress=again)


def test_nothing_usable(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(DataError, match="not a folder"):
        prepare(empty, tmp_path / "out")
    empty.mkdir()
    with pytest.raises(DataError, match="no audio files"):
        prepare(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (empty / "a.flac").write_bytes(b"fLaC")
    for _ in range(2):  # the second finds the journal of the first
        with pytest.raises(DataError, match="all 1 files were skipped"):
            prepare(empty, tmp_path / "out", report=lambda line: None)
    with pytest.raises(DataError, match="not prepared"):
        open_prepared(tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda index: "not json", "is damaged"),
        (lambda index: "[]", "is damaged"),
        (lambda index: json.dumps({**index, "version": 99}), "format 99"),
        (lambda index: json.dumps({**index, "files": [{"path": "a"}]}), "is damaged"),
        (lambda index: json.dumps({**index, "files": index["files"][1:]}), "the index says"),
    ],
)
def test_damaged_index(
    source: Path, tmp_path: Path, damage: Callable[[dict[str, object]], str], message: str
) -> None:
    out = tmp_path / "out"
    before = prepare(source, out)
    index = out / module.INDEX_NAME
    index.write_text(damage(json.loads(index.read_text())))
    with pytest.raises(DataError, match=message):
        open_prepared(out)
    assert prepare(source, out) == before


def test_full_band_is_measured_not_read_from_the_header(tmp_path: Path) -> None:
    source = tmp_path / "source"
    full = noise(4 * 48_000)
    dull = soxr.resample(soxr.resample(full, 48_000, 16_000), 16_000, 48_000)
    write(source / "full.wav", full, 48_000)
    write(source / "dull.wav", dull, 48_000, subtype="FLOAT")
    write(source / "low.wav", full, 16_000)
    found = {entry.path: entry.full_band for entry in prepare(source, tmp_path / "out").files}
    assert found == {"full.wav": True, "dull.wav": False, "low.wav": False}
    at_16k = prepare(source, tmp_path / "out", sample_rate=16_000).files
    assert not any(entry.full_band for entry in at_16k)


def test_full_band_of_nothing() -> None:
    assert not is_full_band(Spectrum(), RATE)


@given(cuts=st.lists(st.integers(0, 5000), max_size=8))
def test_spectrum_does_not_depend_on_the_cutting(cuts: list[int]) -> None:
    audio = noise(5000)
    whole, pieces = Spectrum(), Spectrum()
    whole.add(audio)
    for piece in np.split(audio, sorted(cuts)):
        pieces.add(piece)
    for low in (0, 4000, 8500):
        expected = whole.band(low, low + 3000, RATE)
        assert expected > 0
        assert pieces.band(low, low + 3000, RATE) == pytest.approx(expected, rel=1e-6)


def test_needs_no_torch() -> None:
    python("import sys, codec.training.prepare; assert 'torch' not in sys.modules")
