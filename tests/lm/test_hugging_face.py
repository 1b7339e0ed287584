"""Hugging Face tokenizers with our tokens, and the processor around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import tokenizers
import transformers

import codec
from codec.errors import AudioError, LayoutError, ModelError
from codec.lm.hugging_face import CodecProcessor, extend_tokenizer
from codec.lm.layouts import make_layout
from codec.lm.vocabulary import Audio, Text, Turn, Vocabulary
from tests.helpers.mean_backend import MeanBackend
from tests.helpers.signals import noise

SENTENCES = ["say it again", "what did they say", "it is a <|audio_0_5|> b <|pad|> again"]


def tokenizer() -> Any:
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["[UNK]"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    inner.train_from_iterator(SENTENCES, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")


@pytest.fixture
def processor() -> CodecProcessor:
    plain = tokenizer()
    backend = MeanBackend()
    vocabulary = Vocabulary(len(plain), make_layout("delay", 2, backend.config.codebook_size), 50.0)
    extended = extend_tokenizer(plain, vocabulary)
    return CodecProcessor(extended, vocabulary, codec.load(backend=backend))


def test_ids_are_those_of_the_vocabulary(processor: CodecProcessor) -> None:
    vocabulary, extended = processor.vocabulary, processor.tokenizer
    names = vocabulary.tokens()
    ids = [vocabulary.text_size + n for n in range(len(names))]
    assert extended.convert_tokens_to_ids(names) == ids
    assert len(extended) == vocabulary.size
    assert extend_tokenizer(extended, vocabulary) is extended
    assert len(extended) == vocabulary.size
    with pytest.raises(LayoutError, match="the tokenizer has"):
        extend_tokenizer(tokenizer(), Vocabulary(7, vocabulary.layout))


def test_text_and_audio_go_there_and_back(processor: CodecProcessor) -> None:
    waveform = noise(4800)
    batch = processor(text=SENTENCES[0], audio=waveform)
    text, audio = processor.decode(batch["input_ids"][0])
    assert text == SENTENCES[0]
    tokens = processor.codec.encode(waveform, 24_000, n_codebooks=2)
    assert np.array_equal(audio, processor.codec.decode(tokens)[0])


def test_a_batch_is_padded_and_cut(processor: CodecProcessor) -> None:
    batch = processor(
        text=["say it", None, "again"], audio=[noise(960), noise(4800), None], return_tensors="np"
    )
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert ids.shape == mask.shape
    assert ids.dtype.kind == "i"
    pad = processor.vocabulary.special("pad")
    assert ((ids == pad) == (mask == 0)).all()
    assert [len(processor.decode(row)) for row in ids] == [2, 1, 1]
    left = processor(
        text=["say it", None, "again"], audio=[noise(960), noise(4800), None], padding_side="left"
    )
    for row, other, kept in zip(ids, left["input_ids"], mask.sum(1), strict=True):
        assert (row[:kept] == other[len(other) - kept :]).all()
    assert (left["attention_mask"] == mask[:, ::-1]).all()
    with pytest.raises(LayoutError, match="padding_side must be"):
        processor(text="a", padding_side="both")
    torch = pytest.importorskip("torch")
    cut = processor(audio=[noise(960), noise(4800)], max_length=9, return_tensors="pt")
    assert cut["input_ids"].shape == (2, 9)
    assert isinstance(cut["input_ids"], torch.Tensor)
    waveforms = [torch.from_numpy(noise(960)), torch.from_numpy(noise(4800))]
    again = processor(audio=waveforms, max_length=9, return_tensors="pt")
    assert torch.equal(again["input_ids"], cut["input_ids"])
    (whole_frames,) = processor.decode(cut["input_ids"][1])
    assert 0 < len(whole_frames) < 4800
    lists = processor(text=["a", "b c"], padding=False, return_tensors=None)["input_ids"]
    assert len({len(row) for row in lists}) == 2


def test_padding_as_tokenizers_have_it(processor: CodecProcessor) -> None:
    texts = ["a", "say it again"]
    longest = processor(text=texts)["input_ids"]
    assert np.array_equal(processor(text=texts, padding="longest")["input_ids"], longest)
    wide = processor(text=texts, padding="max_length", max_length=64)
    assert wide["input_ids"].shape == wide["attention_mask"].shape == (2, 64)
    assert np.array_equal(wide["input_ids"][:, : longest.shape[1]], longest)
    for plain in (False, "do_not_pad"):
        assert processor(text=texts[:1], padding=plain)["input_ids"].dtype == np.int64
        with pytest.raises(LayoutError, match="several lengths are no tensor: pad them"):
            processor(text=texts, padding=plain)
    assert np.array_equal(processor(text=np.array(texts))["input_ids"], longest)


def test_nothing_is_a_batch_of_whole_numbers_too(processor: CodecProcessor) -> None:
    for given, shape in (([], (0, 0)), ("", (1, 0)), ([None], (1, 0))):
        batch = processor(text=given)
        assert batch["input_ids"].shape == batch["attention_mask"].shape == shape
        assert batch["input_ids"].dtype == batch["attention_mask"].dtype == np.int64


def test_ids_of_a_model_are_decoded_where_they_are(processor: CodecProcessor) -> None:
    torch = pytest.importorskip("torch")
    unknown = processor.tokenizer.unk_token_id
    ids = [*processor(text="again")["input_ids"][0].tolist(), unknown, unknown]
    assert processor.decode(torch.tensor(ids)) == ["again[UNK][UNK]"]
    assert processor.decode(ids, skip_special_tokens=True) == ["again"]
    assert processor.decode([unknown], skip_special_tokens=True) == []
    with pytest.raises(LayoutError):
        processor.decode(torch.zeros(3, dtype=torch.int64, device="meta"))


def test_text_that_looks_like_our_tokens_stays_text(processor: CodecProcessor) -> None:
    ids = processor(text=SENTENCES[2])["input_ids"][0]
    assert (ids < processor.vocabulary.text_size).all()
    assert processor.decode(ids) == [SENTENCES[2]]


def test_interleaved_turns_decode(processor: CodecProcessor) -> None:
    vocabulary = processor.vocabulary
    said = [
        processor.text("what did they say"),
        processor.audio(noise(2400)),
        Turn(),
        Audio(processor.audio(noise(960, 1)).codes, start=5, end="interrupted"),
        Text(processor.text("again").ids, start=7),
    ]
    ids = vocabulary.encode(said)
    assert vocabulary.decode(ids) == said
    kinds = [type(item) for item in processor.decode(ids)]
    assert kinds == [str, np.ndarray, np.ndarray, str]


def test_saved_and_loaded(processor: CodecProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    again = CodecProcessor.from_pretrained(tmp_path, processor.codec)
    assert again.vocabulary == processor.vocabulary
    given: dict[str, Any] = {"text": SENTENCES, "audio": [noise(960, n) for n in range(3)]}
    assert np.array_equal(processor(**given)["input_ids"], again(**given)["input_ids"])
    other = codec.load(backend=MeanBackend(model_id=b"another!"))
    with pytest.raises(ModelError, match="are of model"):
        CodecProcessor.from_pretrained(tmp_path, other)
    (tmp_path / "audio_vocabulary.json").write_text("[]")
    with pytest.raises(LayoutError, match="no audio_vocabulary"):
        CodecProcessor.from_pretrained(tmp_path, processor.codec)


def test_wrong_arguments(processor: CodecProcessor) -> None:
    with pytest.raises(LayoutError, match="neither"):
        processor()
    for wrong in ({"max_length": 0}, {"max_length": -1}, {"max_length": "2"}, {"padding": "all"}):
        with pytest.raises(LayoutError, match=next(iter(wrong))):
            processor(text="a", **wrong)  # type: ignore[arg-type]
    with pytest.raises(LayoutError, match="padding to max_length needs one"):
        processor(text="a", padding="max_length")
    with pytest.raises(AudioError, match="sample rate"):
        processor(audio=noise(960), sampling_rate=0)
    with pytest.raises(LayoutError, match="2 texts and 1 pieces"):
        processor(text=["a", "b"], audio=[noise(9)])
    with pytest.raises(LayoutError, match="one channel"):
        processor(audio=noise(960).reshape(2, 480))
    with pytest.raises(LayoutError, match="the tokenizer has"):
        CodecProcessor(tokenizer(), processor.vocabulary, processor.codec)
