"""Packs the tags of a recording into one bounded block of UTF-8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from codec.errors import FormatError, OptionError
from codec.nac.layout import MAX_METADATA_BYTES
from codec.support.arguments import shown

MAX_TAGS = 256
_KEY = re.compile(r"[a-z0-9_-]{1,32}")


def pack_metadata(tags: Mapping[str, str]) -> bytes:
    """Pack `tags` as "key=value" and a zero byte each, sorted by key.

    Left out are tags whose key is not 1 to 32 of a-z, 0-9, _ and -, whose value is empty or not
    Unicode, and those beyond the limits. A value ends before its first zero character.
    """
    entries: list[bytes] = []
    size = 0
    for key in sorted(tags):
        value = tags[key].split("\0")[0].strip()
        try:
            entry = f"{key}={value}\0".encode()
        except UnicodeEncodeError:  # lone surrogates, of tags in an unknown encoding
            continue
        if not value or not _KEY.fullmatch(key):
            continue
        if size + len(entry) > MAX_METADATA_BYTES:
            continue
        if len(entries) == MAX_TAGS:
            break
        entries.append(entry)
        size += len(entry)
    return b"".join(entries)


def check_tags(tags: Any) -> dict[str, str]:
    """Return `tags` as a dict, empty for None.

    Raises OptionError unless it maps names, 1 to 32 of a-z, 0-9, _ and -, to text.
    """
    if tags is None:
        return {}
    if not isinstance(tags, Mapping):
        raise OptionError(f"tags must map names to texts, not {shown(tags)}")
    for key, value in tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise OptionError(f"a tag is a text with a name, not {shown(key)}: {shown(value)}")
        if not _KEY.fullmatch(key):
            raise OptionError(f"a tag's name is 1 to 32 of a-z, 0-9, _ and -, not {shown(key)}")
    return dict(tags)


def unpack_metadata(data: bytes) -> dict[str, str]:
    """Inverse of `pack_metadata`. Raises FormatError on what it would not write."""
    try:
        *entries, rest = data.decode().split("\0")
    except UnicodeDecodeError:
        raise FormatError("the metadata are not UTF-8") from None
    tags = dict(entry.partition("=")[::2] for entry in entries)
    if rest or len(data) > MAX_METADATA_BYTES or pack_metadata(tags) != data:
        raise FormatError("the metadata are not in their one form")
    return tags
