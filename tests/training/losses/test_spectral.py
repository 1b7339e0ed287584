"""The spectral loss has torchaudio's mel filters, without torchaudio."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from codec.training.losses.spectral import SCALES, SpectralLoss


@pytest.mark.filterwarnings("ignore:At least one mel filterbank:UserWarning")
@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_filters_are_torchaudios(rate: int):
    functional = pytest.importorskip("torchaudio.functional")
    loss = SpectralLoss(rate)
    for scale in SCALES:
        theirs = functional.melscale_fbanks(scale.n_fft // 2 + 1, 0.0, rate / 2, scale.n_mels, rate)
        ours = loss.get_buffer(f"bank{scale.n_fft}")
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
