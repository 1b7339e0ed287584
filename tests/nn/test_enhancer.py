"""The enhancer in PyTorch against the engine, which defines it, and against what must hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("codec.engine._engine", reason="needs the native engine")

import torch

from codec.engine import _engine
from codec.engine.periods import around
from codec.errors import ModelError
from codec.model.enhancer_config import EnhancerConfig
from codec.nn.enhancer import Enhancer
from codec.training.enhancer.files import enhancer_bytes
from tests.helpers.postfiltered import voice

SMALL = EnhancerConfig(bands=8, wide=100, narrow=60, dim=16, hidden=32, blocks=2, lookahead=1)
CONFIGS = {
    "small": SMALL,
    "wide is narrow": dataclasses.replace(SMALL, wide=60),
    "all bins": dataclasses.replace(SMALL, wide=481, narrow=481, bands=481),
    "no bin with periods": dataclasses.replace(SMALL, narrow=0),
    "one bin": dataclasses.replace(SMALL, wide=1, narrow=1, bands=2),
    "no look-ahead": dataclasses.replace(SMALL, lookahead=0),
    "no block": dataclasses.replace(SMALL, blocks=0, lookahead=0),
    "frames of 20 ms": dataclasses.replace(SMALL, fft=480, hop=120),
    "more overlap": dataclasses.replace(SMALL, fft=720, hop=120, wide=300),
    "long frames": dataclasses.replace(SMALL, fft=1920, hop=480, kernel_size=3),
}
SIGNALS = {
    "voice": voice(9600, 0.02),
    "noise": voice(9600, 0.3)[::-1] * np.linspace(0, 1, 9600, dtype=np.float32),
    "silence": np.zeros(9600, np.float32),
}


def made(config: EnhancerConfig, size: float = 0.05) -> Enhancer:
    """Make an enhancer that changes much, with weights that float16 holds."""
    torch.manual_seed(0)
    network = Enhancer(config).eval().requires_grad_(False)
    torch.nn.init.normal_(network.factors.weight, std=size)
    for parameter in network.parameters():
        parameter.copy_(parameter.half())
    return network


def enhanced(network: Enhancer, audio: np.ndarray) -> np.ndarray:
    """Enhance [samples] by PyTorch."""
    seen, known = around(np.ascontiguousarray(audio)[None], network.config)
    return network(torch.from_numpy(seen), torch.from_numpy(known))[0].numpy()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("signal", SIGNALS)
def test_the_engine_computes_the_same(name: str, signal: str):
    network, audio = made(CONFIGS[name]), np.ascontiguousarray(SIGNALS[signal])
    engine = _engine.Enhancer(enhancer_bytes(network, bytes(8), {}))
    result = engine(audio, 0, len(audio) // engine.hop)
    expected = enhanced(network, audio)
    assert result.shape == expected.shape == audio.shape
    assert np.abs(result - expected).max() <= 1e-5 * np.abs(expected).max()
    if signal != "silence":
        assert np.abs(expected - audio).max() > 0.05 * np.abs(audio).max()


@pytest.mark.parametrize("name", CONFIGS)
def test_factors_of_zero_change_nothing(name: str):
    network, audio = made(CONFIGS[name], 0.0), SIGNALS["voice"]
    assert np.abs(enhanced(network, audio) - audio).max() < 1e-6


def test_a_new_one_changes_nearly_nothing():
    torch.manual_seed(0)
    network, audio = Enhancer(EnhancerConfig()).requires_grad_(False), SIGNALS["voice"]
    change = enhanced(network, audio) - audio
    assert 0 < np.square(change).mean() < 0.05 * np.square(audio).mean()


def test_items_of_a_batch_do_not_touch():
    network = made(SMALL)
    rows = np.stack([SIGNALS["voice"], SIGNALS["noise"]])
    seen, known = around(rows, SMALL)
    both = network(torch.from_numpy(seen), torch.from_numpy(known)).numpy()
    for one, row in zip(both, rows, strict=True):
        assert np.abs(one - enhanced(network, row)).max() < 1e-6


def test_a_bias_of_one_gain_amplifies_its_band():
    network, audio = made(SMALL, 0.0), SIGNALS["noise"]
    network.factors.bias[-SMALL.bands :] = float(np.log(2))
    assert np.abs(enhanced(network, audio) - 2 * audio).max() < 1e-5
    network.factors.bias[-SMALL.bands :] = 100  # no gain is steeper than e^3
    assert np.allclose(enhanced(network, audio), np.exp(3) * audio, atol=1e-4)


WRONG = (
    ("hop", 40),
    ("fft", 600),
    ("fft", 480),  # half of it overlaps: the windows would not add up
    ("wide", 482),
    ("narrow", SMALL.wide + 1),
    ("bands", 1),
    ("lookahead", 3),
)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_dimensions_that_do_not_fit(name: str, value: int):
    with pytest.raises(ModelError, match=f"an enhancer's {name}"):
        dataclasses.replace(SMALL, **{name: value})


def test_the_engine_refuses_windows_that_do_not_add_up():
    data = enhancer_bytes(made(SMALL), bytes(8), {})
    other = data.replace(b'\\"hop\\": 240', b'\\"hop\\": 480')
    assert other != data
    with pytest.raises(ValueError, match="the enhancer's hop is missing or out of range"):
        _engine.Enhancer(other)


def test_a_configuration_comes_back():
    assert EnhancerConfig.from_json(SMALL.to_json()) == SMALL
    for text in ("", "[]", '{"fft": 960}', SMALL.to_json().replace('"fft"', '"size"')):
        with pytest.raises(ModelError):
            EnhancerConfig.from_json(text)
