"""Says what to install when a package is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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
