"""What refining the codes gives: quality, bits and speed by number of steps, as Markdown.

    python -m bench.refine EVAL_DIR [--kind speech] [--steps 20] [--beams 1,16]
                           [--bitrates 1.5,3,6] [--jobs 2] [--speed-only] [-o FILE]

`--beams` are the searches to compare with: 1 is that of `--refine 0`. `bench.searches` describes
the measurement; 16 seconds of audio are timed, three times.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.searches import arguments_of, numbers, report
from codec.engine.refine import Search


def main(arguments: Sequence[str] | None = None) -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--steps", type=numbers, default="20")
    parser.add_argument("--beams", type=numbers, default="1,16")
    options = parser.parse_args(arguments)
    searches = [Search(beam=int(beam)) for beam in options.beams]
    searches += [Search(refine=int(steps)) for steps in options.steps]
    report(options, searches, seconds=16, rounds=3)


if __name__ == "__main__":
    main()
