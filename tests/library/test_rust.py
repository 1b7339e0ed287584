"""examples/rust declares libcodec as codec.h does, and makes the files of `codec`."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

from bench.random_weights import SMALL, STEREO, noise, write_weights
from codec.model.weights_file import WeightsFile
from tests.helpers.c_library import CSRC, GCC, ROOT, compile_c
from tests.helpers.cli import Cli
from tests.helpers.enhancers import write_enhancer
from tests.library.nac_models import write_model

CRATE = ROOT / "examples" / "rust"
HEADER = CSRC / "include" / "codec.h"
CARGO = shutil.which("cargo") if shutil.which("rustc") else None
RATE = SMALL.sample_rate

Nac = Callable[..., tuple[int, str]]

# What a type of C is in Rust; the structs have the same names in both.
PLAIN = {
    "void": "c_void", "char": "c_char", "int": "c_int", "float": "f32", "size_t": "usize",
    "uint8_t": "u8", "uint16_t": "u16", "uint32_t": "u32", "uint64_t": "u64", "int64_t": "i64",
}  # fmt: skip
CALLBACKS = {"codec_read", "codec_read_at", "codec_write"}  # of C; of Rust the pointers to them


def rust_type(declared: str) -> str:
    """Return the Rust of a C declaration such as `const float *samples`."""
    text, _, size = declared.partition("[")
    words = re.findall(r"\w+|\*", text)
    if words[-1] != "*" and len([word for word in words if word not in ("const", "*")]) > 1:
        words.pop()  # the name
    found = ""
    constant = words[0] == "const"
    for word in words:
        if word == "const":
            constant = True
        elif word == "*":
            if found in CALLBACKS:
                return found
            found = f"*{'const' if constant else 'mut'} {found}"
            constant = False
        else:
            found = PLAIN.get(word, word)
    return f"*mut {found}" if size else found


def squeezed(path: Path) -> str:
    """The text of C or Rust without comments, on one line."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    return " ".join(text.split())


def c_functions() -> dict[str, tuple[list[str], str]]:
    found = {}
    declared = r"CODEC_API ([\w *]+?)(codec_\w+)\(([^()]*)\);"
    for result, name, arguments in re.findall(declared, squeezed(HEADER)):
        given = [] if arguments == "void" else arguments.split(", ")
        back = "" if result.strip() == "void" else rust_type(result)
        found[name] = ([rust_type(argument) for argument in given], back)
    return found


def rust_functions() -> dict[str, tuple[list[str], str]]:
    found = {}
    declared = r"pub fn (\w+)\(([^()]*)\)(?: -> ([^;]+))?;"
    for name, arguments, result in re.findall(declared, squeezed(CRATE / "src" / "ffi.rs")):
        given = [each.split(": ", 1)[1] for each in arguments.strip(" ,").split(", ") if each]
        found[name] = (given, result)
    return found


def test_functions_are_declared_as_in_the_header() -> None:
    header, crate = c_functions(), rust_functions()
    assert len(crate) > 25
    for name, declared in crate.items():
        assert declared == header[name], name


def test_structs_are_declared_as_in_the_header() -> None:
    structs = {
        name: re.findall(r"pub (\w+): ([^,]+),", fields)
        for name, fields in re.findall(r"pub struct (codec_\w+) {([^}]*)}",
                                       squeezed(CRATE / "src" / "ffi.rs"))
    }  # fmt: skip
    assert structs.keys() == {"codec_info", "codec_file_info", "codec_tag"}
    for name, fields in structs.items():
        body = re.search(rf"typedef struct {name} {{([^}}]*)}} {name};", squeezed(HEADER))
        assert body is not None
        expected = []
        for line in body.group(1).split(";")[:-1]:
            first, *more = line.strip().split(",")
            of = first.rsplit("*", 1)[0] + "*" if "*" in first else " ".join(first.split()[:-1])
            for each in [first.removeprefix(of), *more]:
                member, _, size = each.strip(" *]").partition("[")
                kind = rust_type(of)
                expected.append((member, f"[{kind}; {size}]" if size else kind))
        assert fields == expected, name


def test_numbers_are_those_of_the_header() -> None:
    numbers = re.findall(r"pub const (\w+): \w+ = (\w+);", squeezed(CRATE / "src" / "ffi.rs"))
    assert len(numbers) > 5
    for name, value in numbers:
        expected = re.search(rf"{name}(?: =)? (\w+)", squeezed(HEADER))
        assert expected is not None
        assert value == expected.group(1), name


