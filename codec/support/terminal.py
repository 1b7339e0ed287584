"""Text for people: what a file or a system gave us, as one line that is safe on any terminal."""

from __future__ import annotations


def shown(text: object) -> str:
    r"""Return `text` with every character escaped that is not printable.

    A name may hold anything: control characters and ESC become `\x1b`, line ends `\n`, and bytes
    that are not UTF-8, which Python keeps as lone surrogates, the escape of the byte: `\xe9`.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def utf8(text: str) -> str:
    """Return `text` with what UTF-8 cannot hold escaped, and all else as it is."""
    return (
        text
        if text.isascii()
        else "".join(_escaped(c) if 0xD800 <= ord(c) < 0xE000 else c for c in text)
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code < 0xDD00:  # os.fsdecode's way to keep a byte
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
