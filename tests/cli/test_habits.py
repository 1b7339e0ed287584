"""The process among others: closed streams, signals, narrow encodings, names, links."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

import codec
from codec.cli import habits
from codec.cli.main import _warnings_of_one_line

ROOT = Path(codec.__file__).parents[1]


@pytest.fixture
def folder(small, tmp_path, cli, wav):
    assert cli("compress", wav("a.wav"))[0] == 0
    return tmp_path


def shell(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which `codec` is this one."""
    text = f'codec() {{ "{sys.executable}" -m codec "$@"; }}\n{line}'
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        ["bash", "-c", text], capture_output=True, cwd=folder, env=environment, timeout=300
    )


def test_a_warning_is_one_line(capsys):
    with _warnings_of_one_line():
        warnings.warn("loud\n\x1b[31m", codec.CodecWarning, stacklevel=1)
        assert capsys.readouterr().err == "codec: loud \\x1b[31m\n"


def test_a_warning_of_others_stays_theirs(capsys):
    with pytest.warns(UserWarning, match="other"):
        _warn_of("other")
    assert not capsys.readouterr().err


def _warn_of(text):
    with _warnings_of_one_line():
        warnings.warn(text, UserWarning, stacklevel=1)


def test_closed_standard_streams(folder):
    run = shell(folder, "codec info a.nac >&-")
    assert (run.returncode, run.stderr) == (1, b"codec: a.nac: standard output is closed\n")
    run = shell(folder, "codec info - <&-")
    assert run.returncode == 1
    assert b"it is closed\n" in run.stderr
    assert len(run.stderr.splitlines()) == 1
    for closed in ("2>&-", "<&-", "<&- 2>&-"):
        run = shell(folder, f"codec info a.nac {closed}")
        assert run.returncode == 0, closed
        assert b"a.nac" in run.stdout
    assert shell(folder, "codec info none.nac <&- >&- 2>&-").returncode == 1


def test_names_of_any_bytes_are_shown_escaped(folder):
    (folder / os.fsdecode(b"x\xff\x1b[31m.nac")).write_bytes((folder / "a.nac").read_bytes())
    for command in ("info", "verify"):
        run = shell(folder, f"codec {command} .", LC_ALL="C.UTF-8", PYTHONIOENCODING="cp1252")
        assert run.returncode == 0, run.stderr
        assert rb"x\xff\x1b[31m.nac" in run.stdout
        assert b"a.nac" in run.stdout
        assert b"\x1b" not in run.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(tmp_path, number):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from codec.cli.habits import well_behaved\n"
        "from codec.support.atomic import replacing, temporary_folder\n"
        "with well_behaved(), replacing(Path('out/x'), overwrite=False), temporary_folder():\n"
        "    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    assert _ended(code, tmp_path, number) == 128 + number
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGTERM, ""), (signal.SIGINT, "codec: interrupted\n")]
)
def test_a_signal_ends_what_hangs_and_leaves_nothing(tmp_path, capfd, number, said):
    code = (
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import ctypes, sys, threading\nfrom pathlib import Path\n"
        "from codec.cli import habits\n"
        "from codec.support.atomic import replacing, temporary_folder\n"
        "habits.GRACE = 0.1\n"
        "with habits.well_behaved(), replacing(Path('x'), overwrite=False), temporary_folder():\n"
        "    print('ready', flush=True)\n"
        "    # A mutex that is taken twice: no signal ends that.\n"
        "    mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock\n"
        "    lock(mutex); lock(mutex)\n"
    )
    assert _ended(code, tmp_path, number) == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == said


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with habits.well_behaved():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is habits._terminate
    finally:
        signal.signal(signal.SIGHUP, before)


def _ended(code: str, folder: Path, number: int) -> int:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    # Under nohup a process inherits that it ignores SIGHUP.
    heard = f"import signal\nsignal.signal({int(number)}, signal.SIG_DFL)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", heard + code], stdout=subprocess.PIPE, cwd=folder, env=environment
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        stat = Path(f"/proc/{process.pid}/stat")
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] in "RD":
            time.sleep(0.01)  # until it waits, where Linux tells
        process.send_signal(number)
        return process.wait(300)


def test_dots_in_a_name_without_an_extension_are_kept(cli, wav, tmp_path):
    for name in ("Dr. Smith interview", "rec.2024-01-01", "rec.2024-01-02", "a.b.WAV"):
        wav("x.wav").rename(tmp_path / name)
        assert cli("compress", tmp_path / name)[0] == 0
    assert sorted(path.name for path in tmp_path.glob("*.nac")) == [
        "Dr. Smith interview.nac", "a.b.nac", "rec.2024-01-01.nac", "rec.2024-01-02.nac",
    ]  # fmt: skip


def test_a_link_is_written_through_and_a_mode_is_kept(cli, wav, tmp_path):
    source = wav("in.wav")
    real, link = tmp_path / "far/real.nac", tmp_path / "link.nac"
    real.parent.mkdir()
    real.write_bytes(b"old")
    real.chmod(0o600)
    link.symlink_to(real)
    assert cli("compress", source, "-o", link)[0] == 1
    assert cli("compress", source, "-f", "-o", link)[0] == 0
    assert link.is_symlink()
    assert real.read_bytes()[:3] != b"old"
    assert real.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_flushed_will_do(cli, wav, tmp_path, monkeypatch):
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(22, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert cli("compress", wav("in.wav"), "-o", tmp_path / "x.nac") == (0, b"", "")


def test_folders_with_pipes_links_and_any_names(cli, wav, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    wav("z.wav")
    code, _, err = cli("compress", tmp_path, "-o", tmp_path / "one", "-t", 2)
    assert (code, err.count("\n")) == (0, 1)
    assert "pipe.wav: a named pipe" in err
    (tmp_path / "gone.wav").symlink_to("nowhere")
    code, _, err = cli("compress", tmp_path, "-o", tmp_path / "two", "-t", 2)
    assert code == 1
    assert "gone.wav: a link that leads nowhere" in err
    assert (tmp_path / "two/z.nac").exists()


def test_any_error_of_one_file_is_its_own(cli, wav, tmp_path, monkeypatch):
    wav("in/a.wav"), wav("in/b.wav")
    from codec.cli import files

    work = files.compress_file  # type: ignore[attr-defined]

    def failing(task, coding):
        if task.job.source.name == "a.wav":
            raise KeyError("odd")
        return work(task, coding)

    monkeypatch.setattr(files, "compress_file", failing)
    code, _, err = cli("compress", tmp_path / "in")
    assert code == 1
    assert "a.wav: internal error: KeyError: 'odd'" in err
    assert (tmp_path / "in/b.nac").exists()


def test_an_input_that_cannot_be_read_does_not_end_the_others(cli, wav, tmp_path, monkeypatch):
    good, bad = wav("a.wav"), wav("b.wav")
    opened = Path.open

    def denied(path: Path, *mode: object, **others: object):
        if path == bad:
            raise PermissionError(13, "Permission denied")
        return opened(path, *mode, **others)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", denied)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != bad)
    code, _, err = cli("compress", bad, good, "-o", tmp_path / "out", "-t", 1)
    assert (code, err.splitlines()[0]) == (1, f"codec: {bad}: permission denied")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.nac"]
