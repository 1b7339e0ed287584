"""Folders, manifests and tars as people have them: an exact account, and nothing lost unsaid."""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from codec.corpus.archives import tar_items
from codec.corpus.places import LocalFile, Refused
from codec.corpus.sources import find_inputs, find_items
from codec.errors import AudioError, DataError, MissingPackageError
from tests.helpers.audio_inputs import EVERYTHING
from tests.helpers.corpora import sound, tar_of


@pytest.fixture
def tokenize(cli, tmp_path):
    """Runs the command: exit code, rows by path, reasons of rejects by path, standard error."""
    runs = iter(range(99))

    def run(*sources: object):
        out = tmp_path / f"out{next(runs)}"
        code, _, err = cli("tokenize", *sources, "-o", out, "--format", "bin", "-n", 1, "-t", 1)
        rows: dict[str, Any] = {}
        refused: dict[str, str] = {}
        for index in out.glob("data/*.jsonl"):
            rows |= {row["path"]: row for row in map(json.loads, index.open())}
        if (out / "rejects.jsonl").exists():
            lines = map(json.loads, (out / "rejects.jsonl").open())
            refused = {line["path"]: line["reason"] for line in lines}
        return code, rows, refused, err

    return run


def test_a_folder_of_all_kinds(tokenize, wav, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (wav("1.wav").parent / os.fsdecode(b"\xe9\x1b.wav")).write_bytes(wav("2.wav").read_bytes())
    (tmp_path / "again").symlink_to(tmp_path)
    code, rows, refused, err = tokenize(tmp_path)
    assert (code, sorted(rows)) == (0, ["1.wav", "2.wav", r"\xe9" + "\x1b.wav"])
    assert refused == {"pipe.wav": "a named pipe, not a regular file: skipped"}
    assert "\x1b" not in err
    (tmp_path / "gone.wav").symlink_to("nowhere")
    code, rows, refused, _ = tokenize(tmp_path)
    assert (code, len(rows)) == (1, 3)
    assert refused["gone.wav"] == "a link that leads nowhere"


def test_a_run_without_a_row_fails(tokenize, tmp_path):
    (tmp_path / "x.wav").write_bytes(b"")
    assert tokenize(tmp_path)[0] == 1


def test_an_error_of_ours_is_of_its_item(tokenize, wav, tmp_path, monkeypatch):
    wav("a.wav"), wav("b.wav")
    from codec.corpus import executors

    work = executors.tokenize  # type: ignore[attr-defined]

    def failing(codec, item, *args):
        if item.name == "a.wav":
            raise KeyError("odd")
        return work(codec, item, *args)

    monkeypatch.setattr(executors, "tokenize", failing)
    code, rows, refused, _ = tokenize(tmp_path)
    assert (code, list(rows), refused) == (
        1,
        ["b.wav"],
        {"a.wav": "internal error: KeyError: 'odd'"},
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EAGAIN, errno.EMFILE])
def test_what_the_machine_lacks_stops_the_run(tokenize, wav, tmp_path, monkeypatch, number):
    """A restart tries the file again."""
    wav("in/a.wav"), wav("in/b.wav")
    from codec.corpus import executors

    work = executors.tokenize  # type: ignore[attr-defined]

    def full(codec, item, *args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(executors, "tokenize", full)
    code, rows, refused, _ = tokenize(tmp_path / "in")
    assert (code, rows, refused) == (1, {}, {})
    monkeypatch.setattr(executors, "tokenize", work)
    assert list(tokenize(tmp_path / "in")[1]) == ["a.wav", "b.wav"]


def test_a_file_beyond_the_memory_or_whose_decoder_was_ended_was_not_read(
    tokenize, wav, tmp_path, monkeypatch
):
    wav("a.wav"), wav("b.wav"), wav("c.wav")
    from codec.audio.helper import DecoderEndedError
    from codec.corpus import executors

    work = executors.tokenize  # type: ignore[attr-defined]

    def failing(codec, item, *args):
        if item.name == "a.wav":
            raise MemoryError
        if item.name == "b.wav":
            raise DecoderEndedError("the decoder was ended")
        return work(codec, item, *args)

    monkeypatch.setattr(executors, "tokenize", failing)
    code, rows, refused, _ = tokenize(tmp_path)
    assert (code, list(rows)) == (1, ["c.wav"])
    assert refused == {
        "a.wav": "too long for this machine's memory", "b.wav": "the decoder was ended"
    }  # fmt: skip


def test_a_manifest_behind_a_link_means_what_its_paths_say(wav, tmp_path):
    right, wrong = wav("data/audio/x.wav"), wav("mnt/a/b/audio/x.wav")
    (tmp_path / "mnt/a/b/lists").mkdir()
    (tmp_path / "data/lists").symlink_to("../mnt/a/b/lists")
    manifest = tmp_path / "data/lists/m.tsv"
    manifest.write_text(f"path\n{right}\n../audio/x.wav\n")
    places = [item.place for item in find_items([str(manifest)])]
    files = {os.path.realpath(place.path) for place in places if isinstance(place, LocalFile)}
    assert files == {str(right), str(wrong)}


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, b""])
def test_marks_and_bytes_of_text(tokenize, wav, tmp_path, mark):
    name = os.fsdecode(b"x\xe9.wav")
    wav("x.wav").rename(tmp_path / name)
    wav("y.wav")
    (tmp_path / "m.tsv").write_bytes(mark + b"path\ttext\r\nx\xe9.wav\ta\xff\r\n\r\ny.wav\tb\r\n")
    code, rows, refused, _ = tokenize(tmp_path / "m.tsv")
    assert (code, refused) == (0, {})
    assert {path: row["text"] for path, row in rows.items()} == {
        r"x\xe9.wav": r"a\xff",
        "y.wav": "b",
    }
    (tmp_path / "m.jsonl").write_bytes(mark + b'{"path": "y.wav", "text": "\\ud800"}\n')
    assert tokenize(tmp_path / "m.jsonl")[1]["y.wav"]["text"] == r"\ud800"


