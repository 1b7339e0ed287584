"""The commands that compare and show: parse, call codec.benchmark, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from codec.benchmark.work import Result

# Of the measures, those that a terminal has room for.
SHOWN = ("pesq_wb", "stoi", "visqol", "mel", "si_sdr", "speaker_sim", "wer")

_path = click.Path(path_type=Path)


@click.command()
@click.argument("inputs", nargs=-1, type=_path, metavar="AUDIO...")
@click.option("-o", "--output", type=_path, help="Folder of the report.")
@click.option(
    "--peers",
    default="codec,opus",
    show_default=True,
    help="Codecs, by commas; all: all there are.",
)
@click.option(
    "--settings", multiple=True, metavar="CODEC=A,B", help="In place of a codec's own; repeats."
)
@click.option("--metrics", help="Measures, by commas. [default: all that can run here]")
@click.option("--kind", help="Of all clips: speech, music... [default: by their names]")
@click.option("--transcripts", type=_path, metavar="TSV", help="Columns path and text: for WER.")
@click.option("--reference", help="What BD-rates are against. [default: opus, if it takes part]")
@click.option("--lyra", type=_path, metavar="DIR", help="Folder of Lyra's models.")
@click.option("--model", default="default", show_default=True, help="Weights of ours.")
@click.option(
    "--effort", type=click.Choice(["raw", "fast", "best"]), default="best", show_default=True
)
@click.option("--clips", type=click.IntRange(0), default=8, help="Heard in the page. [default: 8]")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes. [default: the CPU's cores]")
@click.option("--merge", is_flag=True, help="Put listening results together: JSON files.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
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
    model: str,
    effort: str,
    clips: int,
    jobs: int | None,
    merge: bool,
    quiet: bool,
) -> None:
    """Compare codecs by bitrate and quality, on any audio.

    Writes a report: tables, plots, every decoded clip, and a page to listen to. Started again
    after whatever stopped it, a run goes on where it was; what is missing here is named and left
    out, and so are clips that cannot be read. With --merge, the inputs are results that listeners
    saved from such pages.
    """
    if merge:
        from codec.benchmark import listening

        if not inputs or output is not None:
            raise click.UsageError("--merge takes the saved results alone")
        click.echo(listening.markdown(listening.merge(inputs)))
        return
    from codec.benchmark.page import write_page
    from codec.benchmark.peers import PEERS, Options
    from codec.benchmark.run import Plan, run
    from codec.benchmark.tables import markdown

    if not inputs or output is None:
        raise click.UsageError("AUDIO and -o are needed")
    plan = Plan(
        inputs,
        output,
        tuple(PEERS) if peers == "all" else _list(peers),
        _settings(settings),
        None if metrics is None else _list(metrics),
        kind,
        transcripts,
        reference,
        Options(model, effort, lyra),
        jobs,
    )
    with _Bar(shown=not quiet) as bar:
        outcome = run(plan, bar.start, bar.done)
    page = write_page(output, clips=clips)
    for name, why in outcome.skipped.items():
        click.echo(f"{name} skipped: {why}", err=True)
    for name, why in outcome.rejected.items():
        click.echo(f"{name} left out: {why}", err=True)
    for item in outcome.summary.omissions:
        what = f"{item.metric} of {item.clip}, {item.codec} at {item.setting}"
        click.echo(f"not measured: {what}: {item.reason}", err=True)
    click.echo(markdown(outcome.summary, SHOWN))
    count = len(outcome.results)
    click.echo(f"\n{page}: {count} measurements, {outcome.reused} of them old")


@click.command()
@click.argument("source", type=_path, metavar="FILE.nac")
@click.option("-o", "--output", type=_path, help="The page. [default: FILE.html]")
@click.option("-f", "--force", is_flag=True, help="Replace a page that is there.")
@click.option(
    "--seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="Drawn and heard."
)
@click.option("--model", default="default", show_default=True, help="A .safetensors file.")
def report(source: Path, output: Path | None, force: bool, seconds: float, model: str) -> None:
    """Make a page of a .nac file: waveform, spectrogram, tokens, and where its bits go."""
    from codec.benchmark.file_report import write_file_report
    from codec.errors import FormatError, ModelError
    from codec.support.atomic import check_writable

    target = output or source.with_suffix(".html")
    check_writable(target, overwrite=force)
    try:
        click.echo(write_file_report(source, target, seconds=seconds, model=model))
    except (FormatError, ModelError) as error:
        raise type(error)(f"{source}: {error}") from None


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _settings(given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = {}
    for text in given:
        name, equals, values = text.partition("=")
        if not equals or not _list(values):
            raise click.UsageError(f"--settings {text}: not of the form CODEC=A,B")
        found[name.strip()] = _list(values)
    return found


class _Bar:
    """Measurements done, and the time left, on a terminal."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def start(self, total: int, done: int) -> None:
        if self._shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit="", dynamic_ncols=True, smoothing=0.05)

    def done(self, result: Result) -> None:
        if self._bar is not None:
            name = f"{result.codec}@{result.setting} {result.clip[-20:]}"
            self._bar.set_description_str(name, refresh=False)
            self._bar.update()
