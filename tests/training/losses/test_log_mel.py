"""The log-mel loss is the one of its definition, with librosa's mel spectra."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from codec.training.losses.log_mel import QUIETEST, WINDOWS, LogMelLoss
from tests.helpers.host_reads import NoHostReads
from tests.helpers.nn_models import chirps
from tests.helpers.training_steps import CONFIG, drawn, fitted

RATE = 24_000


@pytest.mark.filterwarnings("ignore:Empty filters:UserWarning")
def test_mels_are_librosas():
    librosa = pytest.importorskip("librosa")
    loss = LogMelLoss(RATE)
    target, output = chirps(6000), chirps(6000, 1)
    distances = []
    for n_fft, n_mels in WINDOWS:
        mels = [
            librosa.feature.melspectrogram(
                y=audio, sr=RATE, n_fft=n_fft, hop_length=n_fft // 4, power=1.0, n_mels=n_mels,
                pad_mode="reflect",
            )
            for audio in (target, output)
        ]  # fmt: skip
        found = loss.mel(torch.from_numpy(target)[None], n_fft)[0].T.numpy()
        np.testing.assert_allclose(found, mels[0], atol=1e-6, rtol=1e-4)
        logs = [np.log10(np.maximum(mel, QUIETEST)) for mel in mels]
        distances.append(np.abs(logs[0] - logs[1]).mean())
    found = loss(torch.from_numpy(target)[None], torch.from_numpy(output)[None])
    assert float(found) == pytest.approx(sum(distances), rel=1e-4)


def test_windows_halve_and_so_do_their_bands():
    assert [n_fft for n_fft, _ in WINDOWS] == [2**i for i in range(5, 12)]
    assert [n_fft / n_mels for n_fft, n_mels in WINDOWS] == [6.4] * 7


def test_silence_has_a_finite_gradient():
    output = torch.zeros(1, 4800, requires_grad=True)
    (gradient,) = torch.autograd.grad(LogMelLoss()(torch.zeros(1, 4800), output), output)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["log_mel", "stft"])
def test_a_step_learns_from_it_without_a_wait(name: str):
    if name == "stft":
        pytest.importorskip("auraloss")
    config = dataclasses.replace(CONFIG, **{f"{name}_weight": 1.0}, adversarial_from=None)
    learner, audio = fitted(config)
    plain, _ = fitted(dataclasses.replace(CONFIG, adversarial_from=None))
    plan, inputs = drawn(learner, audio)
    with NoHostReads():
        found = learner._step(plan, inputs)
    without = plain._step(plan, inputs)
    assert found["learned"]
    assert name not in without
    assert found["mel"] == without["mel"]
    assert not torch.equal(found["norm"], without["norm"])
