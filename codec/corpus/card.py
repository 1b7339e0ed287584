"""Reads the card of a finished run: what its shards hold, and how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codec.errors import DataError

CARD_NAME = "dataset.json"


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of the run in `folder`. Raises DataError if it is missing or damaged."""
    path = folder / CARD_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"{folder}: not a finished run: there is no {CARD_NAME}") from None
    except ValueError:
        raise DataError(f"{path} is damaged") from None
    if not isinstance(card, dict):
        raise DataError(f"{path} is damaged")
    return card
