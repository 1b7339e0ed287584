"""Checkpoints that are none."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from codec.errors import TrainingError
from codec.training.checkpoint import load


@pytest.mark.parametrize(
    "data", [b"", b"text", b"RIFF\xf4\x00\x00\x00WAVEfmt ", bytes(64), b"\x80\x02}q\x00.", b"(0."]
)
def test_what_is_no_checkpoint_is_one_line(tmp_path, data):
    path = tmp_path / "latest.pt"
    path.write_bytes(data)
    with pytest.raises(TrainingError, match="not a checkpoint") as raised:
        load(path)
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(TrainingError, match="directory"):
        load(tmp_path)
    with pytest.raises(TrainingError, match="no such checkpoint"):
        load(tmp_path / "none.pt")
