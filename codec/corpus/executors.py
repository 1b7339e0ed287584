"""Who makes the rows: threads of this process, or `codec.corpus.ray_executor`'s cluster."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from codec.api import Codec
from codec.corpus.items import Item
from codec.corpus.places import Refused
from codec.corpus.rows import Row, Settings, tokenize
from codec.errors import AudioError, CodecError
from codec.lm.layouts import Layout, make_layout
from codec.support.shortage import is_shortage
from codec.support.workers import Workers, in_order

INTERNAL = "internal error"  # start of the reason of a reject that is an error in codec
AHEAD = 4  # items per thread that are started before the first result is taken


@dataclasses.dataclass(frozen=True)
class Reject:
    """An item that gave no row, and why in one line. unread: its file could not be read."""

    item: Item
    reason: str
    unread: bool = False

    def record(self) -> dict[str, Any]:
        item = self.item
        return {
            "path": item.name,
            "offset": item.offset,
            "duration": item.duration,
            "reason": self.reason,
            **({"unread": True} if self.unread else {}),
        }


Result = Row | Reject
# (codec, settings, items) -> results in order; some are made ahead of their use
Executor = Callable[[Codec, Settings, Iterable[Item]], Generator[Result, None, None]]


def layout_of(codec: Codec, settings: Settings) -> Layout | None:
    if settings.layout == "none":
        return None
    return make_layout(settings.layout, settings.n_codebooks, codec.config.codebook_size)


def attempt(
    codec: Codec,
    item: Item,
    settings: Settings,
    layout: Layout | None,
    within: Workers | None = None,
) -> Result:
    """Make the row of `item`, or a reject that says why not. Raises errors of the machine."""
    try:
        return tokenize(codec, item, settings, layout, within)
    except AudioError as error:
        return Reject(item, str(error))
    except CodecError:
        raise
    except MemoryError:
        return Reject(item, "too long for this machine's memory", unread=True)
    except OSError as error:
        if is_shortage(error):
            raise
        unread = not isinstance(item.place, Refused)  # which says itself whether audio is lost
        return Reject(item, (error.strerror or str(error)).lower(), unread)
    except Exception as error:  # of this item: the others go on
        return Reject(item, f"{INTERNAL}: {type(error).__name__}: {error}")


def threads(count: int) -> Executor:
    """Make an executor of `count` threads: each reads, resamples and encodes an item."""

    def execute(
        codec: Codec, settings: Settings, items: Iterable[Item]
    ) -> Generator[Result, None, None]:
        layout = layout_of(codec, settings)
        # Left before the pool, which waits for its calls: they have been told to stop by then.
        with ThreadPoolExecutor(count, "codec-corpus") as pool, Workers() as here:
            calls = (
                functools.partial(attempt, codec, item, settings, layout, here) for item in items
            )
            yield from in_order(pool, calls, AHEAD * count - 1)

    return execute