class Cargo:
    """Runs cargo on the crate, linked with the libcodec in `library`; writes to `target`."""

    def __init__(self, target: Path, library: Path) -> None:
        self.target = target
        self._environment = {
            "CARGO_TARGET_DIR": str(target),
            "LIBCODEC_DIR": str(library),
            "RUSTFLAGS": "-Dwarnings",
        }

    def __call__(self, command: str, **environment: str) -> str:
        words = [str(CARGO), command, "--quiet", "--offline", "--locked"]
        environment |= self._environment
        done = subprocess.run(
            words, cwd=CRATE, env=os.environ | environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def cargo(libcodec: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory) -> Cargo:
    if CARGO is None or GCC is None:
        pytest.skip("needs cargo, rustc and gcc")
    return Cargo(tmp_path_factory.mktemp("rust"), Path(libcodec._name).parent)


@pytest.fixture(scope="module")
def built(cargo: Cargo) -> Path:
    """The folder of the crate's programs."""
    cargo("build")
    return cargo.target / "debug"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_model(tmp_path_factory.mktemp("model") / "small.safetensors")
    write_enhancer(path, WeightsFile(path).model_id)
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("pairs") / "pairs.safetensors", STEREO)


@pytest.fixture
def nac(built: Path, model: Path) -> Nac:
    def run(command: str, *args: object, weights: Path = model) -> tuple[int, str]:
        words = [built / "nac", command, "-m", weights, *map(str, args)]
        done = subprocess.run(words, capture_output=True, text=True)
        return done.returncode, done.stderr

    return run


@pytest.mark.slow
def test_the_wrapper(cargo: Cargo, model: Path, pairs: Path) -> None:
    """Streams, threads, errors, files and callbacks: examples/rust/tests."""
    printed = cargo("test", NAC_TEST_MODEL=str(model), NAC_TEST_PAIRS=str(pairs))
    passed = re.findall(r"(\d+) passed; 0 failed", printed)
    assert sum(map(int, passed)) >= 6


@pytest.mark.slow
def test_structs_have_the_layout_of_c(built: Path, tmp_path: Path) -> None:
    layout = subprocess.run([built / "layout"], capture_output=True, text=True, check=True).stdout
    show = []
    for line in layout.splitlines():
        struct, _, field = line.split()[0].partition(".")
        at = f"offsetof({struct}, {field})" if field else "(size_t)0"
        size = f"sizeof((({struct} *)0)->{field})" if field else f"sizeof({struct})"
        show.append(f'    printf("{line.split()[0]} %zu %zu\\n", {at}, {size});')
    assert len(show) > 20
    program = tmp_path / "layout.c"
    head = "#include <codec.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void)\n{\n"
    program.write_text(head + "\n".join(show) + "\n    return 0;\n}\n")
    compiled = compile_c(tmp_path / "layout", [program])
    assert subprocess.run([compiled], capture_output=True, text=True).stdout == layout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "samples", "options"),
    [(1, 60_001, ()), (2, 49_920, ("-n", 2)), (3, 99_999, ("--effort", "best")),
     (1, 30_000, ("--beam", 4)), (1, 1, ("-n", 1, "--effort", "raw")),
     (2, 110_001, ("--refine", 1)), (1, 20_000, ("--refine", 2, "--beam", 3))],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["model", "pairs"])
def test_there_and_back(
    nac: Nac, cli_of_weights: Cli, request: pytest.FixtureRequest, tmp_path: Path,
    channels: int, samples: int, options: tuple[object, ...], kind: str,
) -> None:  # fmt: skip
    weights = request.getfixturevalue(kind)
    source = tmp_path / "in.wav"
    audio = np.stack([noise(samples, seed) for seed in range(channels)], axis=1)
    rate = {"model": SMALL, "pairs": STEREO}[kind].sample_rate
    soundfile.write(source, np.clip(audio, -1, 1), rate, subtype="PCM_16")
    mine, other = tmp_path / "mine", tmp_path / "other"
    codec, of = cli_of_weights, ("--model", weights)
    code, _, error = codec("compress", "-q", source, "-o", f"{other}.nac", *options, *of)
    assert code == 0, error
    assert nac("compress", source, f"{mine}.nac", *options, weights=weights) == (0, "")
    assert Path(f"{mine}.nac").read_bytes() == Path(f"{other}.nac").read_bytes()
    code, _, error = codec("decompress", "-q", f"{other}.nac", *of)
    assert code == 0, error
    assert nac("decompress", f"{mine}.nac", f"{mine}.wav", weights=weights) == (0, "")
    assert Path(f"{mine}.wav").read_bytes() == Path(f"{other}.wav").read_bytes()
    for option in ("--postfilter", "--enhance", "--no-enhance") if kind == "model" else ():
        assert codec("decompress", "-q", "-f", option, f"{other}.nac", *of)[0] == 0
        assert nac("decompress", "-f", option, f"{mine}.nac", f"{mine}.wav") == (0, "")
        assert Path(f"{mine}.wav").read_bytes() == Path(f"{other}.wav").read_bytes()


