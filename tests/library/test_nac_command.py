"""examples/c/nac.c makes the files of `codec compress` and `codec decompress`, byte for byte."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

from bench.random_weights import SMALL, STEREO, noise, write_weights
from codec.model.weights_file import WeightsFile
from tests.helpers.c_library import GCC, ROOT, SANITIZED, compile_c, sources
from tests.helpers.cli import Cli
from tests.helpers.enhancers import write_enhancer
from tests.library.nac_models import write_model

pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")

RATE = SMALL.sample_rate
FILES = [ROOT / "examples" / "c" / f"{name}.c" for name in ("nac", "wav")]
POSIX = ("-D_POSIX_C_SOURCE=200809L", "-D_FILE_OFFSET_BITS=64")


class Command:
    """Runs `nac ARGS` with a model: exit code and standard error."""

    def __init__(self, program: Path, model: Path) -> None:
        self.program, self.model = program, model

    def __call__(self, command: str, *args: object) -> tuple[int, str]:
        words = [self.program, command, "-m", self.model, *map(str, args)]
        done = subprocess.run(words, capture_output=True, text=True)
        return done.returncode, done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_enhancer(write_model(tmp_path_factory.mktemp("model") / "small.safetensors"))


@pytest.fixture(scope="module")
def program(libcodec: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, linked with the library of this session."""
    target = tmp_path_factory.mktemp("command") / "nac"
    return compile_c(target, [*FILES, Path(libcodec._name)], *POSIX, "-O1")


@pytest.fixture
def nac(program: Path, model: Path) -> Command:
    return Command(program, model)


def with_enhancer(weights: Path) -> Path:
    """Write an enhancer beside the weights."""
    write_enhancer(weights, WeightsFile(weights).model_id)
    return weights


def audio_of(channels: int, samples: int) -> np.ndarray[Any, Any]:
    return np.stack([noise(samples, seed) for seed in range(channels)], axis=1)


def riff(*chunks: tuple[bytes, bytes], size: int | None = None, magic: bytes = b"RIFF") -> bytes:
    """A WAV of chunks; the size of the last one may be claimed to be another."""
    body = b""
    for name, data in chunks:
        body += name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    if size is not None:
        at = len(body) - len(chunks[-1][1]) - len(chunks[-1][1]) % 2 - 4
        body = body[:at] + struct.pack("<I", size) + body[at + 4 :]
    return magic + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def form(tag: int, channels: int, bits: int, rate: int = RATE) -> tuple[bytes, bytes]:
    align = channels * bits // 8
    return b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)


def extensible(channels: int, bits: int, mask: int, tag: int = 1) -> tuple[bytes, bytes]:
    name, plain = form(0xFFFE, channels, bits)
    guid = bytes.fromhex("000000001000800000aa00389b71")
    return name, plain + struct.pack("<HHIH", 22, bits, mask, tag) + guid


def info(**tags: bytes) -> tuple[bytes, bytes]:
    entries = [(key.encode(), value + b"\0") for key, value in tags.items()]
    body = b"".join(
        key + struct.pack("<I", len(value)) + value + bytes(len(value) % 2)
        for key, value in entries
    )
    return b"LIST", b"INFO" + body


