"""Show the parameters in our docstrings as a list: a griffe extension for the site.

A docstring gives a parameter as `name: text` or `name, other: text` at the start of a line, with
further lines indented. Markdown would join those lines to a paragraph.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

PARAMETER = re.compile(r"^(\w+(?:, \w+)*): (?=\S)")


def as_list(text: str) -> str:
    """Turn lines that begin with `name: ` into items of a Markdown list."""
    lines: list[str] = []
    in_list = fenced = False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        found = None if fenced else PARAMETER.match(line)
        if found and (in_list or not lines or not lines[-1].strip()):
            if lines and lines[-1].strip() and not in_list:
                lines.append("")
            names = ", ".join(f"`{name}`" for name in found[1].split(", "))
            lines.append(f"- {names}: {line[found.end() :]}")
            in_list = True
            continue
        if in_list and line.strip() and not line.startswith(" ") and found is None:
            in_list = False
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


class Parameters(griffe.Extension):
    """Rewrite each docstring when griffe has read it."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_list(obj.docstring.value)
