"""Recording to a file: the bytes of `compress`, and what is left of a recording that stops."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from bench.random_weights import SMALL, noise, write_weights
from codec.nac.salvage import survey
from tests.helpers.interrupt import interrupted_at


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


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(deadline=None, max_examples=30)
@given(line=st.integers(1, 110), block=st.integers(0, 2), channels=st.integers(1, 2))
def test_a_block_that_is_interrupted_is_in_the_file_or_is_not(
    model: codec.Codec, folder: Path, line: int, block: int, channels: int
) -> None:
    rate = model.config.sample_rate
    audio = np.stack([noise(3 * 2 * rate + 5, seed) for seed in range(channels)])
    path, taken = folder / "a.nac", []
    path.unlink(missing_ok=True)
    with codec.Recorder(path, model, channels=channels) as recorder:
        for number, samples in enumerate(np.array_split(audio, 3, axis=1)):
            before = recorder.n_samples
            with interrupted_at(line if number == block else None, "recorder.py", "writer.py"):
                recorder.write(samples)
            assert recorder.n_samples - before in (0, samples.shape[1])
            if recorder.n_samples > before:
                taken.append(samples)
    expected = model.compress(np.concatenate(taken, axis=1), rate, effort="raw")
    assert path.read_bytes() == expected


def test_ctrl_c_while_the_file_is_finished_leaves_a_whole_file(
    model: codec.Codec, folder: Path
) -> None:
    audio, path = noise(3000, 0), folder / "a.nac"
    expected = model.compress(audio, model.config.sample_rate, effort="raw")
    # The first lines of __exit__ stand before its `try`.
    for line in range(3, 80):
        path.unlink(missing_ok=True)
        recorder = codec.Recorder(path, model)
        recorder.write(audio)
        with interrupted_at(line, "recorder.py", "writer.py"):
            recorder.__exit__(None)
        assert path.read_bytes() == expected


def test_recording_goes_on_when_a_full_disk_has_room_again(
    model: codec.Codec, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource", reason="needs limits on the size of files")
    rate, path = model.config.sample_rate, tmp_path / "a.nac"
    before, after = noise(3 * rate, 0), noise(5 * rate, 1)
    recorder = codec.Recorder(path, model)
    recorder.write(before)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            recorder.write(noise(4 * rate, 2))
        with pytest.raises(OSError, match="large"):
            recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert recorder.n_samples == len(before)
    recorder.write(after)
    recorder.close()
    assert path.read_bytes() == model.compress(np.concatenate([before, after]), rate, effort="raw")


def test_a_block_with_a_channel_that_cannot_be_coded_is_left_out(
    model: codec.Codec, tmp_path: Path
) -> None:
    path, audio = tmp_path / "a.nac", np.stack([noise(3000, 0), noise(3000, 1)])
    bad = audio.copy()
    bad[1, 7] = np.nan
    with codec.Recorder(path, model, channels=2) as recorder:
        recorder.write(audio)
        with pytest.raises(codec.AudioError):
            recorder.write(bad)
        recorder.write(audio)
    expected = model.compress(np.hstack([audio, audio]), model.config.sample_rate, effort="raw")
    assert path.read_bytes() == expected


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
    for _ in range(2):
        recorder.close()
    with pytest.raises(codec.StateError, match="has ended"):
        recorder.write(noise(10, 0))
    with pytest.raises(codec.AudioError, match="no audio"):
        (empty := codec.Recorder(tmp_path / "b.nac", model)).close()
    with pytest.raises(codec.StateError, match="has ended"):
        empty.write(noise(10, 0))
    for name in (None, 5, b"a.nac", "a\0b"):
        with pytest.raises(codec.OutputError, match="must be a path"):
            codec.Recorder(name, model)  # type: ignore[arg-type]
    tags: list[object] = [{"title": 5}, {5: "a"}, 5, [("title", "x")], {"Title": "x"}]
    for wrong in tags:
        with pytest.raises(codec.OptionError, match="tag"):
            codec.Recorder(tmp_path / "c.nac", model, tags=wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "c.nac").exists()


def test_a_recording_with_a_beam_is_what_compress_gives(tmp_path):
    model = codec.load(write_weights(tmp_path / "w.safetensors", SMALL))
    audio = noise(60_000, seed=3)
    with codec.Recorder(tmp_path / "a.nac", model, n_codebooks=2, beam=5) as recorder:
        for start in range(0, 60_000, 7000):
            recorder.write(audio[start : start + 7000])
    packed = model.compress(audio, 24_000, n_codebooks=2, beam=5, effort="raw")
    assert (tmp_path / "a.nac").read_bytes() == packed


def test_a_refined_recording_is_what_compress_gives(model: codec.Codec, tmp_path: Path) -> None:
    audio, search = noise(140_000, seed=3), {"n_codebooks": 2, "beam": 2, "refine": 20}
    with codec.Recorder(tmp_path / "a.nac", model, **search) as recorder:
        for start in range(0, 140_000, 47_000):
            recorder.write(audio[start : start + 47_000])
    packed = model.compress(audio, 24_000, **search, effort="raw")
    assert (tmp_path / "a.nac").read_bytes() == packed
    assert packed != model.compress(audio, 24_000, n_codebooks=2, beam=2, effort="raw")
    with pytest.raises(codec.OptionError, match="refine"):
        codec.Recorder(tmp_path / "b.nac", model, refine=1001)
