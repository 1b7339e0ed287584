"""The manifest for the language model's tokens: its rows, and that tokenizing keeps its columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.development import Stretch
from bench.lm_data import COLUMNS, SAMPLE_RATE, read_table, replayed, rows, shifted, write
from codec.audio.reader import read_audio
from codec.audio.writer import write_audio
from codec.errors import DataError

CLIPS = """path\toffset\tduration\tsource\tspeaker\tlang\ttext
train/speech/a.opus\t0.000\t1.000\ta\tann\ten\tSHE SAID "YES"
train/speech/a.opus\t1.000\t2.000\ta\tbob\ten\t
"""
PHONES = "path\toffset\tduration\tphones\ntrain/speech/a.opus\t0.000\t1.000\t0:SIL 20:SH 40:IY\n"
MANIFEST = """path\tkind\tsource\tseconds
train/speech/a.opus\tspeech\ta\t3.0
train/music/b.opus\tmusic\tsfz_headroom_piano\t60.4
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "train" / "speech").mkdir(parents=True)
    (tmp_path / "train" / "clips.tsv").write_text(CLIPS)
    (tmp_path / "train" / "phones.tsv").write_text(PHONES)
    (tmp_path / "MANIFEST.tsv").write_text(MANIFEST)
    return tmp_path


def test_every_clip_and_every_excerpt_is_a_row(data: Path) -> None:
    held = [Stretch("train/speech/a.opus", 1.0, 2.0, "speech", "bob", False)]
    found = list(rows(data, held))
    assert [set(row) for row in found] == [set(COLUMNS)] * 4
    assert [row["split"] for row in found] == ["train", "validation", "train", "train"]
    assert [row["phones"] for row in found] == ["0:SIL 20:SH 40:IY", "", "", ""]
    assert [row["tags"].split()[0] for row in found] == ["speech", "speech", "music", "music"]
    assert [row["offset"] for row in found[2:]] == ["0.000", "30.000"]  # .4 s are too short
    with pytest.raises(DataError, match="No such file"):
        list(rows(data / "train", held))


def test_what_begins_later_keeps_its_end_and_the_times_of_its_phones(data: Path) -> None:
    held = [Stretch("train/speech/a.opus", 1.0, 2.0, "speech", "bob", False)]
    table = list(rows(data, held))
    later = list(shifted(table, 3))
    kept = [row for row in table if row["split"] == "train"]
    assert [row["offset"] for row in later] == ["0.030", "0.030", "30.030"]
    for before, after in zip(kept, later, strict=True):
        ends = [float(row["offset"]) + float(row["duration"]) for row in (before, after)]
        assert ends[0] == pytest.approx(ends[1])
        assert {**before, "offset": "", "duration": "", "phones": ""} == {
            **after, "offset": "", "duration": "", "phones": "",
        }  # fmt: skip
    assert later[0]["phones"] == "0:SIL 17:SH 37:IY"
    passed = {**kept[0], "phones": "0:SIL 2:SH 40:IY"}
    (row,) = shifted([passed], 3)
    assert row["phones"] == "0:SH 37:IY"  # what ended before is gone, what goes on begins at 0
    assert not list(shifted([{**kept[0], "duration": "0.400"}], 3))


def test_what_plays_faster_is_another_voice_with_its_phones(data: Path, tmp_path: Path) -> None:
    rate, out = 16_000, tmp_path / "out"
    tone = 0.5 * np.sin(2 * np.pi * 440 / rate * np.arange(3 * rate)).astype(np.float32)
    write_audio(data / "train" / "speech" / "a.opus", tone[None], rate, ".wav")
    held = [Stretch("train/speech/a.opus", 1.0, 2.0, "speech", "bob", False)]
    kept, *_ = [row for row in rows(data, held) if row["split"] == "train"]
    short = {**kept, "offset": "2.900", "duration": "0.400"}
    (row,) = replayed([kept, short, {**kept, "split": "validation"}], 1.25, data, out)
    assert Path(row["path"]).is_relative_to(out.resolve())
    assert [float(row[key]) for key in ("offset", "duration")] == [
        pytest.approx(float(kept[key]) / 1.25, abs=1e-3) for key in ("offset", "duration")
    ]
    assert (row["speaker"], row["text"]) == (f"{kept['speaker']}@1.25", kept["text"])
    assert row["phones"] == "0:SIL 16:SH 32:IY"
    audio, own = read_audio(Path(row["path"]))
    assert own == SAMPLE_RATE
    assert audio.shape == (1, round(3 / 1.25 * own))
    spectrum = np.abs(np.fft.rfft(audio[0] * np.hanning(len(audio[0]))))
    assert spectrum.argmax() * own / audio.shape[1] == pytest.approx(1.25 * 440, abs=1)


def test_tokens_keep_the_columns(data: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    from click.testing import CliRunner

    from codec.cli.corpus import tokenize

    table = list(rows(data, []))[:2]
    audio = np.sin(np.arange(3 * 24_000) / 20) / 2
    soundfile.write(data / "train" / "speech" / "a.opus", audio, 24_000, format="OGG")
    write(data / "out" / "manifest.tsv", data, table)
    assert [row["text"] for row in read_table(data / "out" / "manifest.tsv")] == [
        'SHE SAID "YES"',
        "",
    ]
    arguments = [str(data / "out" / "manifest.tsv"), "-o", str(data / "tokens"), "-n", "2"]
    result = CliRunner().invoke(tokenize, arguments)
    assert result.exit_code == 0, result.output
    (shard,) = (data / "tokens" / "data").glob("*.parquet")
    kept = pq.read_table(shard).to_pylist()
    for row, wanted in zip(kept, table, strict=True):
        for name in ("text", "speaker", "lang", "phones", "tags", "split"):
            assert row[name] == wanted[name]
        assert row["n_frames"] == round(25 * float(wanted["duration"]))
