"""The commands as a user meets them: pipes, folders, errors of one line, no partial output."""

from __future__ import annotations

import io
import json
import os
import signal
import threading

import numpy as np
import pytest
import soundfile

import codec
from codec.cli import COMMANDS
from codec.cli import cli as group


def tree(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def failed(result, *messages):
    """The run failed, with these lines on standard error and nothing else anywhere."""
    code, out, err = result
    assert code == 1
    assert out == b""
    lines = err.splitlines()
    assert len(lines) == len(messages), err
    for line, message in zip(lines, messages, strict=True):
        assert line.startswith("codec: ")
        assert message in line


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("samples", [1, 7, 2000])
@pytest.mark.parametrize("rate", [8000, 24_000, 44_100])
def test_there_and_back(cli, wav, tmp_path, channels, samples, rate):
    source = wav("in.wav", samples, rate, channels)
    assert cli("compress", source) == (0, b"", "")
    assert cli("decompress", tmp_path / "in.nac", "-o", tmp_path / "back.wav") == (0, b"", "")
    before, after = soundfile.info(source), soundfile.info(tmp_path / "back.wav")
    assert (before.frames, before.samplerate, before.channels, before.subtype) == (
        after.frames, after.samplerate, after.channels, after.subtype,
    )  # fmt: skip
    assert tree(tmp_path) == ["back.wav", "in.nac", "in.wav"]


def test_pipes_carry_the_same_bytes_as_files(cli, wav, tmp_path):
    source = wav("in.wav", 3000, channels=2)
    cli("compress", source, "-b", "3")
    packed = (tmp_path / "in.nac").read_bytes()
    assert cli("compress", "-", "-b", "3", stdin=source.read_bytes()) == (0, packed, "")
    assert cli("compress", source, "-o", "-", "-n", "6") == (0, packed, "")
    cli("decompress", tmp_path / "in.nac", "-o", tmp_path / "back.wav")
    restored = (tmp_path / "back.wav").read_bytes()
    assert cli("decompress", "-", stdin=packed) == (0, restored, "")
    code, flac, _ = cli("decompress", "-", "--format", "flac", stdin=packed)
    assert code == 0
    assert flac.startswith(b"fLaC")
    audio = [soundfile.read(io.BytesIO(data))[0] for data in (restored, flac)]
    assert np.array_equal(*audio)


def test_a_named_pipe_is_read_once(cli, wav, tmp_path):
    source, fifo = wav("in.wav"), tmp_path / "fifo"
    os.mkfifo(fifo)
    threading.Thread(target=lambda: fifo.write_bytes(source.read_bytes()), daemon=True).start()
    assert cli("compress", fifo, "-o", tmp_path / "out.nac") == (0, b"", "")
    cli("compress", source)
    assert (tmp_path / "out.nac").read_bytes() == (tmp_path / "in.nac").read_bytes()


def test_folders_with_a_bad_file_among_good_ones(cli, wav, tmp_path):
    wav("in/a.wav")
    wav("in/b/c.wav", rate=8000)
    (tmp_path / "in/b/bad.wav").write_bytes(b"RIFF")
    failed(
        cli("compress", tmp_path / "in", "-o", tmp_path / "out"),
        f"{tmp_path}/in/b/bad.wav: cannot read audio",
        "1 of 3 failed",
    )
    assert tree(tmp_path / "out") == ["a.nac", "b/c.nac"]
    assert cli("decompress", tmp_path / "out", "-o", tmp_path / "back")[0] == 0
    assert tree(tmp_path / "back") == ["a.wav", "b/c.wav"]


def test_info(cli, wav, tmp_path):
    cli("compress", wav("a.wav", 5000, 44_100, channels=2), "-b", "3")
    path = tmp_path / "a.nac"
    code, out, _ = cli("info", path)
    assert code == 0
    for text in ("5000 samples at 44100 Hz, 2 channels", "3 kbit/s a channel", "50 Hz"):
        assert text in out.decode()
    code, out, _ = cli("info", "--json", tmp_path)
    held = json.loads(out)
    assert held["bytes"] == path.stat().st_size
    assert (held["samples"], held["frames"], held["codebooks"]) == (5000, 6, 6)
    assert json.loads(cli("info", "--json", "-", stdin=path.read_bytes())[1])["samples"] == 5000
    path.write_bytes(path.read_bytes()[:-3])
    failed(cli("info", path), "truncated")


def test_outputs_are_not_overwritten_unless_forced(cli, wav, tmp_path):
    source = wav("a.wav")
    packed = tmp_path / "a.nac"
    packed.write_bytes(b"precious")
    failed(cli("compress", source), "the output exists; --force")
    assert packed.read_bytes() == b"precious"
    assert cli("compress", source, "--force")[0] == 0
    assert packed.read_bytes() != b"precious"
    original = source.read_bytes()
    failed(cli("decompress", packed), "the output exists; --force")
    failed(cli("compress", source, "-o", source, "-f"), "would overwrite the input")
    failed(cli("compress", source, "-o", tmp_path / "b.wav"), "named as audio; name it .nac")
    assert source.read_bytes() == original


def write(path, audio, **kind):
    soundfile.write(path, audio, kind.pop("rate", 24_000), **kind)


def test_hostile_audio_leaves_nothing(cli, tmp_path):
    cases = {
        "empty.wav": b"",
        "text.wav": b"not audio at all",
        "headless.raw": bytes(100),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        failed(cli("compress", tmp_path / name), f"{tmp_path / name}: ")
    arrays = {
        "none.wav": (np.zeros(0), "0 samples"),
        "nan.wav": (np.array([0.1, np.nan]), "not finite"),
        "inf.wav": (np.array([0.1, -np.inf]), "not finite"),
        "loud.wav": (np.array([0.1, 30_000.0]), "full scale"),
        "wide.wav": (np.zeros((4, 300)), "300 channels"),
    }
    for name, (audio, message) in arrays.items():
        write(tmp_path / name, audio, subtype="FLOAT")
        failed(cli("compress", tmp_path / name), message)
    assert tree(tmp_path) == sorted([*cases, *arrays])


def test_silent_and_clipped_audio_come_back(cli, tmp_path):
    for name, audio in {
        "silent": np.zeros(1000),
        "clipped": np.repeat([0.9, 1.0, -1.0], 480),
        "beyond": np.repeat([0.9, 1.5, -1.5], 480),
    }.items():
        write(tmp_path / f"{name}.wav", audio, subtype="FLOAT")
        assert cli("compress", tmp_path / f"{name}.wav")[0] == 0
        assert (
            cli("decompress", tmp_path / f"{name}.nac", "-o", tmp_path / "back.wav", "-f")[0] == 0
        )
        back, _ = soundfile.read(tmp_path / "back.wav")
        # The 1.01 to which MeanBackend reaches is clipped to the top 16-bit value.
        assert np.abs(back - np.clip(audio, -1, 1)).max() < 1e-4


def test_misnamed_files(cli, wav, tmp_path):
    source = wav("a.wav")
    cli("compress", source)
    packed = tmp_path / "a.nac"
    failed(cli("decompress", source), "not a .nac file but WAV audio, which codec compress takes")
    (tmp_path / "song.wav").write_bytes(packed.read_bytes())
    failed(cli("compress", tmp_path / "song.wav"), "already a .nac file")
    assert cli("decompress", tmp_path / "song.wav", "-o", tmp_path / "b.wav")[0] == 0
    (tmp_path / "c.nac").write_bytes(source.read_bytes())
    failed(cli("compress", tmp_path / "c.nac"), "would overwrite the input")
    assert cli("compress", tmp_path / "c.nac", "-o", tmp_path / "d.nac")[0] == 0
    assert (tmp_path / "d.nac").read_bytes() == packed.read_bytes()
    failed(
        cli("decompress", packed, "-o", tmp_path / "e.xyz"), "cannot write .xyz; choose from .wav"
    )


def test_damaged_files_leave_nothing(cli, wav, tmp_path):
    cli("compress", wav("a.wav", 900))
    data = (tmp_path / "a.nac").read_bytes()
    (tmp_path / "a.wav").unlink()
    for size in range(0, len(data), 9):
        (tmp_path / "a.nac").write_bytes(data[:size])
        failed(cli("decompress", tmp_path / "a.nac"), f"{tmp_path}/a.nac: ")
        failed(cli("decompress", "-", stdin=data[:size]), "standard input: ")
    assert tree(tmp_path) == ["a.nac"]


@pytest.mark.parametrize(
    ("interrupt", "expected"),
    [
        (lambda: (_ for _ in ()).throw(KeyboardInterrupt), (130, "codec: interrupted")),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), (143, "")),
        (lambda: (_ for _ in ()).throw(OSError(28, "No space left on device")),
         (1, "no space left on device")),
    ],
)  # fmt: skip
def test_interrupted_in_the_middle_of_a_write(cli, wav, tmp_path, monkeypatch, interrupt, expected):
    def end(writer, n_samples):
        assert any(name.endswith(".part") for name in tree(tmp_path))
        next(iter(interrupt() or ()), None)

    monkeypatch.setattr("codec.files.Writer.finish", end)
    code, _, err = cli("compress", wav("a.wav"), "-o", tmp_path / "new/a.nac")
    assert code == expected[0]
    assert expected[1] in err
    assert tree(tmp_path) == ["a.wav"]
    assert not (tmp_path / "new").exists()