def test_utf16_from_a_spreadsheet(tokenize, wav, tmp_path):
    wav("y.wav")
    (tmp_path / "m.tsv").write_bytes("path\ttext\r\ny.wav\té\r\n".encode("utf-16"))
    assert tokenize(tmp_path / "m.tsv")[1]["y.wav"]["text"] == "é"


def test_rows_that_are_twice_there_count_once(tokenize, wav, tmp_path):
    path = wav("x.wav")
    (tmp_path / "m.tsv").write_text(f"path\nx.wav\n{path}\nx.wav\n")
    code, rows, refused, _ = tokenize(tmp_path / "m.tsv")
    assert (code, list(rows)) == (0, ["x.wav"])
    assert "row 1" in refused["x.wav"]
    assert "row 3" in refused["x.wav"]
    wav("other/x.wav")
    with pytest.raises(DataError, match="two inputs have this name"):
        find_items([str(tmp_path / "other"), str(path)])


def test_a_stretch_with_two_captions_is_refused(tokenize, wav, tmp_path):
    """Neither may be lost; a row with the same one is the same row."""
    wav("x.wav")
    table = tmp_path / "m.tsv"
    table.write_text("path\ttext\nx.wav\tone\nx.wav\tanother\n")
    with pytest.raises(DataError, match=r"and offset and other columns \(.*row 1 and .*row 2\)"):
        find_items([str(table)])
    table.write_text("path\ttext\nx.wav\tone\nx.wav\tone\n")
    assert tokenize(table)[1]["x.wav"]["text"] == "one"


def test_a_manifest_beside_its_folder_says_more_of_the_same_files(tokenize, wav, tmp_path):
    wav("in/x.wav"), wav("in/y.wav")
    (tmp_path / "in/m.tsv").write_text("path\ttext\nx.wav\tone\n")
    code, rows, refused, _ = tokenize(tmp_path / "in", tmp_path / "in/m.tsv")
    assert (code, list(rows)) == (0, ["x.wav", "y.wav"])
    assert rows["x.wav"]["text"] == "one"
    assert list(refused) == ["x.wav"]


