"""Numbers as people pass them: Python's, NumPy's or PyTorch's, and a clear error for the rest."""

from __future__ import annotations

import contextlib
import operator
from typing import Any

import numpy as np

from codec.errors import CodecError


def whole(value: Any, name: str, error: type[CodecError]) -> int:
    """Return `value` as an int: any integer, or a float without a fraction, of any library.

    name: the argument's, for the message. Raises `error` on everything else, text and bool too.
    """
    if not _is_text_or_bool(value):
        with contextlib.suppress(TypeError, ValueError):
            return operator.index(value)
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            if (number := float(value)).is_integer():
                return int(number)
    raise error(f"{name} must be a whole number, not {shown(value)}")


def real(value: Any, name: str, error: type[CodecError]) -> float:
    """Return `value` as a float: any real number of any library, NaN and infinity too.

    name: the argument's, for the message. Raises `error` on everything else, text and bool too.
    """
    if not _is_text_or_bool(value):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return float(value)
    raise error(f"{name} must be a number, not {shown(value)}")


def shown(value: Any) -> str:
    """Return the `repr` of `value` on one line of at most 60 characters, for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text_or_bool(value: Any) -> bool:
    # float("3000") and int(True) are numbers to Python; as an argument they are mistakes.
    return isinstance(value, str | bytes | bytearray | bool | np.bool_)
