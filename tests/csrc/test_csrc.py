"""csrc/ compiles without a warning, and its kernels run clean under the sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import python_with_sanitizers

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "csrc").rglob("*.c"))
GCC = shutil.which("gcc")

pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_warnings(source: Path, compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    flags = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno"]
    flags += ["-Wall", "-Wextra", "-Werror"]
    if compiler == "gcc":
        flags.append("-Wconversion")
    subprocess.run(
        [compiler, *flags, f"-I{ROOT / 'csrc'}", "-c", str(source), "-o", str(tmp_path / "out.o")],
        check=True,
    )


KERNELS = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("codec.kernels._native", sys.argv[1])
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
from codec.kernels.mel_spec import WHISPER_80, WHISPER_128, MelSpec, tables

rng = np.random.default_rng(0)
for n, q, k, d in [
    (1, 1, 1, 1), (241, 2, 33, 5), (7, 3, 64, 8), (500, 1, 31, 3),
    (123, 2, 130, 37), (2, 1, 1100, 9),
]:
    books = rng.standard_normal((q, k, d), np.float32)
    books[:, : k // 2] = books[:, :1]  # ties that only exact arithmetic decides
    for isa in native.isas():
        latents = rng.standard_normal((n, d), np.float32)
        plan = native.RvqPlan(books, isa)
        codes = plan.encode(latents, q, isa)
        for beam in (2, 7, 64):
            plan.encode_beam(latents[:130], q, beam, isa)
        assert (native.encode_rvq_once(latents, books, isa) == codes).all()
    native.decode_rvq(codes, books)
sizes = (3, 4, 6, 8, 10, 16, 24, 225, 450, 480, 512)
specs = [MelSpec(n_fft=n, hop_length=h, n_mels=2, log="db", maximum="running", padding=p)
         for n in sizes for h, p in ((7, "reflect"), (300, "zeros"))]
for s in (WHISPER_80, WHISPER_128, *specs):
    plan = native.MelPlan(tables(s))
    for n in (1, 3, 199, 201, 1281, 5000):
        audio = rng.standard_normal((2, n), np.float32)
        for isa in native.isas():
            for clips in (audio, (1000 * audio).astype(np.int16)):
                tops = np.full(2, -np.inf, np.float32)
                frames = s.n_frames(n)
                plan(clips, -s.pad, tops, np.empty((2, s.n_mels, frames), np.float32), False, isa)
                plan(clips, -s.pad, tops, np.empty((2, frames, s.n_mels), np.float32), True, isa)
for n in (1, 7, 8, 9, 1000):
    native.crc32c(bytes(n), native.crc32c(b"x" * n))
native.log10(np.geomspace(1e-10, 1e30, 100, dtype=np.float32))
"""