SOUND = (20_000 * audio_of(1, 3000)[:, 0]).clip(-32_768, 32_767).astype("<i2").tobytes()
LATIN = info(INAM=b"caf\xe9 \xe2\x82", IART=" \u4f60\u597d ".encode(), ICMT=b"odd", ISFT=b"other")
WAVS = {
    "plain": riff(form(1, 1, 16), (b"data", SOUND)),
    "tagged": riff(form(1, 1, 16), LATIN, (b"data", SOUND)),
    "tags behind": riff(form(1, 1, 16), info(INAM=b"a"), (b"data", SOUND), info(INAM=b"b")),
    "all tags": riff(
        form(1, 2, 16),
        info(**{name: name.encode() for name in
                ("INAM", "IART", "IPRD", "ICRD", "ITRK", "IGNR", "ICMT", "ICOP")}),
        (b"data", SOUND),
    ),
    "invalid utf-8": riff(
        form(1, 1, 16),
        info(INAM=bytes(range(0x7F, 0x100)), IART=b"\xf0\x9f\x98", ICMT=b"\xed\xa0\x80\xf4\x90x"),
        (b"data", SOUND),
    ),
    "windows-1252": riff(
        form(1, 1, 16),
        info(INAM=bytes(range(0x80, 0x100)), IPRT=b"7", IART=b"a\xe9"),
        (b"data", SOUND),
    ),
    "8 bits": riff(form(1, 1, 8), (b"data", SOUND[1::2])),
    "24 bits": riff(form(1, 2, 24), (b"data", SOUND)),
    "32 bits": riff(form(1, 1, 32), (b"data", SOUND)),
    "double": riff(form(3, 1, 64), (b"data", audio_of(1, 2000).astype("<f8").tobytes())),
    "surround": riff(extensible(3, 16, 0x604), (b"data", SOUND)),
    "unknown speakers": riff(extensible(4, 16, 0x3), (b"data", SOUND)),
    "float extensible": riff(
        extensible(2, 32, 3, 3), (b"data", audio_of(2, 1500).astype("<f4").tobytes())
    ),
    "odd chunks": riff(
        (b"junk", b"123"), form(1, 1, 16), (b"fact", b"12345"), (b"data", SOUND[:-2] + b"1"),
    ),
    "no pad": riff(form(1, 1, 16))[:36] + b"bext\3\0\0\0abcdata" + struct.pack("<I", 6000) + SOUND,
    "size never filled in": riff(form(1, 1, 16), (b"data", SOUND), size=0),
    "endless": riff(form(1, 1, 16), (b"data", SOUND), size=0xFFFFFFFF),
    "almost endless": riff(form(1, 1, 16), (b"data", SOUND), size=0x7FFFF000),
    "3 GB claimed": riff(form(1, 1, 16), (b"data", SOUND), size=3_000_000_000),
    "4 GB claimed": riff(form(1, 1, 16), (b"data", SOUND), size=0xFFFE_FFFE),
    "RF64": riff(
        (b"ds64", struct.pack("<QQQI", 0, len(SOUND), 0, 0)), form(1, 1, 16), (b"data", SOUND),
        size=0xFFFFFFFF, magic=b"RF64",
    ),
    "cut off": riff(form(1, 1, 16), (b"data", SOUND))[:-1001],
    "joined": riff(form(1, 1, 16), info(INAM=b"first"), (b"data", SOUND), info(INAM=b"x"),
                   (b"data", SOUND)),
    "another behind": 2 * riff(form(1, 1, 16), (b"data", SOUND)),
    "more than it claims": riff(form(1, 1, 16), (b"data", SOUND), size=3000),
    "more than an odd size": riff(form(1, 1, 8), (b"data", bytes([128]) * 3000), size=2999),
    "silence and more": riff(form(1, 1, 16), (b"data", SOUND + bytes(1 << 21) + SOUND), size=6000),
    "zeros behind": riff(form(1, 1, 16), (b"data", SOUND)) + bytes(1 << 21),
    "zeros and tags": riff(
        form(1, 1, 16), (b"data", SOUND), *[(bytes(4), b"")] * 100, info(INAM=b"x"),
    ),
    "one sample": riff(form(1, 1, 16), (b"data", SOUND[:2])),
    "a byte too many": riff(form(1, 2, 16), (b"data", SOUND[:-1])),
}  # fmt: skip


@pytest.mark.parametrize("name", WAVS)
def test_any_wav_there_and_back(
    nac: Command, cli_of_weights: Cli, tmp_path: Path, name: str
) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(WAVS[name])
    there(nac, cli_of_weights, source)


