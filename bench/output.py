"""Write what a bench script found to the file that its option names, or to standard output."""

from __future__ import annotations

import sys
from pathlib import Path


def put(text: str, output: Path | None) -> None:
    """Write `text`, which ends with a line end; output: None for standard output."""
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
