"""A backend small enough to reason about, and what the tests of files and commands share."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import codec
from codec.model.config import ModelConfig


class MeanBackend:
    """Codes each hop by its mean, refined by each further codebook: a real, nested quantiser.

    Codebook k halves the range of the error `REFINEMENT` times over that of codebook k - 1, so
    a signal that is constant over hops comes back with an error of at most 2 * 1.01 / 1024
    with one codebook, and of float32 rounding with three.
    """

    REFINEMENT = 512.0

    def __init__(
        self, config: ModelConfig | None = None, model_id: bytes = b"\x01mean\x00\xff\x02"
    ):
        self.config = config or ModelConfig(hop_length=480, n_codebooks=12)
        self.model_id = model_id

    def _scale(self, level: int) -> float:
        return 1.01 / self.REFINEMENT**level

    def encode(self, audio: np.ndarray, n_codebooks: int) -> np.ndarray:
        assert audio.dtype == np.float32
        assert audio.ndim == 1
        hop, top = self.config.hop_length, self.config.codebook_size - 1
        frames = self.config.n_frames(len(audio))
        # The last hop is continued by its last sample, so that a constant keeps its mean.
        padded = np.pad(audio, (0, frames * hop - len(audio)), mode="edge")
        rest = padded.reshape(frames, hop).mean(axis=1, dtype=np.float64)
        codes = np.empty((n_codebooks, frames), np.uint16)
        for level, code in enumerate(codes):
            scale = self._scale(level)
            code[:] = np.clip(np.rint((rest / scale + 1) / 2 * top), 0, top)
            rest = rest - (code / top * 2 - 1) * scale
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        assert codes.dtype == np.uint16
        top = self.config.codebook_size - 1
        means = sum((code / top * 2 - 1) * self._scale(level) for level, code in enumerate(codes))
        return np.repeat(means, self.config.hop_length).astype(np.float32)

    streaming = None

    def decode_pieces(self, pieces: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([self.decode(codes) for codes in pieces])


@pytest.fixture
def backend() -> MeanBackend:
    return MeanBackend()


@pytest.fixture
def small(backend: MeanBackend) -> codec.Codec:
    """A codec that needs no weights."""
    return codec.load(backend=backend)


@pytest.fixture
def shipped() -> codec.Codec:
    """The codec with the weights of the package, on whatever runs them here."""
    try:
        return codec.load()
    except codec.BackendError as error:
        pytest.skip(str(error))


class Cli:
    """Runs `codec ARGS` in this process: exit code, standard output and error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
        self._monkeypatch = monkeypatch
        self._capture = capfdbinary

    def __call__(self, *args: object, stdin: bytes = b"") -> tuple[int, bytes, str]:
        from codec.cli.main import main

        self._capture.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["codec", *map(str, args)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = self._capture.readouterr()
        assert b"Traceback" not in err
        return exit_.value.code or 0, out, err.decode()


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    backend: MeanBackend,
) -> Iterator[Cli]:
    monkeypatch.setattr("codec.api.load_backend", lambda weights, name=None, device=None: backend)
    handler = signal.getsignal(signal.SIGTERM)
    yield Cli(monkeypatch, capfdbinary)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def cli_of_weights(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Cli]:
    """As `cli`, with the backend that the weights ask for."""
    handler = signal.getsignal(signal.SIGTERM)
    yield Cli(monkeypatch, capfdbinary)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    """Writes a WAV of noise in steps that `MeanBackend` can code; gives its path."""
    import soundfile

    def make(
        name: str, samples: int = 2000, rate: int = 24_000, channels: int = 1, seed: int = 0
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(seed).uniform(-0.9, 0.9, (-(-samples // 480), channels))
        soundfile.write(path, np.repeat(levels, 480, axis=0)[:samples], rate, subtype="PCM_16")
        return path

    return make


@pytest.fixture(scope="session")
def cuda_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CUDA kernels and the CUDA engine as a library that runs on the CPU."""
    from tests.helpers import cuda_host

    if cuda_host.GXX is None or not (cuda_host.ROOT / "csrc/cuda").exists():
        pytest.skip("needs g++ and the source tree")
    path = tmp_path_factory.mktemp("cuda") / "host.so"
    cuda_host.build(path)
    return path
