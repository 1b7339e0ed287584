"""Paths as a command line gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class NonEmptyPath(click.Path):
    """Take any path but the empty one.

    Python reads an empty path as the current folder, so a shell variable that is not set would
    make a command work on everything there.
    """

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """Return `value` as `click.Path` does. Raises UsageError if it is empty."""
        if not str(value):
            self.fail("the path is empty; is a shell variable not set?", parameter, context)
        return super().convert(value, parameter, context)


# Whether a path can be read is seen where it is: one of many that cannot does not end the others.
TEXT = NonEmptyPath(readable=False)  # may be "-", a glob or a URL
PATH = NonEmptyPath(readable=False, path_type=Path)
FILE = NonEmptyPath(dir_okay=False, path_type=Path)
