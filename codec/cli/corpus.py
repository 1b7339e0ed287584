"""Command `tokenize`: parse, call codec.corpus, print."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.core import ParameterSource

from codec.cli import options
from codec.cli.errors import filling
from codec.cli.paths import TEXT
from codec.errors import DataError


# --engine is another name of --executor, for scripts.
@click.command(
    context_settings={"token_normalize_func": lambda x: "executor" if x == "engine" else x}
)
@click.argument("sources", nargs=-1, type=TEXT)
@click.option("-o", "--output", type=TEXT, metavar="FOLDER", help="Folder for the shards.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["parquet", "webdataset", "mds", "bin"]),
    default="parquet",
    show_default=True,
    help="Shard format.",
)
@click.option(
    "--layout",
    type=click.Choice(["none", "flat", "coarse_first", "delay", "parallel"]),
    default="none",
    show_default=True,
    help="Write ids for a language model in this layout instead of codes.",
)
@click.option("--latents", is_flag=True, help="Write continuous latents, float16, not tokens.")
@click.option(
    "-n", "--codebooks", type=click.IntRange(1), help="Keep only the first N. [default: all]"
)
@options.beam
@options.refine
@click.option(
    "--shard-items",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Inputs per shard.",
)
@click.option(
    "--min-duration",
    type=options.Number(0),
    default=0.0,
    help="Leave out shorter inputs: seconds.",
)
@click.option(
    "--max-duration",
    type=options.Number(0, min_open=True),
    help="Leave out longer inputs: seconds.",
)
@click.option(
    "--skip-silence",
    type=options.Number(max=48),  # the loudest audio that can be coded
    metavar="DB",
    help="Leave out inputs whose peak is below this level.",
)
@click.option("--strict", is_flag=True, help="Stop at the first input that is rejected or cut off.")
@click.option(
    "--verify", type=click.Path(path_type=Path), help="Check this folder of shards instead."
)
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Inputs that --verify encodes again.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run on local threads or on a Ray cluster (RAY_ADDRESS).",
)
@options.quiet
@options.threads("Threads to encode on")
@options.device
@options.model
def tokenize(
    sources: tuple[str, ...],
    output: str | None,
    format_: str,
    layout: str,
    latents: bool,
    codebooks: int | None,
    beam: int,
    refine: int,
    shard_items: int,
    min_duration: float,
    max_duration: float | None,
    skip_silence: float | None,
    strict: bool,
    verify: Path | None,
    sample: int,
    executor: str,
    quiet: bool,
    threads: int | None,
    device: str | None,
    model: str,
) -> None:
    """Tokenize audio files, folders, globs and manifests into shards of tokens.

    A manifest is a .tsv, .jsonl or .parquet file with a column `path` and optional columns `offset`
    and `duration` in seconds. The shards keep its other columns, and the .json and .txt files of a
    WebDataset .tar. A source may be a URL that fsspec knows, such as s3://bucket/speech, or a
    Hugging Face dataset: "hf:NAME?config=C&split=train&column=audio", where only the name is
    required. If a run stops, the same command continues it. Inputs that cannot be read are listed
    in rejects.jsonl; rows of audio that is cut off or damaged say so in their field "warning".
    """
    from codec.api import load
    from codec.audio.folders import passed_over
    from codec.corpus.executors import threads as local_threads
    from codec.corpus.places import is_url
    from codec.corpus.rows import Settings
    from codec.corpus.run import Corpus, run
    from codec.errors import OutputError
    from codec.support.progress import Progress
    from codec.support.workers import usable_cores

    if verify is not None:
        context = click.get_current_context()
        given = {
            name
            for name in context.params
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        if given - {"verify", "sample", "model", "quiet"}:
            raise click.UsageError("--verify takes only --sample and --model")
        _verify(verify, model, sample)
        return
    if not sources or output is None:
        raise click.UsageError("give SOURCES and -o")
    if latents and (codebooks or layout != "none" or beam > 1 or refine):
        raise click.UsageError("--latents has no codebooks, no layout, no beam and no --refine")
    if is_url(output):
        raise OutputError("write the shards to a local folder, then copy them to remote storage")
    if executor == "ray":
        from codec.corpus.ray_executor import cluster

        if device is not None:
            raise click.UsageError("choose --executor ray or --device, not both")
        work = cluster(model, report=lambda line: click.echo(f"codec: {line}", err=True))
    else:
        # While some threads wait for a GPU, others read and resample.
        work = local_threads(threads or usable_cores() * (1 if device is None else 4))
    codec = load(model, device=device)
    count = codec.pipeline.n_codebooks(codebooks)
    settings = Settings(
        count, layout, min_duration, max_duration, skip_silence, latents, beam, refine
    )
    corpus = Corpus(codec, sources, Path(output), settings, format_, shard_items)
    if corpus.others:
        click.echo(f"codec: {passed_over(corpus.others)}", err=True)
    with filling(output), Progress(len(corpus.items), shown=not quiet) as progress:
        card = run(corpus, work, strict=strict, progress=progress)
    values = "values" if latents else "ids"
    click.echo(
        f"{output}: {card['rows']} rows, {card['hours']:.3f} h, {card['ids']} {values},"
        f" {card['rejects']} rejected, {card['warnings']} warned of, hash {card['hash'][:16]}"
    )
    if corpus.failed():
        sys.exit(1)


def _verify(out: Path, model: str, sample: int) -> None:
    from codec.api import load
    from codec.corpus.rows import Settings
    from codec.corpus.run import Corpus, check_rows, check_shards, held_run

    card, wrong = check_shards(out)
    if wrong:
        raise DataError(f"{out}: {'; '.join(wrong)}")
    sources, decides = held_run(out)
    settings = Settings.held(decides)
    corpus = Corpus(load(model), sources, out, settings, decides["format"], decides["shard_items"])
    corpus.check_run(versions=False)  # the rows themselves are compared
    if wrong := check_rows(corpus, sample):
        raise DataError(f"{out}: {'; '.join(wrong)}")
    drawn = min(sample, len(corpus.items))
    click.echo(f"{out}: shards intact: {len(card['shards'])}; inputs with the same rows: {drawn}")
