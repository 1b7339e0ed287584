"""Commands `bench` and `report`: parse, call codec.benchmark, print."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codec.cli import options
from codec.cli.paths import PATH, TEXT
from codec.support.progress import Progress
from codec.support.terminal import shown

if TYPE_CHECKING:
    from codec.benchmark.work import Result

# The measures printed on the terminal; the report has all of them.
SHOWN = ("pesq_wb", "stoi", "visqol", "mel", "si_sdr", "speaker_sim", "wer")


@click.command()
@click.argument("inputs", nargs=-1, type=PATH, metavar="AUDIO...")
@click.option("-o", "--output", type=PATH, help="Folder for the report.")
@click.option(
    "--peers",
    default="codec,opus",
    show_default=True,
    help="Codecs to compare, separated by commas; 'all' for every known one.",
)
@click.option(
    "--settings",
    multiple=True,
    metavar="CODEC=A,B",
    help="Settings for one codec instead of its defaults; may be repeated.",
)
@click.option("--metrics", help="Measures, separated by commas. [default: all that are installed]")
@click.option(
    "--kind",
    help="Kind of all clips: speech, music or general. [default: from their folders and names]",
)
@click.option(
    "--transcripts",
    type=PATH,
    metavar="TSV",
    help="Table with columns path and text, for the word error rate.",
)
@click.option(
    "--reference", help="Codec that BD-rates compare with. [default: opus, if it is a peer]"
)
@click.option("--lyra", type=PATH, metavar="DIR", help="Folder with the model files of Lyra v2.")
@click.option(
    "--opus-ml",
    type=PATH,
    metavar="DIR",
    help="Folder where npm installed @wasm-audio-decoders/opus-ml, for Opus with NoLACE.",
)
@click.option(
    "--whisper", type=PATH, metavar="DIR", help="Folder of a Whisper model in CTranslate2's format."
)
@click.option(
    "--model",
    default="default",
    show_default=True,
    help="Ours: one of `codec models`, or weights.",
)
@click.option(
    "--effort",
    type=click.Choice(["raw", "fast", "best"]),
    default="best",
    show_default=True,
    help="Entropy coding of our codec.",
)
@click.option(
    "--clips",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    help="Clips to listen to in the page.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1), help="Parallel processes. [default: all CPU cores]"
)
@click.option("--merge", is_flag=True, help="Merge the JSON files that listeners saved.")
@options.quiet
def bench(
    inputs: tuple[Path, ...],
    output: Path | None,
    peers: str,
    settings: tuple[str, ...],
    metrics: str | None,
    kind: str | None,
    transcripts: Path | None,
    reference: str | None,
    lyra: Path | None,
    opus_ml: Path | None,
    whisper: Path | None,
    model: str,
    effort: str,
    clips: int,
    jobs: int | None,
    merge: bool,
    quiet: bool,
) -> None:
    """Compare codecs by bitrate and quality, on any audio.

    The report has tables, plots, every decoded clip, and a page to listen to. If a run stops, the
    same command continues it. The command names each codec or measure that is not installed and
    each clip that it cannot read or code, and leaves it out; the exit code is 1 if it left out a
    clip, though the report is complete without it. With --merge, the inputs are the results that
    listeners saved from such pages.
    """
    if merge:
        from codec.benchmark import listening

        if not inputs or output is not None:
            raise click.UsageError("--merge takes only the saved JSON files")
        click.echo(listening.markdown(listening.merge(inputs)))
        return
    from codec.benchmark.page import write_page
    from codec.benchmark.peers import PEERS, Options
    from codec.benchmark.run import Plan, run
    from codec.benchmark.tables import markdown

    if not inputs or output is None:
        raise click.UsageError("give AUDIO and -o")
    if whisper is not None:
        from codec.quality.whisper import MODEL_VARIABLE, model_folder

        os.environ[MODEL_VARIABLE] = str(whisper)  # worker processes read it, too
        model_folder()
    plan = Plan(
        inputs,
        output,
        tuple(PEERS) if peers == "all" else _list(peers),
        _settings(settings),
        None if metrics is None else _list(metrics),
        kind,
        transcripts,
        reference,
        Options(model, effort, lyra, opus_ml),
        jobs,
    )
    with Progress(shown=not quiet) as progress:

        def done(result: Result) -> None:
            progress.advance(f"{result.codec}@{result.setting} {result.clip[-20:]}", 1)

        def report(line: str) -> None:
            progress.say(f"codec: {line}")

        outcome = run(plan, progress.expect, done, report)
    page = write_page(output, clips=clips)
    for name, why in outcome.skipped.items():
        click.echo(f"skipped {name}: {shown(why)}", err=True)
    for name, why in outcome.unmeasured.items():
        click.echo(f"not measured: {name}: {shown(why)}", err=True)
    for name, why in outcome.rejected.items():
        click.echo(f"left out {shown(name)}: {shown(why)}", err=True)
    for item in outcome.summary.omissions:
        what = f"{item.metric} of {item.clip}, {item.codec} at {item.setting}"
        click.echo(f"not measured: {what}: {item.reason}", err=True)
    click.echo(markdown(outcome.summary, SHOWN))
    count = len(outcome.results)
    click.echo(f"\n{page}: {count} measurements, {outcome.reused} of them from an earlier run")
    if outcome.rejected:
        sys.exit(1)


@click.command()
@click.argument("source", type=PATH, metavar="FILE.nac")
@click.option(
    "-o",
    "--output",
    type=TEXT,
    help="HTML file to write, or with a slash at its end a folder; - is standard output."
    " [default: FILE.html]",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite a page that exists.")
@click.option(
    "--seconds",
    type=options.Number(1),
    default=60.0,
    show_default=True,
    help="Seconds to draw and embed.",
)
@options.model
def report(source: Path, output: str | None, force: bool, seconds: float, model: str) -> None:
    """Write an HTML page about a .nac file: waveform, spectrogram, tokens and bits over time."""
    from codec.benchmark.file_report import file_report, write_file_report
    from codec.errors import FormatError
    from codec.support.atomic import check_writable

    if source.is_dir():
        raise FormatError(f"{source} is a folder; report takes one .nac file")
    if output == "-":
        with _named(source):
            page = file_report(source, seconds=seconds, model=model)
        click.echo(page.encode(), nl=False)
        return
    target = source.with_suffix(".html") if output is None else Path(output)
    if output is not None and output.endswith(("/", os.sep)):
        target = target / "index.html"
    elif output is not None and target.is_dir():
        target = target / f"{source.stem}.html"
    elif target.suffix.lower() not in (".html", ".htm"):
        target = target.with_name(f"{target.name}.html")
    check_writable(target, overwrite=force, source=source)
    with _named(source):
        page = shown(write_file_report(source, target, seconds=seconds, model=model))
    click.echo(page)


@contextlib.contextmanager
def _named(source: Path) -> Iterator[None]:
    """Let what is wrong with `source` begin with its name."""
    from codec.errors import FormatError, ModelError

    try:
        yield
    except (FormatError, ModelError) as error:
        raise type(error)(f"{source}: {error}") from None


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _settings(given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = {}
    for text in given:
        name, equals, values = text.partition("=")
        if not equals or not _list(values):
            raise click.UsageError(f"--settings {text}: write CODEC=A,B")
        found[name.strip()] = _list(values)
    return found
