"""The development set stays out of training, and is what its list says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.development import SAMPLE_RATE, Stretch, read_list, split
from bench.phonetic_probe import UNTAUGHT
from codec.errors import DataError
from codec.training.phones import AlignedClip, read_table, write_table


def test_clips_lie_within_what_is_held_out() -> None:
    stretches = read_list()
    held = [part for part in stretches if not part.clip]
    clips = [part for part in stretches if part.clip]
    assert len(clips) >= 40
    assert len({(clip.path, clip.offset) for clip in clips}) == len(clips)
    assert {clip.kind for clip in clips} == {"speech", "music", "general"}
    for clip in clips:
        inside = [
            part
            for part in held
            if part.path == clip.path
            and part.offset <= clip.offset + 0.002
            and clip.offset + clip.duration <= part.offset + part.duration + 0.002
        ]
        assert inside, clip


def test_each_sample_is_in_one_half(tmp_path: Path) -> None:
    rate, data = SAMPLE_RATE, tmp_path / "data"
    (data / "train/speech").mkdir(parents=True)
    ramp = np.arange(10 * rate) / (10 * rate)
    soundfile.write(data / "train/speech/a.wav", ramp, rate, subtype="PCM_24")
    soundfile.write(data / "train/speech/b.wav", ramp, rate, subtype="PCM_24")
    parts = [
        Stretch("train/speech/a.wav", 2.0, 3.0, "speech", "x", False),
        Stretch("train/speech/a.wav", 2.5, 1.0, "speech", "x", True),
    ]
    clips = [
        AlignedClip("train/speech/a.wav", offset, 1.5, ((0, "SIL"), (70, phone)))
        for offset, phone in ((0.4, "AA"), (1.9, "OUT"), (3.0, "OUT"), (4.9, "OUT"), (5.0, "EH"))
    ]
    other = AlignedClip("train/speech/b.wav", 3.0, 2.0, ((0, "IY"),))
    judged = [dataclasses.replace(other, path=path) for path in UNTAUGHT]
    write_table(data / "train/phones.tsv", [*clips, *judged, other])
    assert split(data, tmp_path / "out", parts) == (1, 3.0)
    left = read_table(tmp_path / "out/train/phones.tsv")
    assert left == [
        dataclasses.replace(clip, path="train/speech/a.flac", offset=offset)
        for clip, offset in ((clips[0], 0.4), (clips[4], 2.0))
    ] + [other]
    kept, _ = soundfile.read(tmp_path / "out/train/speech/a.flac")
    clip, _ = soundfile.read(tmp_path / "out/development/speech_001.flac")
    np.testing.assert_allclose(kept, np.delete(ramp, np.s_[2 * rate : 5 * rate]), atol=2**-15)
    np.testing.assert_allclose(clip, ramp[int(2.5 * rate) : int(3.5 * rate)], atol=2**-15)
    assert (tmp_path / "out/train/speech/b.wav").is_symlink()
    with pytest.raises(DataError, match="exists already"):
        split(data, tmp_path / "out", parts)
    with pytest.raises(DataError, match="missing"):
        split(data, tmp_path / "other", [parts[0]._replace(path="train/speech/c.wav")])
