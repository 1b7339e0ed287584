"""English text as words to say and pauses to make."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from codec.errors import MissingPackageError, TextError
from codec.support.arguments import shown

COMMA = ","  # a short pause
STOP = "."  # a long one

_ABBREVIATIONS = {
    "mr.": "mister", "mrs.": "missus", "ms.": "miz", "dr.": "doctor", "prof.": "professor",
    "st.": "saint", "jr.": "junior", "sr.": "senior", "vs.": "versus", "etc.": "et cetera",
    "e.g.": "for example", "i.e.": "that is", "approx.": "approximately",
    "gen.": "general", "col.": "colonel", "capt.": "captain", "lt.": "lieutenant",
    "sgt.": "sergeant", "rev.": "reverend", "hon.": "honorable", "gov.": "governor",
    "dept.": "department",
}  # fmt: skip
# What an abbreviation stands for by what comes after it.
_BY_CONTEXT = (
    (re.compile(r"\bSt\.(?!\s+[A-Z])"), "Street"),
    (re.compile(r"\bNo\.\s+(?=\d)"), "number "),
    (re.compile(r"\bFig\.\s+(?=\d)"), "figure "),
    (re.compile(r"\bVol\.\s+(?=\d)"), "volume "),
)
# Words that begin with an apostrophe; before any other word it is a quotation mark.
_CLIPPED = frozenset(("'tis", "'twas", "'em", "'til", "'cause", "'bout", "'round", "'n"))
_SYMBOLS = {
    "&": "and", "+": "plus", "=": "equals", "@": "at", "%": "percent", "°": "degrees",
    "£": "pounds", "€": "euros", "$": "dollars", "#": "number",
}  # fmt: skip
_MONEY = {
    "$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"),
}  # fmt: skip
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": ".", "—": ",", "–": ","})

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_TOKEN = re.compile(
    rf"(?P<money>[$£€]{_NUMBER})"
    r"|(?P<time>\b\d{1,2}:\d\d\b)"
    r"|(?P<ordinal>\b\d+(?:st|nd|rd|th)\b)"
    rf"|(?P<number>{_NUMBER})"
    r"|(?P<initials>\b(?:[a-z]\.){2,})"
    r"|(?P<word>'?[a-z]+(?:'[a-z]+)*'?\.?)"
    r"|(?P<symbol>[&+=@%°£€$#])"
    r"|(?P<stop>[.!?\n]+)"
    r"|(?P<comma>[,;:()\[\]]+|(?<=\s)-+(?=\s))"
    r"|(?P<silent>[\s\"'*_/\\|<>{}~`^-]+)",
    re.IGNORECASE,
)


def words_of(text: str) -> list[str]:
    """Return the lower-case words of an English text, and its pauses as `COMMA` and `STOP`.

    Numbers, years, ordinals, sums of money, times, common abbreviations and symbols are written
    out. Single letters stand for an acronym that is spelled. No pause is first, last, or beside
    another one: of two neighbours the longer stays.

    Raises TextError on a character that has no reading, and where no word is left;
    MissingPackageError if num2words is needed and not installed.
    """
    if not isinstance(text, str):
        raise TextError(f"a text is a str, not {shown(text)}")
    plain = unicodedata.normalize("NFKD", text.translate(_QUOTES)).translate(_QUOTES)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    for pattern, meaning in _BY_CONTEXT:
        plain = pattern.sub(meaning, plain)
    words: list[str] = []
    at = 0
    while at < len(plain):
        found = _TOKEN.match(plain, at)
        if found is None:
            run = plain[at:].split()[0] if plain[at:].split() else plain[at]
            raise TextError(f"there is no English reading of {run[:40]!r}")
        words += _reading(str(found.lastgroup), found.group())
        at = found.end()
    merged = _merged(words)
    if not merged:
        raise TextError("the text has no words")
    return merged


def _reading(kind: str, piece: str) -> list[str]:
    lower = piece.lower()
    if kind == "word":
        return _word(piece, lower)
    if kind == "initials":
        return _ABBREVIATIONS[lower].split() if lower in _ABBREVIATIONS else _letters(lower)
    if kind == "symbol":
        return [_SYMBOLS[piece]]
    if kind in ("stop", "comma"):
        return [STOP if kind == "stop" else COMMA]
    if kind == "silent":
        return []
    if kind == "money":
        return _money(piece)
    if kind == "time":
        hour, minute = piece.split(":")
        spoken = {"00": "o'clock"}.get(minute) or ("oh " if minute[0] == "0" else "") + _say(minute)
        return f"{_say(hour)} {spoken}".split()
    if kind == "ordinal":
        return _say(piece[:-2], to="ordinal").split()
    year = len(piece) == 4 and piece.isdecimal() and 1100 <= int(piece) < 2100
    return _say(piece.replace(",", ""), to="year" if year else "cardinal").split()


def _word(piece: str, lower: str) -> list[str]:
    if lower in _ABBREVIATIONS and (piece[0].isupper() or lower in ("etc.", "vs.")):
        return _ABBREVIATIONS[lower].split()
    stop = [STOP] if lower.endswith(".") else []
    lower = lower.removesuffix(".")
    return [lower if lower in _CLIPPED else lower.strip("'"), *stop]


def _letters(piece: str) -> list[str]:
    """Name each letter; that of "a" is a word of its own."""
    return ["ay" if letter == "a" else letter for letter in piece if letter.isalpha()]


def _money(piece: str) -> list[str]:
    whole, part = _MONEY[piece[0]]
    amount = piece[1:].replace(",", "")
    units, _, cents = amount.partition(".")
    if len(cents) not in (0, 2):
        return [*_say(amount).split(), f"{whole}s"]
    spoken = [*_say(units).split(), whole if int(units) == 1 else f"{whole}s"]
    if cents and int(cents):
        plural = {"penny": "pence"}.get(part, f"{part}s")
        spoken += ["and", *_say(cents).split(), part if int(cents) == 1 else plural]
    return spoken


def _say(number: str, to: str = "cardinal") -> str:
    num2words = _num2words()
    value: int | str = number if "." in number else int(number)
    try:
        spoken = str(num2words(value, to=to))
    except (OverflowError, ValueError):
        raise TextError(f"the number {number[:40]} is too long to say") from None
    return spoken.replace("-", " ").replace(",", "")


def _num2words() -> Any:
    try:
        from num2words import num2words
    except ModuleNotFoundError:
        raise MissingPackageError(
            "text with digits needs num2words: pip install 'codec[speech]'"
        ) from None
    return num2words


def _merged(words: list[str]) -> list[str]:
    merged: list[str] = []
    for word in words:
        if word not in (COMMA, STOP):
            merged.append(word)
        elif merged and merged[-1] in (COMMA, STOP):
            merged[-1] = STOP if STOP in (merged[-1], word) else COMMA
        elif merged:
            merged.append(word)
    while merged and merged[-1] in (COMMA, STOP):
        merged.pop()
    return merged
