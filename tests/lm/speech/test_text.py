"""What is read aloud of a text: words, pauses, and an error for what has no reading."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import MissingPackageError, TextError
from codec.lm.speech import text as module
from codec.lm.speech.text import COMMA, STOP, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HIS EYES", "his eyes"),
        ("Well, go on! Then stop.", "well , go on . then stop"),
        ("“Don’t,” he said…", "don't , he said"),
        ("No. Dr. Lee isn't at 3 St. Ann St.", "no . doctor lee isn't at three saint ann street"),
        ("No. 7, e.g. the U.S.A.", "number seven , for example the u s ay"),
        ("'tis the dogs' day; 'yes'", "'tis the dogs day , yes"),
        ("in 1984, 1,984 of 2001", "in nineteen eighty four , one thousand nine hundred and"
         " eighty four of two thousand and one"),
        ("the 21st, 3.5% & 10:05", "the twenty first , three point five percent and ten oh five"),
        ("$12.50, £1 and €3.5", "twelve dollars and fifty cents , one pound and three point five"
         " euros"),
        ("a well-known café (in Rome)", "a well known cafe , in rome"),
    ],
)  # fmt: skip
def test_readings(text: str, words: str) -> None:
    if any(c.isdigit() for c in text):
        pytest.importorskip("num2words")
    assert words_of(text) == words.split()


@given(st.text(st.characters(codec="ascii")))
def test_words_and_pauses_have_one_form(text: str) -> None:
    """Pauses stand between words only, and what was read reads as itself."""
    pytest.importorskip("num2words")
    try:
        words = words_of(text)
    except TextError:
        return
    pauses = [word in (COMMA, STOP) for word in words]
    assert not pauses[0]
    assert not pauses[-1]
    assert not any(a and b for a, b in itertools.pairwise(pauses))
    assert all(word.strip("'").replace("'", "").isalpha() for word in words if word not in ",.")


@pytest.mark.parametrize("text", ["", " \n", "...", "-'-"])
def test_no_words(text: str) -> None:
    with pytest.raises(TextError, match="no words"):
        words_of(text)


def test_what_has_no_reading_is_named() -> None:
    with pytest.raises(TextError, match="'привет'"):
        words_of("I say привет to you")
    pytest.importorskip("num2words")
    with pytest.raises(TextError, match="too long to say"):
        words_of("9" * 400)


def test_digits_without_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "num2words", None)
    assert words_of("no digits") == ["no", "digits"]
    with pytest.raises(MissingPackageError, match=r"codec\[speech\]"):
        module.words_of("7")
