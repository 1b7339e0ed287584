from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from bench.random_weights import SMALL, write_weights
from codec.corpus.executors import threads
from codec.corpus.places import LocalFile
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, check_rows, run
from codec.corpus.sources import find_items
from codec.errors import AudioError, DataError, OutputError
from codec.lm.layouts import make_layout
from codec.support.journal import locked
from tests.helpers.cli import Cli
from tests.helpers.corpora import shards

ROOT = Path(__file__).parents[2]
MakeWav = Callable[..., Path]


@pytest.fixture
def folder(wav: MakeWav, tmp_path: Path) -> Path:
    for i in range(7):
        wav(f"in/{'ab'[i % 2]}/{i}.wav", samples=480 * (3 + i), channels=1 + i % 2, seed=i)
    return tmp_path / "in"


def make(small: codec.Codec, source: Path, out: Path, format_: str = "bin", **settings) -> Corpus:
    return Corpus(small, [str(source)], out, Settings(3, **settings), format_, shard_items=3)


def test_threads_do_not_change_a_byte(small, folder, tmp_path):
    for count in (1, 4):
        run(make(small, folder, tmp_path / str(count)), threads(count))
    assert shards(tmp_path / "1") == shards(tmp_path / "4")
    assert len(shards(tmp_path / "1")) == 6


@pytest.mark.parametrize("layout", ["none", "flat", "coarse_first", "delay", "parallel"])
def test_bin_holds_the_tokens_of_each_file(small, folder, tmp_path, layout):
    corpus = make(small, folder, tmp_path / "out", layout=layout)
    card = run(corpus, threads(2))
    read = 0
    for index in sorted((tmp_path / "out/data").glob("*.jsonl")):
        ids = np.memmap(index.with_suffix(".bin"), card["dtype"], mode="r")
        for row in map(json.loads, index.read_text().splitlines()):
            audio, rate = soundfile.read(folder / row["path"], dtype="float32", always_2d=True)
            tokens = small.encode(audio.T, rate, n_codebooks=3)
            held = ids[row["start"] : row["stop"]].reshape(row["channels"], -1)
            for channel, codes in zip(held, tokens.codes, strict=True):
                if layout == "none":
                    back = channel.reshape(row["n_frames"], row["n_codebooks"]).T
                else:
                    back = make_layout(layout, 3, small.config.codebook_size).from_ids(channel)
                np.testing.assert_array_equal(back, codes)
            read += 1
    assert read == card["rows"] == 7


