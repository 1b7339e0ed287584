"""Arguments as people pass them, Python's, NumPy's or PyTorch's, and a clear error for the rest."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError

_MOST = 1 << 63  # no count, rate or length is beyond 64 bits


def whole(value: Any, name: str, error: type[CodecError]) -> int:
    """Return `value` as an int: any integer, or a float without a fraction, of any library.

    name: the argument's, for the message. Raises `error` on everything else, text and bool too,
    and on what 64 bits do not hold.
    """
    number = None if _is_text_or_bool(value) else _whole(value)
    if number is None:
        raise error(f"{name} must be a whole number, not {shown(value)}")
    if not -_MOST <= number < _MOST:
        raise error(f"{name} is out of range: {shown(value)}")
    return number


def real(value: Any, name: str, error: type[CodecError]) -> float:
    """Return `value` as a float: any real number of any library, NaN and infinity too.

    name: the argument's, for the message. Raises `error` on everything else, text and bool too.
    """
    if not _is_text_or_bool(value):
        try:
            return float(value)
        except Exception:  # an object of any library, which raises what it likes
            pass
    raise error(f"{name} must be a number, not {shown(value)}")


def as_bool(value: Any, name: str, error: type[CodecError]) -> bool:
    """Return `value`, True, False, 1 or 0 of any library, as a bool.

    name: the argument's, for the message. Raises `error` on everything else.
    """
    try:
        if operator.index(value) in (0, 1):  # bool, too
            return bool(value)
    except Exception:  # an object of any library, and NumPy's bool, which has no index
        if isinstance(value, np.bool_):
            return bool(value)
    raise error(f"{name} must be True or False, not {shown(value)}")


def as_path(value: Any, name: str, error: type[CodecError]) -> Path:
    """Return `value`, text or an `os.PathLike` of text, as a path.

    name: the argument's, for the message. Raises `error` on everything else, bytes too, and on
    text that can be no file name.
    """
    try:
        text = os.fspath(value)
        if isinstance(text, str) and b"\0" not in os.fsencode(text):
            return Path(text)
    except Exception:  # an object of any library, or text that the system cannot spell
        pass
    raise error(f"{name} must be a path, not {shown(value)}")


class SparseError(ValueError):
    """A tensor is sparse; the text completes "it is"."""


def as_array(value: Any) -> npt.NDArray[Any]:
    """Convert nested lists, an array, or a PyTorch tensor on any device to a NumPy array.

    A tensor's gradient is left behind. Raises ValueError, with one line, on what is no array, as
    SparseError on a sparse tensor.
    """
    layout = str(getattr(value, "layout", "")) if hasattr(value, "detach") else ""
    if "sparse" in layout:  # as torch.sparse_coo or torch.sparse_csr
        raise SparseError(f"a sparse tensor ({layout}): its method to_dense() gives a dense one")
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":  # no dtype of NumPy; float32 holds its values
                value = value.float()
            if hasattr(value, "resolve_neg"):  # a view that PyTorch has not yet negated
                value = value.resolve_conj().resolve_neg()
        return np.asarray(value)
    except Exception as error:  # an object of any library, which raises what it likes
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def named_array(value: Any, name: str, error: type[CodecError]) -> npt.NDArray[Any]:
    """Convert `value` as `as_array` does. name: the argument's, for the message. Raises `error`."""
    try:
        return as_array(value)
    except SparseError as problem:
        raise error(f"{name}: {problem}") from None
    except ValueError as problem:
        raise error(f"{name} cannot become an array: {problem}") from None


def to_float32(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Round floats of any width and byte order to float32.

    What is beyond its range becomes infinity. Arrays of other dtypes are given back as they are.
    """
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def single(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the stream of codes [1, levels, frames], as Tokens hold one; others as they are."""
    return array[0] if array.ndim == 3 and len(array) == 1 else array


def shown(value: Any) -> str:
    """Return the `repr` of `value` on one line of at most 60 characters, for a message."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of over 4300 digits, or an object that cannot say what it is
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _whole(value: Any) -> int | None:
    try:
        return operator.index(value)
    except Exception:  # an object of any library, which raises what it likes
        pass
    try:
        return int(number) if (number := float(value)).is_integer() else None
    except Exception:
        return None


def _is_text_or_bool(value: Any) -> bool:
    # float("3000") and int(True) are numbers to Python; as an argument they are mistakes.
    return isinstance(value, str | bytes | bytearray | bool | np.bool_)
