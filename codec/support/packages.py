"""Imports packages of others, and says what to install when one is missing."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from codec.errors import CodecError, MissingPackageError


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


def require(names: Iterable[str], extra: str) -> None:
    """Raise MissingPackageError for the first of the packages `names` that is not installed.

    extra: of ours, which installs it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingPackageError(f"{name} is not installed: pip install 'codec[{extra}]'")


def imported(name: str) -> Any:
    """Import the module `name`. What is warned of meanwhile is for its authors, and not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
