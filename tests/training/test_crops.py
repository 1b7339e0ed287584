"""Training crops: a function of seed and step, drawn in the proportions that were asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from codec.errors import DataError
from codec.training.augment.settings import Augmentations
from codec.training.crops import CropSampler
from codec.training.prepare import AUDIO_NAME, AudioEntry, PreparedAudio
from tests.helpers.host_reads import NoHostReads

CROP = 64


def hoeffding(draws: int, failure: float = 1e-9) -> float:
    """How far a mean of `draws` values in [0, 1] strays but with probability `failure`."""
    return math.sqrt(math.log(2 / failure) / (2 * draws))


def prepared(
    folder: Path, files: dict[str, np.ndarray], full_band: tuple[str, ...] = ()
) -> PreparedAudio:
    """The int16 arrays as if they had been prepared."""
    entries, offset = [], 0
    for path, audio in files.items():
        assert audio.dtype == np.int16
        group = path.split("/")[0]
        entries.append(
            AudioEntry(path, group, offset, len(audio), 24_000, 1, path in full_band, 1.0, 0.1)
        )
        offset += len(audio)
    np.concatenate(list(files.values())).tofile(folder / AUDIO_NAME)
    return PreparedAudio(folder, 24_000, tuple(entries), (), "")


def pattern(period: int, samples: int) -> np.ndarray:
    """A square wave that `period_of` knows again whatever its gain, sign and phase."""
    wave = np.where(np.arange(samples) % period < period / 2, 9000, -9000)
    return wave.astype(np.int16)


def period_of(crop: np.ndarray) -> int:
    changes = np.flatnonzero(np.diff(np.sign(crop)))
    return 2 * int(np.diff(changes)[0])


def random_audio(samples: int, top: int = 8000) -> np.ndarray:
    return np.random.default_rng(0).integers(-top, top + 1, samples).astype(np.int16)


def test_each_crop_is_of_the_file_that_is_named(tmp_path: Path) -> None:
    flat = np.full(5000, 8000, np.int16)
    turning = flat * (-1) ** np.arange(5000)
    data = prepared(tmp_path, {"flat.wav": flat, "turning.wav": turning.astype(np.int16)})
    crops, files = CropSampler(data, CROP, 40, seed=1).batch_and_files(3)
    assert torch.equal(crops, CropSampler(data, CROP, 40, seed=1).batch(3))
    named = ["flat.wav" if crop[0] == crop[1] else "turning.wav" for crop in crops]
    assert [file.path for file in files] == named
    assert len(set(named)) == 2


def test_a_function_of_seed_and_step(tmp_path: Path) -> None:
    data = prepared(tmp_path, {"a/a.wav": random_audio(5000), "b/b.wav": random_audio(900)})
    sampler = CropSampler(data, CROP, 6, seed=7)
    steps = {step: sampler.batch(step) for step in (5, 0, 1, 10**12)}
    again = CropSampler(data, CROP, 6, seed=7)
    for step in sorted(steps):
        assert torch.equal(again.batch(step), steps[step])
    other = CropSampler(data, CROP, 6, seed=8)
    batches = [*steps.values(), *(other.batch(step) for step in steps)]
    assert len({batch.numpy().tobytes() for batch in batches}) == 2 * len(steps)
    # Within a batch the crops differ too.
    assert len({crop.numpy().tobytes() for batch in batches for crop in batch}) == 6 * 2 * len(
        steps
    )


@pytest.mark.parametrize("ranks", [2, 3])
def test_each_part_is_rows_of_the_whole_batch(tmp_path: Path, ranks: int) -> None:
    data = prepared(tmp_path, {"a/a.wav": random_audio(5000), "b/b.wav": random_audio(900)})
    whole, numbers, _ = CropSampler(data, CROP, 6, seed=7).crops(4)
    for rank in range(ranks):
        sampler = CropSampler(data, CROP, 6, seed=7, part=(rank, ranks))
        part, part_numbers, _ = sampler.crops(4)
        assert torch.equal(part, whole[rank::ranks])
        assert torch.equal(part_numbers, numbers[rank::ranks])


def test_a_larger_batch_begins_with_the_smaller(tmp_path: Path) -> None:
    data = prepared(tmp_path, {"a": random_audio(5000)})
    batches = [CropSampler(data, CROP, size, seed=7).batch(4) for size in (3, 8)]
    assert torch.equal(batches[0], batches[1][:3])


def test_the_step_may_be_a_tensor(tmp_path: Path) -> None:
    sampler = CropSampler(prepared(tmp_path, {"a": random_audio(5000)}), CROP, 4, seed=7)
    for step in (0, 3, 2**40):
        assert torch.equal(sampler.batch(step), sampler.batch(torch.tensor(step)))


def test_drawing_is_one_graph_without_a_look_at_the_data(tmp_path: Path) -> None:
    data = prepared(tmp_path, {"a": random_audio(5000), "b": random_audio(50)})
    sampler = CropSampler(data, CROP, 4, seed=7)
    draw = torch.compile(sampler.crops, fullgraph=True, backend="eager")
    compiled = draw(torch.tensor(5))
    with NoHostReads():
        eager = sampler.crops(torch.tensor(5))
    assert all(map(torch.equal, compiled, eager))


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: torch.nonzero(x),
        lambda x: torch.equal(x, x),
    ],
)
def test_looks_at_the_data_are_caught(read: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises(AssertionError, match="the host waits"), NoHostReads():
        read(torch.ones(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("data", ["device", "host", "auto"])
def test_a_gpu_draws_the_same_crops(tmp_path: Path, data: str) -> None:
    audio = prepared(tmp_path, {"a/a.wav": random_audio(5000, 32767), "b/b.wav": random_audio(50)})
    here = CropSampler(audio, CROP, 40, seed=7)
    there = CropSampler(audio, CROP, 40, seed=7, device="cuda", data=data)
    assert there.data_device.type == ("cpu" if data == "host" else "cuda")
    for step in (0, 5):
        for one, other in zip(here.crops(step), there.crops(step), strict=True):
            assert torch.equal(one, other.cpu())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_drawing_is_captured_as_a_cuda_graph(tmp_path: Path) -> None:
    audio = prepared(tmp_path, {"a": random_audio(5000), "b": random_audio(50)})
    sampler = CropSampler(audio, CROP, 8, seed=7, device="cuda", data="device")
    step = torch.zeros((), dtype=torch.int64, device="cuda")
    sampler.batch(step)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = sampler.batch(step)
    for number in (0, 9):
        step.fill_(number)
        graph.replay()
        assert torch.equal(captured, sampler.batch(number))


def test_data_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="auto, device or host"):
        CropSampler(prepared(tmp_path, {"a": random_audio(100)}), CROP, 2, 0, data="disk")


def test_crops_are_pieces_of_files(tmp_path: Path) -> None:
    files = {"a": random_audio(300), "b": random_audio(200, top=32767)[::-1].copy()}
    data = prepared(tmp_path, files)
    pieces = [
        window
        for audio in files.values()
        for window in np.lib.stride_tricks.sliding_window_view(audio / 32768, CROP)
    ]
    directions = np.array([piece / np.linalg.norm(piece) for piece in pieces])
    batch = CropSampler(data, CROP, 500, seed=0).batch(0)
    assert batch.dtype == torch.float32
    assert batch.shape == (500, CROP)
    assert batch.abs().max() <= 1
    gains, starts = [], set()
    for crop in batch.numpy().astype(np.float64):
        likeness = directions @ (crop / np.linalg.norm(crop))
        best = int(np.abs(likeness).argmax())
        assert abs(likeness[best]) == pytest.approx(1, abs=1e-6)
        gain = np.linalg.norm(crop) / np.linalg.norm(pieces[best])
        assert gain * np.abs(pieces[best]).max() <= 1 + 1e-6
        gains.append(20 * math.log10(gain))
        starts.add(best)
    low, high = Augmentations().gain_db
    assert low - 1e-3 <= min(gains) < low + 1
    assert high - 1 < max(gains) <= high + 1e-3
    assert len(starts) > 200  # of 374, in 500 draws


def test_both_ends_of_a_file_are_reached(tmp_path: Path) -> None:
    audio = np.full(CROP + 1, 3000, np.int16)
    audio[[0, -1]] = 9000
    batch = CropSampler(prepared(tmp_path, {"a": audio}), CROP, 200, seed=0).batch(0).numpy()
    first = np.abs(batch[:, 0]) > 2 * np.abs(batch[:, 1])
    assert np.array_equal(~first, np.abs(batch[:, -1]) > 2 * np.abs(batch[:, 1]))
    assert abs(first.mean() - 0.5) < hoeffding(200)


def test_signs_are_even(tmp_path: Path) -> None:
    data = prepared(tmp_path, {"a": np.full(500, 5000, np.int16)})
    batch = CropSampler(data, CROP, 1000, seed=3).batch(0)
    assert abs((batch[:, 0] > 0).float().mean() - 0.5) < hoeffding(1000)


def test_loud_audio_is_scaled_not_clipped(tmp_path: Path) -> None:
    audio = np.array([-32768, 16384] * 500, np.int16)
    batch = CropSampler(prepared(tmp_path, {"a": audio}), CROP, 400, seed=0).batch(0)
    peaks = batch.abs().amax(dim=1)
    assert torch.allclose(batch.abs().amin(dim=1), peaks / 2, rtol=1e-6)
    # Gains of 0 to 3 of -12 ... 3 dB would clip: they all end at exactly full scale.
    assert peaks.max() == 1
    assert abs((peaks > 0.9999).float().mean() - 3 / 15) < hoeffding(400)


def test_proportions(tmp_path: Path) -> None:
    files = {
        "speech/long.wav": pattern(4, 6000),
        "speech/wide.wav": pattern(8, 3000),
        "music/short.wav": pattern(16, 1000),
        "music/unwanted.wav": pattern(32, 9000),
    }
    data = prepared(tmp_path, files, full_band=("speech/wide.wav",))
    weights = {"music/*": 3.0, "*unwanted*": 0.0, "*long.wav": 0.5}
    sampler = CropSampler(data, CROP, 3000, seed=1, weights=weights, full_band_weight=3)
    mass = {4: 6000 * 0.5, 8: 3000 * 3, 16: 1000 * 3}
    total = sum(mass.values())
    assert sampler.shares() == pytest.approx({"speech": 12_000 / total, "music": 3000 / total})
    found = [period_of(crop) for crop in sampler.batch(0).numpy()]
    assert set(found) == set(mass)
    for period, share in mass.items():
        assert abs(found.count(period) / len(found) - share / total) < hoeffding(len(found))


def test_short_files_lie_in_zeros(tmp_path: Path) -> None:
    audio = np.array([4000, 8000, -6000], np.int16)
    batch = CropSampler(prepared(tmp_path, {"a": audio}), CROP, 400, seed=0).batch(0).numpy()
    starts = set()
    for crop in batch:
        (place,) = np.nonzero(crop)
        assert place.tolist() == list(range(place[0], place[0] + 3))
        assert crop[place] / crop[place[0]] == pytest.approx([1, 2, -1.5])
        starts.add(int(place[0]))
    assert {0, CROP - 3} <= starts  # 62 places in 400 draws
    assert len(starts) > 55


def test_silence_is_drawn_again(tmp_path: Path) -> None:
    audio = {"loud": np.full(1000, 5000, np.int16), "silent": np.full(1000, 3, np.int16)}
    batch = CropSampler(prepared(tmp_path, audio), CROP, 2000, seed=0).batch(0)
    silent = (batch.abs().amax(dim=1) < 1e-3).float().mean()
    assert abs(silent - 0.5**4) < hoeffding(2000)
    only = CropSampler(prepared(tmp_path, {"zeros": np.zeros(500, np.int16)}), CROP, 4, seed=0)
    assert torch.equal(only.batch(0), torch.zeros(4, CROP))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"msuic/*": 2.0}, "matches none of the 2 files"),
        ({"music/*": -1.0}, "is -1.0"),
        ({"music/*": math.nan}, "is nan"),
        ({"*": math.inf}, "is inf"),
        ({"*": 0.0}, "weight 0"),
    ],
)
def test_weights_that_make_no_sense(
    tmp_path: Path, weights: dict[str, float], message: str
) -> None:
    data = prepared(tmp_path, {"music/a": random_audio(100), "speech/b": random_audio(100)})
    with pytest.raises(DataError, match=message):
        CropSampler(data, CROP, 2, seed=0, weights=weights)


@pytest.mark.parametrize(
    ("crop", "batch", "seed"), [(0, 1, 0), (1, 0, 0), (1, 1, -1), (1, 1, 2**64)]
)
def test_sizes_that_make_no_sense(tmp_path: Path, crop: int, batch: int, seed: int) -> None:
    data = prepared(tmp_path, {"a": random_audio(100)})
    with pytest.raises(DataError):
        CropSampler(data, crop, batch, seed)
