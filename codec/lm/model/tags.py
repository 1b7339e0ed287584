"""Words that people ask for, as the tags that a model knows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from codec.errors import OptionError

FILLERS = frozenset({"a", "an", "and", "of", "some", "the", "with"})
# Words about how, not what: no tag, but a factor on the temperature.
MANNERS = {"calm": 0.9, "quiet": 0.9, "lively": 1.1, "wild": 1.25}


def read_words(text: str, known: Sequence[str]) -> tuple[tuple[str, ...], float]:
    """Return the tags that `text` names, in its order, and a factor on the temperature.

    "a calm piano" is ("piano",) and that of `MANNERS`. Raises OptionError on a word that is neither
    one of `known` nor a manner, and if no tag is named.
    """
    tags: dict[str, None] = {}
    factor = 1.0
    for word in re.findall(r"[^\s,]+", text.lower()):
        if word in known:
            tags[word] = None
        elif word in MANNERS:
            factor *= MANNERS[word]
        elif word not in FILLERS:
            raise OptionError(f"the model does not know {word!r}; {_known(known)}")
    if not tags:
        raise OptionError(f"{text!r} says nothing of what to make; {_known(known)}")
    return tuple(tags), factor


def complete(tags: Sequence[str], kinds: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the tags of the kind, one that training showed, that `tags` fit best.

    kinds: each the tags of some recordings, the most frequent kind first. Best is the kind with the
    most of `tags`, then the one with the fewest others. Without kinds, `tags` themselves.
    """
    if not kinds:
        return tuple(tags)
    asked = set(tags)
    return tuple(max(kinds, key=lambda kind: (len(asked & {*kind}), -len({*kind} - asked))))


def _known(known: Sequence[str]) -> str:
    if not known:
        return "it knows no words"
    return f"it knows {', '.join(known)}, and {', '.join(MANNERS)}"
