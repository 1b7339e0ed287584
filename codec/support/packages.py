"""Imports packages of others, and says what to install when one is missing."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

from codec.errors import CodecError


@contextlib.contextmanager
def needed(name: str, otherwise: CodecError) -> Iterator[None]:
    """Raise `otherwise` if the module `name`, imported in this block, is not installed.

    Another module that is missing is another mistake, and stays one.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise otherwise from None


def imported(name: str) -> Any:
    """Import the module `name`. What is warned of meanwhile is for its authors, and not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
