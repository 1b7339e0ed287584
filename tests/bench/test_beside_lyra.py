"""The comparison with Lyra: means, and differences whose sign says which is better."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import beside_lyra
from codec.benchmark.statistics import bootstrap


def found() -> beside_lyra.Values:
    """Two clips; ours has the higher PESQ-WB in one, and the lower mel distance in both."""
    values: beside_lyra.Values = {}
    for codec, settings in beside_lyra.SETTINGS.items():
        for setting in settings:
            ours = codec != beside_lyra.LYRA
            values[codec, setting] = {
                "kbps": {"a": 3.0, "b": 3.2},
                "pesq_wb": {"a": 3.0 if ours else 2.0, "b": 2.5 if ours else 2.75},
                "mel": {"a": 0.25 if ours else 0.5, "b": 0.25 if ours else 0.5},
            }
    values["codec-enhance", "3.25"]["stoi"] = {"a": 0.9, "b": 0.9}  # which not all have
    return values


def test_measures_are_those_that_all_have() -> None:
    assert beside_lyra.measures(found()) == ["pesq_wb", "mel"]


def test_means() -> None:
    head, _, pesq, mel = beside_lyra.means_table(found()).splitlines()
    assert head.count("3.10 kbit/s") == 8
    assert pesq == "| PESQ-WB | higher |" + " 2.750 |" * 6 + " 2.375 |" * 2
    assert mel == "| mel distance | lower |" + " 0.250 |" * 6 + " 0.500 |" * 2


def test_more_is_better_in_every_difference() -> None:
    _, _, pesq, mel = beside_lyra.differences_table(found()).splitlines()
    gain = bootstrap([1.0, -0.25])
    cell = f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    assert pesq == f"| PESQ-WB | {cell} | 1 of 2 | {cell} | 1 of 2 |"
    assert mel.count("+0.250 (+0.250 to +0.250) | 2 of 2") == 2


def test_a_folder_without_speech_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no clips named speech_\*"):
        beside_lyra.main([str(tmp_path), "--lyra", str(tmp_path)])