def test_a_name_that_is_the_escape_of_another_costs_one_row(tokenize, wav, tmp_path):
    written = wav(r"in/x\xff.wav")
    for name in (b"x\xff.wav", b"a\xff.wav"):
        (written.parent / os.fsdecode(name)).write_bytes(wav("other.wav", 3000).read_bytes())
    code, rows, refused, err = tokenize(tmp_path / "in")
    assert code == 1
    assert sorted(rows) == [r"a\xff.wav", r"x\xff.wav"]
    alone = tokenize(written)[1]
    assert rows[written.name]["duration"] == alone[written.name]["duration"]
    assert "another input has this name" in refused[written.name]
    assert err.count(written.name) == 1


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("m.tsv", "path\ttext\na.wav\tx\nb.wav\n", r"row 2 \(line 3\) has 1 fields, the header 2"),
        ("m.tsv", "path\ttext\ttext\n", "'text' occurs twice"),
        ("m.jsonl", '{"path": "a"}\n\n[1]\n', r"row 2 \(line 3\) is not an object"),
        ("m.jsonl", '{"path": "a", "x": 1, "x": 2}\n', "'x' occurs twice"),
        ("m.jsonl", '{"path": "a\\u0000"}\n', "row 1 has a path with a zero byte"),
        *(
            (f"m{suffix}", "x", "not a manifest that I know")
            for suffix in (".csv", ".json", ".tar.gz", ".CSV", ".xlsx", ".zip", ".jsonl.gz")
        ),
    ],
)
def test_manifests_that_are_refused_by_name(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=reason) as error:
        find_items([str(tmp_path / name)])
    assert name in str(error.value)


def test_missing_packages_name_the_extra(tmp_path, monkeypatch):
    (tmp_path / "m.parquet").touch()
    (tmp_path / "m.tsv").write_text("path\nfile:///x.wav\n")
    for name in ("pyarrow", "pyarrow.parquet", "fsspec"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r"codec\[corpus\]"):
        find_items([str(tmp_path / "m.parquet")])
    (item,) = find_items([str(tmp_path / "m.tsv")])
    with pytest.raises(MissingPackageError, match=r"codec\[corpus\]"), item.place.reading():
        pass
    with pytest.raises(MissingPackageError, match=r"codec\[corpus\]"):
        find_items(["s3://bucket/x"])


def test_columns_whose_names_collide_are_all_kept(tokenize, wav, tmp_path):
    wav("x.wav")
    text = "path\tid\tsource_id\tsource_source_id\nx.wav\t1\t2\t3\n"
    (tmp_path / "m.tsv").write_text(text)
    row = tokenize(tmp_path / "m.tsv")[1]["x.wav"]
    assert (row["source_id"], row["source_source_id"]) == ("2", "3")
    assert row["source_source_source_id"] == "1"
    assert row["id"] == "x.wav"


def test_a_pipe_as_a_source_is_refused(tmp_path):
    os.mkfifo(tmp_path / "p")
    with pytest.raises(DataError, match="a named pipe"):
        find_items([str(tmp_path / "p")])
    (item,) = find_items([str(tmp_path / "*")])
    assert isinstance(item.place, Refused)


def items_of(path: Path, data: bytes) -> dict[str, str | bytes]:
    """What is at each name of a tar: the reason, or the audio."""
    path.write_bytes(data)
    found: dict[str, str | bytes] = {}
    for item in tar_items("x", LocalFile(path)):
        try:
            with item.place.reading() as file:
                found[item.name.removeprefix("x/")] = file.read()
        except OSError as error:
            found[item.name.removeprefix("x/")] = str(error)
    return found


