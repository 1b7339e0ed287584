"""Shards of latents in place of tokens."""

from __future__ import annotations

import json

import numpy as np
import pytest

import codec
from bench.random_weights import SMALL, write_weights
from codec.corpus.executors import threads
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, check_rows, run
from codec.errors import ModelError
from codec.model.latent_scale import SUFFIX, LatentScale

pytest.importorskip("codec.engine._engine", reason="needs the native engine")


@pytest.fixture
def model(tmp_path):
    path = write_weights(tmp_path / "w.safetensors", SMALL)
    made = codec.load(path)
    ones = np.ones(SMALL.latent_dim, np.float32)
    LatentScale(0 * ones, 2 * ones).save(path.with_suffix(SUFFIX), made.model_id)
    return made


@pytest.fixture
def folder(wav, tmp_path):
    for i in range(5):
        wav(f"in/{i}.wav", samples=960 * (3 + i), channels=1 + i % 2, seed=i)
    return tmp_path / "in"


def expected(model, folder, name):
    import soundfile

    audio, rate = soundfile.read(folder / name, dtype="float32", always_2d=True)
    return model.encode_latents(audio.T, rate).astype(np.float16)


def make(model, folder, out, format_):
    return Corpus(model, [str(folder)], out, Settings(0, latents=True), format_, shard_items=2)


def test_parquet_holds_the_latents_of_each_file(model, folder, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    corpus = make(model, folder, tmp_path / "out", "parquet")
    card = run(corpus, threads(2))
    assert (card["dtype"], card["latent_dim"], card["rows"]) == ("float16", SMALL.latent_dim, 5)
    assert not {"vocabulary", "n_codebooks"} & set(card)
    read = 0
    for path in sorted((tmp_path / "out/data").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            held = np.array(row["latents"], np.float16).reshape(
                row["channels"], row["n_frames"], row["latent_dim"]
            )
            latents = expected(model, folder, row["path"])
            np.testing.assert_array_equal(held.transpose(0, 2, 1), latents)
            read += 1
    assert read == 5
    assert not check_rows(corpus, 5)


def test_mds_holds_the_same(model, folder, tmp_path):
    streaming = pytest.importorskip("streaming", reason="needs mosaicml-streaming")
    run(make(model, folder, tmp_path / "out", "mds"))
    rows = list(
        streaming.StreamingDataset(local=str(tmp_path / "out/data"), shuffle=False, batch_size=1)
    )
    assert len(rows) == 5
    for row in rows:
        held = row["latents"].reshape(row["channels"], row["n_frames"], row["latent_dim"])
        assert held.dtype == np.float16
        latents = expected(model, folder, row["path"])
        np.testing.assert_array_equal(held.transpose(0, 2, 1), latents)


def test_the_command(model, folder, tmp_path, cli_of_weights):
    weights = tmp_path / "w.safetensors"
    out = tmp_path / "out"
    call = ("tokenize", folder, "-o", out, "--latents", "--format", "bin", "--model", weights)
    assert cli_of_weights(*call)[0] == 0
    rows = [
        json.loads(line)
        for path in sorted((out / "data").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert {row["latent_dim"] for row in rows} == {SMALL.latent_dim}
    assert cli_of_weights("tokenize", "--verify", out, "--model", weights)[0] == 0
    assert cli_of_weights(*call, "--layout", "flat")[0] == 2
    torch = pytest.importorskip("torch")
    assert torch is not None
    from codec.corpus.dataset import TokenDataset

    with pytest.raises(codec.DataError, match="holds latents"):
        TokenDataset(out, 8)


def test_a_model_without_a_scale_is_refused_at_once(folder, tmp_path):
    model = codec.load(write_weights(tmp_path / "other.safetensors", SMALL))
    with pytest.raises(ModelError, match="fit-latents"):
        make(model, folder, tmp_path / "out", "parquet")
    assert not (tmp_path / "out").exists()
