"""Words as tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import OptionError
from codec.lm.model.tags import FILLERS, MANNERS, complete, read_words

KNOWN = ("drums", "music", "piano", "rain")
KINDS = [("music", "piano"), ("music", "drums"), ("music",), ("rain",)]


@given(st.lists(st.sampled_from(KNOWN), min_size=1), st.sampled_from([" ", ", ", " and a "]))
def test_tags_are_found_among_other_words(words, between):
    assert read_words(between.join(words).title(), KNOWN) == (tuple(dict.fromkeys(words)), 1.0)


def test_a_manner_is_a_temperature():
    assert read_words("calm piano", KNOWN) == (("piano",), MANNERS["calm"])


@pytest.mark.parametrize(
    "text", ["loud tuba", "piano; rain", "", " ".join(sorted(FILLERS)), "calm"]
)
def test_unknown_words_and_no_words_are_errors_that_list_the_known(text):
    with pytest.raises(OptionError, match="drums, music, piano, rain"):
        read_words(text, KNOWN)


def test_tags_are_completed_to_a_kind():
    assert complete(["piano"], KINDS) == ("music", "piano")
    assert complete(["music"], KINDS) == ("music",)
    assert complete(["rain", "drums"], KINDS) == ("rain",)
    assert complete(["rain"], []) == ("rain",)