@pytest.mark.slow
def test_files_of_other_kinds_are_restored(
    nac: Nac, cli_of_weights: Cli, model: Path, tmp_path: Path
) -> None:
    """Those of constant quality, of single frames, and those whose length only the end knows."""
    source = tmp_path / "in.wav"
    soundfile.write(source, np.clip(noise(70_000), -1, 1), RATE, subtype="PCM_16")
    mine, other, of = tmp_path / "mine.wav", tmp_path / "other.wav", ("--model", model)
    for options in (("--quality", 5), ("--live",), ()):
        words = ("compress", "-", "-o", "-", *options, *of)
        code, data, error = cli_of_weights(*words, stdin=source.read_bytes())
        assert code == 0, error
        (tmp_path / "a.nac").write_bytes(data)
        words = ("decompress", "-q", "-f", tmp_path / "a.nac", "-o", other, *of)
        assert cli_of_weights(*words)[0] == 0
        assert nac("decompress", "-f", tmp_path / "a.nac", mine) == (0, "")
        assert mine.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_errors_of_c_are_errors(nac: Nac, model: Path, tmp_path: Path) -> None:
    source, file, target = (tmp_path / name for name in ("in.wav", "a.nac", "out.wav"))
    soundfile.write(source, np.clip(noise(70_000), -1, 1), RATE, subtype="PCM_16")
    assert nac("compress", source, file) == (0, "")
    data = file.read_bytes()
    other = write_weights(tmp_path / "other.safetensors", SMALL, seed=1)
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:-1])
    bare = tmp_path / "bare.safetensors"
    shutil.copy(model, bare)
    there = sorted(tmp_path.iterdir())

    def fails(
        reason: str, command: str, source: Path, *args: object, weights: Path = model
    ) -> None:
        code, error = nac(command, source, target, *args, weights=weights)
        assert code == 1
        assert error.count("\n") == 1
        assert error.startswith(f"nac: {source}: ")
        assert reason in error
        assert sorted(tmp_path.iterdir()) == there

    fails("no data for its coders", "decompress", file, weights=bare)
    for name in ("cut", "none"):
        code, error = nac("compress", source, target, weights=tmp_path / f"{name}.safetensors")
        assert code == 1
        assert error.count(f"{name}.safetensors: ") == 1
    fails("0 to 1000 steps", "compress", source, "--refine", 1001)
    fails("out of range", "compress", source, "-n", 4)
    fails("out of range", "compress", source, "-n", 2**32 - 1)
    fails("not a WAV", "compress", file)
    raw = tmp_path / "in.wav"
    assert nac("compress", raw, file, "-f", "--effort", "raw") == (0, "")
    fails("another model", "decompress", file, weights=other)
    fails("bare.enhancer: cannot be opened", "decompress", file, "--enhance", weights=bare)
    for damage, reason in (
        (data[:-1], "truncated"),
        (data[:30], "truncated"),
        (data[:-300] + b"\xff" + data[-299:], "damaged"),
        (b"RIFF" + data[4:], "not a .nac file"),
    ):
        file.write_bytes(damage)
        fails(reason, "decompress", file)
    fails("No such file", "compress", tmp_path / "none.wav")
    target.write_bytes(b"precious")
    there = sorted(tmp_path.iterdir())
    fails("--force", "compress", source)
    assert target.read_bytes() == b"precious"
    before = source.read_bytes()
    assert nac("compress", source, source, "-f") == (
        1,
        f"nac: {source}: the output would overwrite the input\n",
    )
    assert source.read_bytes() == before
    soundfile.write(source, np.zeros(100), 16_000, subtype="PCM_16")
    fails("does not resample", "compress", source, "-f")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [(), ("in",), ("in", "out", "more"), ("-n", "x", "in", "out"), ("in", "out", "-n"),
     ("--refine", "x", "in", "out")],
    ids=str,
)  # fmt: skip
def test_wrong_words_are_explained(nac: Nac, words: tuple[str, ...]) -> None:
    code, error = nac("compress", *words)
    assert code == 2
    assert "usage: nac" in error