def test_usage(cli, wav, tmp_path):
    source = wav("a.wav")
    failed(
        cli("compress", source, "-b", "7"), "7 kbit/s a channel is not to be had; choose from 0.5"
    )
    failed(cli("compress", source, "-n", "13"), "13 codebooks; the model has 1 to 12")
    failed(cli("compress", tmp_path / "none.wav"), "no such file or folder")
    failed(cli("compress", source, source, "-o", "-"), "many inputs need a folder")
    assert cli("compress", source, "-n", "1", "-b", "1")[0] == 2
    assert cli("compress")[0] == 2
    assert cli("nonsense")[0] == 2
    assert cli("--version") == (0, f"codec, version {codec.__version__}\n".encode(), "")
    assert tree(tmp_path) == ["a.wav"]


def test_another_model_s_file(cli, wav, tmp_path, backend):
    cli("compress", wav("a.wav"))
    backend.model_id = bytes(8)
    failed(cli("decompress", tmp_path / "a.nac", "-o", tmp_path / "b.wav"), "made with model")


def test_a_name_with_a_line_end_makes_one_line(cli, tmp_path):
    (tmp_path / "two\nlines.wav").write_bytes(b"")
    failed(cli("compress", tmp_path / "two\nlines.wav"), "two lines.wav: cannot read")


def test_an_error_that_is_our_own_is_one_line_too(cli, wav, monkeypatch):
    monkeypatch.setattr("codec.files.AudioReader", lambda source: 1 / 0)
    failed(cli("compress", wav("a.wav")), "internal error: ZeroDivisionError")


def test_help_names_every_command_and_loads_none(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for name, (_, text) in COMMANDS.items():
        assert f"{name} " in out.decode()
        assert text in out.decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(name):
    command = group.get_command(None, name)
    assert command.name == name
    assert command.help
