"""Rows of a run read back: the codes that were encoded, and the columns that were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run
from codec.corpus.token_rows import TokenRows
from codec.errors import DataError
from tests.helpers.mean_backend import MeanBackend

CONFIG = MeanBackend().config
LEVELS = CONFIG.n_codebooks


@pytest.fixture(scope="module")
def model() -> codec.Codec:
    return codec.load(backend=MeanBackend())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    lines = ["path\toffset\ttext\tspeaker"]
    for number in range(7):
        rng = np.random.default_rng(number)
        shape = (CONFIG.hop_length * (2 + 3 * number), 1 + number % 2)
        soundfile.write(folder / f"{number}.wav", rng.normal(0, 0.1, shape), CONFIG.sample_rate)
        lines.append(f'{number}.wav\t0\tsays "{number}"\t{"ann" if number else ""}')
    (folder / "list.tsv").write_text("\n".join(lines) + "\n")
    return folder / "list.tsv"


@pytest.mark.parametrize("format_", ["bin", "parquet"])
@pytest.mark.parametrize("layout", ["none", "delay"])
def test_rows_are_what_was_tokenized(
    model: codec.Codec, manifest: Path, tmp_path: Path, format_: str, layout: str
) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    settings = Settings(LEVELS, layout=layout)
    run(Corpus(model, [str(manifest)], tmp_path / "out", settings, format_, shard_items=3))
    rows = TokenRows(tmp_path / "out")
    assert len(rows) == 7
    assert rows.column("text") == [f'says "{number}"' for number in range(7)]
    assert rows.column("speaker") == ["", *["ann"] * 6]
    for number, row in enumerate(rows):
        audio, rate = soundfile.read(
            manifest.parent / f"{number}.wav", dtype="float32", always_2d=True
        )
        wanted = model.encode(audio.T, rate).codes
        np.testing.assert_array_equal(row["codes"], wanted)
        assert row["n_frames"] == wanted.shape[-1]
        assert row["text"] == f'says "{number}"'
    assert [row["path"] for row in rows[2:4]] == [rows[2]["path"], rows[-4]["path"]]
    with pytest.raises(DataError, match="no column 'mood'"):
        rows.column("mood")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a finished run"):
        TokenRows(tmp_path)