ENGINE = """
import importlib.util, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import codec
spec = importlib.util.spec_from_file_location("codec.engine._engine", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["codec.engine._engine"] = module
spec.loader.exec_module(module)
from codec.engine.native import NativeBackend
from codec.engine.postfilter import postfilter_at
from codec.engine.stream import StreamDecoder, StreamEncoder
from bench.random_weights import STEREO, VARIANTS, signal, write_weights

for config in (*VARIANTS.values(), STEREO):
    path = write_weights(Path(sys.argv[2]) / "weights.safetensors", config)
    for isa in module.isas():
        for block in (1, 5, module.BLOCK):
            backend = NativeBackend(path, isa, block)
            assert sys.modules["codec.engine.native"]._engine is module
            for n in (0, 1, 959, 961, 9001):
                codes = backend.encode(signal(config, n), config.n_codebooks)
                assert backend.decode(codes).shape[-1] == config.n_frames(n) * config.hop_length
        encoder, decoder = StreamEncoder(backend), StreamDecoder(backend)
        at_rate = config.sample_rate == module.POSTFILTER_RATE
        filtered = StreamDecoder(backend, postfilter_at(config.sample_rate) if at_rate else None)
        for n in (1, 700, 4000, 30_000, 3):
            codes = encoder.push(signal(config, n))
            decoder.push(codes)
            filtered.push(codes)
            filtered.restore(filtered.save())
        for stream in (decoder, filtered):
            stream.push(codes)
            stream.flush()
        loud = np.full_like(signal(config, 5000), 3e38)
        latents = backend.encoder.latents(loud)
        latents = np.nan_to_num(latents, nan=-1e30, posinf=1e30, neginf=-1e30)
        state = np.empty(backend.decoder.state_size, np.int64)
        backend.decoder.reset(state)
        backend.decoder.push_latents(state, latents)
        backend.decoder.flush(state)
random = np.random.default_rng(0)
for n in (1, 119, 120, 121, 2000):
    hops = -(-n // module.POSTFILTER_HOP)
    for scale in (0, 1e-30, 1, 1e19, 3e38, np.inf, np.nan):
        audio = np.full(n, scale, np.float32) * random.uniform(-1, 1, n).astype(np.float32)
        for first in {0, hops // 2, hops - 1}:
            module.postfilter(audio, first, hops)
        stream = module.PostfilterStream()
        state = np.empty(stream.state_size, np.int64)
        stream.reset(state)
        for part in np.array_split(audio, 3):
            stream.push(state, part)
        stream.push(state, np.tile(audio, 20), True)
from tests.helpers.enhancers import TINY, enhancer_file
for config in (TINY, replace(TINY, fft=480, hop=120, wide=241, narrow=0, lookahead=0)):
    for isa in module.isas():
        run = module.Enhancer(enhancer_file(config), isa)
        for n in (1, 119, 241, 9000):
            hops = -(-n // run.hop)
            for scale in (0, 1e-30, 1, 3e38, np.inf, np.nan):
                audio = np.full(n, scale, np.float32) * random.uniform(-1, 1, n).astype(np.float32)
                for first in {0, hops - 1}:
                    run(audio, first, hops)
                state = np.empty(run.state_size, np.int64)
                run.reset(state)
                for part in np.array_split(audio, 3):
                    run.push(state, part)
                run.push(state, np.tile(audio, 20), True)
for name in ("exp", "log", "gelu"):
    module.elementwise(name, np.array([1e-38, 1e30, np.inf, np.nan], np.float32))
"""


ENTROPY = """
import importlib.util, sys
from pathlib import Path
import numpy as np
import codec
spec = importlib.util.spec_from_file_location("codec.coders._entropy", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["codec.coders._entropy"] = module
spec.loader.exec_module(module)
from codec.coders import entropy
from tests.helpers.entropy_models import LEVELS, random_codes, small_codebooks, small_data

assert entropy._entropy is module
random = np.random.default_rng(0)
for isa in module.isas():
    coders = (
        entropy.TablesCoder(small_data(), isa),
        entropy.PriorCoder(small_data(), small_codebooks(), isa),
    )
    for coder in coders:
        for shape in ((1, 1, 1), (3, LEVELS, 7), (1, 2, 30)):
            codes = random_codes(*shape)
            payload = coder.encode(codes)
            assert np.array_equal(coder.decode(payload, *shape), codes)
            for n in (0, 1, 5, len(payload), 300):
                for octets in (random.bytes(n), bytes(n), b"\\xff" * n, payload[:n]):
                    try:
                        coder.decode(octets, *shape)
                    except codec.errors.FormatError:
                        pass
# the most that symbols can take, and carries through all of it
for size, value in ((4096, 0), (4096, 4095), (3, 1), (1, 0)):
    for n in (0, 1, 7, 500):
        weights = np.ones((n, size), np.uint32)
        symbols = np.full(n, value, np.uint16)
        decoded, exact = module.range_decode(weights, module.range_encode(weights, symbols))
        assert exact and np.array_equal(decoded, symbols)
"""


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the extensions built with ASan and UBSan, apart from those in use."""
    if not (ROOT / "setup.py").exists():
        pytest.skip("needs the source tree")
    pytest.importorskip("Cython")
    path = tmp_path_factory.mktemp("sanitized")
    build = [sys.executable, "setup.py", "build_ext", "--build-lib", str(path / "lib")]
    subprocess.run(
        [*build, "--build-temp", str(path / "temp")],
        cwd=ROOT,
        env=os.environ | {"CODEC_SANITIZE": "1", "CODEC_REQUIRE_NATIVE": "1"},
        check=True,
        capture_output=True,
    )
    return path / "lib" / "codec"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "script"), [("_native", KERNELS), ("_engine", ENGINE), ("_entropy", ENTROPY)]
)
def test_sanitizers(sanitized: Path, tmp_path: Path, name: str, script: str) -> None:
    (extension,) = sanitized.rglob(f"{name}*.so")
    # PYTHONMALLOC: so that ASan sees every allocation
    python_with_sanitizers(script, extension, tmp_path, PYTHONMALLOC="malloc")
