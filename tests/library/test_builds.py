"""libcodec as it is built: installed, sanitized, for another processor, under valgrind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.random_weights import SMALL, STEREO, signal, write_weights
from codec.model.config import ModelConfig
from tests.helpers.c_library import (
    CSRC,
    GCC,
    ROOT,
    SANITIZED,
    binding,
    compile_c,
    sources,
    swapped,
)

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.native import NativeBackend, isas

pytestmark = [pytest.mark.slow, pytest.mark.skipif(GCC is None, reason="needs gcc")]

EXAMPLE = ROOT / "examples" / "c" / "encode_buffer.c"
PROGRAM = Path(__file__).parent / "stream_file.c"
EVAL = ROOT.parent / "shared" / "data" / "eval"
ARM_GCC, QEMU = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
VALGRIND = shutil.which("valgrind")


def run(*command: str | Path, **environment: str) -> str:
    """Run a program; return what it prints."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix that CMake installed to."""
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake")
    folder = tmp_path_factory.mktemp("cmake")
    prefix = folder / "prefix"
    settings = (f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DCMAKE_INSTALL_LIBDIR=lib")
    run("cmake", "-S", CSRC, "-B", folder / "build", *settings)
    run("cmake", "--build", folder / "build")
    run("cmake", "--install", folder / "build")
    return prefix


def test_installed_library(installed: Path, tmp_path: Path) -> None:
    """A whole program, by pkg-config, linked to either library; both are small."""
    flags = run("pkg-config", "--cflags", "libcodec", PKG_CONFIG_PATH=f"{installed}/lib/pkgconfig")
    weights = write_weights(tmp_path / "m.safetensors", SMALL)
    path = tmp_path / "program"
    for kind, link in (
        ("shared", [f"-L{installed}/lib", "-lcodec", f"-Wl,-rpath,{installed}/lib"]),
        ("static", [str(installed / "lib" / "libcodec.a"), "-lm"]),
    ):
        run("gcc", "-Wall", "-Wextra", "-Werror", *flags.split(), EXAMPLE, *link, "-o", path)
        levels = run(path, ROOT / "codec" / "weights" / "default.safetensors")
        assert levels == "24000 samples, 25 frames of 8 codes, 24000 samples\n", kind
        refused = subprocess.run([path, weights], capture_output=True, text=True)
        assert refused.returncode == 1  # that model has three codebooks
        assert refused.stderr == "an argument is missing or out of range\n"
        missing = subprocess.run([path, tmp_path / "none"], capture_output=True, text=True)
        assert missing.returncode == 1
        assert missing.stderr == f"{tmp_path / 'none'}: cannot be opened\n"

    run("strip", "-s", "-o", tmp_path / "stripped.so", installed / "lib" / "libcodec.so")
    assert (tmp_path / "stripped.so").stat().st_size < 1 << 20
    symbols = run("nm", "-D", "--defined-only", installed / "lib" / "libcodec.so").split("\n")
    names = [line.split()[2] for line in symbols if line and " A " not in line]
    assert len(names) > 30
    assert all(name.startswith("codec_") and name.endswith("@@CODEC_1") for name in names)
    assert len(EXAMPLE.read_text().splitlines()) <= 40


@pytest.mark.parametrize("found", ["find_package(codec 0.1 REQUIRED)", "add_subdirectory({} own)"])
def test_a_part_of_another_cmake_project(installed: Path, tmp_path: Path, found: str) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(other C)\n"
        f"{found.format(CSRC)}\n"
        f"add_executable(shared {EXAMPLE})\ntarget_link_libraries(shared codec::codec)\n"
        f"add_executable(static {EXAMPLE})\ntarget_link_libraries(static codec::codec_static)\n"
        "install(TARGETS static)\n"
    )
    build, prefix = tmp_path / "build", tmp_path / "prefix"
    run("cmake", "-S", tmp_path, "-B", build, f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", build, "-j2")
    for kind in ("shared", "static"):
        said = run(build / kind, ROOT / "codec" / "weights" / "default.safetensors")
        assert said == "24000 samples, 25 frames of 8 codes, 24000 samples\n"
    run("cmake", "--install", build, "--prefix", prefix)
    files = [path.name for path in prefix.rglob("*") if path.is_file()]
    assert files == ["static"]  # nothing of ours


def test_header_is_one_for_c_and_cxx(tmp_path: Path) -> None:
    for compiler, language in (("gcc", "c"), ("g++", "c++")):
        if shutil.which(compiler) is None:
            pytest.skip(f"no {compiler} here")
        flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        run(compiler, "-x", language, *flags, CSRC / "include" / "codec.h")


def test_sanitizers(tmp_path: Path) -> None:
    """All tests of models and streams against a library built with ASan and UBSan."""
    library = tmp_path / "sanitized.so"
    compile_c(library, sources(), "-O1", *SANITIZED, "-shared", "-fPIC", "-fvisibility=hidden")
    runtime = run("gcc", "-print-file-name=libasan.so").strip()
    names = ("model", "streams", "beam", "refine", "postfilter", "enhancer")
    tests = [f"tests/library/test_{name}.py" for name in names]
    found = run(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests),
        CODEC_TEST_LIBRARY=str(library),
        LD_PRELOAD=runtime,
        ASAN_OPTIONS="detect_leaks=0",  # Python itself never frees everything
        PYTHONMALLOC="malloc",
    )
    assert " passed" in found


