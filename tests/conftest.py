"""Fixtures: codecs with and without weights, the command line, and files to give it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import codec
from tests.helpers.cli import Cli
from tests.helpers.mean_backend import MeanBackend, steps

# A busy machine makes no test fail.
settings.register_profile(
    "any machine",
    parent=settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs the CUDA sources compiled for the CPU."""
    for item in items:
        if isinstance(item, pytest.Function) and "cuda_stand_in" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """A shell starts what it runs beside itself deaf to Ctrl-C, and its children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    backend: MeanBackend,
) -> Iterator[Cli]:
    monkeypatch.setattr("codec.api.load_backend", lambda weights, name=None, device=None: backend)
    monkeypatch.setattr("codec.pipeline.model.find_enhancer", lambda *_: None)
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
        soundfile.write(path, steps(samples, channels, seed).T, rate, subtype="PCM_16")
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
