"""One contract for our model and for every adapter: lengths, batches, files, errors, layouts.

Real checkpoints are not at hand, so small random ones go through the code that loads real ones.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codec
from bench.random_weights import SMALL, noise, write_weights
from codec.adapters import ADAPTERS, adapter_named
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run
from codec.lm.layouts import make_layout
from codec.lm.vocabulary import Vocabulary


def ours(folder: Path) -> str:
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    return str(write_weights(folder / "w.safetensors", SMALL))


def of_transformers(name: str, model: str, config: str, **fields: Any) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        transformers = pytest.importorskip("transformers")
        torch = pytest.importorskip("torch")
        if not hasattr(transformers, model):
            pytest.skip(f"this transformers has no {model}")
        torch.manual_seed(0)
        made = getattr(transformers, model)(getattr(transformers, config)(**fields))
        made.save_pretrained(folder)
        return f"{name}:{folder}"

    return make


def snac(folder: Path) -> str:
    package = pytest.importorskip("snac", reason="needs the package snac")
    torch = pytest.importorskip("torch")
    config = {
        "sampling_rate": 24_000, "encoder_dim": 8, "encoder_rates": [2, 4, 8, 8],
        "decoder_dim": 64, "decoder_rates": [8, 8, 4, 2], "attn_window_size": None,
        "codebook_size": 64, "codebook_dim": 4, "vq_strides": [4, 2, 1], "noise": False,
        "depthwise": True,
    }  # fmt: skip
    torch.manual_seed(0)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(package.SNAC(**config).state_dict(), folder / "pytorch_model.bin")
    return f"snac:{folder}"


MODELS: dict[str, Callable[[Path], str]] = {
    "ours": ours,
    "encodec": of_transformers(
        "encodec", "EncodecModel", "EncodecConfig", num_filters=4, hidden_size=16,
        codebook_dim=16, codebook_size=64, num_lstm_layers=1,
    ),
    "mimi": of_transformers(
        "mimi", "MimiModel", "MimiConfig", num_filters=4, hidden_size=32, codebook_dim=16,
        codebook_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        head_dim=16, intermediate_size=32, vector_quantization_hidden_dimension=16,
        upsample_groups=32,
    ),
    "dac": of_transformers(
        "dac", "DacModel", "DacConfig", encoder_hidden_size=8, decoder_hidden_size=64,
        hidden_size=64, sampling_rate=24_000, codebook_size=64,
    ),
    "snac": snac,
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return MODELS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def model(source: str) -> codec.Codec:
    return codec.load(source)


@pytest.mark.parametrize("frames", [0.001, 0.5, 1, 1.001, 2, 7.3])
def test_frames_are_the_ceiling_and_samples_come_back(model: codec.Codec, frames: float) -> None:
    hop, rate = model.config.hop_length, model.config.sample_rate
    n = max(1, round(frames * hop))
    tokens = model.encode(noise(n), rate)
    assert tokens.n_frames == -(-n // hop)
    assert tokens.codes.dtype == np.uint16
    assert int(tokens.codes.max()) < model.config.codebook_size
    audio = model.decode(tokens)
    assert audio.shape == (1, n)
    assert np.isfinite(audio).all()


def test_other_rates_and_channels(model: codec.Codec) -> None:
    audio = np.stack([noise(9_000, seed=1), noise(9_000, seed=2)])
    tokens = model.encode(audio, 16_000)
    assert tokens.channels == 2
    assert model.decode(tokens).shape == (2, 9_000)
    np.testing.assert_array_equal(model.encode(audio[1], 16_000).codes[0], tokens.codes[1])


def test_a_batch_is_its_items(model: codec.Codec) -> None:
    rate = model.config.sample_rate
    audios = [noise(n, seed=n) for n in (5_000, 1, 7_777)]
    for threads in (1, 2):
        several = model.encode_batch(audios, rate, threads=threads)
        for tokens, audio in zip(several, audios, strict=True):
            assert tokens == model.encode(audio, rate)
        decoded = model.decode_batch(several, threads=threads)
        assert [audio.shape[1] for audio in decoded] == [5_000, 1, 7_777]


def test_fewer_codebooks_are_the_first_ones(model: codec.Codec) -> None:
    rate = model.config.sample_rate
    all_of_them = model.encode(noise(9_000), rate)
    fewer = model.encode(noise(9_000), rate, n_codebooks=2)
    np.testing.assert_array_equal(fewer.codes, all_of_them.codes[:, :2])
    with pytest.raises(codec.BitrateError):
        model.encode(noise(9_000), rate, n_codebooks=model.config.n_codebooks + 1)


def test_files(model: codec.Codec) -> None:
    rate = model.config.sample_rate
    audio = noise(20_000)
    packed = model.compress(audio, rate, effort="raw")
    restored, same = model.decompress(packed)
    assert same == rate
    np.testing.assert_array_equal(restored, model.decode(model.encode(audio, rate)))
    part, _ = model.decompress(packed, start=0.25, duration=0.25)
    np.testing.assert_array_equal(part, restored[:, rate // 4 : rate // 2])


def test_codes_that_a_language_model_made(model: codec.Codec) -> None:
    config = model.config
    codes = np.random.default_rng(0).integers(0, config.codebook_size, (config.n_codebooks, 5))
    assert model.decode(model.tokens(codes)).shape == (1, 5 * config.hop_length)
    for name in ("flat", "coarse_first", "delay", "parallel"):
        layout = make_layout(name, config.n_codebooks, config.codebook_size)
        vocabulary = Vocabulary(0, layout, config.frame_rate)
        ids = vocabulary.audio_ids(codes.astype(np.uint16))
        assert int(ids.max()) < vocabulary.size
        np.testing.assert_array_equal(
            layout.from_ids(layout.to_ids(codes.astype(np.uint16))), codes
        )
    with pytest.raises(codec.TokensError):
        model.tokens(codes + config.codebook_size)


def test_copies_and_pickles(model: codec.Codec) -> None:
    again = pickle.loads(pickle.dumps(model))
    rate = model.config.sample_rate
    assert again.model_id == model.model_id == copy.deepcopy(model).model_id
    assert again.encode(noise(5_000), rate) == model.encode(noise(5_000), rate)


def test_streams_where_there_are_any(model: codec.Codec) -> None:
    if model.backend.streaming is None:
        with pytest.raises(codec.BackendError, match="while it arrives"):
            model.stream_encoder()
        return
    encoder = model.stream_encoder()
    codes = np.concatenate([encoder.push(noise(5_000)), encoder.flush()], axis=1)
    np.testing.assert_array_equal(codes, model.encode(noise(5_000), 24_000).codes[0])


def test_a_corpus_says_what_its_tokens_depend_on(
    model: codec.Codec, source: str, wav: Callable[..., Path], tmp_path: Path
) -> None:
    wav("in/a.wav", 9_000)
    wav("in/b.wav", 12_345)
    corpus = Corpus(model, [str(tmp_path / "in")], tmp_path / "out", Settings(2), "bin")
    card = run(corpus)
    assert card["rows"] == 2
    foreign = ":" in source
    assert ("adapter" in card) == foreign
    if foreign:
        assert card["adapter"]["name"] == source.partition(":")[0]
        assert "floating point" in card["adapter"]["note"]
        assert "torch" in card["adapter"]["libraries"]


def test_mistakes(source: str, tmp_path: Path) -> None:
    name, colon, _ = source.partition(":")
    if not colon:
        pytest.skip("not an adapter")
    with pytest.raises(codec.ModelError, match=f"{name}: nobody/nothing"):
        codec.load(f"{name}:nobody/nothing")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(codec.ModelError, match=name):
        codec.load(f"{name}:{tmp_path}")
    with pytest.raises(codec.BackendError, match="device"):
        codec.load(source, device="abacus")


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(ADAPTERS) == {"encodec", "mimi", "dac", "snac", "xcodec2"}
    assert adapter_named("mimi:kyutai/mimi") == ("mimi", "kyutai/mimi")
    assert adapter_named("default") is None
    assert adapter_named("C:/weights.safetensors") is None
    assert adapter_named(tmp_path) is None
    monkeypatch.chdir(tmp_path)
    Path("mimi:x").touch()
    assert adapter_named("mimi:x") is None
    with pytest.raises(codec.ModelError, match="no adapter 'lyra'"):
        codec.load("lyra:models")
