"""A folder of tokens that is damaged is refused when it is opened, by one named error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")

import codec
from codec.corpus import TokenBatches, TokenDataset
from codec.corpus.card import CARD_NAME
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, check_shards, run
from codec.corpus.token_rows import TokenRows
from codec.errors import DataError
from tests.helpers.mean_backend import MeanBackend

CONFIG = MeanBackend().config


@pytest.fixture(scope="module", params=["bin", "parquet"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("audio")
    for number in range(6):
        rng = np.random.default_rng(number)
        audio = rng.normal(0, 0.1, CONFIG.hop_length * (1 + 5 * number))
        soundfile.write(folder / f"{number}.wav", audio, CONFIG.sample_rate)
    out = tmp_path_factory.mktemp("tokens") / "out"
    model = codec.load(backend=MeanBackend())
    run(Corpus(model, [str(folder)], out, Settings(2), request.param, shard_items=3))
    return out


@pytest.fixture
def tokens(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tokens"))


def without_last_line(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:-1])


@pytest.mark.parametrize("opened", [lambda folder: TokenDataset(folder, 16), TokenRows])
@pytest.mark.parametrize(
    "cut", [lambda data: b"", without_last_line, lambda data: data[: len(data) // 2], None]
)
def test_every_file_is_compared_with_the_card(
    tokens: Path, cut: Callable[[bytes], bytes] | None, opened: Callable[[Path], object]
) -> None:
    for path in sorted((tokens / "data").iterdir()):
        whole = path.read_bytes()
        if cut is None:
            path.unlink()
        else:
            path.write_bytes(cut(whole))
        with pytest.raises(DataError, match=f"{path.name} is "):
            opened(tokens)
        path.write_bytes(whole)
    opened(tokens)


@pytest.mark.parametrize("opened", [lambda folder: TokenDataset(folder, 16), TokenRows])
def test_a_damaged_card_is_named(tokens: Path, opened: Callable[[Path], object]) -> None:
    path = tokens / CARD_NAME
    card = json.loads(path.read_text())
    used = ("layout", "format", "shards", "dtype", "n_codebooks", "vocabulary", "rows", "hash")
    damaged: list[object] = [{}, *({k: v for k, v in card.items() if k != name} for name in used)]
    shards: list[object] = [None, ["00000.bin"], {"00000.bin": {}}]
    damaged += [{**card, "shards": bad} for bad in shards]
    damaged += [{**card, "layout": {}}, {**card, "dtype": "word"}, {**card, "rows": "many"}]
    for wrong in damaged:
        path.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=rf"{CARD_NAME} is damaged"):
            opened(tokens)
    cards: list[object] = [{}, {"shards": ["00000.bin"]}, {"shards": {"00000.bin": {}}}]
    for wrong in cards:
        path.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=rf"{CARD_NAME} is damaged"):
            check_shards(tokens)
    path.write_text(json.dumps({**card, "rows": card["rows"] + 1}))
    with pytest.raises(DataError, match="6 rows, not 7"):
        opened(tokens)


def test_an_index_that_does_not_fit_its_shard_is_noticed(tokens: Path) -> None:
    found = sorted((tokens / "data").glob("*.jsonl"))
    for path in found:
        rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join([rows[1], rows[0], *rows[2:]]))
        with pytest.raises(DataError, match="does not fit its index"):
            TokenDataset(tokens, 16)
        path.write_text("".join(rows))


def test_a_shard_that_disappears_while_it_is_read(tokens: Path) -> None:
    dataset = TokenDataset(tokens, 16)
    shutil.rmtree(tokens / "data")
    with pytest.raises(DataError, match="cannot be read"):
        dataset[0]


def test_numbers_of_any_library_are_taken(tokens: Path) -> None:
    plain = TokenBatches(TokenDataset(tokens, 16, seed=1), 2, step=3)
    dataset = TokenDataset(tokens, np.int64(16), seed=np.int32(1), shuffle=np.bool_(True))  # type: ignore[arg-type]
    ours = TokenBatches(dataset, np.int64(2), world_size=np.uint8(1), step=np.int64(3))  # type: ignore[arg-type]
    state = json.loads(json.dumps(ours.state_dict()))
    assert state == plain.state_dict()
    plain.load_state_dict({**state, "step": np.int64(7)})
    assert type(plain.step) is int


def test_wrong_numbers_are_refused(tokens: Path) -> None:
    for length in (float("nan"), 1.5, "16", None):
        with pytest.raises(DataError, match="length"):
            TokenDataset(tokens, length)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="seed"):
        TokenDataset(tokens, 16, seed=0.5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="shuffle must be True or False, not 'no'"):
        TokenDataset(tokens, 16, shuffle="no")  # type: ignore[arg-type]
    dataset = TokenDataset(tokens, 16)
    for wrong in ({"step": -1}, {"step": "x"}, {"rank": 1.5}, {"workers": -1}):
        with pytest.raises(DataError):
            TokenBatches(dataset, 2, **wrong)  # type: ignore[arg-type]
    batches = TokenBatches(dataset, 2, step=5)
    state = batches.state_dict()
    without = {name: value for name, value in state.items() if name != "step"}
    others: list[object] = [{**state, "step": -3}, {**state, "step": "x"}, without, None, [], {}]
    for other in others:
        with pytest.raises(DataError):
            batches.load_state_dict(other)  # type: ignore[arg-type]
    assert batches.step == 5
