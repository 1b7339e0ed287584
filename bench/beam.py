"""What a beam search of the codes gives: quality, bits and speed by number of paths, as Markdown.

    python -m bench.beam EVAL_DIR [--kind speech] [--beams 1,4,16] [--bitrates 1.5,3,6]
                         [--jobs 2] [--speed-only] [-o FILE]

`bench.searches` describes the measurement; a minute of audio is timed, five times.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.searches import arguments_of, numbers, report
from codec.engine.refine import Search


def main(arguments: Sequence[str] | None = None) -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--beams", type=numbers, default="1,4,16")
    options = parser.parse_args(arguments)
    report(options, [Search(beam=int(beam)) for beam in options.beams], seconds=60, rounds=5)


if __name__ == "__main__":
    main()
