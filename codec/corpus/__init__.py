"""A corpus of audio becomes shards of tokens, once: nothing is lost, nothing is done twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.corpus.dataset import TokenBatches, TokenDataset

__all__ = ["TokenBatches", "TokenDataset"]


def __getattr__(name: str) -> Any:
    # Reading shards back needs torch; making them does not load it.
    if name in __all__:
        from codec.corpus import dataset as token_dataset

        return getattr(token_dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