def test_parquet_is_read_by_datasets_and_pyarrow(small, folder, tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    corpus = make(small, folder, tmp_path / "out", "parquet")
    run(corpus)
    rows = [
        row
        for f in sorted((tmp_path / "out/data").iterdir())
        for row in pq.read_table(f).to_pylist()
    ]
    assert [row["path"] for row in rows] == [item.name for item in corpus.items]
    audio, rate = soundfile.read(folder / rows[-1]["path"], dtype="float32", always_2d=True)
    expected = small.encode(audio.T, rate, n_codebooks=3).codes
    assert rows[-1]["codes"] == [channel.T.ravel().tolist() for channel in expected]
    datasets = pytest.importorskip("datasets")
    files = [str(file) for file in sorted((tmp_path / "out/data").iterdir())]
    loaded = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.to_list() == rows


def test_tar_is_read_by_webdataset(small, folder, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    corpus = make(small, folder, tmp_path / "out", "webdataset")
    run(corpus)
    files = [str(file) for file in sorted((tmp_path / "out/data").iterdir())]
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode())
    assert [sample["json"]["path"] for sample in samples] == [item.name for item in corpus.items]
    for sample in samples:
        described = sample["json"]
        size = described["n_frames"] * described["n_codebooks"]
        assert sample["codes.npy"].shape == (described["channels"], size)


def test_mds_is_read_by_streaming(small, folder, tmp_path):
    pytest.importorskip("streaming", reason="pip install 'codec[mds]'")
    manifest = tmp_path / "m.jsonl"
    names = [file.relative_to(tmp_path).as_posix() for file in sorted(folder.rglob("*.wav"))]
    rows = [{"path": name} | ({"text": "été"} if i else {}) for i, name in enumerate(names)]
    (tmp_path / "in/empty.wav").write_bytes(b"")
    rows += [{"path": "in/empty.wav", "duration": d} for d in (1, 2, 3, 4, 5)]  # an empty shard
    manifest.write_text("\n".join(map(json.dumps, rows)))
    corpus = make(small, manifest, tmp_path / "out", "mds")
    card = run(corpus)
    assert (card["rows"], card["rejects"]) == (7, 5)
    out = tmp_path / "out/data"
    code = """
import json, sys
from streaming import StreamingDataset
for row in StreamingDataset(local=sys.argv[1], shuffle=False, batch_size=1):
    row["codes"] = row["codes"].tolist()
    print(json.dumps(row))
"""
    # In a process of its own: it leaves shared memory and threads behind.
    read = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    held = [json.loads(line) for line in read.stdout.splitlines() if line.startswith("{")]
    assert sorted(row["path"] for row in held) == sorted(names)
    for row in held:
        audio, rate = soundfile.read(tmp_path / row["path"], dtype="float32", always_2d=True)
        codes = small.encode(audio.T, rate, n_codebooks=3).codes
        assert row["codes"] == [channel.T.ravel().tolist() for channel in codes]
        assert row["text"] == ("" if row["path"] == names[0] else "été")
    run(make(small, manifest, tmp_path / "again", "mds"))
    assert shards(tmp_path / "again") == shards(tmp_path / "out")


def test_rejects_are_told_as_they_come_and_in_order_at_the_end(small, wav, tmp_path):
    for i in range(4):
        wav(f"in/{i}.wav")
        (tmp_path / f"in/{i}.flac").write_bytes(b"")
    corpus = Corpus(small, [str(tmp_path / "in")], tmp_path / "out", Settings(3), "bin", 2)
    run(corpus)
    whole = (tmp_path / "out/rejects.jsonl").read_bytes()
    paths = [json.loads(line)["path"] for line in whole.splitlines()]
    assert paths == [f"{i}.flac" for i in range(4)]
    # Killed after a shard's journal and before its rejects were told.
    (tmp_path / "out/rejects.jsonl").write_bytes(whole[:-9])
    (tmp_path / "out/journal/00001.json").unlink()
    run(corpus)
    assert (tmp_path / "out/rejects.jsonl").read_bytes() == whole


def test_audio_that_is_cut_off_is_a_row_that_says_so(small, wav, tmp_path):
    wav("in/a.wav")
    wav("in/b.wav")
    cut = tmp_path / "in/b.wav"
    cut.write_bytes(cut.read_bytes()[:-2000])

    def corpus(out):
        return Corpus(small, [str(tmp_path / "in")], tmp_path / out, Settings(3), "bin", 2)

    card = run(corpus("out"))
    assert (card["rows"], card["rejects"], card["warnings"]) == (2, 0, 1)
    lines = (tmp_path / "out/data").glob("*.jsonl")
    rows = [json.loads(line) for path in lines for line in path.read_text().splitlines()]
    assert [row["decoder"] for row in rows] == ["codec", "codec"]
    assert [row["warning"].split(":")[0] for row in rows] == ["", "cut off"]
    with pytest.raises(AudioError, match=r"b\.wav: cut off"):
        run(corpus("strict"), strict=True)


def test_audio_far_beyond_full_scale_is_warned_of_and_never_an_error(small, tmp_path):
    for name, peak in (("a", 2.0), ("b", 2.5)):
        path = tmp_path / "in" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.full(4800, peak), 24000, subtype="FLOAT")
    corpus = Corpus(small, [str(tmp_path / "in")], tmp_path / "out", Settings(3), "bin")
    assert run(corpus, strict=True)["warnings"] == 1
    index = next((tmp_path / "out/data").glob("*.jsonl"))
    said = [json.loads(line)["warning"] for line in index.read_text().splitlines()]
    assert [text[:21] for text in said] == ["", "audio peaks at 2.5, f"]


