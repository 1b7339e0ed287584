"""Phones beside the audio: the table, the labels in crops, the loss, and a run that learns them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import DataError, TrainingError
from codec.training import checkpoint as checkpoints
from codec.training.augment.settings import Augmentations
from codec.training.crops import CropSampler
from codec.training.handover import hand_over
from codec.training.learner import Learner
from codec.training.loop import LATEST, Until, train
from codec.training.losses.phonetic import PhoneticLoss
from codec.training.phones import (
    COLUMNS,
    AlignedClip,
    read_labels,
    read_table,
    write_labels,
    write_table,
)
from codec.training.prepare import AUDIO_NAME, AudioEntry, PreparedAudio
from codec.training.runner import compiled
from tests.helpers.host_reads import NoHostReads
from tests.helpers.nn_models import TRAINING, chirps, prepared

RATE = 24_000
CONFIG = dataclasses.replace(TRAINING, phonetic_weight=0.5, first_dims=3)


def speak(seconds: float, seed: int) -> tuple[np.ndarray, tuple[tuple[int, str], ...]]:
    """Make audio whose level is 1000 times the number of the phone: int16, and its phones."""
    random = np.random.default_rng(seed)
    starts = np.cumsum(random.integers(3, 15, round(100 * seconds)))
    starts = np.concatenate([[0], starts[starts < 100 * seconds - 3]])
    numbers = random.integers(1, 9, len(starts))
    times = (np.arange(round(RATE * seconds)) + 0.5) / RATE * 100
    found = np.searchsorted(starts, times, side="right") - 1
    phones = tuple((int(s), f"P{n}") for s, n in zip(starts, numbers, strict=True))
    return (1000 * numbers[found]).astype(np.int16), phones


@pytest.fixture
def spoken(tmp_path: Path) -> PreparedAudio:
    """Two files, with phones from 0.5 s of the second one on, and of all of the first."""
    entries, parts, offset = [], [], 0
    clips = []
    for number, (seconds, begins) in enumerate([(3.0071, 0.0), (4.123, 0.5), (0.3, 0.0)]):
        audio, phones = speak(seconds - begins, number)
        audio = np.concatenate([np.full(round(begins * RATE), 9000, np.int16), audio])
        entries.append(
            AudioEntry(f"speech/{number}.flac", "speech", offset, len(audio), RATE, 1, True, 1, 1)
        )
        clips.append(AlignedClip(f"train/speech/{number}.opus", begins, seconds - begins, phones))
        parts.append(audio)
        offset += len(audio)
    np.concatenate(parts).tofile(tmp_path / AUDIO_NAME)
    data = PreparedAudio(tmp_path, RATE, tuple(entries), (), "made")
    write_table(tmp_path / "phones.tsv", clips)
    write_labels(data, tmp_path / "phones.tsv")
    return data


@pytest.mark.parametrize("speed", [0.0, 1.0])
def test_labels_name_what_is_heard_in_the_middle_of_each_frame(
    spoken: PreparedAudio, speed: float
) -> None:
    """The level of the audio tells the phone, also in crops that are faster or shorter."""
    plain = Augmentations(gain_db=(0.0, 0.0), sign_share=0.0, speed_share=speed, speed_percent=15.0)
    samples, frame = 9600, 480
    sampler = CropSampler(spoken, samples, 24, 3, augmentations=plain, frame_samples=frame)
    names = read_labels(spoken)[1]
    checked, moved = 0, 0
    for step in range(3):
        audio, files, phones = sampler.crops(step)
        levels = (audio.numpy() * 32768 / 1000).reshape(24, -1, frame)
        # Within 6 ms of the middle: labels have a resolution of 10 ms.
        around = levels[:, :, frame // 2 - 144 : frame // 2 + 145]
        heard = np.rint(around.mean(-1)).astype(int)
        steady = np.abs(around - heard[..., None]).max(-1) < 0.1
        known = phones.numpy() > 0
        expected = np.array([0, *(int(name[1:]) for name in names)])[phones.numpy()]
        assert (expected == heard)[steady & known].all()
        # Silence around a short file, and what has no phones, is unknown.
        assert not known[steady & ((heard == 0) | (heard == 9))].any()
        assert known[steady & (heard > 0) & (heard < 9)].all()
        checked += int((steady & known).sum())
        moved += len(set(files.tolist()))
    assert checked > 400
    assert moved == 9


def test_audio_is_the_same_with_phones_as_without(spoken: PreparedAudio) -> None:
    loud = Augmentations(speed_share=0.5, mix_share=0.5, noise_share=0.5)
    one = CropSampler(spoken, 4800, 4, 1, augmentations=loud).crops(2)
    other = CropSampler(spoken, 4800, 4, 1, augmentations=loud, frame_samples=480).crops(2)
    assert torch.equal(one.audio, other.audio)
    assert one.phones.shape == (4, 0)
    assert other.phones.shape == (4, 10)


def test_phones_are_drawn_in_one_graph_without_a_look_at_the_data(spoken: PreparedAudio) -> None:
    some = Augmentations(speed_share=0.5)
    sampler = CropSampler(spoken, 4800, 4, 1, augmentations=some, frame_samples=480)
    draw = torch.compile(sampler.crops, fullgraph=True, backend="eager")
    compiled = draw(torch.tensor(5))
    with NoHostReads():
        eager = sampler.crops(torch.tensor(5))
    assert all(map(torch.equal, compiled, eager))


@pytest.mark.parametrize("ranks", [2, 3])
def test_each_part_has_its_rows_phones(spoken: PreparedAudio, ranks: int) -> None:
    some = Augmentations(speed_share=0.5)
    given = {"augmentations": some, "frame_samples": 480}
    whole = CropSampler(spoken, 4800, 6, 1, **given).crops(3).phones
    for rank in range(ranks):
        part = CropSampler(spoken, 4800, 6, 1, part=(rank, ranks), **given).crops(3).phones
        assert torch.equal(part, whole[rank::ranks])


def test_a_table_is_read_as_it_was_written(spoken: PreparedAudio) -> None:
    clips = read_table(spoken.folder / "phones.tsv")
    write_table(spoken.folder / "again.tsv", clips)
    assert read_table(spoken.folder / "again.tsv") == clips


GOOD = "a.opus\t0.000\t1.000\t0:SIL 7:AA"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (GOOD.replace("7:AA", "7"), "line 2: not a clip"),
        (GOOD.replace("0:SIL 7:AA", "7:SIL 0:AA"), "line 2: not a clip"),
        (GOOD.replace("1.000", "nan"), "line 2: not a clip"),
        (GOOD.replace("0.000", "-1"), "line 2: not a clip"),
        (GOOD.rpartition("\t")[0], "line 2: not a clip"),
        ("", "is empty"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    table = tmp_path / "phones.tsv"
    table.write_text("\t".join(COLUMNS) + "\n" + line + "\n" * bool(line))
    with pytest.raises(DataError, match=said):
        read_table(table)


def test_a_table_must_fit_the_audio(spoken: PreparedAudio, tmp_path: Path) -> None:
    table = tmp_path / "other.tsv"
    clip = AlignedClip("speech/0.wav", 2.0, 1.5, ((0, "AA"),))
    write_table(table, [clip])
    with pytest.raises(DataError, match=r"ends at 3\.500 s, and the audio at 3\.007"):
        write_labels(spoken, table)
    write_table(table, [dataclasses.replace(clip, path="speech/x.wav")])
    with pytest.raises(DataError, match="none of its files"):
        write_labels(spoken, table)
    many = tuple((number, f"P{number}") for number in range(256))
    write_table(table, [dataclasses.replace(clip, offset=0.0, duration=2.9, phones=many)])
    with pytest.raises(DataError, match="256 phones"):
        write_labels(spoken, table)
    table.write_text("path\toffset\n")
    with pytest.raises(DataError, match="duration, phones are missing"):
        write_labels(spoken, table)
    assert len(read_labels(spoken)[1]) == 8  # the good ones are still there
    with pytest.raises(DataError, match="belong to other audio"):
        read_labels(dataclasses.replace(spoken, fingerprint="another"))


def test_labels_must_be_there_to_be_learned(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    with pytest.raises(DataError, match="--phones"):
        CropSampler(data, 4800, 2, 0, frame_samples=480)


def fitted(config=CONFIG) -> tuple[Learner, torch.Tensor]:
    torch.set_num_threads(1)
    learner = Learner(config, torch.device("cpu"))
    audio = torch.from_numpy(chirps(config.batch_size * config.crop_samples))
    audio = audio.view(config.batch_size, -1)
    learner.start(audio)
    learner.fit_codebooks([audio] * 8)
    return learner, audio


def phones_of(config=CONFIG, unknown: float = 0.3) -> torch.Tensor:
    random = np.random.default_rng(0)
    shape = (config.batch_size, config.crop_samples // config.model.hop_length)
    drawn = random.integers(1, 40, shape) * (random.random(shape) >= unknown)
    return torch.from_numpy(drawn)


@pytest.mark.parametrize("first_dims", [0, 3])
@pytest.mark.parametrize("quantised", [True, False])
def test_the_gradient_reaches_the_encoder_from_frames_with_a_phone(
    first_dims: int, quantised: bool
) -> None:
    learner, audio = fitted(dataclasses.replace(CONFIG, first_dims=first_dims))
    learner.quantised = quantised
    encoder = list(learner.model.encoder.parameters())

    def gradients(phones: torch.Tensor) -> list[torch.Tensor]:
        plan, inputs = learner._draw(0, audio, 1e-3, None, phones)
        loss = learner._step._forward(plan, inputs)[0]["phonetic"]
        head = learner._step.phonetic.parameters()
        return list(torch.autograd.grad(loss, [*encoder, *head]))

    assert all(gradient.abs().max() > 0 for gradient in gradients(phones_of()))
    assert not any(gradient.any() for gradient in gradients(phones_of(unknown=1.0)))


@pytest.mark.parametrize("scale", [1e-3, 7e3])
def test_the_loss_is_of_the_frames_with_a_phone_at_any_scale(scale: float) -> None:
    torch.manual_seed(0)
    loss = PhoneticLoss(4)
    latents = scale * torch.randn(3, 5, 6)
    phones = torch.randint(0, 3, (3, 5))
    heard = loss(latents, latents, phones)
    rms = latents[..., :4].square().mean().sqrt()
    scores = torch.log_softmax(loss.head(latents[..., :4] / rms), -1)
    known = [(i, j, int(phones[i, j])) for i in range(3) for j in range(5) if phones[i, j]]
    expected = -sum(scores[i, j, k] for i, j, k in known) / len(known)
    torch.testing.assert_close(heard.loss, expected)
    wrong = sum(int(scores[i, j].argmax()) != k for i, j, k in known) / len(known)
    assert float(heard.wrong) == pytest.approx(wrong)


@pytest.mark.slow
def test_a_step_with_phones_is_one_graph_that_does_not_wait() -> None:
    learner, audio = fitted()
    plan, inputs = learner._draw(3, audio, 1e-3, None, phones_of())
    values = [tensor.clone() for tensor in learner._step.tensors()]
    with NoHostReads():
        expected = learner._step(plan, inputs)
    after = [tensor.clone() for tensor in learner._step.tensors()]
    with torch.no_grad():
        for tensor, value in zip(learner._step.tensors(), values, strict=True):
            tensor.copy_(value)
    torch._dynamo.reset()
    found = compiled(learner._step, plan, "aot_eager")(inputs)
    torch.testing.assert_close(found, expected, equal_nan=True, atol=1e-5, rtol=1e-4)
    for one, other in zip(learner._step.tensors(), after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert expected["phonetic"] > 0
    assert 0 <= expected["wrong_phones"] <= 1


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> PreparedAudio:
    data = prepared(tmp_path_factory.mktemp("data"))
    table = data.folder / "phones.tsv"
    phones = tuple((7 * i, f"P{i % 11}") for i in range(40))
    write_table(table, [AlignedClip("speech/0.wav", 0.1, 2.8, phones)])
    write_labels(data, table)
    return data


def go(audio: PreparedAudio, run: Path, steps: int, config=CONFIG, **options) -> dict:
    fields = {} if (run / LATEST).exists() else json.loads(config.to_json())
    train(audio, run, fields, Until(steps=steps), say=lambda line: None, **options)
    return checkpoints.load(run / LATEST).learner


def test_a_run_that_learns_phones_resumes_to_the_bit(audio: PreparedAudio, tmp_path: Path) -> None:
    whole = go(audio, tmp_path / "whole", 6)
    for steps in (1, 4, 6):
        cut = go(audio, tmp_path / "cut", steps)
    for part in (whole, cut):
        del part["chosen"]
    torch.testing.assert_close(whole, cut, atol=0, rtol=0)
    assert whole["phonetic"]["head.weight"].abs().sum() > 0
    books = whole["model"]["quantiser.codebooks"]
    assert not books[0, :, 3:].any()
    assert not books[1:, :, :3].any()
    assert books[0, :, :3].any()


def test_a_handover_carries_the_layer(audio: PreparedAudio, tmp_path: Path) -> None:
    learner = go(audio, tmp_path / "one", 4)
    hand_over(tmp_path / "one" / LATEST, tmp_path / "handed")
    go(audio, tmp_path / "two", 5, resume_from=tmp_path / "handed")
    after = checkpoints.load(tmp_path / "two" / LATEST)
    assert after.step == 5
    difference = after.learner["phonetic"]["head.weight"] - learner["phonetic"]["head.weight"]
    assert 0 < difference.abs().max() < 0.01


def test_phones_may_be_left_and_taken_up_again(audio: PreparedAudio, tmp_path: Path) -> None:
    run = tmp_path / "run"
    go(audio, run, 3)
    for weight, steps in ((0.0, 4), (0.5, 5)):
        train(audio, run, {"phonetic_weight": weight}, Until(steps=steps), say=lambda line: None)
        assert ("phonetic" in checkpoints.load(run / LATEST).learner) == (weight > 0)


@given(st.integers(-3, 20))
def test_settings_have_bounds(dims: int) -> None:
    good = 0 <= dims < CONFIG.model.latent_dim
    try:
        assert CONFIG.replace({"first_dims": dims}).first_dims == dims
        assert good
    except TrainingError:
        assert not good
