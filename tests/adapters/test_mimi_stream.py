"""Mimi as a stream beyond what its attention sees, and states that no stream could have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

import codec  # noqa: E402
from bench.random_weights import fill_codebooks, noise  # noqa: E402
from codec.adapters.mimi import Mimi  # noqa: E402


@pytest.fixture(scope="module")
def mimi(tmp_path_factory: pytest.TempPathFactory) -> Mimi:
    """Two layers that see 9 steps each, of which a frame has 2."""
    folder: Path = tmp_path_factory.mktemp("mimi")
    torch.manual_seed(0)
    config = transformers.MimiConfig(
        num_filters=4, hidden_size=32, codebook_dim=16, codebook_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, intermediate_size=32,
        vector_quantization_hidden_dimension=16, upsample_groups=32, sliding_window=9,
    )  # fmt: skip
    made = transformers.MimiModel(config)
    fill_codebooks(made)
    made.save_pretrained(folder)
    return Mimi(str(folder))


@pytest.mark.parametrize("step", [1, 2, 5, 40])
def test_frames_beyond_the_window_are_those_of_the_whole(mimi: Mimi, step: int) -> None:
    hop, count = mimi.config.hop_length, mimi.config.n_codebooks
    audio = noise(40 * hop)
    whole = mimi.encode(audio, count)
    state = np.empty(mimi.encoder.state_size, np.int64)
    mimi.encoder.reset(state)
    parts = [audio[i : i + step * hop] for i in range(0, len(audio), step * hop)]
    codes = [mimi.encoder.push(state, part, count) for part in parts]
    np.testing.assert_array_equal(np.concatenate(codes, axis=1), whole)
    assert mimi.encoder.valid(state)

    state = np.empty(mimi.decoder.state_size, np.int64)
    mimi.decoder.reset(state)
    pieces = [whole[:, i : i + step] for i in range(0, 40, step)]
    joined = np.concatenate([mimi.decoder.push(state, piece) for piece in pieces])
    expected = mimi.decode(whole)
    np.testing.assert_allclose(joined, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert mimi.decoder.valid(state)


def test_a_sample_changes_no_frame_before_it(mimi: Mimi) -> None:
    hop = mimi.config.hop_length
    audio = noise(6 * hop)
    changed = audio.copy()
    changed[4 * hop :] = 0.5
    ours, theirs = (mimi.encode(each, 4) for each in (audio, changed))
    np.testing.assert_array_equal(ours[:, :4], theirs[:, :4])
    assert (ours[:, 4:] != theirs[:, 4:]).any()


def test_states_that_no_stream_has_are_not_valid(mimi: Mimi) -> None:
    for half in (mimi.encoder, mimi.decoder):
        state = np.empty(half.state_size, np.int64)
        half.reset(state)
        assert half.valid(state)
        assert not half.ended(state)
        for at, value in ((0, 2), (1, -1), (2, mimi.config.hop_length), (2, -1), (3, -1)):
            wrong = state.copy()
            wrong[at] = value  # -1 is NaN as floats
            assert not half.valid(wrong)
        half.flush(state, 1) if half is mimi.encoder else half.flush(state)  # type: ignore[call-arg]
        assert half.ended(state)


def test_a_model_that_looks_ahead_is_no_stream(mimi: Mimi, monkeypatch) -> None:
    again = Mimi(mimi.source)
    monkeypatch.setattr(again.module.encoder.config, "use_causal_conv", False)
    with pytest.raises(codec.ModelError, match="causal"):
        _ = again.encoder