def there(
    nac: Command, cli: Cli, source: Path, *options: object, restoring: tuple[object, ...] = ()
) -> None:
    """Compress `source` with `options`, and restore it with those of `restoring`, with both
    commands; the results are the same."""
    mine, other = source.with_name("mine"), source.with_name("other")
    codec, model = (cli, ("--model", nac.model))
    code, _, error = codec("compress", "-q", source, "-o", f"{other}.nac", *options, *model)
    assert code == 0, error
    code, problem = nac("compress", source, f"{mine}.nac", *options)
    assert code == 0, problem
    assert ("warning" in problem) == ("warning" in error), (problem, error)
    assert Path(f"{mine}.nac").read_bytes() == Path(f"{other}.nac").read_bytes()
    code, _, error = codec("decompress", "-q", f"{other}.nac", *restoring, *model)
    assert code == 0, error
    code, problem = nac("decompress", *restoring, f"{mine}.nac", f"{mine}.wav")
    assert code == 0, problem
    assert Path(f"{mine}.wav").read_bytes() == Path(f"{other}.wav").read_bytes()


@pytest.mark.parametrize(
    "options",
    [("-n", 1), ("-b", 0.3), ("--effort", "raw"), ("--effort", "best"),
     ("-n", 2, "--effort", "fast"), ("--beam", 8), ("--beam", 1, "--effort", "best"),
     ("--beam", 2, "--effort", "raw"), ("-n", 2, "--beam", 64, "--effort", "best"),
     ("--refine", 0), ("--refine", 2, "--beam", 3, "-n", 2)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(("channels", "samples"), [(1, 60_001), (3, 49_920)])
def test_any_options(
    nac: Command, cli_of_weights: Cli, tmp_path: Path, options: tuple[object, ...],
    channels: int, samples: int,
) -> None:  # fmt: skip
    source = tmp_path / "in.wav"
    soundfile.write(source, audio_of(channels, samples), RATE, subtype="FLOAT")
    there(nac, cli_of_weights, source, *options)


def test_several_windows_are_refined(nac: Command, cli_of_weights: Cli, tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    soundfile.write(source, audio_of(2, 220_001), RATE, subtype="PCM_16")
    there(nac, cli_of_weights, source, "--refine", 1)


@pytest.mark.parametrize("option", [("--beam", 64), ("--refine", 20)], ids=str)
def test_a_search_finds_other_codes(
    nac: Command, tmp_path: Path, option: tuple[object, ...]
) -> None:
    source, one, many = (tmp_path / name for name in ("in.wav", "one.nac", "many.nac"))
    source.write_bytes(WAVS["plain"])
    assert nac("compress", source, one, "--effort", "raw") == (0, "")
    assert nac("compress", source, many, "--effort", "raw", *option) == (0, "")
    assert len(one.read_bytes()) == len(many.read_bytes())
    assert one.read_bytes() != many.read_bytes()


POSTFILTER, ENHANCE = ("--postfilter",), ("--enhance",)
IMPROVED = pytest.mark.parametrize("restoring", [POSTFILTER, ENHANCE], ids=lambda words: words[0])


@IMPROVED
@pytest.mark.parametrize(
    ("channels", "samples"),
    [(1, 1), (1, 961), (1, 60_001), (2, 120_000), (3, 49_921), (2, 260_003)],
)
def test_improved_audio(
    nac: Command, cli_of_weights: Cli, tmp_path: Path, channels: int, samples: int,
    restoring: tuple[str, ...],
) -> None:  # fmt: skip
    source = tmp_path / "in.wav"
    soundfile.write(source, audio_of(channels, samples), RATE, subtype="PCM_16")
    there(nac, cli_of_weights, source, restoring=restoring)
    made = {}
    for words in (("--no-enhance",), (), restoring):
        target = tmp_path / "out.wav"
        assert nac("decompress", *words, tmp_path / "mine.nac", target, "-f") == (0, "")
        made[words] = target.read_bytes()
    plain, improved = made["--no-enhance",], made[restoring]
    assert improved == (tmp_path / "mine.wav").read_bytes()
    assert len(plain) == len(improved)
    assert plain != improved or samples == 1
    assert made[()] == improved or restoring != ENHANCE  # which is the default


def test_plain_audio(nac: Command, cli_of_weights: Cli, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", audio_of(2, 30_001), RATE, subtype="PCM_16")
    there(nac, cli_of_weights, tmp_path / "in.wav", restoring=("--no-enhance",))


@pytest.mark.parametrize(("channels", "restoring"), [(4, POSTFILTER), (3, ENHANCE), (4, ENHANCE)])
def test_improved_pairs(
    program: Path, cli_of_weights: Cli, tmp_path: Path, channels: int, restoring: tuple[str, ...]
) -> None:
    config = dataclasses.replace(SMALL, channels=2)
    model = with_enhancer(write_model(tmp_path / "pairs.safetensors", config))
    source = tmp_path / "in.wav"
    soundfile.write(source, audio_of(channels, 50_000), RATE, subtype="PCM_16")
    there(Command(program, model), cli_of_weights, source, restoring=restoring)


@IMPROVED
def test_audio_of_another_rate_is_not_improved(
    program: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path,
    restoring: tuple[str, ...],
) -> None:  # fmt: skip
    weights = tmp_path_factory.mktemp("wide") / "wide.safetensors"
    pairs = Command(program, with_enhancer(write_model(weights, STEREO)))
    source, file = tmp_path / "in.wav", tmp_path / "a.nac"
    soundfile.write(source, audio_of(2, 3000), STEREO.sample_rate)
    assert pairs("compress", source, file) == (0, "")
    code, error = pairs("decompress", *restoring, file, tmp_path / "out.wav")
    assert code == 1
    assert error.startswith("nac: ")
    assert error.endswith(" is for models of 24000 Hz, not 48000 Hz\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nac", "in.wav"]


@IMPROVED
def test_only_what_is_restored_is_improved(
    nac: Command, tmp_path: Path, restoring: tuple[str, ...]
) -> None:
    code, error = nac("compress", *restoring, tmp_path / "a.wav", tmp_path / "a.nac")
    assert code == 2
    assert error.startswith("nac: an unknown option\n")


def test_audio_is_improved_in_one_way(nac: Command, tmp_path: Path) -> None:
    words = ("--postfilter", "--enhance", tmp_path / "a.nac", tmp_path / "a.wav")
    code, error = nac("decompress", *words)
    assert code == 2
    assert error.startswith("nac: choose --postfilter or --enhance, not both\n")


def test_what_is_wrong_with_an_enhancer_names_its_file(
    program: Path, model: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "a.b.safetensors"
    weights.write_bytes(model.read_bytes())
    nac, path = Command(program, weights), tmp_path / "a.b.enhancer"
    source, file = tmp_path / "in.wav", tmp_path / "a.nac"
    source.write_bytes(WAVS["plain"])
    assert nac("compress", "--effort", "raw", source, file) == (0, "")
    refused = (file, tmp_path / "out.wav")
    assert nac("decompress", "--enhance", *refused) == (1, f"nac: {path}: cannot be opened\n")
    assert nac("decompress", *refused) == (0, "")
    (tmp_path / "out.wav").unlink()
    path.write_bytes(b"no weights")
    for words in (("--enhance",), ()):
        code, error = nac("decompress", *words, *refused)
        assert (code, error.count("\n")) == (1, 1)
        assert error.startswith(f"nac: {path}: ")
        assert error.endswith("; --no-enhance does without\n") == (not words)
    write_enhancer(weights, bytes(8))
    code, error = nac("decompress", "--enhance", *refused)
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith(f"nac: {path}: the enhancer is of model {16 * '0'}, not ")
    names = ["a.b.enhancer", "a.b.safetensors", "a.nac", "in.wav"]
    assert sorted(found.name for found in tmp_path.iterdir()) == names


def test_files_of_other_kinds_are_restored(
    nac: Command, cli_of_weights: Cli, tmp_path: Path
) -> None:
    """Those of constant quality, of single frames, and those whose length only the end knows."""
    sound = riff(form(1, 2, 16), (b"data", SOUND))
    mine, other, model = tmp_path / "mine.wav", tmp_path / "other.wav", ("--model", nac.model)
    codec = cli_of_weights
    for name, options in {"quality": ("--quality", 5), "live": ("--live",), "pipe": ()}.items():
        code, data, error = codec("compress", "-", "-o", "-", *options, *model, stdin=sound)
        assert code == 0, error
        source = tmp_path / f"{name}.nac"
        source.write_bytes(data)
        code, _, error = codec("decompress", "-q", "-f", source, "-o", other, *model)
        assert code == 0, error
        assert nac("decompress", "-f", source, mine) == (0, "")
        assert mine.read_bytes() == other.read_bytes()


def test_a_model_without_data_makes_raw_codes(
    program: Path, cli_of_weights: Cli, tmp_path: Path
) -> None:
    bare = Command(program, write_weights(tmp_path / "bare.safetensors", SMALL))
    source = tmp_path / "in.wav"
    source.write_bytes(WAVS["plain"])
    there(bare, cli_of_weights, source)
    assert "no data" in bare("compress", source, tmp_path / "x.nac", "--effort", "fast")[1]


@pytest.fixture(scope="module")
def pairs(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command with a model that codes two channels together."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.safetensors"
    return Command(program, write_model(path, STEREO))


@pytest.mark.parametrize(
    ("channels", "options"),
    [(1, ()), (2, ("--effort", "best")), (2, ("-b", 0.3)), (3, ("-n", 2)), (3, ("--beam", 8)),
     (5, ("--effort", "raw")), (3, ("--refine", 2, "--beam", 2))],
    ids=str,
)  # fmt: skip
def test_channels_in_pairs(
    pairs: Command, cli_of_weights: Cli, tmp_path: Path, channels: int, options: tuple[object, ...]
) -> None:
    source = tmp_path / "in.wav"
    soundfile.write(source, audio_of(channels, 100_003), STEREO.sample_rate, subtype="PCM_24")
    there(pairs, cli_of_weights, source, *options)
    assert (tmp_path / "mine.nac").read_bytes()[10] == 2


def test_a_file_of_pairs_needs_a_model_of_pairs(
    pairs: Command, nac: Command, tmp_path: Path
) -> None:
    source, file = tmp_path / "in.wav", tmp_path / "a.nac"
    source.write_bytes(riff(form(1, 2, 16, STEREO.sample_rate), (b"data", SOUND)))
    assert pairs("compress", source, file) == (0, "")
    code, error = nac("decompress", file, tmp_path / "out.wav")
    assert code == 1
    assert error.count("\n") == 1
    code, error = pairs("compress", source, file, "-f", "-b", 100)
    assert code == 1
    assert "per two channels" in error


def nan_wav() -> bytes:
    samples = np.full(3000, np.nan, "<f4")
    return riff(form(3, 1, 32), (b"data", samples.tobytes()))


BAD = {
    "not a WAV": b"fLaC" + bytes(100),
    "another rate": riff(form(1, 1, 16, 44_100), (b"data", SOUND)),
    "no format": riff((b"data", SOUND)),
    "no samples": riff(form(1, 1, 16), (b"data", b""), info(INAM=b"x")),
    "no data": riff(form(1, 1, 16)),
    "12 bits": riff(form(1, 1, 12), (b"data", SOUND)),
    "mu-law": riff(form(7, 1, 8), (b"data", SOUND)),
    "no channels": riff(form(1, 0, 16), (b"data", SOUND)),
    "not finite": nan_wav(),
    "too loud": riff(form(3, 1, 32), (b"data", np.full(99, 257, "<f4").tobytes())),
    "empty": b"",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_audio_is_refused(nac: Command, tmp_path: Path, name: str) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(BAD[name])
    code, error = nac("compress", source, tmp_path / "out.nac")
    assert code == 1
    assert error.count("\n") == 1
    assert error.startswith(f"nac: {source}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_damage_leaves_no_output(nac: Command, tmp_path: Path) -> None:
    source, file, target = (tmp_path / name for name in ("in.wav", "a.nac", "out.wav"))
    soundfile.write(source, audio_of(1, 150_000), RATE)
    assert nac("compress", source, file)[0] == 0
    data = file.read_bytes()
    damaged: list[Callable[[], bytes]] = [
        lambda: data[:-1],
        lambda: data + b"\0",
        lambda: data[:-300] + b"\xff" + data[-299:],
        lambda: data[: len(data) // 2],
        lambda: data[:30],
        lambda: WAVS["plain"],
    ]
    for make in damaged:
        file.write_bytes(make())
        code, error = nac("decompress", file, target)
        assert code == 1
        assert error.count("\n") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nac", "in.wav"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(nac: Command, tmp_path: Path, number: signal.Signals) -> None:
    """It ends the command as if nothing handled it, in the middle of a long refinement."""
    process = refining(nac, tmp_path, signal.SIG_DFL)
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == -number
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_an_ignored_signal_stays_ignored(nac: Command, tmp_path: Path) -> None:
    process = refining(nac, tmp_path, signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM


def refining(nac: Command, folder: Path, hangup: signal.Handlers) -> subprocess.Popen[str]:
    """Start the command on work of minutes, and wait until its output exists."""

    def listen() -> None:
        """Undo what this process may inherit: SIGINT ignored in a shell's background, by nohup
        SIGHUP."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, hangup)

    source = folder / "in.wav"
    soundfile.write(source, audio_of(1, 500_000), RATE)
    words = ["compress", "-m", nac.model, "--refine", 1000, "--beam", 64, source, folder / "a.nac"]
    process = subprocess.Popen(
        [nac.program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,
    )
    while process.poll() is None and not any(folder.glob(".nac-*.part")):
        time.sleep(0.01)
    assert process.returncode is None
    return process


def test_outputs_are_not_overwritten_by_chance(nac: Command, tmp_path: Path) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.nac"
    source.write_bytes(WAVS["plain"])
    target.write_bytes(b"precious")
    code, error = nac("compress", source, target)
    assert code == 1
    assert "--force" in error
    assert target.read_bytes() == b"precious"
    assert nac("compress", source, target, "-f") == (0, "")
    assert target.read_bytes().startswith(b"\x89NAC")
    for wrong in (tmp_path, tmp_path / "no" / "folder.nac"):
        assert nac("compress", source, wrong)[0] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav", "out.nac"]


def test_no_output_overwrites_its_input(nac: Command, tmp_path: Path) -> None:
    source, file, link = tmp_path / "in.wav", tmp_path / "a.nac", tmp_path / "link"
    source.write_bytes(WAVS["plain"])
    assert nac("compress", source, file) == (0, "")
    for command, path in (("compress", source), ("decompress", file)):
        data = path.read_bytes()
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        for target in (path, link):
            code, error = nac(command, path, target, "-f")
            assert code == 1
            assert error == f"nac: {path}: the output would overwrite the input\n"
            assert path.read_bytes() == data


def test_what_a_link_leads_to_is_replaced(nac: Command, tmp_path: Path) -> None:
    source, target, link = tmp_path / "in.wav", tmp_path / "a.nac", tmp_path / "link.nac"
    source.write_bytes(WAVS["plain"])
    target.write_bytes(b"old")
    link.symlink_to(target)
    assert nac("compress", source, link, "-f") == (0, "")
    assert link.is_symlink()
    assert target.read_bytes().startswith(b"\x89NAC")
    target.unlink()
    code, error = nac("compress", source, link)
    assert (code, error) == (1, f"nac: {source}: the output is a link that leads nowhere\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav", "link.nac"]


def test_a_limit_on_sizes_leaves_no_part(nac: Command, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soundfile.write(tmp_path / "in.wav", audio_of(1, 90_000), RATE, subtype="PCM_16")
    assert nac("compress", tmp_path / "in.wav", tmp_path / "a.nac") == (0, "")
    done = subprocess.run(
        [nac.program, "decompress", "-m", nac.model, tmp_path / "a.nac", tmp_path / "out.wav"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("nac: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nac", "in.wav"]


@pytest.mark.parametrize(
    "words",
    [(), ("in",), ("in", "out", "more"), ("-n", "x", "in", "out"), ("-n", "0", "in", "out"),
     ("-b", "0", "in", "out"), ("--what", "1", "in", "out"), ("in", "out", "-n"),
     ("-n", "1", "-b", "1", "in", "out")],
    ids=str,
)  # fmt: skip
def test_wrong_words_are_explained(nac: Command, words: tuple[str, ...]) -> None:
    code, error = nac("compress", *words)
    assert code == 2
    assert "usage: nac" in error


@pytest.mark.parametrize("paths", ["0", "65", "-1", "8x", "", "2.5", "99999999999999999999"])
def test_other_numbers_of_paths_are_refused(nac: Command, tmp_path: Path, paths: str) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(WAVS["plain"])
    code, error = nac("compress", "--beam", paths, source, tmp_path / "out.nac")
    assert code == 2
    assert error.startswith("nac: --beam takes a number from 1 to 64\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize("steps", ["1001", "-1", "8x", "", "2.5", "99999999999999999999"])
def test_other_numbers_of_steps_are_refused(nac: Command, tmp_path: Path, steps: str) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(WAVS["plain"])
    code, error = nac("compress", "--refine", steps, source, tmp_path / "out.nac")
    assert code == 2
    assert error.startswith("nac: --refine takes a number from 0 to 1000\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize("option", ["--beam", "--refine"])
def test_only_codes_that_are_made_are_searched(nac: Command, tmp_path: Path, option: str) -> None:
    code, error = nac("decompress", option, 8, tmp_path / "a.nac", tmp_path / "a.wav")
    assert code == 2
    assert error.startswith("nac: an unknown option\n")


def test_limits_of_options_are_those_of_the_model(nac: Command, tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(WAVS["plain"])
    for options in (("-n", 4), ("-b", 0.1), ("-b", 100), ("--effort", "most")):
        code, error = nac("compress", source, tmp_path / "out.nac", *options)
        assert code == 1
        assert error.count("\n") == 1


def test_what_is_wrong_with_weights_names_their_file_once(program: Path, tmp_path: Path) -> None:
    source, weights = tmp_path / "in.wav", tmp_path / "m.safetensors"
    source.write_bytes(WAVS["plain"])
    nac = Command(program, weights)
    error = f"nac: {weights}: cannot be opened\n"
    assert nac("compress", source, tmp_path / "a.nac") == (1, error)
    weights.write_bytes(b"no weights")
    code, error = nac("compress", source, tmp_path / "a.nac")
    assert code == 1
    assert error.startswith(f"nac: {weights}: ")
    assert (error.count(str(weights)), error.count("\n")) == (1, 1)


@pytest.mark.slow
def test_the_command_is_clean_under_the_sanitizers(
    cli_of_weights: Cli, model: Path, tmp_path: Path
) -> None:
    program = compile_c(tmp_path / "nac", [*FILES, *sources()], *POSIX, "-O1", *SANITIZED)
    pairs = Command(program, write_model(tmp_path / "pairs.safetensors", STEREO))
    several = tmp_path / "enhanced" / "in.wav"
    several.parent.mkdir()
    soundfile.write(several, audio_of(2, 130_001), RATE)
    there(Command(program, model), cli_of_weights, several, restoring=ENHANCE)
    for channels in (1, 2, 3):
        source = tmp_path / f"{channels} channels" / "in.wav"
        source.parent.mkdir()
        soundfile.write(source, audio_of(channels, 50_000), STEREO.sample_rate)
        there(pairs, cli_of_weights, source, "--beam", channels**3, "--refine", channels % 2)
    nac = Command(program, model)
    source = tmp_path / "in.wav"
    soundfile.write(source, audio_of(2, 110_001), RATE)
    there(nac, cli_of_weights, source, "--refine", 1, "--beam", 2, restoring=POSTFILTER)
    for name, data in (WAVS | BAD).items():
        folder = tmp_path / name
        folder.mkdir()
        source = folder / "in.wav"
        source.write_bytes(data)
        for effort in ("raw", "best") if name in WAVS else ("raw",):
            code, error = nac("compress", source, folder / "a.nac", "-f", "--effort", effort)
            assert code == (name in BAD), error
            assert "Sanitizer" not in error
            if not code:
                assert nac("decompress", folder / "a.nac", folder / "a.wav", "-f") == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effort", "search"),
    [("raw", ("--beam", 64)), ("fast", ("--refine", 1, "--beam", 2)), ("best", ("--beam", 7))],
)
def test_the_command_is_clean_under_valgrind(
    program: Path, model: Path, tmp_path: Path, effort: str, search: tuple[object, ...]
) -> None:
    """In both directions, and nothing that was allocated is lost at the end."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("needs valgrind")
    script = tmp_path / "nac"
    options = "-q --error-exitcode=9 --leak-check=full"
    script.write_text(f'#!/bin/sh\nexec {valgrind} {options} {program} "$@"\n')
    script.chmod(0o755)
    nac = Command(script, model)
    source, file, target = (tmp_path / name for name in ("in.wav", "a.nac", "out.wav"))
    source.write_bytes(WAVS["plain"])
    assert nac("compress", source, file, "--effort", effort, *search) == (0, "")
    assert nac("decompress", file, target) == (0, "")
    for option in (*POSTFILTER, *ENHANCE):
        assert nac("decompress", option, "-f", file, target) == (0, "")


@pytest.mark.slow
def test_another_processor_makes_the_same_files(
    cli_of_weights: Cli, model: Path, tmp_path: Path
) -> None:
    """For aarch64, run by qemu (Debian: apt install gcc-aarch64-linux-gnu qemu-user)."""
    compiler, runner = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or runner is None:
        pytest.skip("no compiler or runner for aarch64")
    files = [*FILES, *sources()]
    program = compile_c(tmp_path / "arm", files, *POSIX, "-O2", "-static", compiler=compiler)
    script = tmp_path / "nac"
    script.write_text(f'#!/bin/sh\nexec {runner} {program} "$@"\n')
    script.chmod(0o755)
    pairs = Command(script, write_model(tmp_path / "pairs.safetensors", STEREO))
    source = tmp_path / "pair.wav"
    soundfile.write(source, audio_of(3, 20_000), STEREO.sample_rate)
    there(pairs, cli_of_weights, source, "--beam", 8)
    for name, effort in (("plain", "fast"), ("surround", "best"), ("double", "raw")):
        (tmp_path / name).mkdir()
        source = tmp_path / name / "in.wav"
        source.write_bytes(WAVS[name])
        search = ("--refine", 2, "--beam", 2) if name == "plain" else ()
        there(
            Command(script, model), cli_of_weights, source, "--effort", effort, *search,
            restoring=ENHANCE if name == "plain" else POSTFILTER,
        )  # fmt: skip
