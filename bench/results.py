"""Measure everything about quality and write one Markdown file: RESULTS.md.

    python -m bench.results EVAL_DIR --lyra DIR --words EVAL_DIR/transcribed \\
        --transcripts EVAL_DIR/transcribed.tsv --report REPORT -o bench/RESULTS.md

It compares all clips in EVAL_DIR by `codec bench`, compares the word error rate on the clips in
--words, and measures what the tokens are worth. A second run measures only what is new. Codecs that
are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

import codec
from bench.output import put
from codec.benchmark.clips import find_sources, readable
from codec.benchmark.machine import machine, versions
from codec.benchmark.page import write_page
from codec.benchmark.peers import Options
from codec.benchmark.run import Outcome, Plan, run
from codec.benchmark.tables import bd_markdown, markdown, tokens_markdown
from codec.benchmark.tokens import token_quality
from codec.errors import CodecError

PEERS = ("codec", "codec-enhance", "codec-refine-enhance", "opus", "lyra", "codec2", "pcm")
# Ours come to 0.4, 0.8, 1.5, 3, 6 and 6.7 kbit/s of speech after entropy coding.
SETTINGS: dict[str, tuple[str, ...]] = {
    "codec": ("0.5", "1", "1.75", "3.25", "6.25", "7"),
    "codec-enhance": ("0.5", "1", "1.75", "3.25", "6.25", "7"),
    "codec-refine-enhance": ("1.75", "3.25", "6.25"),
    "codec2": ("1200", "3200"),
}
WORDS_SETTINGS = {**SETTINGS, "opus": ("6", "9", "12")}
# In the order of the columns; the report has all others, too.
HEARD = ("pesq_wb", "stoi", "estoi", "visqol", "mel", "mrstft", "si_sdr")
VOICE = ("dnsmos_ovrl", "distillmos", "f0_corr", "voicing_error", "energy_corr", "speaker_sim")


def compare(plan: Plan) -> Outcome:
    with tqdm(unit="", disable=None) as bar:

        def started(total: int, done: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        return run(plan, started, lambda result: bar.update() and None)


def notes(outcome: Outcome) -> list[str]:
    """Return what is missing from the tables, and why."""
    lines = [f"- {name} was skipped: {why}" for name, why in outcome.skipped.items()]
    lines += [f"- {name} was left out: {why}" for name, why in outcome.rejected.items()]
    lines += [
        f"- {item.metric} of {item.clip} counts for no codec: it has no value for {item.codec} at "
        f"{item.setting}: {item.reason}"
        for item in outcome.summary.omissions
    ]
    return lines


def report(heard: Outcome, words: Outcome | None, tokens: str, command: str) -> str:
    parts = [
        "# Bitrate and quality, measured",
        f"By `{command}`.",
        f"Machine: {machine()}. " + ", ".join(f"{n} {v}" for n, v in versions().items()) + ".",
        "Bitrates count the payloads, which are the coded audio alone. Ours are after entropy "
        "coding (`--effort best`); a setting is the bitrate before it. `codec` is the decoder "
        "alone, `codec-enhance` what `codec decompress` restores, and `codec-refine-enhance` that "
        "of files by `codec compress --refine 20 --beam 16`. Values are means over clips "
        "± the larger half of their 95 % interval (bootstrap over clips). `pcm` is the original.",
        "## Compared",
        markdown(heard.summary, HEARD),
        "## Voice and prosody",
        markdown(heard.summary, VOICE),
        "## Bits for the same quality",
        "Bjøntegaard rate difference against Opus; negative means fewer bits.",
        bd_markdown(heard.summary, "opus", HEARD),
    ]
    if words is not None:
        parts += [
            "## Words",
            "Word errors of PocketSphinx on read English. `pcm` has the errors on the original.",
            markdown(words.summary, ("wer",)),
        ]
    parts += ["## Tokens", tokens]
    lines = notes(heard) + (notes(words) if words else [])
    if lines:
        parts += ["## Left out", "\n".join(dict.fromkeys(lines))]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="EVAL_DIR")
    parser.add_argument("--lyra", type=Path, metavar="DIR", help="Lyra's models")
    parser.add_argument("--words", type=Path, metavar="DIR", help="clips with transcripts")
    parser.add_argument("--transcripts", type=Path, metavar="TSV")
    parser.add_argument("--report", type=Path, default=Path("report"), help="where the clips go")
    parser.add_argument("--model", default="default", help="weights of ours")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(given)
    shared = {"options": Options(options.model, "best", options.lyra), "jobs": options.jobs}
    try:
        model = codec.load(options.model)
        heard = compare(
            Plan((options.folder,), options.report, PEERS, SETTINGS, reference="opus", **shared)
        )
        write_page(options.report)
        words = None
        if options.words:
            words = compare(
                Plan(
                    (options.words,),
                    options.report / "words",
                    PEERS,
                    WORDS_SETTINGS,
                    ("wer", "pesq_wb"),
                    transcripts=options.transcripts,
                    **shared,
                )
            )
        found = readable(find_sources([options.folder]))
        clips = [audio for _, audio, _ in found if audio is not None]
        tokens = tokens_markdown(token_quality(model, clips))
    except CodecError as error:
        sys.exit(f"error: {error}")
    command = shlex.join(["python", "-m", "bench.results", *given])
    text = report(heard, words, tokens, command)
    put(text, options.output)


if __name__ == "__main__":
    main()
