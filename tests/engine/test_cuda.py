"""The CUDA engine's text, run on the CPU, against the scalar engine: equal codes, equal bits."""

from __future__ import annotations

import importlib.util
import pickle
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("codec.engine._engine")

from bench.random_weights import SMALL, STEREO, VARIANTS, noise, write_weights
from codec.engine import cuda_library
from codec.engine.cuda import CudaBackend
from codec.engine.cuda_library import STAGES, CudaEncoder, Times
from codec.engine.cuda_packing import Packed, pack_encoder
from codec.engine.halves import UnsupportedModelError
from codec.engine.native import NativeBackend
from codec.errors import AudioError, BackendError, ModelError, TokensError
from codec.model.location import DEFAULT_WEIGHTS
from codec.model.receptive_field import decoder_reach, encoder_reach
from codec.model.weights_file import WeightsFile
from tests.helpers.cuda_host import ROOT, build
from tests.helpers.processes import python_with_sanitizers


@pytest.fixture(autouse=True)
def stand_in(cuda_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODEC_CUDA_LIBRARY", str(cuda_stand_in))
    return cuda_stand_in


def pair(folder: Path, name: str, batch_frames: int) -> tuple[CudaBackend, NativeBackend]:
    path = folder / f"{name}.safetensors"
    if not path.exists():
        write_weights(path, VARIANTS[name])
    return CudaBackend(path, batch_frames=batch_frames), NativeBackend(path, "scalar")


def same_bits(left: np.ndarray, right: np.ndarray) -> None:
    np.testing.assert_array_equal(left.view(np.uint32), right.view(np.uint32))


def check(gpu: CudaBackend, native: NativeBackend, lengths: list[int], levels: int) -> None:
    audios = [noise(n, seed) for seed, n in enumerate(lengths)]
    expected = [native.encode(audio, levels) for audio in audios]
    for ours, theirs in zip(gpu.encode_many(audios, levels), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for audio, codes in zip(gpu.decode_many(expected), expected, strict=True):
        same_bits(audio, native.decode(codes))


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("batch_frames", [40, 300])
def test_any_lengths_in_one_batch_or_in_spans(name: str, batch_frames: int, tmp_path: Path) -> None:
    """Batches of 40 frames cut the longest item: 90 frames and a few samples."""
    gpu, native = pair(tmp_path, name, batch_frames)
    hop = gpu.config.hop_length
    check(gpu, native, [1, hop, hop + 1, 90 * hop + 7, 3, 37 * hop - 1], gpu.config.n_codebooks)


@settings(max_examples=10, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30_000), min_size=1, max_size=6),
    levels=st.integers(1, 3),
    spare=st.integers(1, 40),
)
def test_ragged_batches_of_any_size(lengths: list[int], levels: int, spare: int, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    reach = max(sum(encoder_reach(SMALL)), sum(decoder_reach(SMALL)))
    check(*pair(folder, "small", reach + spare), lengths, levels)


def check_queued(gpu: CudaBackend, native: NativeBackend, lengths: list[int], levels: int) -> None:
    """The same by addresses of the device's memory, which the stand-in has on the host: with more
    room than the items need, which stays as it is."""
    hop, room = gpu.config.hop_length, 5
    samples = max(lengths) + room
    audio = np.stack([noise(samples, seed) for seed in range(len(lengths))])
    counts = [-(-n // hop) for n in lengths]
    frames = max(counts) + room
    codes = np.full((len(lengths), levels, frames), -7, np.int64)
    gpu.encoder.queue(
        audio.ctypes.data, samples, lengths, levels, codes.ctypes.data, frames, 0
    )  # fmt: skip
    out = np.full((len(lengths), frames * hop + room), 7, np.float32)
    gpu.decoder.queue(
        codes.ctypes.data, levels, frames, counts, out.ctypes.data, out.shape[1], 0
    )  # fmt: skip
    for i, (n, count) in enumerate(zip(lengths, counts, strict=True)):
        expected = native.encode(audio[i, :n], levels)
        np.testing.assert_array_equal(codes[i, :, :count], expected)
        same_bits(out[i, : count * hop], native.decode(expected))
        assert (codes[i, :, count:] == -7).all()
        assert (out[i, count * hop :] == 7).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_arrays_of_the_device_give_the_same(name: str, tmp_path: Path) -> None:
    gpu, native = pair(tmp_path, name, 40)
    hop = gpu.config.hop_length
    check_queued(gpu, native, [1, 50 * hop + 7, 0, 3 * hop], gpu.config.n_codebooks)


def test_sizes_that_do_not_fit_the_devices_arrays_are_refused(tmp_path: Path) -> None:
    gpu, _ = pair(tmp_path, "small", 60)
    hop, levels = gpu.config.hop_length, gpu.config.n_codebooks
    for samples, frames, count in ((101, 9, 1), (100, 0, 1), (100, 9, 0), (100, 9, levels + 1)):
        with pytest.raises(BackendError, match="an item"):
            gpu.encoder.queue(0, 100, [samples], count, 0, frames, 0)
    for frames, samples, count in ((9, 99 * hop, 1), (8, 8 * hop - 1, 1), (8, 8 * hop, levels + 1)):
        with pytest.raises(BackendError, match="an item"):
            gpu.decoder.queue(0, count, 8, [frames], 0, samples, 0)


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    files = [ROOT / f"tests/clips/{name}.flac" for name in ("speech", "strings")]
    return [soundfile.read(file, dtype="float32")[0] for file in files]


@pytest.mark.parametrize("multiprocessors", [0, 8, 1 << 20])
def test_the_shipped_model_at_every_tile_of_the_product(
    multiprocessors: int, clips: list[np.ndarray]
) -> None:
    """A GPU of few multiprocessors gets the largest tiles, one of many the smallest."""
    cuda_library.library().shim_multiprocessors(multiprocessors)
    check_clips([clip[9000:14_000] for clip in clips])


@pytest.mark.slow
def test_the_shipped_model_on_whole_clips(clips: list[np.ndarray]) -> None:
    check_clips(clips)


def check_clips(audios: list[np.ndarray]) -> None:
    gpu, native = CudaBackend(DEFAULT_WEIGHTS, batch_frames=60), NativeBackend(DEFAULT_WEIGHTS)
    expected = [native.encode(audio, 28) for audio in audios]
    for ours, theirs in zip(gpu.encode_many(audios, 28), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for audio, codes in zip(gpu.decode_many(expected), expected, strict=True):
        same_bits(audio, native.decode(codes))


def test_either_order_of_the_threads(tmp_path: Path) -> None:
    gpu, native = pair(tmp_path, "small", 60)
    for is_reversed in (0, 1):
        cuda_library.library().shim_reversed(is_reversed)
        check(gpu, native, [5000, 70 * 960], 3)


def test_the_number_of_codebooks_changes_between_pieces(tmp_path: Path) -> None:
    gpu, native = pair(tmp_path, "ahead", 30)
    codes = native.encode(noise(60 * 1920), 3)
    pieces = [codes[:1, :7], codes[:3, 7:8], codes[:2, 8:50], codes[:3, 50:]]
    same_bits(gpu.decode_pieces(pieces), native.decode_pieces(pieces))


def test_what_threads_ask_for_at_once(tmp_path: Path) -> None:
    gpu, native = pair(tmp_path, "small", 60)
    audios = [noise(500 * i + 1, i) for i in range(12)]
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        found[i] = gpu.encode(audios[i], 1 + i % 3)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, audio in enumerate(audios):
        np.testing.assert_array_equal(found[i], native.encode(audio, 1 + i % 3))


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    gpu, _ = pair(tmp_path, "small", 60)
    assert gpu.encode(np.empty(0, np.float32), 2).shape == (2, 0)
    assert gpu.decode(np.empty((2, 0), np.uint16)).shape == (0,)
    assert gpu.encode_many([], 2) == []
    assert gpu.decode_many([]) == []


def test_bad_input_is_named(tmp_path: Path) -> None:
    gpu, _ = pair(tmp_path, "small", 60)
    with pytest.raises(TokensError):
        gpu.decode(np.full((1, 3), 50, np.uint16))
    with pytest.raises(AudioError):
        gpu.encode(np.array([np.nan], np.float32), 1)


def test_a_copy_in_another_process_is_the_same(tmp_path: Path) -> None:
    gpu, native = pair(tmp_path, "small", 60)
    again = pickle.loads(pickle.dumps(gpu))
    audio = noise(3000)
    np.testing.assert_array_equal(again.encode(audio, 3), native.encode(audio, 3))


def test_weights_that_change_on_their_way_are_found(tmp_path: Path, monkeypatch) -> None:
    path = write_weights(tmp_path / "small.safetensors", SMALL)
    packed = pack_encoder(WeightsFile(path))
    monkeypatch.setattr(cuda_library, "crc32c", lambda data, crc: 1)
    with pytest.raises(ModelError, match="checksum"):
        CudaEncoder(packed, 0, 100)


def test_arrays_that_do_not_fit_the_sizes_are_refused(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "small.safetensors", SMALL)
    packed = pack_encoder(WeightsFile(path))
    for changed in (
        Packed(packed.sizes, packed.ints, packed.floats[:-4]),
        Packed(packed.sizes, packed.ints[:-1], packed.floats),
        Packed(packed.sizes, packed.ints * 0, packed.floats),
    ):
        with pytest.raises(BackendError, match="sizes"):
            CudaEncoder(changed, 0, 100)
    for name, value in (("hop", 0), ("levels", -1), ("latent", 1 << 40), ("gather", 3)):
        sizes = type(packed.sizes).from_buffer_copy(packed.sizes)
        setattr(sizes, name, value)
        with pytest.raises(BackendError, match="sizes"):
            CudaEncoder(Packed(sizes, packed.ints, packed.floats), 0, 100)


def test_a_batch_must_hold_what_a_frame_sees(tmp_path: Path) -> None:
    gpu, _ = pair(tmp_path, "small", sum(encoder_reach(SMALL)))
    with pytest.raises(BackendError, match="sizes"):
        gpu.encode(noise(100), 1)


def test_memory_follows_the_size_of_a_batch(tmp_path: Path) -> None:
    held = [pair(tmp_path, "small", frames)[0].encoder.bytes for frames in (100, 200, 300)]
    assert held[1] - held[0] == held[2] - held[1] > 0


def test_stages_are_timed(tmp_path: Path) -> None:
    gpu, native = pair(tmp_path, "small", 60)
    times = Times()
    audio = noise(3000)
    codes = gpu.encode_many([audio], 3, times)[0]
    np.testing.assert_array_equal(codes, native.encode(audio, 3))
    gpu.decode_many([codes], times)
    assert all(times.by_stage()[stage] > 0 for stage in STAGES)


def test_what_is_missing_is_said_in_a_line(tmp_path: Path, monkeypatch) -> None:
    path = write_weights(tmp_path / "small.safetensors", SMALL)
    with pytest.raises(BackendError, match="cuda:1"):
        CudaBackend(path, "cuda:1")
    with pytest.raises(BackendError, match="cuda or cuda:0"):
        CudaBackend(path, "gpu")
    stereo = write_weights(tmp_path / "stereo.safetensors", STEREO)
    with pytest.raises(UnsupportedModelError, match="one channel at a time, not 2 together"):
        CudaBackend(stereo)
    monkeypatch.setenv("CODEC_CUDA_LIBRARY", str(tmp_path / "none.so"))
    with pytest.raises(BackendError, match="does not load"):
        CudaBackend(path)
    monkeypatch.delenv("CODEC_CUDA_LIBRARY")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="not built"):
        CudaBackend(path)


SANITIZED = """
import sys
from pathlib import Path
import tests.engine.test_cuda as cases

folder = Path(sys.argv[1])
for name in cases.VARIANTS:
    gpu, native = cases.pair(folder, name, 34)
    hop = gpu.config.hop_length
    lengths = [1, 36 * hop + 1, hop - 1, 2 * hop]
    cases.check(gpu, native, lengths, gpu.config.n_codebooks)
    cases.check_queued(gpu, native, lengths, gpu.config.n_codebooks)
"""


@pytest.mark.slow
def test_sanitizers(tmp_path: Path) -> None:
    build(tmp_path / "host.so", "-O1", "-g", "-fsanitize=address,undefined")
    python_with_sanitizers(SANITIZED, tmp_path, CODEC_CUDA_LIBRARY=str(tmp_path / "host.so"))


NVCC = shutil.which("nvcc")


@pytest.mark.slow
@pytest.mark.skipif(NVCC is None, reason="needs nvcc")
@pytest.mark.parametrize("source", sorted((ROOT / "csrc/cuda").glob("*.cu")), ids=lambda p: p.stem)
def test_nvcc_compiles_without_warnings_and_spills(source: Path, tmp_path: Path) -> None:
    flags = ["-std=c++17", "-O3", "-fmad=false", "-Werror", "all-warnings", "-Xptxas", "-v"]
    for pair in ("arch=compute_80,code=sm_80", "arch=compute_90,code=[sm_90,compute_90]"):
        flags += ["-gencode", pair]
    done = subprocess.run(
        [str(NVCC), *flags, f"-I{ROOT / 'csrc'}", "-c", str(source), "-o", str(tmp_path / "out.o")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    spills = [line for line in done.stderr.splitlines() if "spill" in line]
    assert spills
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in spills), spills
