"""Errors of the library, in the words of the command line."""

from __future__ import annotations

from codec.errors import CodecError
from codec.support.atomic import OutputExistsError


def said(error: CodecError) -> str:
    """Say `error`, with options in place of arguments."""
    if isinstance(error, OutputExistsError):
        return "the output exists; --force overwrites it"
    return str(error)
