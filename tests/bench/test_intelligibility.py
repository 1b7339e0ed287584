"""The table of words and phones: what is decoded has the rate and length of what went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codec
from bench.intelligibility import After, decoded, main, read_utterances
from codec.engine.refine import Search
from codec.errors import DataError
from tests.helpers.nn_models import chirps


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_levels_are_decoded_at_the_rate_that_went_in(rate: int) -> None:
    model, audio = codec.load(), chirps(rate)
    found = decoded(model, audio, rate, (1, 28), (False, True))
    tokens = model.encode(audio, rate)
    for (count, enhanced), heard in found.items():
        assert heard.shape == audio.shape
        expected = model.decode(tokens.first(count), enhance=enhanced)[0]
        assert np.array_equal(heard, expected)
    assert len({heard.tobytes() for heard in found.values()}) == 4


def test_codes_are_searched_for_their_number_of_levels() -> None:
    model, audio = codec.load(), chirps(24_000)
    found = decoded(model, audio, 24_000, (6,), search=Search(4, 1))
    expected = model.decode(model.encode(audio, 24_000, n_codebooks=6, beam=4, refine=1))[0]
    assert np.array_equal(found[After(6, False)], expected)


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"transcribed\.tsv"):
        read_utterances(tmp_path)
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval/transcribed.tsv").write_text("path\ttext\neval/a.flac\tHI\n")
    with pytest.raises(DataError, match=r"a\.flac is missing"):
        read_utterances(tmp_path)
    with pytest.raises(SystemExit, match=r"error: .*a\.flac is missing"):
        main([str(tmp_path)])
