"""Training a model that codes two channels together, at 48 kHz: from files to weights that run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")

import torch

import codec
from codec.errors import TrainingError
from codec.training.augment.chain import Chain
from codec.training.augment.settings import Augmentations
from codec.training.config import TrainConfig
from codec.training.crops import CropSampler
from codec.training.evaluation import evaluate, read_clips
from codec.training.export import export_weights
from codec.training.loop import LATEST, Session, Until, train
from codec.training.prepare import INDEX_NAME, PreparedAudio, open_prepared, prepare
from codec.training.step import rows
from tests.helpers.cli import Cli
from tests.helpers.nn_models import MODEL, TRAINING, chirps

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 48_000
# One front-end frame makes an encoder frame: two would make the start, a decomposition of all
# features of both channels, eight times as long.
PAIR = dataclasses.replace(MODEL, sample_rate=RATE, channels=2, encoder_stack=1)
CONFIG = dataclasses.replace(TRAINING, model=PAIR, critic_rotation="all")
FIELDS = json.loads(CONFIG.to_json())


def stereo(samples: int, seed: int = 0) -> np.ndarray:
    """float32 [2, samples]: a voice on the left, another, softer, in the middle."""
    left, middle = chirps(samples, seed), 0.5 * chirps(samples, seed + 50)
    return np.stack([left + middle, middle])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for i in range(2):
        soundfile.write(folder / f"{i}.wav", stereo(96_000, i).T, RATE, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def audio(source: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedAudio:
    return prepare(source, tmp_path_factory.mktemp("prepared"), RATE, channels=2)


def test_two_channels_are_kept(audio: PreparedAudio, source: Path) -> None:
    assert (audio.channels, audio.sample_rate, audio.n_samples) == (2, RATE, 192_000)
    assert audio.seconds == 4
    found = audio.audio()
    for entry in audio.files:
        expected, _ = soundfile.read(source / entry.path, dtype="int16")
        np.testing.assert_array_equal(found[entry.offset : entry.offset + 96_000], expected)
    assert open_prepared(audio.folder) == audio


def test_files_of_other_numbers_of_channels(tmp_path: Path) -> None:
    whole = np.stack([stereo(9600, i)[0] for i in range(3)])
    (tmp_path / "in").mkdir()
    for count in (1, 3):
        soundfile.write(tmp_path / "in" / f"{count}.wav", whole[:count].T, RATE, subtype="PCM_16")
    found = prepare(tmp_path / "in", tmp_path / "out", RATE, channels=2).audio()
    np.testing.assert_array_equal(found[:9600, 0], found[:9600, 1])
    np.testing.assert_array_equal(found[9600:, 0], found[:9600, 0])
    assert not np.array_equal(found[9600:, 1], found[:9600, 1])
    at_half = prepare(tmp_path / "in", tmp_path / "half", RATE // 2, channels=2)
    assert at_half.n_samples == 9600
    mono = prepare(tmp_path / "in", tmp_path / "mono", RATE)
    assert "channels" not in json.loads((mono.folder / INDEX_NAME).read_text())


def test_an_interrupted_preparation_goes_on(source: Path, audio: PreparedAudio, tmp_path: Path):
    def stop(name: str, *rest: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path, RATE, channels=2, progress=stop)
    again = prepare(source, tmp_path, RATE, channels=2)
    np.testing.assert_array_equal(again.audio(), audio.audio())
    assert prepare(source, tmp_path, RATE).channels == 1  # other options, another result


def test_crops_are_pieces_of_both_channels(audio: PreparedAudio) -> None:
    plain = Augmentations(gain_db=(0.0, 0.0), sign_share=0.0)
    sampler = CropSampler(audio, 4800, 5, seed=3, augmentations=plain)
    batch, files = sampler.batch_and_files(2)
    assert batch.shape == (5, 2, 4800)
    held = audio.audio().astype(np.float32) / 32768
    for crop, entry in zip(batch.numpy(), files, strict=True):
        own = held[entry.offset : entry.offset + entry.samples].T
        (starts,) = np.nonzero(own[0, : -4800 + 1] == crop[0, 0])
        assert any(np.array_equal(own[:, at : at + 4800], crop) for at in starts)
    parts = [CropSampler(audio, 4800, 5, 3, augmentations=plain, part=(r, 2)) for r in range(2)]
    joined = torch.empty_like(batch)
    joined[0::2], joined[1::2] = (part.batch(2) for part in parts)
    assert torch.equal(joined, batch)


def test_augmentations_keep_the_balance(audio: PreparedAudio, tmp_path: Path) -> None:
    """Of a source that is 6 dB softer on the right, every crop is."""
    right = np.rint(chirps(96_000) * 16_384).astype(np.int16)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", np.stack([2 * right, right]).T, RATE)
    data = prepare(tmp_path / "in", tmp_path / "out", RATE, channels=2)
    loud = Augmentations(
        gain_db=(0.0, 24.0), speed_share=1.0, tilt_share=1.0, room_share=1.0, mix_share=1.0
    )
    batch = CropSampler(data, 4800, 16, seed=1, augmentations=loud).batch(0)
    assert batch.abs().amax() <= 1
    torch.testing.assert_close(batch[:, 1], batch[:, 0] / 2, atol=1e-6, rtol=1e-6)
    noisy = dataclasses.replace(loud, noise_share=1.0, noise_db=(20.0, 20.0))
    ratio = CropSampler(data, 4800, 16, seed=1, augmentations=noisy).batch(0).square().sum(-1)
    assert (ratio[:, 1] < 0.5 * ratio[:, 0]).all()


def test_each_channel_has_noise_of_its_own() -> None:
    """Of a pair of equal channels: as loud in both, not the same, and on the left as in mono."""
    batch, samples, share = 64, 4000, torch.arange(64)
    settings = Augmentations(
        gain_db=(0.0, 0.0), sign_share=0.0, noise_share=1.0, noise_db=(20.0, 20.0)
    )
    audio = torch.from_numpy(chirps(samples)).repeat(batch, 1)
    mono, pair = (
        Chain(settings, samples, RATE, 7, torch.device("cpu"), channels) for channels in (1, 2)
    )
    alone = mono(audio, None, torch.tensor(3), share) - audio
    both = pair(audio.repeat_interleave(2, 0), None, torch.tensor(3), share)
    noise = (both - audio.repeat_interleave(2, 0)).view(batch, 2, samples)
    left, right = noise.unbind(1)

    def correlation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cosine_similarity(one, other, dim=1)

    torch.testing.assert_close(correlation(left, alone), torch.ones(batch), atol=1e-4, rtol=0)
    assert correlation(left, right).abs().mean() < 0.1  # 1 / sqrt(4000) if white
    energy = noise.square().sum(2)
    assert (energy[:, 0] / energy[:, 1]).log2().abs().mean() < 0.25
    expected = audio.square().sum(1) * 2 / 100  # 20 dB below both
    torch.testing.assert_close(energy.sum(1), expected, atol=0, rtol=1e-3)


def test_a_run_learns_and_its_weights_run_in_the_engine(
    audio: PreparedAudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    losses: list[dict[str, torch.Tensor]] = []
    session = Session(audio, tmp_path / "a", FIELDS, Until(6), device="cpu", say=said.append)
    before = [p.clone() for p in session.learner.model.parameters()]
    learn = session.learner.step

    def watched(*args: Any) -> dict[str, torch.Tensor]:
        losses.append(learn(*args))
        return losses[-1]

    monkeypatch.setattr(session.learner, "step", watched)
    session.run_until_done([])
    assert all(bool(each["learned"]) for each in losses)
    assert {"mel", "magnitude", "phase", "commitment", "adversarial"} <= losses[-1].keys()
    after = list(session.learner.model.parameters())
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(moved) == len(moved)
    # A run that is stopped and goes on ends with the same bits.
    for stop in (4, 6):
        fields = FIELDS if stop == 4 else {}
        train(audio, tmp_path / "b", fields, Until(stop), device="cpu", say=said.append)
    for run in "ab":
        export_weights(tmp_path / run / LATEST, tmp_path / f"{run}.safetensors")
    written = [(tmp_path / f"{run}.safetensors").read_bytes() for run in "ab"]
    assert written[0] == written[1]
    native = codec.load(tmp_path / "a.safetensors", backend="native")
    theirs = codec.load(tmp_path / "a.safetensors", backend="torch")
    assert native.config == PAIR
    clip = stereo(30_000, 7)
    tokens = native.encode(clip, RATE)
    assert (tokens.codes == theirs.encode(clip, RATE).codes).mean() > 0.99
    found, reference = native.decode(tokens), theirs.decode(tokens)
    assert found.shape == (2, 30_000)
    assert np.square(found - reference).mean() < 1e-6 * np.square(reference).mean()


def test_the_gradient_of_a_loss_reaches_both_channels() -> None:
    from codec.nn.model import CodecModel

    torch.manual_seed(0)
    model = CodecModel(PAIR)
    clip = torch.from_numpy(stereo(9600))[None]
    model.encoder.fit(clip)
    output = model.decoder(model.encoder(clip))
    assert output.shape == clip.shape
    assert rows(output).shape == (2, 9600)
    for channel in range(2):
        (gradient,) = torch.autograd.grad(
            output[0, channel].square().sum(), model.decoder.head.shape.weight, retain_graph=True
        )
        mid, side = gradient.chunk(2)
        assert mid.abs().sum() > 0
        assert side.abs().sum() > 0


def test_evaluation(audio: PreparedAudio, source: Path, tmp_path: Path) -> None:
    session = Session(audio, tmp_path / "run", FIELDS, Until(1), device="cpu", say=lambda _: None)
    model = session.learner.model
    clips = read_clips(source, model)
    assert clips[0].audio.shape == (1, 2, 96_000)
    scores = evaluate(model, session.learner.loss, clips, tmp_path / "out", quantised=False)
    assert scores["mel/0"] > 0
    written, rate = soundfile.read(tmp_path / "out" / "0.wav")
    assert (written.shape, rate) == ((96_000, 2), RATE)


def test_audio_of_another_number_of_channels_is_refused(
    audio: PreparedAudio, source: Path, tmp_path: Path
) -> None:
    mono = dataclasses.replace(CONFIG, model=dataclasses.replace(PAIR, channels=1))
    with pytest.raises(TrainingError, match="2 channels, the model wants 1"):
        Session(audio, tmp_path / "run", json.loads(mono.to_json()), Until(1), device="cpu")


def test_the_commands(
    cli_of_weights: Cli, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "prepared"
    args = ("prepare", source, "-o", out, "--rate", RATE, "--stereo", "-j", 1)
    code, _, err = cli_of_weights(*args)
    assert code == 0, err
    assert open_prepared(out).channels == 2
    settings = tmp_path / "config.json"
    settings.write_text(CONFIG.to_json())
    assert TrainConfig.from_json(settings.read_text()) == CONFIG
    # A folder that is not prepared is prepared as the model wants it, also when the run goes on.
    run = ("train", source, "--run", tmp_path / "run", "--device", "cpu")
    code, _, err = cli_of_weights(*run, "--config", settings, "--steps", 1)
    assert code == 0, err
    code, _, err = cli_of_weights(*run, "--steps", 2)
    assert code == 0, err
    (cached,) = (tmp_path / "cache" / "codec").iterdir()
    assert cached.name.endswith("-48000x2")
    assert open_prepared(cached).channels == 2
