"""Sources of a corpus that are not files of their own on a disk."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from codec.corpus import places
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, check_rows, run
from codec.corpus.sources import absolute, find_items
from codec.errors import DataError, OutputError
from tests.helpers.corpora import sound, tar_of


def rows_of(small: codec.Codec, source: str, out: Path) -> dict[str, tuple[dict, np.ndarray]]:
    """Each row of a run: its index entry and its ids."""
    corpus = Corpus(small, [source], out, Settings(3), "bin", shard_items=3)
    run(corpus)
    rows = {}
    for index in sorted((out / "data").glob("*.jsonl")):
        ids = np.fromfile(index.with_suffix(".bin"), "<u2")
        for row in map(json.loads, index.read_text().splitlines()):
            rows[row["id"]] = (row, ids[row["start"] : row["stop"]])
    assert check_rows(corpus, 100) == []
    return rows


def ids_of(small: codec.Codec, data: bytes) -> np.ndarray:
    audio, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return small.encode(audio, rate, n_codebooks=3).codes[0].T.ravel()


@pytest.fixture
def samples() -> dict[str, bytes]:
    return {
        "a/one.flac": sound(1),
        "a/one.json": json.dumps({"speaker": 7, "duration": 0.1, "none": None}).encode(),
        "a/one.txt": b"he said\n",
        "a/two.v2.flac": sound(2),
        "a/two.cls": b"3",
        "a/.hidden.flac": b"",
        "a/two.latent": b"\xff\xfe",
    }


def test_webdataset_tars(small, samples, tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_of(samples))
    rows = rows_of(small, str(tmp_path / "x.tar"), tmp_path / "out")
    assert list(rows) == ["x.tar/a/one.flac", "x.tar/a/two.v2.flac"]
    one, two = rows.values()
    assert (one[0]["text"], one[0]["speaker"], one[0]["cls"]) == ("he said", "7", None)
    # What a sample says of its duration describes it; it cuts nothing off.
    assert (one[0]["duration"], one[0]["source_duration"]) == (0.2, "0.1")
    assert (two[0]["cls"], two[0]["text"]) == ("3", None)
    np.testing.assert_array_equal(one[1], ids_of(small, samples["a/one.flac"]))
    np.testing.assert_array_equal(two[1], ids_of(small, samples["a/two.v2.flac"]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no tar at all" * 100, "not a plain tar"),
        (tar_of({"x.txt": b"alone"}), "no audio"),
    ],
)
def test_bad_tars(tmp_path, data, reason):
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=reason):
        find_items([str(tmp_path / "x.tar")])


def test_corrupt_member_is_rejected(small, tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_of({"bad.flac": b"fLaC" * 9, "good.flac": sound(1)}))
    assert list(rows_of(small, str(tmp_path / "x.tar"), tmp_path / "out")) == ["x.tar/good.flac"]


@pytest.fixture
def storage():
    """An object store, in memory, as fsspec sees it."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_storage_gives_what_a_folder_gives(small, storage, samples, tmp_path):
    files = {"b/1.flac": sound(1), "b/c/2.flac": sound(2), "b/.x/3.flac": b"", "b/4.txt": b"-"}
    for name, data in files.items():
        storage.pipe_file(f"/corpus/{name}", data)
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name).write_bytes(data)
    local = rows_of(small, str(tmp_path / "corpus"), tmp_path / "local")
    remote = rows_of(small, "memory://corpus", tmp_path / "remote")
    assert list(local) == list(remote) == ["b/1.flac", "b/c/2.flac"]
    for name in ("00000.bin", "00000.jsonl"):
        assert (tmp_path / "local/data" / name).read_bytes() == (
            tmp_path / "remote/data" / name
        ).read_bytes()


def test_storage_holds_tars_and_manifests(small, storage, samples, tmp_path):
    storage.pipe_file("/c/x.tar", tar_of(samples))
    storage.pipe_file("/c/d/y.flac", sound(5))
    storage.pipe_file(
        "/c/m.tsv", b"path\toffset\tduration\nd/y.flac\t0.1\t0.05\nmemory://c/d/y.flac\t0\t\n"
    )
    tars = rows_of(small, "memory://c/*.tar", tmp_path / "tars")
    np.testing.assert_array_equal(tars["x.tar/a/one.flac"][1], ids_of(small, samples["a/one.flac"]))
    stretches = rows_of(small, "memory://c/m.tsv", tmp_path / "manifest")
    assert list(stretches) == ["c/d/y.flac", "d/y.flac@0.1+0.05"]
    assert stretches["d/y.flac@0.1+0.05"][0]["n_frames"] == 3
    np.testing.assert_array_equal(stretches["c/d/y.flac"][1], ids_of(small, sound(5)))


@pytest.mark.parametrize("source", ["memory://c", "memory://c/*.tar"])
def test_a_file_in_storage_that_was_written_again_is_noticed(
    small, storage, samples, tmp_path, source
):
    storage.pipe_file("/c/x.tar", tar_of(samples))
    storage.pipe_file("/c/y.flac", sound(5))
    run(Corpus(small, [source], tmp_path / "out", Settings(3), "bin"))
    run(Corpus(small, [source], tmp_path / "out", Settings(3), "bin"))
    for path in ("/c/x.tar", "/c/y.flac"):
        storage.pipe_file(path, storage.cat_file(path))
    with pytest.raises(OutputError, match="written again"):
        run(Corpus(small, [source], tmp_path / "out", Settings(3), "bin"))


