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
from bench.random_weights import SMALL, fill_codebooks, noise, write_weights
from codec.adapters import ADAPTERS, adapter_named
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run
from codec.engine.stream import StreamEncoder
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
        fill_codebooks(made)
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


def xcodec2(folder: Path) -> str:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    if not hasattr(transformers, "Xcodec2Model"):
        pytest.skip("this transformers has no Xcodec2Model")
    from transformers.models.xcodec2.feature_extraction_xcodec2 import Xcodec2FeatureExtractor

    semantic = transformers.Wav2Vec2BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        feature_projection_input_dim=160, output_hidden_size=16,
    )  # fmt: skip
    config = transformers.Xcodec2Config(
        hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, encoder_hidden_size=4, quantization_dim=48,
        quantization_levels=[4, 4, 4], semantic_model_config=semantic,
    )  # fmt: skip
    torch.manual_seed(0)
    made = transformers.Xcodec2Model(config)
    with torch.no_grad():  # random weights are so small that all codes would be one
        for part in (*made.acoustic_encoder.modules(), made.fc_encoder, made.quantizer.project_in):
            if hasattr(part, "weight"):
                part.weight.mul_(5)
    made.save_pretrained(folder)
    Xcodec2FeatureExtractor().save_pretrained(folder)
    return f"xcodec2:{folder}"


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
    "xcodec2": xcodec2,
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
    assert frames < 7 or len(np.unique(tokens.codes)) > 3
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
    count = min(2, model.config.n_codebooks)
    fewer = model.encode(noise(9_000), rate, n_codebooks=count)
    np.testing.assert_array_equal(fewer.codes, all_of_them.codes[:, :count])
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


STREAMS = ("ours", "mimi")


def test_streams_where_there_are_any(model: codec.Codec, source: str) -> None:
    name = source.partition(":")[0] if ":" in source else "ours"
    assert (model.backend.streaming is not None) == (name in STREAMS)
    if model.backend.streaming is None:
        for open_stream in (model.stream_encoder, model.stream_decoder):
            with pytest.raises(codec.BackendError, match="while it arrives"):
                open_stream()
        return
    hop, rng = model.config.hop_length, np.random.default_rng(0)
    audio = noise(17 * hop + 5)
    whole = model.encode(audio, model.config.sample_rate).codes[0]
    encoder, decoder = model.stream_encoder(), model.stream_decoder()
    codes, samples = [], []
    for part in np.split(audio, np.sort(rng.integers(0, len(audio), 12))):
        codes.append(encoder.push(part))
        if len(codes) % 4 == 1:
            encoder = pickle.loads(pickle.dumps(encoder))
    codes.append(encoder.flush())
    np.testing.assert_array_equal(np.concatenate(codes, axis=1), whole)
    for part in np.split(whole, [0, 1, 1, 2, 9, 14], axis=1):
        samples.append(decoder.push(part))
        if len(samples) % 3 == 1:
            decoder = pickle.loads(pickle.dumps(decoder))
    samples.append(decoder.flush())
    joined, expected = np.concatenate(samples), model.backend.decode(whole)
    if name == "ours":
        np.testing.assert_array_equal(joined, expected)
    else:  # sums of float32 in another order
        np.testing.assert_allclose(joined, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_streams_end_start_again_and_refuse_damage(model: codec.Codec) -> None:
    if model.backend.streaming is None:
        pytest.skip("it has no streams")
    hop = model.config.hop_length
    for stream, item in (
        (model.stream_encoder(n_codebooks=2), noise(3 * hop)),
        (model.stream_decoder(), np.ones((2, 3), np.uint16)),
    ):
        first = stream.push(item)  # type: ignore[arg-type]
        saved = stream.save()
        assert len(stream.flush()) in (0, 2, stream.latency)
        with pytest.raises(codec.StateError, match="ended"):
            stream.push(item)  # type: ignore[arg-type]
        stream.reset()
        np.testing.assert_array_equal(stream.push(item), first)  # type: ignore[arg-type]
        stream.restore(saved)
        stream.push(item)  # type: ignore[arg-type]
        for at in (len(saved) // 2, len(saved) - 1):
            with pytest.raises(codec.StateError, match="damaged"):
                stream.restore(saved[:at] + bytes([saved[at] ^ 1]) + saved[at + 1 :])


def test_a_beam_and_refining_are_ours_alone(model: codec.Codec, source: str) -> None:
    audio, rate, streaming = noise(5_000), model.config.sample_rate, model.backend.streaming
    if ":" not in source:
        assert model.encode(audio, rate, beam=2).codes.size
        assert model.encode(audio, rate, refine=1).codes.size
        return
    with pytest.raises(codec.BackendError, match="cannot refine codes"):
        model.encode(audio, rate, refine=1)
    with pytest.raises(codec.BackendError, match="no beam search"):
        model.encode(audio, rate, beam=2)
    if streaming is not None:
        with pytest.raises(codec.BackendError, match="no beam search"):
            StreamEncoder(streaming, 2, beam=2)


def test_latents_are_ours_alone(model: codec.Codec, source: str) -> None:
    audio, rate = noise(5_000), model.config.sample_rate
    if ":" not in source:
        assert model.encode_latents(audio, rate, normalized=False).shape[0] == 1
        return
    with pytest.raises(codec.BackendError):
        model.encode_latents(audio, rate, normalized=False)


def test_a_corpus_says_what_its_tokens_depend_on(
    model: codec.Codec, source: str, wav: Callable[..., Path], tmp_path: Path
) -> None:
    wav("in/a.wav", 9_000)
    wav("in/b.wav", 12_345)
    settings = Settings(min(2, model.config.n_codebooks))
    corpus = Corpus(model, [str(tmp_path / "in")], tmp_path / "out", settings, "bin")
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