def test_links_and_special_members_of_tars(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind, target in [
            ("d/soft.flac", tarfile.SYMTYPE, "../a.flac"),
            ("hard.flac", tarfile.LNKTYPE, "a.flac"),
            ("chain.flac", tarfile.SYMTYPE, "d/soft.flac"),
            ("out.flac", tarfile.SYMTYPE, "/etc/passwd"),
            ("circle.flac", tarfile.SYMTYPE, "circle.flac"),
            ("pipe.flac", tarfile.FIFOTYPE, ""),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
        for data in (b"old", b"audio"):
            info = tarfile.TarInfo("a.flac")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    outside = "a link to what is not in the tar"
    assert items_of(tmp_path / "x.tar", file.getvalue()) == {
        "d/soft.flac": b"audio", "hard.flac": b"audio", "chain.flac": b"audio", "a.flac": b"audio",
        "out.flac": outside, "circle.flac": outside, "pipe.flac": "a special file, skipped",
    }  # fmt: skip


def test_damage_in_tars_costs_what_is_damaged(tmp_path):
    one = {f"{n}.flac": sound(n) for n in range(4)}
    whole = tar_of(one)
    assert items_of(tmp_path / "a.tar", whole) == one
    other = {"z.flac": b"z"}
    assert items_of(tmp_path / "b.tar", whole + tar_of(other)) == one | other
    second = 512 + (len(one["0.flac"]) + 511) // 512 * 512
    broken = whole[:second] + b"?" * 512 + whole[second + 512 :]
    found = items_of(tmp_path / "c.tar", broken)
    assert "the tar is damaged" in str(found.pop("damage-1"))
    assert found == {name: data for name, data in one.items() if name != "1.flac"}
    found = items_of(tmp_path / "d.tar", whole[: second + 700])
    assert "the tar is damaged" in str(found.pop("damage-1"))
    assert found == {"0.flac": one["0.flac"], "1.flac": "the archive ends before"}
    found = items_of(tmp_path / "e.tar", tar_of(one | {"2.json": b"{"}))
    assert found == one | {"2.flac": "2.json is not JSON"}


def test_columns_of_a_sample_that_collide(tmp_path):
    (tmp_path / "x.tar").write_bytes(
        tar_of({"a.json": b'{"text": "of json"}', "a.txt": b"of txt", "a.flac": b""})
    )
    (item,) = find_items([str(tmp_path / "x.tar")])
    assert item.columns == {"text": "of json", "text (txt)": "of txt"}


def test_splits_and_columns_by_name(tmp_path):
    datasets = pytest.importorskip("datasets")
    (tmp_path / "x.flac").write_bytes(sound(1))
    rows = {"speech": [str(tmp_path / "x.flac")], "text": ["hi"]}
    table = datasets.Dataset.from_dict(rows).cast_column("speech", datasets.Audio())
    table.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"test": table, "dev": table}).save_to_disk(tmp_path / "two")
    for source, reason in [
        ("one?split=nope", "no split nope"),
        ("two?split=nope", "no split nope; there are test, dev"),
        ("two", "no split train; there are test, dev"),
        ("one?column=text", "text is not audio"),
        ("one?column=nope", "no column nope; there are speech, text"),
        ("one?config=x", "saved to disk has no config"),
        ("two?split=dev&revision=main", "no config and no revision"),
    ]:
        with pytest.raises(DataError, match=reason):
            find_items([f"hf:{tmp_path}/{source}"])
    assert [i.name for i in find_items([f"hf:{tmp_path}/two?split=dev"])] == ["two/dev/00000000"]


def test_strict_is_of_the_first(small, tmp_path):
    from codec.corpus.rows import Settings
    from codec.corpus.run import Corpus, run

    os.mkfifo(tmp_path / "pipe.wav")
    corpus = Corpus(small, [str(tmp_path)], tmp_path / "out", Settings(1), "bin", 2)
    with pytest.raises(AudioError, match="a named pipe"):
        run(corpus, strict=True)


