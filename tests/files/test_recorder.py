"""Recording to a file: the bytes of `compress`, and what is left of a recording that stops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codec
from bench.random_weights import SMALL, noise, write_weights
from codec.nac.salvage import survey


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> codec.Codec:
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return codec.load(write_weights(path, SMALL), backend="native")


@pytest.mark.parametrize("channels", [1, 2])
def test_a_recording_is_the_file_that_compress_writes(
    model: codec.Codec, channels: int, tmp_path: Path
) -> None:
    audio = np.stack([noise(70_001, seed) for seed in range(channels)])
    path = tmp_path / "a.nac"
    with codec.Recorder(path, model, channels=channels, n_codebooks=3) as recorder:
        for block in np.split(audio, [0, 1, 5000, 5001, 60_000], axis=1):
            if block.size:
                recorder.write(block[0] if channels == 1 else block)
    assert recorder.n_samples == 70_001
    rate = model.config.sample_rate
    assert path.read_bytes() == model.compress(audio, rate, n_codebooks=3, effort="raw")


def test_chunks_are_in_the_file_before_its_end(model: codec.Codec, tmp_path: Path) -> None:
    path = tmp_path / "a.nac"
    with codec.Recorder(path, model) as recorder:
        recorder.write(noise(5 * model.config.sample_rate, 0))
        recorder._file.flush()  # as the system would in time
        assert len(survey(path.read_bytes()).runs) == 1


def test_an_interrupted_recording_is_a_whole_file(model: codec.Codec, tmp_path: Path) -> None:
    path, audio = tmp_path / "a.nac", noise(3000, 0)

    def record() -> None:
        with codec.Recorder(path, model) as recorder:
            recorder.write(audio)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record()
    assert path.read_bytes() == model.compress(audio, model.config.sample_rate, effort="raw")


def test_wrong_use(model: codec.Codec, tmp_path: Path) -> None:
    path = tmp_path / "a.nac"
    with pytest.raises(codec.AudioError, match="no audio"), codec.Recorder(path, model):
        pass
    assert not path.exists()
    for channels in (0, 256, 1.5, "mono"):
        with pytest.raises(codec.AudioError, match="channels"):
            codec.Recorder(path, model, channels=channels)  # type: ignore[arg-type]
    with pytest.raises(codec.BitrateError):
        codec.Recorder(path, model, n_codebooks=1000)
    with codec.Recorder(path, model) as recorder:
        recorder.write(noise(10, 0))
        with pytest.raises(codec.AudioError, match="2 channels"):
            recorder.write(np.zeros((2, 4800), np.float32))
        with pytest.raises(codec.OutputError, match="exists"):
            codec.Recorder(path, model)
