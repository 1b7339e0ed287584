"""What becomes of test signals: each is what its name says, and the table has all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import odd_signals
from bench.clips import SAMPLE_RATE


def test_tones_have_their_frequency():
    made = odd_signals.signals()
    for name, hertz in (("tone of 440 Hz", 440), ("tone of 1 kHz", 1000), ("tone of 5 kHz", 5000)):
        power = np.abs(np.fft.rfft(made[name])) ** 2
        assert power.argmax() == 3 * hertz
        assert power.max() > 0.999 * power.sum()
    assert all(np.isfinite(wave).all() and len(wave) == 3 * SAMPLE_RATE for wave in made.values())


def test_the_table_has_every_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = {"noise": np.random.default_rng(0).standard_normal(9600), "click": np.eye(1, 9600)[0]}
    monkeypatch.setattr(odd_signals, "signals", lambda: few)
    out = tmp_path / "table.md"
    odd_signals.main(["--refine", "1", "--beam", "2", "-o", str(out)])
    rows = [line.split("|")[1:-1] for line in out.read_text().splitlines()]
    assert [row[0].strip() for row in rows] == ["signal", "---", "noise", "click"]
    assert [cell.strip() for cell in rows[0][1:]] == [
        "decoder", "enhancer", "1 step, 2 paths, enhancer",
    ]  # fmt: skip
    assert len({cell for row in rows[2:] for cell in row[1:]}) > 3