def test_a_tar_holds_audio_under_any_name(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, content in {
            "REC1": EVERYTHING["wav"](), "a.raw": EVERYTHING["flac"](), "a.txt": b"words",
            "picture.jpg": b"\xff\xd8\xff", "long.log": b"x" * (1 << 20 | 1),
        }.items():  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in {"b": "REC1", "c.wav": "long.log", "d": "a.txt"}.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    found = find_inputs([str(tmp_path / "x.tar")])
    refused = [item.name for item in found.items if isinstance(item.place, Refused)]
    assert [item.name for item in found.items] == [
        f"x.tar/{n}" for n in ("REC1", "a.raw", "b", "c.wav")
    ]
    assert refused == ["x.tar/c.wav"]
    assert found.items[1].columns == {"text": "words"}
    assert [str(name) for name in found.others] == ["x.tar/long.log", "x.tar/picture.jpg"]


BAD_MANIFESTS = {
    "a.tsv": (b"Path\ttext\na.wav\tx\n", "row 1 has no path; its columns are Path, text"),
    "b.tsv": (b"path\tpath\na.wav\ta.wav\n", "the column 'path' occurs twice"),
    "c.tsv": (b"path\ttext\na.wav\thi\tthere\n", "row 1 .line 2. has 3 fields, the header 2"),
    "d.tsv": (b"path\toffset\na.wav\t-1\n", "'-1' is not a time"),
    "e.tsv": (b"path\toffset\na.wav\tnan\n", "'nan' is not a time"),
    "f.tsv": (b"path\toffset\na.wav\t1e300\n", "'1e300' is not a time"),
    "g.tsv": (b"path\na\0.wav\n", "zero byte"),
    "h.tsv": (b"", "no audio in"),
    "i.tsv": (b"path\ttext\n", "no audio in"),
    "j.tsv": (bytes(range(256)), "row 1"),
    "k.jsonl": (b'{"path": "a.wav"}\n{"path": ', "row 2 .line 2.: Expecting value"),
    "l.jsonl": (b'[{"path": "a.wav"}]', "row 1 .line 1. is not an object"),
    "m.jsonl": (b'{"path": "a.wav"}\n{"text": "x"}', "row 2 has no path; its columns are text"),
    "n.jsonl": (b'{"path": 3}', "its path is not text: 3"),
    "o.jsonl": (b'{"path": "\\ud800.wav"}', r"can be no file name: \\ud800.wav"),
    "p.jsonl": (b'{"path": "a.wav", "offset": [1]}', "is not a time"),
    "q.jsonl": (b'{"path": "a.wav", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "row 1"),
    "r.jsonl": (b'{"path": "a.wav", "offset": ' + b"9" * 5000 + b"}", "row 1"),
    "s.parquet": (b"", "s.parquet: "),
    "t.parquet": (b"PAR1" + bytes(100) + b"PAR1", "t.parquet: "),
}


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_what_is_wrong_in_a_manifest_is_named(wav, tmp_path, name):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="needs codec[corpus]")
    wav("a.wav")
    content, message = BAD_MANIFESTS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        find_items([str(tmp_path / name)])


def test_parquet_of_wrong_types(wav, tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs codec[corpus]")
    pq = pytest.importorskip("pyarrow.parquet")
    wav("a.wav")
    manifest = tmp_path / "m.parquet"
    for columns, message in [
        ({"path": [b"a.wav"]}, "its path is not text: b'a.wav'"),
        ({"path": ["a.wav", None]}, "row 2 has no path"),
        ({"path": ["a.wav"], "duration": [float("nan")]}, "nan is not a time"),
    ]:
        pq.write_table(pa.table(columns), manifest)
        with pytest.raises(DataError, match=message):
            find_items([str(manifest)])
    pq.write_table(pa.table({"path": ["a.wav"], "b": [b"\xff"], "s": [{"x": None}]}), manifest)
    [item] = find_items([str(manifest)])
    assert item.columns == {"b": "\"b'\\\\xff'\"", "s": '{"x": null}'}


def test_lines_of_all_systems_and_long_fields(wav, tmp_path):
    for name in ("a.wav", "b.wav"):
        wav(name)
    manifest = tmp_path / "m.tsv"
    for end in ("\n", "\r\n", "\r"):
        long = "x" * 200_000
        rows = ["path\ttext", 'a.wav\t"so', "", f"b.wav\t{long}"]
        manifest.write_bytes(end.join(rows).encode())
        texts = {item.name: item.columns["text"] for item in find_items([str(manifest)])}
        assert texts == {"a.wav": '"so', "b.wav": long}


def test_a_stretch_beyond_the_end_is_warned_of(tokenize, wav, tmp_path):
    wav("a.wav", 24_000)
    rows = ["a.wav\t0.9\t5", "a.wav\t0\t1.05", "a.wav\t99\t1"]
    (tmp_path / "m.tsv").write_text("\n".join(["path\toffset\tduration", *rows]))
    assert tokenize(tmp_path / "m.tsv")[0] == 0
    index = next((tmp_path / "out0" / "data").glob("*.jsonl"))
    said = [json.loads(line)["warning"] for line in index.open()]
    assert said == ["", "the file ends in the stretch: 0.100 of 5.000 s"]
    [refused] = map(json.loads, (tmp_path / "out0" / "rejects.jsonl").open())
    assert refused["reason"].endswith("the audio ends before")


def test_a_tar_that_ends_early_says_so(tmp_path):
    whole = tar_of({"a.wav": sound(1), "b.wav": sound(2)})
    second = whole.index(b"b.wav")
    stop = second + (second - whole.index(b"a.wav"))

    def reasons(data: bytes) -> dict[str, tuple[str, bool]]:
        (tmp_path / "c.tar").write_bytes(data)
        found = tar_items("c.tar", LocalFile(tmp_path / "c.tar"))
        return {
            i.name: (i.place.reason, i.place.lost) for i in found if isinstance(i.place, Refused)
        }

    assert reasons(whole) == {}
    assert reasons(whole[: stop + 512]) == {}
    told = ("the tar is damaged: it is cut off in the head of a file, at", True)
    [(reason, lost)] = reasons(whole[: second + 99]).values()
    assert (reason.rpartition(" ")[0], lost) == told
    for end in (second, stop):
        told = ("the tar has no mark at its end: it may be cut off", False)
        assert reasons(whole[:end]) == {"c.tar/end": told}


@pytest.mark.parametrize("packer", ["gz", "bz2", "xz"])
def test_a_packed_tar_is_named_so(tmp_path, packer):
    with tarfile.open(tmp_path / "x.tar", f"w:{packer}"):  # type: ignore[call-overload]
        pass
    with pytest.raises(DataError, match=r"packed by .*: unpack it first"):
        find_items([str(tmp_path / "x.tar")])


def test_links_and_names_of_members_with_a_dot_in_front(tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in (("./d/a.wav", sound(1)), ("./c.wav", sound(1)), ("c.wav", sound(2))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, kind, target in (
            ("./d/b.wav", tarfile.SYMTYPE, "a.wav"),
            ("./h.wav", tarfile.LNKTYPE, "./d/a.wav"),
            ("out.wav", tarfile.SYMTYPE, "/etc/passwd"),
            ("up.wav", tarfile.SYMTYPE, "../../d/a.wav"),
            ("one.wav", tarfile.SYMTYPE, "two.wav"),
            ("two.wav", tarfile.SYMTYPE, "one.wav"),
            ("fifo.wav", tarfile.FIFOTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    (tmp_path / "x.tar").write_bytes(data.getvalue())
    found = {item.name: item.place for item in tar_items("x", LocalFile(tmp_path / "x.tar"))}
    assert found["x/d/b.wav"] == found["x/h.wav"] == found["x/d/a.wav"]
    with found["x/c.wav"].reading() as file:
        assert file.read() == sound(2)  # the last, as when it is unpacked
    refused = {name for name, place in found.items() if isinstance(place, Refused)}
    assert refused == {f"x/{name}.wav" for name in ("out", "up", "one", "two", "fifo")}
    assert len(found) == 9


def test_a_file_that_a_manifest_names_and_that_is_missing_fails_the_run(tokenize, wav, tmp_path):
    """What no row holds was lost: the others are made, and the exit code says so."""
    wav("a.wav")
    (tmp_path / "m.tsv").write_text("path\na.wav\nmissing.wav\n")
    code, rows, refused, _ = tokenize(tmp_path / "m.tsv")
    assert code == 1
    assert list(rows) == ["a.wav"]
    assert list(refused.values()) == ["no such file or directory"]