def streamed(folder: Path, program: Path, *runner: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Codes and samples that tests/library/stream_file.c makes of the clip in `folder`."""
    files = [folder / name for name in ("m.safetensors", "clip.f32", "codes.u16", "samples.f32")]
    run(*runner, program, *files)
    codes = np.fromfile(files[2], np.uint16).reshape(-1, SMALL.n_codebooks)
    return codes.T, np.fromfile(files[3], np.float32)


def prepare(folder: Path, config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:
    """Write weights and a clip to `folder`; return what Python makes of them."""
    python = NativeBackend(write_weights(folder / "m.safetensors", config))
    audio = signal(config, 9000)
    swapped(audio).tofile(folder / "clip.f32")
    codes = python.encode(audio, config.n_codebooks)
    return codes, swapped(python.decode(codes)).reshape(-1)


@pytest.mark.parametrize("build", ["leaks", "valgrind", "aarch64"])
def test_a_program_gives_the_bits_of_python(tmp_path: Path, build: str) -> None:
    """Opened, pushed in pieces, moved between streams and freed, without a leak."""
    files = [PROGRAM, *sources()]
    compiler, flags, runner = "gcc", ["-O1"], list[str | Path]()
    if build == "leaks":
        flags += SANITIZED
    elif build == "valgrind":
        if VALGRIND is None:
            pytest.skip("needs valgrind")
        # it does not know AVX-512
        flags.append("-DINSTRUCTION_SET=" + ('"avx2"' if "avx2" in isas() else '"scalar"'))
        runner = [VALGRIND, "-q", "--error-exitcode=9", "--leak-check=full"]
    else:
        if ARM_GCC is None or QEMU is None:
            pytest.skip("needs aarch64-linux-gnu-gcc and qemu-aarch64")
        compiler, flags, runner = ARM_GCC, ["-O2", "-static"], [QEMU]
    program = compile_c(tmp_path / "program", files, *flags, compiler=compiler)
    for config in (SMALL, STEREO):
        codes, samples = prepare(tmp_path, config)
        found, restored = streamed(tmp_path, program, *runner)
        np.testing.assert_array_equal(found, codes)
        np.testing.assert_array_equal(restored.view("u4"), samples.view("u4"))


@pytest.mark.skipif(not EVAL.is_dir(), reason="needs the evaluation clips beside the checkout")
def test_real_clips(installed: Path) -> None:
    """Codes and samples of the shipped model, whole and in pieces, for each instruction set."""
    import soundfile

    path = ROOT / "codec" / "weights" / "default.safetensors"
    library, python = binding().load_library(installed / "lib" / "libcodec.so"), NativeBackend(path)
    models = [binding().Model(library, path, isa) for isa in isas()]
    clips = sorted(EVAL.glob("*.flac"))[::6]
    assert len(clips) >= 6
    for clip in clips:
        audio, _ = soundfile.read(clip, dtype="float32", frames=60_000, always_2d=True)
        left = np.ascontiguousarray(audio[:, 0])
        codes = python.encode(left, 28)
        samples = python.decode(codes)
        for model in models:
            np.testing.assert_array_equal(model.encode(left, 28), codes)
            np.testing.assert_array_equal(model.decode(codes).view("u4"), samples.view("u4"))
            encoder, decoder = binding().Encoder(model, 28), binding().Decoder(model)
            parts = [encoder.push(left[i : i + 1111]) for i in range(0, len(left), 1111)]
            np.testing.assert_array_equal(np.concatenate([*parts, encoder.flush()], axis=1), codes)
            pieces = [decoder.push(codes[:, i : i + 3]) for i in range(0, codes.shape[1], 3)]
            whole = np.concatenate([*pieces, decoder.flush()])
            np.testing.assert_array_equal(whole.view("u4"), samples.view("u4"))
