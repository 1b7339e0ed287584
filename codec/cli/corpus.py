"""The command on corpora: parse, call codec.corpus, print."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from codec.errors import DataError


@click.command()
@click.argument("sources", nargs=-1)
@click.option("-o", "--output", metavar="FOLDER", help="Folder of the shards.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["parquet", "webdataset", "mds", "bin"]),
    default="parquet",
    show_default=True,
    help="Of the shards.",
)
@click.option(
    "--layout",
    type=click.Choice(["none", "flat", "coarse_first", "delay", "parallel"]),
    default="none",
    show_default=True,
    help="Ids for a language model, in place of codes.",
)
@click.option("-n", "--codebooks", type=click.IntRange(1), help="[default: all of the model]")
@click.option("--shard-items", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--min-duration", type=click.FloatRange(0), default=0.0, help="Seconds.")
@click.option("--max-duration", type=click.FloatRange(0, min_open=True), help="Seconds.")
@click.option("--skip-silence", type=float, metavar="DB", help="Leave out what peaks below.")
@click.option("--strict", is_flag=True, help="Stop at the first input that gives no row.")
@click.option("--verify", type=click.Path(path_type=Path), help="Check a folder of shards instead.")
@click.option(
    "--sample", type=click.IntRange(0), default=10, show_default=True, help="Inputs to --verify."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Who works: this machine's threads, or a Ray cluster (RAY_ADDRESS).",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.option("-t", "--threads", type=click.IntRange(1), help="[default: the CPU's cores]")
@click.option("--model", default="default", show_default=True, help="A .safetensors file.")
def tokenize(
    sources: tuple[str, ...],
    output: str | None,
    format_: str,
    layout: str,
    codebooks: int | None,
    shard_items: int,
    min_duration: float,
    max_duration: float | None,
    skip_silence: float | None,
    strict: bool,
    verify: Path | None,
    sample: int,
    engine: str,
    quiet: bool,
    threads: int | None,
    model: str,
) -> None:
    """Tokenise audio files, folders, globs and manifests to shards of tokens.

    A manifest is a .tsv, .jsonl or .parquet file with a column path, and maybe offset and duration
    in seconds; other columns are carried through, and so is what a WebDataset .tar says of its
    audio. All of these may be URLs that fsspec knows, such as s3://bucket/speech. A Hugging Face
    dataset is "hf:NAME?config=C&split=train&column=audio", all but the name optional. Started
    again after whatever stopped it, a run goes on where it was. Inputs that cannot be read are
    listed in rejects.jsonl.
    """
    from codec.api import load
    from codec.corpus.engines import threads as local_threads
    from codec.corpus.places import is_url
    from codec.corpus.rows import Settings
    from codec.corpus.run import Corpus, run
    from codec.errors import OutputError
    from codec.support.progress import Progress
    from codec.support.workers import usable_cores

    if verify is not None:
        if sources or output is not None:
            raise click.UsageError("--verify takes the folder of shards alone")
        _verify(verify, model, sample)
        return
    if not sources or output is None:
        raise click.UsageError("sources and -o are needed")
    if is_url(output):
        raise OutputError("shards are written to a folder; copy them to storage from there")
    if engine == "ray":
        from codec.corpus.ray_engine import cluster

        work = cluster(model)
    else:
        work = local_threads(threads or usable_cores())
    codec = load(model)
    count = codec.pipeline.n_codebooks(codebooks)
    settings = Settings(count, layout, min_duration, max_duration, skip_silence)
    corpus = Corpus(codec, sources, Path(output), settings, format_, shard_items)
    with Progress(len(corpus.items), shown=not quiet) as progress:
        card = run(corpus, work, strict=strict, progress=progress)
    click.echo(
        f"{output}: {card['rows']} rows, {card['hours']:.3f} h, {card['ids']} ids,"
        f" {card['rejects']} rejected, hash {card['hash'][:16]}"
    )


def _verify(out: Path, model: str, sample: int) -> None:
    from codec.api import load
    from codec.corpus.rows import Settings
    from codec.corpus.run import Corpus, check_rows, check_shards, held_run

    card, wrong = check_shards(out)
    if wrong:
        raise DataError(f"{out}: {'; '.join(wrong)}")
    sources, decides = held_run(out)
    names = [field.name for field in dataclasses.fields(Settings)]
    settings = Settings(**{name: decides[name] for name in names})
    corpus = Corpus(load(model), sources, out, settings, decides["format"], decides["shard_items"])
    corpus.check_run()
    if wrong := check_rows(corpus, sample):
        raise DataError(f"{out}: {'; '.join(wrong)}")
    click.echo(f"{out}: {len(card['shards'])} files are sound, {sample} inputs give the same rows")
