"""The commands as a user meets them: pipes, folders, errors of one line, no partial output."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from bench.random_weights import SMALL, noise, write_weights
from codec.audio import as_int16, read_audio
from codec.cli.files import _side_by_side
from codec.cli.main import COMMANDS
from codec.cli.main import cli as group
from codec.errors import BackendError
from codec.files.plan import Job
from codec.nac.layout import HEADER_BYTES, Header
from codec.nac.writer import Writer
from codec.support.progress import Progress
from codec.support.workers import Workers
from codec.tokens import header_of
from tests.helpers.processes import python


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


@pytest.mark.parametrize(
    ("channels", "rate"),
    [(1, 8000), (8, 8000), (2, 16_000), (1, 22_050), (2, 24_000), (8, 24_000), (1, 44_100),
     (2, 44_100), (1, 48_000)],
)  # fmt: skip
def test_files_are_coded_as_arrays_are(cli, wav, tmp_path, monkeypatch, small, channels, rate):
    # Many blocks and spans, none of which ends where another does.
    monkeypatch.setattr("codec.audio.arrays._BLOCK_VALUES", 7777)
    monkeypatch.setattr("codec.engine.windows.SHORTEST_SPAN", 3)
    monkeypatch.setattr("codec.engine.windows.FRAMES_AT_WORK", 64)
    source = wav("in.wav", 2 * rate + 12_347, rate, channels)
    audio, _ = read_audio(source)
    monkeypatch.setattr("codec.audio.arrays._BLOCK_VALUES", 1 << 30)
    whole = small.compress(audio, rate)
    monkeypatch.setattr("codec.audio.arrays._BLOCK_VALUES", 7777)
    restored = as_int16(small.decompress(whole)[0])
    for threads in (1, 2, 5):
        assert cli("compress", source, "-f", "-t", threads) == (0, b"", "")
        assert (tmp_path / "in.nac").read_bytes() == whole
        back = tmp_path / "back.wav"
        assert cli("decompress", tmp_path / "in.nac", "-f", "-o", back, "-t", threads)[0] == 0
        assert np.array_equal(as_int16(read_audio(back)[0]), restored)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="counts shadow memory too")
def test_memory_does_not_grow_with_the_file(tmp_path):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    write_weights(tmp_path / "w.safetensors", SMALL)
    # 20 minutes that make 230 MB of samples at the model's rate.
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 2, "PCM_16") as file:
        for _ in range(120):
            file.write(rng.normal(0, 0.1, (80_000, 2)))
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from codec.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    weights = ("--model", tmp_path / "w.safetensors", "--threads", "2")
    for command in (
        ("compress", tmp_path / "a.wav"),
        ("decompress", tmp_path / "a.nac", "-o", tmp_path / "b.flac"),
    ):
        assert int(python(code, *command, *weights)) < 150_000, command  # KiB
    assert soundfile.info(tmp_path / "b.flac").frames == 120 * 80_000


def test_pipes_carry_the_same_bytes_as_files(cli, wav, tmp_path):
    source = wav("in.wav", 3000, channels=2)
    cli("compress", source, "-b", "3")
    packed = (tmp_path / "in.nac").read_bytes()
    # A pipe's header cannot say how long the file will be; the trailer does.
    header = dataclasses.replace(Header.unpack(packed), n_samples=None).pack()
    piped = header + packed[HEADER_BYTES:]
    assert cli("compress", "-", "-b", "3", stdin=source.read_bytes()) == (0, piped, "")
    assert cli("compress", "-", "-", "-b", "3", stdin=source.read_bytes()) == (0, piped, "")
    assert cli("compress", source, "-o", "-", "-n", "6") == (0, piped, "")
    cli("decompress", tmp_path / "in.nac", "-o", tmp_path / "back.wav")
    restored = (tmp_path / "back.wav").read_bytes()
    for data in (packed, piped):
        assert cli("decompress", "-", stdin=data) == (0, restored, "")
        assert cli("decompress", "-", "-", "--format", "raw", stdin=data) == (0, restored[44:], "")
    code, flac, _ = cli("decompress", "-", "--format", "flac", stdin=packed)
    assert code == 0
    assert flac.startswith(b"fLaC")
    audio = [soundfile.read(io.BytesIO(data))[0] for data in (restored, flac)]
    assert np.array_equal(*audio)


def test_a_beam_search_from_files_and_pipes(cli_of_weights, wav, tmp_path):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    model = write_weights(tmp_path / "w.safetensors", SMALL)
    source = wav("in.wav", 30_000)
    beam = ("--beam", "5", "-n", "2", "--effort", "raw", "--model", model)
    assert cli_of_weights("compress", source, *beam) == (0, b"", "")
    tokens = codec.load(model).encode(read_audio(source)[0], 24_000, n_codebooks=2, beam=5)
    assert codec.Tokens.load(tmp_path / "in.nac") == tokens
    for live in ((), ("--live",)):
        code, piped, _ = cli_of_weights("compress", "-", *beam, *live, stdin=source.read_bytes())
        assert (code, codec.Tokens.load(io.BytesIO(piped)).codes.tolist()) == (
            0, tokens.codes.tolist(),
        )  # fmt: skip
    quality = ("--quality", "9", "--beam", "5", "--effort", "raw", "--model", model, "-f")
    assert cli_of_weights("compress", source, *quality) == (0, b"", "")
    assert cli_of_weights("decompress", tmp_path / "in.nac", "--model", model, "-f")[0] == 0
    assert cli_of_weights("compress", source, "--beam", "0")[0] == 2


def test_refining_from_files_and_pipes(cli_of_weights, wav, tmp_path):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    model = write_weights(tmp_path / "w.safetensors", SMALL)
    source = wav("in.wav")
    soundfile.write(source, noise(30_000), 24_000)
    refine = ("--refine", "20", "-n", "2", "--effort", "raw", "--model", model)
    assert cli_of_weights("compress", source, *refine) == (0, b"", "")
    tokens = codec.load(model).encode(read_audio(source)[0], 24_000, n_codebooks=2, refine=20)
    assert tokens != codec.load(model).encode(read_audio(source)[0], 24_000, n_codebooks=2)
    assert codec.Tokens.load(tmp_path / "in.nac") == tokens
    code, piped, _ = cli_of_weights("compress", "-", *refine, stdin=source.read_bytes())
    assert (code, codec.Tokens.load(io.BytesIO(piped)).codes.tolist()) == (
        0, tokens.codes.tolist(),
    )  # fmt: skip
    code, out, err = cli_of_weights("compress", "-", *refine, "--live")
    assert (code, out) == (2, b"")
    assert "choose --live or --refine, not both" in err
    for steps in ("-1", "1001", "x"):
        assert cli_of_weights("compress", source, "--refine", steps)[0] == 2


def test_a_model_whose_codes_cannot_be_refined_is_told_of_once(cli_of_weights, wav, tmp_path):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    odd = dataclasses.replace(
        SMALL, hop_length=2400, backbone_hop=300, synthesis_hop=300, synthesis_fft=1200,
        short_fft=120,
    )  # fmt: skip
    model = write_weights(tmp_path / "odd.safetensors", odd)
    for name in "abc":
        wav(f"in/{name}.wav")
    for command in (("compress",), ("tokenize", "--format", "bin")):
        args = (*command, tmp_path / "in", "-o", tmp_path / "out", "--model", model)
        code, out, err = cli_of_weights(*args, "--refine", "2")
        assert (code, out) == (1, b"")
        assert err == "codec: odd.safetensors: codes cannot be refined with a hop of 300 samples\n"
        assert not (tmp_path / "out").exists()
        assert cli_of_weights(*args)[0] == 0  # but they can be made
        shutil.rmtree(tmp_path / "out")


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


def test_many_files_at_once_are_those_one_by_one(cli, wav, tmp_path):
    for i in range(12):
        wav(f"in/{i}.wav", 100 + 5000 * (i % 3), channels=1 + i % 2, seed=i)
    (tmp_path / "in/bad.wav").write_bytes(b"RIFF")
    packed = {}
    for threads in (1, 2, 5):
        out = tmp_path / f"out{threads}"
        failed(
            cli("compress", tmp_path / "in", "-o", out, "--threads", threads),
            "bad.wav: cannot read audio", "1 of 13 failed",
        )  # fmt: skip
        packed[threads] = {name: (out / name).read_bytes() for name in tree(out)}
        assert len(packed[threads]) == 12
    assert packed[1] == packed[2] == packed[5]


def test_interrupted_with_many_files_at_work(cli, wav, tmp_path, monkeypatch):
    for i in range(6):
        wav(f"in/{i}.wav")
    at_work, met = threading.Barrier(3), threading.Event()

    def interrupt(writer, n_samples):
        if not met.is_set():
            first = at_work.wait(timeout=300) == 0
            met.set()
            if first:
                os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codec.files.transcode.Writer.finish", interrupt)
    code, _, err = cli("compress", tmp_path / "in", "-o", tmp_path / "out", "-t", 3)
    assert code == 143
    assert set(err.splitlines()) <= {
        f"codec: {tmp_path}/in/{i}.wav: no space left on device" for i in range(6)
    }
    assert not (tmp_path / "out").exists()


def test_engines(cli, wav, monkeypatch):
    asked = []

    def load(weights, name=None, device=None):
        asked.append(name)
        raise BackendError("not here")

    monkeypatch.setattr("codec.api.load_backend", load)
    failed(cli("compress", wav("a.wav"), "--backend", "torch"), "not here")
    failed(cli("compress", wav("a.wav"), "--backend", "native"), "not here")
    assert asked == ["torch", "native"]
    assert cli("compress", wav("a.wav"), "--backend", "abacus")[0] == 2
    failed(cli("compress", wav("a.wav"), "--engine", "torch"), "not here")
    assert cli("compress", wav("a.wav"), "--threads", "0")[0] == 2


def test_info(cli, wav, tmp_path, backend):
    cli("compress", wav("a.wav", 5000, 44_100, channels=2), "-b", "3")
    path = tmp_path / "a.nac"
    code, out, _ = cli("info", path)
    assert code == 0
    for text in (
        "which is not in this package",
        "5000 samples at 44100 Hz, 2 channels",
        "3 kbit/s a channel",
        "50 Hz",
    ):
        assert text in out.decode()
    code, out, _ = cli("info", "--json", tmp_path)
    held = json.loads(out)
    assert held["bytes"] == path.stat().st_size
    assert (held["samples"], held["frames"], held["codebooks"]) == (5000, 6, 6)
    assert (held["model_name"], held["latency_ms"]) == (None, None)
    assert json.loads(cli("info", "--json", "-", stdin=path.read_bytes())[1])["samples"] == 5000
    backend.model_id = codec.models()[0].model_id
    cli("compress", wav("b.wav", 5000), "-b", "3")
    # 960 samples a frame, 240 and 360 that the windows reach beyond theirs: 65 ms.
    assert b"v1, the default, 65 ms latency" in cli("info", tmp_path / "b.nac")[1]
    held = json.loads(cli("info", "--json", tmp_path / "b.nac")[1])
    assert (held["model_name"], held["latency_ms"]) == ("v1", 65)
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


def test_audio_that_comes_back_too_quiet_is_told(cli, tmp_path):
    write(tmp_path / "2.wav", np.array([0.1, -2, 0.1]), subtype="FLOAT")
    write(tmp_path / "5.wav", np.array([0.1, -5, 0.1]), subtype="FLOAT")
    write(tmp_path / "long.wav", np.append(np.zeros(500_000), 3), subtype="FLOAT")
    loud = "full scale is 1: beyond 2 it does not come back at its level; scale it first"
    for name, peak in (("2", 0), ("5", 5), ("long", 3)):
        path = tmp_path / f"{name}.wav"
        said = f"warning: audio peaks at {peak}, {loud}\n" if peak else ""
        code, _, error = cli("compress", path, "--strict")
        assert (code, error) == (0, said and f"codec: {path}: {said}")
        code, _, error = cli("compress", "-", "-o", "-", stdin=path.read_bytes())
        assert (code, error) == (0, said and f"codec: standard input: {said}")


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

    monkeypatch.setattr("codec.files.transcode.Writer.finish", end)
    code, _, err = cli("compress", wav("a.wav"), "-o", tmp_path / "new/a.nac")
    assert code == expected[0]
    assert expected[1] in err
    assert tree(tmp_path) == ["a.wav"]
    assert not (tmp_path / "new").exists()


def test_usage(cli, wav, tmp_path):
    source = wav("a.wav")
    failed(cli("compress", source, "-b", "7"), "no bitrate of 7 kbit/s per channel")
    failed(cli("compress", source, "-n", "13"), "13 codebooks; the model has 1 to 12")
    failed(cli("compress", source, "--beam", "2"), "this backend has no beam search; native has")
    failed(cli("compress", source, "--refine", "2"), "this backend cannot refine codes; native can")
    failed(cli("compress", tmp_path / "none.wav"), "no such file or folder")
    failed(cli("compress", source, source, "-o", "-"), "many inputs need a folder")
    assert cli("compress", source, "-n", "1", "-b", "1")[0] == 2
    assert cli("compress")[0] == 2
    assert cli("nonsense")[0] == 2
    code, out, err = cli("--version")
    assert (code, err) == (0, "")
    assert out.decode().splitlines()[0] == f"codec {codec.__version__}"
    assert tree(tmp_path) == ["a.wav"]


def test_another_model_s_file(cli, wav, tmp_path, backend):
    cli("compress", wav("a.wav"))
    backend.model_id = bytes(8)
    failed(cli("decompress", tmp_path / "a.nac", "-o", tmp_path / "b.wav"), "made with model")


def test_a_name_with_a_line_end_makes_one_line(cli, tmp_path):
    (tmp_path / "two\nlines.wav").write_bytes(b"")
    failed(cli("compress", tmp_path / "two\nlines.wav"), r"two\nlines.wav: cannot read")


def test_an_error_that_is_our_own_is_one_line_too(cli, wav, monkeypatch):
    monkeypatch.setattr("codec.files.transcode.AudioReader", lambda *_, **__: 1 / 0)
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


def test_verify_says_what_is_lost_and_salvage_keeps_the_rest(cli, wav, tmp_path):
    cli("compress", wav("a.wav", 24_000 * 5, channels=2), "-n", "3")
    packed, back = tmp_path / "a.nac", tmp_path / "back.wav"
    good = packed.read_bytes()
    cli("decompress", packed, "-o", back)
    whole, _ = soundfile.read(back, dtype="int16")
    assert cli("verify", packed) == (0, f"{packed}: intact, 0:05.000\n".encode(), "")
    data = bytearray(good)
    data[300] ^= 1
    packed.write_bytes(data)
    code, out, err = cli("verify", packed)
    assert (code, err) == (1, "")
    assert out.decode().splitlines() == [
        f"{packed}: damaged, 2.000 s lost of 0:05.000",
        "  0:00.000 to 0:02.000 is lost",
    ]
    failed(cli("decompress", packed, "-o", back, "-f"), "chunk 0 is damaged")
    code, out, err = cli("decompress", packed, "-o", back, "-f", "--salvage")
    assert (code, out) == (0, b"")
    lost = "0:00.000 to 0:02.000 is lost and becomes silence"
    assert err == f"codec: {packed}: {lost}\n"
    rest, _ = soundfile.read(back, dtype="int16")
    assert np.array_equal(rest[48_000:], whole[48_000:])
    assert not rest[:48_000].any()
    # From a pipe, cut off in the last chunk.
    code, piped, err = cli("decompress", "-", "--salvage", stdin=good[: len(good) - 300])
    assert code == 0
    assert "0:04.000 to 0:05.000 is lost" in err
    assert np.array_equal(soundfile.read(io.BytesIO(piped), dtype="int16")[0][:96_000],
                          whole[:96_000])  # fmt: skip
    code, out, err = cli("verify", "-", stdin=good[:50])
    assert (code, out) == (1, b"")
    assert "truncated" in err
    packed.write_bytes(b"")
    failed(cli("verify", packed), "the file is empty")


def test_verify_names_what_is_not_audio(cli, wav, tmp_path):
    cli("compress", wav("a.wav", 24_000))
    packed = tmp_path / "a.nac"
    data = packed.read_bytes()
    for spoiled, problem in (
        (b"x" + data[1:], "its copy at the end is read"),
        (data[:-1], "the trailer is missing or damaged"),
        (data + b"x", "there is more after its end"),
    ):
        packed.write_bytes(spoiled)
        code, out, _ = cli("verify", packed)
        first, second = out.decode().splitlines()
        assert code == 1
        assert first == f"{packed}: damaged, 0.000 s lost of 0:01.000"
        assert problem in second


@pytest.mark.parametrize("source", ["file", "pipe"])
def test_stretches(cli, wav, tmp_path, source):
    cli("compress", wav("a.wav", 8000 * 9, rate=8000))
    packed, back = tmp_path / "a.nac", tmp_path / "back.wav"
    cli("decompress", packed, "-o", back)
    whole, _ = soundfile.read(back, dtype="int16")
    inputs = (packed, {}) if source == "file" else ("-", {"stdin": packed.read_bytes()})
    for start, duration, first, last in (
        ("3.5", "2", 28_000, 44_000), ("0:08", None, 64_000, 72_000), (None, "0:01.25", 0, 10_000),
        ("0:0:4", "0:1:0", 32_000, 72_000),
    ):  # fmt: skip
        options = [*(["--start", start] if start else []),
                   *(["--duration", duration] if duration else [])]  # fmt: skip
        name = inputs[0]
        assert cli("decompress", name, "-o", back, "-f", *options, **inputs[1])[0] == 0
        assert np.array_equal(soundfile.read(back, dtype="int16")[0], whole[first:last])
    failed(cli("decompress", packed, "-o", back, "-f", "--start", "9"), "no audio in this stretch")
    for wrong in ("x", "1:x", "-1", "1:2:3:4", "inf", "nan"):
        code, _, err = cli("decompress", packed, "--start", wrong)
        assert code == 2
        assert "is not a time; write 80, 1:20 or 1:02:03.5" in err
    assert cli("decompress", packed, "--start", "1", "--salvage")[0] == 2


def test_tags_are_carried_over(cli, wav, tmp_path):
    source = tmp_path / "a.flac"
    with soundfile.SoundFile(source, "w", 24_000, 1) as file:
        file.title, file.artist, file.date = "Tälk", "An Artist", "2024"
        file.write(np.zeros(3000))
    cli("compress", source)
    code, out, _ = cli("info", tmp_path / "a.nac")
    assert code == 0
    assert "  tag     title: Tälk\n" in out.decode()
    tags = {"artist": "An Artist", "date": "2024", "title": "Tälk"}
    assert json.loads(cli("info", tmp_path / "a.nac", "--json")[1])["tags"] == tags
    for suffix in (".flac", ".ogg", ".wav"):
        cli("decompress", tmp_path / "a.nac", "-o", tmp_path / f"b{suffix}")
        with soundfile.SoundFile(tmp_path / f"b{suffix}") as file:
            assert tags.items() <= file.copy_metadata().items()
    packed = (tmp_path / "a.nac").read_bytes()
    for piped in (
        cli("decompress", "-", stdin=packed),
        cli("decompress", tmp_path / "a.nac", "-o", "-"),
    ):
        with soundfile.SoundFile(io.BytesIO(piped[1])) as file:
            assert tags.items() <= file.copy_metadata().items()
    part = tmp_path / "part.flac"
    assert cli("decompress", tmp_path / "a.nac", "-o", part, "--start", "0.05")[0] == 0
    with soundfile.SoundFile(part) as file:
        assert tags.items() <= file.copy_metadata().items()


def test_info_shows_no_control_characters(cli, small, tmp_path):
    tokens = small.encode(np.zeros(480, np.float32), 24_000)
    with (tmp_path / "a.nac").open("wb") as file:
        writer = Writer(file, header_of(tokens), tags={"title": "a\x1b[2Jb\nc"})
        writer.write(tokens.codes)
        writer.finish(480)
    code, out, _ = cli("info", tmp_path / "a.nac")
    assert code == 0
    assert "title: a�[2Jb�c" in out.decode()


def test_a_quality_takes_what_bits_it_needs(cli, wav, tmp_path):
    packed = tmp_path / "a.nac"
    sizes = []
    for quality in (0, 9.999, 10):
        assert cli("compress", wav("a.wav", 24_000 * 5), "-f", "--quality", quality)[0] == 0
        sizes.append(packed.stat().st_size)
        assert cli("decompress", packed, "-f", "-o", tmp_path / "b.wav")[0] == 0
        assert soundfile.info(tmp_path / "b.wav").frames == 24_000 * 5
        held = json.loads(cli("info", packed, "--json", "--levels")[1])
        assert held["variable"]
        assert held["mean_codebooks"] * 500 == pytest.approx(held["channel_bitrate"])
        assert sum(held["level_bitrates"]) == pytest.approx(held["coded_bitrate"])
    assert sizes[0] < sizes[1] <= sizes[2]
    assert held["mean_codebooks"] == 12
    assert cli("compress", wav("a.wav"), "--quality", "11")[0] == 2
    assert cli("compress", wav("a.wav"), "--quality", "5", "-b", "1")[0] == 2


def test_efforts_and_raw_input(cli, wav, tmp_path):
    source = wav("a.wav", 5000, channels=2)
    assert cli("compress", source, "--effort", "raw")[0] == 0
    failed(cli("compress", source, "-f", "--effort", "best"), "no data for the coder 'best'")
    assert cli("compress", source, "--effort", "huge")[0] == 2
    samples = soundfile.read(source, dtype="int16")[0].tobytes()
    code, _, _ = cli("compress", "-", "-o", tmp_path / "b.nac", "--raw", "24000:2", stdin=samples)
    assert code == 0
    assert (tmp_path / "b.nac").read_bytes() == (tmp_path / "a.nac").read_bytes()
    assert cli("compress", "-", "--raw", "x", stdin=samples)[0] == 2
    failed(cli("compress", "-", "--raw", "1", stdin=samples), "a sample rate of 1 Hz")
    failed(cli("compress", "-", "--live", stdin=source.read_bytes()), "needs the native backend")
    failed(cli("decompress", tmp_path / "a.nac", "--format", "raw"), "standard output only")


def test_an_interrupt_ends_the_other_files_between_steps():
    workers = Workers()

    def attempt(job):
        if job.name == "first":
            raise KeyboardInterrupt
        while not workers.stopped():
            time.sleep(0.001)

    jobs = [Job(Path(name), None) for name in ("first", "second")]
    with pytest.raises(KeyboardInterrupt):
        _side_by_side(attempt, jobs, 2, Progress(shown=False), workers)
