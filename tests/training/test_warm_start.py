"""First weights from elsewhere: exported files, checkpoints, and layers made narrower."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from bench.random_weights import SMALL, write_weights
from codec.errors import ModelError, TrainingError
from codec.nn.model import CodecModel
from codec.training.warm_start import first_weights, narrowed


def model_of(**changes: int) -> CodecModel:
    return CodecModel(dataclasses.replace(SMALL, **changes)).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", SMALL)


def test_exported_weights_give_their_model(exported: Path) -> None:
    from codec.model.weights_file import WeightsFile
    from codec.nn.backend import read_model

    model = model_of()
    state, levels = first_weights(exported, model)
    assert levels == SMALL.n_codebooks
    model.load_state_dict(state)
    audio = torch.randn(1, 9600, generator=torch.Generator().manual_seed(0)) / 10
    expected = read_model(WeightsFile(exported))
    assert torch.equal(model.encode(audio), expected.encode(audio))
    quantiser = model.quantiser
    means = quantiser.sums / quantiser.counts[..., None]
    assert torch.equal(means, quantiser.codebooks)  # the first update does not move a codeword


def test_units_without_weight_are_the_ones_cut(exported: Path) -> None:
    wide, narrow = model_of(), model_of(encoder_hidden=31, decoder_hidden=40)
    state, _ = first_weights(exported, wide)
    generator = torch.Generator().manual_seed(1)
    for side, hidden in (("encoder", 31), ("decoder", 40)):
        for block in range(2):
            name = f"{side}.backbone.{block}"
            size = len(state[f"{name}.expand.weight"])
            silent = torch.randperm(size, generator=generator)[hidden:]
            state[f"{name}.reduce.weight"][:, silent] = 0
    wide.load_state_dict(state)
    narrow.load_state_dict(narrowed(state, narrow.state_dict()))
    audio = torch.randn(1, 9600, generator=generator) / 10
    torch.testing.assert_close(narrow.encoder(audio), wide.encoder(audio))
    latents = torch.randn(1, 10, SMALL.latent_dim, generator=generator)
    torch.testing.assert_close(narrow.decoder(latents), wide.decoder(latents))


def test_added_blocks_and_units_change_nothing_until_they_learn(exported: Path) -> None:
    known = model_of()
    known.load_state_dict(first_weights(exported, known)[0])
    larger = model_of(
        encoder_hidden=SMALL.encoder_hidden + 9,
        encoder_blocks=SMALL.encoder_blocks + 1,
        decoder_hidden=SMALL.decoder_hidden + 16,
        decoder_blocks=SMALL.decoder_blocks + 2,
    )
    larger.load_state_dict(first_weights(exported, larger)[0])
    generator = torch.Generator().manual_seed(1)
    audio = torch.randn(1, 9600, generator=generator) / 10
    torch.testing.assert_close(larger.encoder(audio), known.encoder(audio))
    latents = torch.randn(1, 10, SMALL.latent_dim, generator=generator)
    torch.testing.assert_close(larger.decoder(latents), known.decoder(latents))

    larger.decoder(latents).square().mean().backward()
    for block in list(larger.decoder.backbone)[:-1]:
        units = block.reduce.weight.grad.abs().amax(0)
        assert (units > 0).all()  # each added unit is asked to do something


def test_codebooks_are_added_and_left_out(exported: Path) -> None:
    known = SMALL.n_codebooks
    shallow = model_of(n_codebooks=known - 1)
    state, levels = first_weights(exported, shallow)
    assert levels == known - 1
    shallow.load_state_dict(state)
    audio = torch.randn(1, 9600, generator=torch.Generator().manual_seed(0)) / 10
    whole = model_of()
    whole.load_state_dict(first_weights(exported, whole)[0])
    assert torch.equal(shallow.encode(audio), whole.encode(audio)[:-1])

    deep = model_of(n_codebooks=known + 2)
    state, levels = first_weights(exported, deep)
    assert levels == known
    deep.load_state_dict(state)
    before = deep.quantiser.codebooks[:known].clone()
    latents = torch.randn(2000, SMALL.latent_dim, generator=torch.Generator().manual_seed(1))
    left = deep.quantiser.fit(latents, torch.Generator().manual_seed(2), 3, start=known)
    assert torch.equal(deep.quantiser.codebooks[:known], before)
    assert len(left) == 2
    assert left[1] < left[0]
    # What is fitted is the residual: the levels before it are taken off first.
    codes = deep.quantiser(latents[None]).codes
    error = latents - deep.quantiser.decode(codes)[0]
    assert float(error.square().sum(1).mean() / latents.var(0).sum()) == pytest.approx(left[1])


def test_what_does_not_fit_is_refused(exported: Path, tmp_path: Path) -> None:
    for change in ({"encoder_dim": 25}, {"latent_dim": 21}, {"encoder_blocks": 1}):
        with pytest.raises(TrainingError, match="another model"):
            first_weights(exported, model_of(**change))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(exported.read_bytes()[:-1])
    with pytest.raises(ModelError):
        first_weights(damaged, model_of())
    with pytest.raises(TrainingError, match="No such file"):
        first_weights(tmp_path / "missing.safetensors", model_of())
