"""auraloss's loss is taken as it is, and missed by name."""

from __future__ import annotations

import dataclasses
import sys

import pytest

pytest.importorskip("torch")

import torch

from codec.errors import TrainingError
from codec.training.losses.multi_resolution import MultiResolutionLoss
from tests.helpers.nn_models import chirps
from tests.helpers.training_steps import CONFIG, fitted


def test_it_is_auralosss():
    freq = pytest.importorskip("auraloss.freq")
    target, output = (torch.from_numpy(chirps(9600, seed)).view(2, -1) for seed in range(2))
    expected = freq.MultiResolutionSTFTLoss()(output[:, None], target[:, None])
    assert torch.equal(MultiResolutionLoss(torch.device("cpu"))(target, output), expected)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "auraloss.freq", None)
    with pytest.raises(TrainingError, match="pip install auraloss"):
        fitted(dataclasses.replace(CONFIG, stft_weight=1.0))