def test_a_hash_of_the_content_is_the_version_where_the_storage_has_one():
    listed = {"size": 3, "LastModified": 7, "ETag": '"ab"'}
    assert places.version_of(listed) == '"ab"'
    assert places.version_of({"size": 3, "mtime": 1.5, "created": 2.5}) == "1.5"
    assert places.version_of({"size": 3}) == ""


def test_long_files_go_over_the_disk(small, storage, monkeypatch, tmp_path):
    storage.pipe_file("/c/y.flac", sound(5))
    monkeypatch.setattr(places, "IN_MEMORY", 10)
    rows = rows_of(small, "memory://c/y.flac", tmp_path / "out")
    np.testing.assert_array_equal(rows["y.flac"][1], ids_of(small, sound(5)))


def test_storage_that_fails_ends_the_run_and_is_no_reject(small, storage, monkeypatch, tmp_path):
    for i in range(3):
        storage.pipe_file(f"/c/{i}.flac", sound(i))
    corpus = Corpus(small, ["memory://c"], tmp_path / "out", Settings(3), "bin", shard_items=1)
    monkeypatch.setattr(places, "WAITS", (0.0, 0.0))
    answers = [TimeoutError("busy")] * 2
    fetch = type(storage).cat_file

    def failing(self, path, *args, **kwargs):
        if path.endswith("1.flac") and answers:
            raise answers.pop()
        return fetch(self, path, *args, **kwargs)

    monkeypatch.setattr(type(storage), "cat_file", failing)
    assert run(corpus)["rows"] == 3  # the third time it answers
    answers += [TimeoutError("busy")] * 3
    corpus = Corpus(small, ["memory://c"], tmp_path / "two", Settings(3), "bin", shard_items=1)
    with pytest.raises(DataError, match=r"1\.flac: cannot be fetched: busy"):
        run(corpus)
    assert (tmp_path / "two/rejects.jsonl").read_text() == ""
    card = run(corpus)
    assert (card["rows"], card["rejects"]) == (3, 0)
    storage.rm("/c/1.flac")
    corpus.out = tmp_path / "three"
    assert run(corpus)["rejects"] == 1


def test_sources_that_are_not_there(storage):
    for source, reason in [
        ("memory://nothing", "no such file"),
        ("memory://nothing/*.flac", "no such file"),
        ("nowhere://x", "[Pp]rotocol"),
        ("hf:", "no dataset is named"),
        ("hf:x?colour=red", "no such option: colour"),
    ]:
        with pytest.raises(DataError, match=reason):
            find_items([source])


def test_hugging_face_datasets(small, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = []
    for i in range(4):
        files.append(tmp_path / f"{i}.flac")
        files[-1].write_bytes(sound(i))
    table = datasets.Dataset.from_dict(
        {"speech": list(map(str, files)), "text": ["a", None, "c", "d"], "year": [1, 2, 3, 4]}
    ).cast_column("speech", datasets.Audio())
    table.save_to_disk(tmp_path / "saved")
    (tmp_path / "plain").mkdir()
    table.to_parquet(tmp_path / "plain/train.parquet")
    for name, stem in ("saved", "saved/train"), ("plain?split=train[1:3]", "plain/train[1:3]"):
        source = f"hf:{tmp_path}/{name}"
        assert absolute(source) == source
        rows = rows_of(small, source, tmp_path / f"out_{stem.partition('/')[0]}")
        first = 1 if "[" in stem else 0
        assert list(rows) == [f"{stem}/{i:08}" for i in range(2 if first else 4)]
        for i, (row, ids) in enumerate(rows.values(), first):
            assert (row["text"], row["year"]) == (["a", None, "c", "d"][i], str(i + 1))
            np.testing.assert_array_equal(ids, ids_of(small, sound(i)))
    empty = datasets.Dataset.from_dict({"speech": [str(files[0]), None], "text": ["a", "b"]})
    empty.cast_column("speech", datasets.Audio()).save_to_disk(tmp_path / "empty")
    corpus = Corpus(small, [f"hf:{tmp_path}/empty"], tmp_path / "e", Settings(3), "bin", 2)
    assert [item.place.size() > 0 for item in corpus.items] == [True, False]
    card = run(corpus)
    assert (card["rows"], card["rejects"]) == (1, 1)
    assert "the row has no audio" in (tmp_path / "e/rejects.jsonl").read_text()
    with pytest.raises(DataError, match="no column audio"):
        find_items([f"hf:{tmp_path}/saved?column=audio"])
    datasets.Dataset.from_dict({"speech": [str(files[0])]}).save_to_disk(tmp_path / "names")
    for time in (0, 1):
        os.utime(files[0], ns=(time, time))
        (named,) = find_items([f"hf:{tmp_path}/names?column=speech"])
        assert named.place.version() == str(time)
    held = [item.place.version() for item in find_items([f"hf:{tmp_path}/saved"])]
    table.select([1, 0, 2, 3]).save_to_disk(tmp_path / "other")
    other = [item.place.version() for item in find_items([f"hf:{tmp_path}/other"])]
    assert all(one and one != two for one, two in zip(held, other, strict=True))
    two = table.add_column("noise", list(map(str, files))).cast_column("noise", datasets.Audio())
    two.save_to_disk(tmp_path / "two")
    with pytest.raises(DataError, match="which column is audio"):
        find_items([f"hf:{tmp_path}/two"])
    with pytest.raises(DataError, match="hf:"):
        find_items([f"hf:{tmp_path}/not/there"])
