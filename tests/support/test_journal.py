"""The journal: what is on disk when a run is killed, and what a later run takes from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import OutputError
from codec.support.journal import Journal, locked

RECORDS = [{"n": n, "text": "ä" * n} for n in range(4)]
HEADER = {"run": 1}


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("header", [None, HEADER])
def test_records_come_back(header: dict[str, int] | None, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for n, record in enumerate(RECORDS):
        with Journal(path, header) as journal:
            assert journal.records == RECORDS[:n]
            journal.add(record)
            assert lines(path) == [header, *RECORDS[: n + 1]][header is None :]  # already on disk


@given(cut=st.integers(0, 200), header=st.sampled_from([None, HEADER]))
def test_a_journal_cut_anywhere_keeps_its_whole_records(
    cut: int, header: dict[str, int] | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    with Journal(path, header) as journal:
        for record in RECORDS:
            journal.add(record)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    ends = max(0, whole[:cut].count(b"\n") - (header is not None))
    with Journal(path, header) as journal:
        assert journal.records == RECORDS[:ends]
        for record in RECORDS[ends:]:
            journal.add(record)
    assert path.read_bytes() == whole


def test_records_of_another_run_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        journal.add(RECORDS[1])
    with Journal(path, {"run": 2}) as journal:
        assert journal.records == []
    assert lines(path) == [{"run": 2}]


@pytest.mark.parametrize("header", [None, HEADER])
def test_keep_drops_the_last_records(header: dict[str, int] | None, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, header) as journal:
        for record in RECORDS:
            journal.add(record)
        journal.keep(1)
        journal.add(RECORDS[3])
        assert journal.records == [RECORDS[0], RECORDS[3]]
    with Journal(path, header) as journal:
        assert journal.records == [RECORDS[0], RECORDS[3]]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no locks on Windows")
    with Journal(tmp_path / "a"), pytest.raises(OutputError, match="another process works on it"):
        Journal(tmp_path / "a")
    Journal(tmp_path / "a").__exit__()
    with locked(tmp_path), pytest.raises(OutputError, match="another process"), locked(tmp_path):
        pass