def test_restart_makes_only_what_is_missing(small, folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(make(small, folder, out))
    before = shards(out)
    (out / "journal/00001.json").unlink()
    (out / "data/.codec-0.part").write_bytes(b"half")
    made = []
    encode = type(small.backend).encode

    def counted(*arguments):
        made.append(1)
        return encode(*arguments)

    monkeypatch.setattr(type(small.backend), "encode", counted)
    run(make(small, folder, out))
    assert shards(out) == before
    assert len(made) == sum(1 + i % 2 for i in (6, 1, 3))  # channels of b/1 to b/5 and a/6


def test_changed_configuration_and_inputs_are_refused_by_name(small, folder, tmp_path):
    run(make(small, folder, tmp_path / "out"))
    with pytest.raises(OutputError, match="layout none -> flat"):
        run(make(small, folder, tmp_path / "out", layout="flat"))
    (folder / "a/0.wav").unlink()
    with pytest.raises(OutputError, match="inputs"):
        run(make(small, folder, tmp_path / "out"))


def written_again(path: Path) -> None:
    """Write other audio of the same size, a nanosecond later than the file said."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-100:] = bytes(100)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size


def in_a_tar(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*.wav")):
            tar.add(file, file.relative_to(folder).as_posix())
    return path


def in_a_manifest(folder: Path) -> Path:
    path = folder / "list.tsv"
    path.write_text("path\na/0.wav\nb/1.wav\n")
    return path


@pytest.mark.parametrize("source", [Path, in_a_tar, in_a_manifest])
def test_an_input_that_was_written_again_is_noticed(small, folder, tmp_path, source):
    path, out = source(folder), tmp_path / "out"
    run(make(small, path, out))
    run(make(small, path, out))
    card, before = (out / "dataset.json").read_bytes(), shards(out)
    written_again(path if path.suffix == ".tar" else folder / "a/0.wav")
    with pytest.raises(OutputError, match="written again"):
        run(make(small, path, out))
    assert shards(out) == before
    assert (out / "dataset.json").read_bytes() == card
    # One that was begun before there was a note of it goes on.
    begun = json.loads((out / "run.json").read_text())
    del begun["versions"]
    (out / "run.json").write_text(json.dumps(begun))
    run(make(small, path, out))


def test_times_do_not_show_in_what_is_made(small, folder, tmp_path):
    run(make(small, folder, tmp_path / "one"))
    for path in folder.rglob("*.wav"):
        os.utime(path, ns=(0, 0))
    run(make(small, folder, tmp_path / "two"))
    assert shards(tmp_path / "one") == shards(tmp_path / "two")
    cards = [(tmp_path / name / "dataset.json").read_bytes() for name in ("one", "two")]
    assert cards[0] == cards[1]


def test_second_process_is_refused(small, folder, tmp_path):
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="another process"):
        run(make(small, folder, tmp_path / "out"))
    run(make(small, folder, tmp_path / "out"))


def test_mixed_folder(small, wav, tmp_path):
    folder = tmp_path / "in"
    wav("in/good.wav")
    wav("in/eight.wav", channels=8)
    wav("in/slow.wav", samples=8000, rate=8000)
    wav("in/fast.wav", samples=19200, rate=192_000)
    wav("in/été 音.wav")
    wav("in/flac.wav").rename(folder / "misnamed.mp3")
    (folder / "corrupt.flac").write_bytes(b"fLaC" + bytes(range(256)))
    (folder / "empty.wav").write_bytes(b"")
    soundfile.write(folder / "no_samples.wav", np.zeros((0, 1)), 24_000)
    nan = np.zeros(2400, np.float32)
    nan[1000] = np.nan
    soundfile.write(folder / "nan.wav", nan, 24_000, subtype="FLOAT")
    card = run(make(small, folder, tmp_path / "out"), threads(2))
    rejects = map(json.loads, (tmp_path / "out/rejects.jsonl").read_text().splitlines())
    reasons = {reject["path"]: reject["reason"] for reject in rejects}
    assert set(reasons) == {"corrupt.flac", "empty.wav", "no_samples.wav", "nan.wav"}
    assert "NaN" in reasons["nan.wav"]
    assert reasons["no_samples.wav"] == "no audio: 0 samples"
    assert (card["rows"], card["rejects"]) == (6, 4)
    with pytest.raises(AudioError, match=r"corrupt\.flac"):
        run(make(small, folder, tmp_path / "strict"), strict=True)


def test_filters(small, wav, tmp_path):
    wav("in/short.wav", samples=480)
    wav("in/fine.wav", samples=4800)
    wav("in/long.wav", samples=48_000)
    soundfile.write(tmp_path / "in/quiet.wav", np.full(4800, 1e-4), 24_000)
    corpus = make(
        small, tmp_path / "in", tmp_path / "out",
        min_duration=0.1, max_duration=1.0, silence=-60.0,
    )  # fmt: skip
    assert run(corpus)["rows"] == 1
    text = (tmp_path / "out/rejects.jsonl").read_text()
    assert [w for w in ("shorter", "longer", "silent") if w in text] == [
        "shorter",
        "longer",
        "silent",
    ]


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet"])
def test_manifest_stretches_and_columns(small, wav, tmp_path, suffix):
    wav("in/x.wav", samples=4800)
    rows = [
        {"path": "in/x.wav", "offset": 0.1, "duration": 0.05, "text": 'he said "hm'},
        {"path": "in/x.wav", "offset": 0.0, "duration": 0.1, "text": "zwölf"},
    ]
    manifest = tmp_path / f"m{suffix}"
    if suffix == ".tsv":
        lines = [rows[0].keys(), *(map(str, row.values()) for row in rows)]
        manifest.write_text("\n".join(map("\t".join, lines)), "utf-8")
    elif suffix == ".jsonl":
        manifest.write_text("\n".join(map(json.dumps, rows)))
    else:
        pa = pytest.importorskip("pyarrow")
        pa.parquet = pytest.importorskip("pyarrow.parquet")
        pa.parquet.write_table(pa.Table.from_pylist(rows), manifest)
    run(make(small, manifest, tmp_path / "out"))
    held = [json.loads(x) for x in (tmp_path / "out/data/00000.jsonl").read_text().splitlines()]
    assert [row["text"] for row in held] == ["zwölf", 'he said "hm']
    audio, rate = soundfile.read(tmp_path / "in/x.wav", dtype="float32")
    ids = np.fromfile(tmp_path / "out/data/00000.bin", "<u2")
    for row, (start, stop) in zip(held, [(0, 2400), (2400, 3600)], strict=True):
        codes = small.encode(audio[start:stop], rate, n_codebooks=3).codes[0]
        np.testing.assert_array_equal(ids[row["start"] : row["stop"]], codes.T.ravel())


def test_absolute_paths_of_a_manifest_stay_out_of_the_names(wav, tmp_path):
    path = wav("in/x.wav")
    (tmp_path / "m.tsv").write_text(f"path\n{path}\n")
    (item,) = find_items([str(tmp_path / "m.tsv")])
    assert item.name == "in/x.wav"
    assert isinstance(item.place, LocalFile)
    assert item.place.path.samefile(path)


def test_bad_manifests(wav, tmp_path):
    wav("x.wav")
    for text, reason in [
        ("path\toffset\nx.wav\t-1\n", "not a time"),
        ("path\toffset\nx.wav\tnan\n", "not a time"),
        ("path\tduration\nx.wav\t0\n", "duration of 0"),
        ("name\nx.wav\n", "no path"),
        ("path\ttext\nx.wav\n", "fields"),
        ("path\n", "no audio"),
    ]:
        (tmp_path / "m.tsv").write_text(text)
        with pytest.raises(DataError, match=reason):
            find_items([str(tmp_path / "m.tsv")])
    with pytest.raises(DataError, match="no such file"):
        find_items([str(tmp_path / "nothing*")])


def test_rows_of_changed_audio_are_noticed(small, folder, tmp_path):
    corpus = make(small, folder, tmp_path / "out")
    run(corpus)
    assert check_rows(corpus, 7) == []
    audio, rate = soundfile.read(folder / "a/0.wav")
    soundfile.write(folder / "a/0.wav", -audio, rate)
    assert check_rows(corpus, 7) == ["a/0.wav has other tokens now"]


def test_cli_tokenises_and_verifies(cli: Cli, folder, tmp_path):
    out = tmp_path / "out"
    code, text, _ = cli("tokenize", folder, "-o", out, "--format", "bin", "--shard-items", 2)
    assert (code, b"7 rows" in text) == (0, True)
    assert cli("tokenize", "--verify", out)[0] == 0
    shard = out / "data/00001.bin"
    data = bytearray(shard.read_bytes())
    data[3] ^= 1
    shard.write_bytes(data)
    code, _, err = cli("tokenize", "--verify", out)
    assert (code, "00001.bin is damaged" in err) == (1, True)
    assert cli("tokenize", folder)[0] == 2
    for ignored in (("--refine", 2), ("-o", out), ("--format", "bin"), (folder,)):
        code, _, err = cli("tokenize", "--verify", out, *ignored)
        assert (code, "--verify takes only --sample and --model" in err) == (2, True)


# Runs the command, and dies as by a kill just before or just after a file gets its name.
DIES = """
import os, pathlib, signal, sys
left, early = int(sys.argv.pop(1)), sys.argv.pop(1) == "early"
replace = pathlib.Path.replace
def dies(self, target):
    global left
    left -= 1
    if not early:
        replace(self, target)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if early:
        replace(self, target)
pathlib.Path.replace = dies
from codec.cli.main import main
main()
"""


def test_killed_runs_end_as_an_undisturbed_one(tmp_path):
    weights = write_weights(tmp_path / "w.safetensors", SMALL)
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(12):
        soundfile.write(tmp_path / f"in/{i}.wav", rng.uniform(-0.5, 0.5, 24_000), 24_000)

    def code(out: str, names: int, when: str) -> int:
        command = [
            *(sys.executable, "-c", DIES, str(names), when),
            *("tokenize", str(tmp_path / "in"), "--format", "bin", "-o", str(tmp_path / out)),
            *("--shard-items", "1", "--model", str(weights), "-t", "2"),
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode

    assert code("whole", 0, "late") == 0
    killed = 0
    while ended := code("killed", 4 + killed, ("early", "late")[killed % 2]):
        assert ended == -signal.SIGKILL
        killed += 1
    assert killed >= 2
    assert shards(tmp_path / "killed") == shards(tmp_path / "whole")
    assert (tmp_path / "killed/dataset.json").read_bytes() == (
        tmp_path / "whole/dataset.json"
    ).read_bytes()
