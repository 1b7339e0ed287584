"""Shards read back for training: nothing lost, nothing doubled, the same order everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

import codec
from codec.corpus import TokenBatches, TokenDataset
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run
from codec.corpus.token_rows import TokenRows
from codec.errors import DataError
from codec.lm.layouts import make_layout
from codec.lm.vocabulary import Audio, Vocabulary
from tests.helpers.mean_backend import MeanBackend
from tests.helpers.processes import python

CONFIG = MeanBackend().config
LEVELS, SIZE = CONFIG.n_codebooks, CONFIG.codebook_size


@pytest.fixture(scope="module")
def small_model() -> codec.Codec:
    return codec.load(backend=MeanBackend())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for number in range(9):
        rng = np.random.default_rng(number)
        audio = rng.normal(0, 0.1, (CONFIG.hop_length * (1 + 5 * number), 1 + number % 2))
        soundfile.write(folder / f"{number}.wav", audio, CONFIG.sample_rate)
    return folder


def shards(small: codec.Codec, folder: Path, out: Path, format_: str, layout: str = "none") -> Path:
    source = Settings(LEVELS, layout=layout)
    run(Corpus(small, [str(folder)], out, source, format_, shard_items=4))
    return out


@pytest.fixture(scope="module")
def tokens(
    small_model: codec.Codec, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("tokens")
    made = {}
    for format_ in ("bin", "parquet"):
        if format_ == "parquet":
            pytest.importorskip("pyarrow")
        for layout in ("none", "delay"):
            name = f"{format_}-{layout}"
            made[name] = shards(small_model, folder, base / name, format_, layout)
    return made


def expected(small: codec.Codec, folder: Path, vocabulary: Vocabulary) -> list[list[int]]:
    """The documents, in the order of the shards."""
    documents = []
    for path in sorted(folder.iterdir()):
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        for codes in small.encode(audio.T, rate, n_codebooks=LEVELS).codes:
            kept = codes[: vocabulary.layout.n_codebooks]
            documents.append(vocabulary.encode([Audio(kept)]).tolist())
    return documents


@pytest.mark.parametrize("name", ["bin-none", "parquet-none", "bin-delay", "parquet-delay"])
def test_an_epoch_holds_every_id_once(
    name: str, tokens: dict[str, Path], small_model: codec.Codec, folder: Path
) -> None:
    layout = make_layout("delay" if "delay" in name else "flat", LEVELS, SIZE)
    vocabulary = Vocabulary(100, layout)
    documents = expected(small_model, folder, vocabulary)
    joined = [i for document in documents for i in document]
    pad = vocabulary.special("pad")
    plain = TokenDataset(tokens[name], 50, vocabulary=vocabulary, shuffle=False)
    ids = torch.cat(list(plain)).tolist()
    assert ids == joined + [pad] * (len(ids) - len(joined))
    assert len(ids) - len(joined) < 50
    mixed = TokenDataset(tokens[name], 50, vocabulary=vocabulary, seed=3)
    assert len(mixed) == len(plain)
    for epoch in range(2):
        # Unshuffled, the sequences are the documents one after another, in some order.
        _, _, sequences = mixed._epoch(epoch)
        blocks = [mixed[epoch * len(mixed) + n] for n in range(len(mixed))]
        ids = torch.cat([blocks[n] for n in np.argsort(sequences)]).tolist()
        while ids and ids[-1] == pad:
            ids.pop()
        segments = vocabulary.decode(ids)
        found = sorted(vocabulary.encode([segment]).tolist() for segment in segments)
        assert found == sorted(documents)
    orders = [torch.stack([mixed[e * len(mixed) + n] for n in range(len(mixed))]) for e in (0, 1)]
    assert not torch.equal(*orders)


def test_formats_and_defaults_agree(tokens: dict[str, Path]) -> None:
    pairs = [TokenDataset(tokens[f"{name}-none"], 64, seed=5) for name in ("bin", "parquet")]
    for a, b in zip(*pairs, strict=True):
        assert torch.equal(a, b)
    assert pairs[0].vocabulary.layout == make_layout("flat", LEVELS, SIZE)


def test_coarse_codebooks_can_be_taken_alone(
    tokens: dict[str, Path], small_model: codec.Codec, folder: Path
) -> None:
    vocabulary = Vocabulary(0, make_layout("flat", 1, SIZE))
    dataset = TokenDataset(tokens["bin-none"], 30, vocabulary=vocabulary, shuffle=False)
    joined = [i for d in expected(small_model, folder, vocabulary) for i in d]
    assert torch.cat(list(dataset)).tolist()[: len(joined)] == joined


@given(
    length=st.integers(1, 700),
    batch=st.integers(1, 4),
    world=st.integers(1, 3),
    seed=st.integers(0, 5),
)
@settings(max_examples=25, deadline=None)
def test_ranks_share_an_epoch(
    tokens: dict[str, Path], length: int, batch: int, world: int, seed: int
) -> None:
    dataset = TokenDataset(tokens["bin-none"], length, seed=seed)
    steps = -(-len(dataset) // (batch * world))
    by_rank = []
    for rank in range(world):
        batches = TokenBatches(dataset, batch, rank=rank, world_size=world)
        by_rank.append([taken for taken, _ in zip(batches, range(steps), strict=False)])
        # zip takes one more before it notices; the count is of what was taken
    in_order = [row for step in zip(*by_rank, strict=True) for part in step for row in part]
    assert len(in_order) == steps * batch * world
    for number, row in enumerate(in_order):
        assert torch.equal(row, dataset[number])
    epoch = torch.stack(in_order[: len(dataset)])
    assert int((epoch != dataset.vocabulary.special("pad")).sum()) == dataset.n_ids


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_where_it_was(tokens: dict[str, Path], workers: int) -> None:
    def fresh() -> TokenBatches:
        dataset = TokenDataset(tokens["parquet-none"], 40, seed=1)
        return TokenBatches(dataset, 3, workers=workers)

    whole = []
    for batch in fresh():
        whole.append(batch)
        if len(whole) == 12:
            break
    first = fresh()
    for number, batch in enumerate(first):
        assert torch.equal(batch, whole[number])
        if number == 4:  # the workers have read ahead by now
            break
    state = json.loads(json.dumps(first.state_dict()))
    assert state["step"] == 5
    second = fresh()
    second.load_state_dict(state)
    for number, batch in enumerate(second, start=5):
        assert torch.equal(batch, whole[number])
        if number == 11:
            break
    assert second.step == 12
    other = TokenBatches(TokenDataset(tokens["parquet-none"], 41, seed=1), 3)
    with pytest.raises(DataError, match="another dataset"):
        other.load_state_dict(state)
    with pytest.raises(DataError, match="another batch_size"):
        TokenBatches(first.dataset, 4).load_state_dict(state)


@pytest.mark.parametrize("format_", ["bin", "parquet"])
def test_a_folder_that_was_made_anew_is_read_anew(
    small_model: codec.Codec, tmp_path: Path, format_: str
) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    found = []
    for number in range(2):
        rng = np.random.default_rng(number)
        audio = rng.normal(0, 0.1, CONFIG.hop_length * 20)
        soundfile.write(tmp_path / "a.wav", audio, CONFIG.sample_rate)
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shards(small_model, tmp_path / "a.wav", out, format_)
        codes = small_model.encode(soundfile.read(tmp_path / "a.wav")[0], CONFIG.sample_rate).codes
        (row,) = TokenRows(out)
        np.testing.assert_array_equal(row["codes"], codes)
        ids = torch.cat(list(TokenDataset(out, 30, shuffle=False))).tolist()
        assert (
            ids[0 : 20 * LEVELS + 2]
            == Vocabulary(0, make_layout("flat", LEVELS, SIZE)).encode([Audio(codes[0])]).tolist()
        )
        found.append(codes)
    assert not np.array_equal(*found)


def test_what_does_not_fit_is_refused(tokens: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a finished run"):
        TokenDataset(tmp_path, 10)
    flat = Vocabulary(0, make_layout("flat", LEVELS, SIZE))
    deep = Vocabulary(0, make_layout("flat", LEVELS + 1, SIZE))
    with pytest.raises(DataError, match="laid out"):
        TokenDataset(tokens["bin-delay"], 10, vocabulary=flat)
    with pytest.raises(DataError, match="codebooks, not"):
        TokenDataset(tokens["bin-none"], 10, vocabulary=deep)
    with pytest.raises(DataError, match="sequences of 0"):
        TokenDataset(tokens["bin-none"], 0)
    with pytest.raises(IndexError):
        TokenDataset(tokens["bin-none"], 10)[-1]


def test_making_shards_does_not_load_torch() -> None:
    code = "import sys, codec.corpus, codec.corpus.run; print('torch' in sys.modules)"
    assert python(code).strip() == "False"
