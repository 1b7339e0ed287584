"""The way to a GPU and back by `codec.load` and the commands, with a stand-in for CUDA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("codec.engine._engine")

import codec
from bench.random_weights import SMALL, STEREO, noise, write_weights
from codec.engine.cuda import CudaBackend
from codec.errors import BackendError, ModelError, TokensError

pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.fixture
def stand_in(cuda_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEC_CUDA_LIBRARY", str(cuda_stand_in))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors", SMALL)


@pytest.fixture
def folder(wav, tmp_path: Path) -> Path:
    for i, (samples, rate, channels) in enumerate(
        [(30_000, 24_000, 1), (9_000, 16_000, 2), (70_000, 48_000, 1), (1, 8_000, 1)]
    ):
        wav(f"in/{i}.wav", samples=samples, rate=rate, channels=channels)
    return tmp_path / "in"


def test_batches_are_those_of_the_cpu(weights: Path) -> None:
    cpu, gpu = codec.load(weights), codec.load(weights, device="cuda")
    assert isinstance(gpu.backend, CudaBackend)
    audios = [noise(5000), noise(9000, 1)[None].repeat(2, 0), noise(1), noise(44_100, 2)]
    rates = [24_000, 16_000, 8_000, 44_100]
    ours, theirs = (model.encode_batch(audios, rates, n_codebooks=2) for model in (gpu, cpu))
    assert all(left == right for left, right in zip(ours, theirs, strict=True))
    assert gpu.encode(audios[1], rates[1], n_codebooks=2) == ours[1]
    for left, right in zip(gpu.decode_batch(ours), cpu.decode_batch(ours), strict=True):
        np.testing.assert_array_equal(left.view(np.uint32), right.view(np.uint32))
    with pytest.raises(TokensError):
        gpu.decode_batch([3])  # type: ignore[list-item]


def tree(root: Path) -> dict[str, bytes]:
    names = ("data/", "dataset.json", "rejects.jsonl")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and str(path.relative_to(root)).startswith(names)
    }


def test_shards_are_those_of_the_cpu(
    cli_of_weights, weights: Path, folder: Path, tmp_path: Path
) -> None:
    for out, more in (("cpu", []), ("gpu", ["--device", "cuda"])):
        code, _, err = cli_of_weights(
            *("tokenize", folder, "-o", tmp_path / out, "--format", "bin", "--model", weights),
            *("--shard-items", 3, *more),
        )
        assert code == 0, err
    assert tree(tmp_path / "cpu") == tree(tmp_path / "gpu")
    code, _, err = cli_of_weights(
        *("tokenize", folder, "-o", tmp_path / "x", "--executor", "ray", "--device", "cuda")
    )
    assert (code, "not both" in err) == (2, True)


def test_files_are_those_of_the_cpu(
    cli_of_weights, weights: Path, folder: Path, tmp_path: Path
) -> None:
    for out, more in (("cpu", []), ("gpu", ["--device", "cuda"])):
        for command in (
            ("compress", folder, "-o", tmp_path / out),
            ("decompress", tmp_path / out, "-o", tmp_path / f"{out}-wav"),
            ("compress", folder / "0.wav", "-o", tmp_path / f"{out}.nac", "--quality", 5),
        ):
            code, _, err = cli_of_weights(*command, "--model", weights, *more)
            assert code == 0, err
    for name in ("{}", "{}-wav"):
        cpu, gpu = (tmp_path / name.format(device) for device in ("cpu", "gpu"))
        files = [path.relative_to(cpu) for path in cpu.rglob("*") if path.is_file()]
        assert len(files) == 4
        assert all((cpu / file).read_bytes() == (gpu / file).read_bytes() for file in files)
    assert (tmp_path / "cpu.nac").read_bytes() == (tmp_path / "gpu.nac").read_bytes()


def test_what_is_missing_is_one_line(
    cli_of_weights, weights: Path, folder: Path, monkeypatch
) -> None:
    monkeypatch.setenv("CODEC_CUDA_LIBRARY", "/nowhere/at-all.so")
    code, _, err = cli_of_weights("compress", folder, "--model", weights, "--device", "cuda")
    assert (code, len(err.strip().splitlines())) == (1, 1)
    assert "does not load" in err
    with pytest.raises(BackendError, match="cpu and cuda"):
        codec.load(weights, device="mps")


def test_a_model_of_two_channels_is_refused_in_a_line(
    cli_of_weights, folder: Path, tmp_path: Path
) -> None:
    pairs = write_weights(tmp_path / "pairs.safetensors", STEREO)
    reason = "pairs.safetensors: the CUDA engine codes one channel at a time, not 2 together"
    with pytest.raises(ModelError, match=reason):
        codec.load(pairs, device="cuda")
    for command in (("compress", folder, "-o", tmp_path / "x"),
                    ("tokenize", folder, "-o", tmp_path / "y", "--format", "bin")):  # fmt: skip
        code, _, err = cli_of_weights(*command, "--model", pairs, "--device", "cuda")
        assert (code, len(err.strip().splitlines())) == (1, 1)
        assert reason in err
