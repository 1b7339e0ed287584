"""What copies of an object that never changes are."""

from __future__ import annotations

from typing import TypeVar

Kind = TypeVar("Kind", bound="Immutable")


class Immutable:
    """An object that never changes, so that its copies are itself."""

    def __copy__(self: Kind) -> Kind:
        return self

    def __deepcopy__(self: Kind, memo: object) -> Kind:
        return self
