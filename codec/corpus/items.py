"""An item of a corpus: audio, or a stretch of it, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping

from codec.corpus.places import Place
from codec.errors import DataError
from codec.support.terminal import utf8

_END_OF_TIME = 1e10  # seconds: no recording is so long


@dataclasses.dataclass(frozen=True)
class Item:
    """A file, or a part of a file.

    name: the path below the source it came from, with "/" on every system: the same wherever the
        corpus lies. duration: in seconds, None to the end. columns: what a manifest says besides.
        where: the row of a manifest, for messages. A name that is not UTF-8 is escaped; raw: as it
        was before.
    """

    name: str
    place: Place
    offset: float = 0.0
    duration: float | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    where: str = ""
    raw: str = dataclasses.field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", self.name)
        object.__setattr__(self, "name", utf8(self.name))

    @property
    def key(self) -> tuple[str, float, float]:
        """Return the key that orders items and tells them apart."""
        return self.name, self.offset, math.inf if self.duration is None else self.duration

    @property
    def id(self) -> str:
        """The name, and the stretch unless it is the whole: "talk.flac@12.5+3"."""
        if not self.offset and self.duration is None:
            return self.name
        end = "" if self.duration is None else repr(self.duration)
        return f"{self.name}@{self.offset!r}+{end}"

    def identity(self) -> str:
        """Return a line that says what the item is, the same wherever the corpus lies.

        The rows depend on it, and on the bytes in `place`, whose version is known besides.
        """
        columns = dict(sorted(self.columns.items()))
        return json.dumps([self.name, self.offset, self.duration, self.place.size(), columns])


def seconds(value: object, where: str) -> float | None:
    """Parse a time in a manifest. Raises DataError, which names `where`."""
    if value is None or value == "":
        return None
    try:
        time = float(str(value))
    except ValueError:
        time = math.nan
    if not 0 <= time < _END_OF_TIME:
        raise DataError(f"{where}: {value!r} is not a time in seconds")
    return time


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """Columns that are carried through: strings as they are, with
    what UTF-8 cannot hold escaped, whatever else as JSON, no nulls."""
    return {
        utf8(name): utf8(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        )
        for name, value in values.items()
        if value is not None
    }
