"""What refining the codes gives: quality, bits and speed by steps and paths, as Markdown.

    python -m bench.refine EVAL_DIR [--kind speech] [--searches 1,16,1+20,16+20]
                           [--bitrates 1.5,3,6] [--jobs 2] [--speed-only] [-o FILE]

A search is PATHS, or PATHS+STEPS: 16+20 is that of `codec compress --beam 16 --refine 20`.
`bench.searches` describes the measurement; 16 seconds of audio are timed, three times.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.searches import arguments_of, report
from codec.engine.refine import Search


def searches(text: str) -> list[Search]:
    """Parse a list of searches. Raises ArgumentTypeError on anything else."""
    try:
        return [Search(*map(int, part.split("+", 1))) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"not PATHS or PATHS+STEPS: {text}") from None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--searches", type=searches, default="1,16,1+20,16+20")
    options = parser.parse_args(arguments)
    report(options, options.searches, seconds=16, rounds=3)


if __name__ == "__main__":
    main()
