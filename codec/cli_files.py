"""The commands on files: parse, call codec.files, print."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import click

from codec.config import ModelConfig
from codec.errors import BitrateError, CodecError
from codec.files import Info, compress_file, decompress_file, inspect_file
from codec.jobs import SUFFIX, Failure, Job, plan
from codec.progress import FileProgress, Progress
from codec.spans import Workers

_inputs = click.argument("inputs", nargs=-1, required=True)
_output = click.option(
    "-o", "--output", help="File, folder, or - for standard output. [default: beside the input]"
)
_force = click.option("-f", "--force", is_flag=True, help="Overwrite outputs that exist.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
_model = click.option(
    "--model", default="default", show_default=True, help="Weights: a .safetensors file."
)
_threads = click.option(
    "-t", "--threads", type=click.IntRange(1), help="Of the network. [default: the CPU's cores]"
)
_engine = click.option(
    "--engine",
    type=click.Choice(["native", "torch"]),
    help="What runs the network. [default: native, where it can]",
)


@click.command()
@_inputs
@_output
@click.option("-b", "--bitrate", type=float, help="kbit/s for each channel. [default: the highest]")
@click.option("-n", "--codebooks", type=int, help="Codebooks, in place of --bitrate.")
@_force
@_quiet
@_threads
@_engine
@_model
def compress(
    inputs: tuple[str, ...],
    output: str | None,
    bitrate: float | None,
    codebooks: int | None,
    force: bool,
    quiet: bool,
    threads: int | None,
    engine: Literal["native", "torch"] | None,
    model: str,
) -> None:
    """Compress audio files, or all audio below folders, to .nac files.

    Reads WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF and what else libsndfile knows, at any sample
    rate, with up to 255 channels. - reads standard input, and writes to standard output.
    """
    from codec.api import load
    from codec.audio import READ_SUFFIXES

    if bitrate is not None and codebooks is not None:
        raise click.UsageError("choose --bitrate or --codebooks, not both")
    jobs, failures = plan(inputs, _output_of(inputs, output), READ_SUFFIXES, SUFFIX)
    if not jobs:
        _finish(failures, len(failures))
    codec = load(model, engine)
    if bitrate is not None:
        codebooks = codec.codebooks_for(bitrate * 1000)
    most = codec.config.n_codebooks
    count = most if codebooks is None else codebooks
    if not 1 <= count <= most:
        raise BitrateError(f"{count} codebooks; the model has 1 to {most}")

    def work(job: Job, workers: Workers, progress: FileProgress) -> None:
        compress_file(codec, job, count, workers, progress.report, overwrite=force)

    _run(jobs, failures, work, threads=threads, quiet=quiet)


@click.command()
@_inputs
@_output
@click.option(
    "--format",
    "format_",
    type=click.Choice(["wav", "flac", "ogg"]),
    default="wav",
    show_default=True,
    help="Of outputs that -o does not name.",
)
@_force
@_quiet
@_threads
@_engine
@_model
def decompress(
    inputs: tuple[str, ...],
    output: str | None,
    format_: str,
    force: bool,
    quiet: bool,
    threads: int | None,
    engine: Literal["native", "torch"] | None,
    model: str,
) -> None:
    """Restore audio from .nac files, or from all below folders.

    Channels, sample rate and length are those of the audio that was compressed. WAV and FLAC are
    written with 16 bits. - reads standard input, and writes to standard output.
    """
    from codec.api import load

    suffix = f".{format_}"
    jobs, failures = plan(inputs, _output_of(inputs, output), {SUFFIX}, suffix)
    if not jobs:
        _finish(failures, len(failures))
    codec = load(model, engine)

    def work(job: Job, workers: Workers, progress: FileProgress) -> None:
        decompress_file(codec, job, suffix, workers, progress.report, overwrite=force)

    _run(jobs, failures, work, threads=threads, quiet=quiet)


@click.command()
@_inputs
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def info(inputs: tuple[str, ...], as_json: bool) -> None:
    """Check .nac files, or all below folders, through to the end, and say what they hold."""
    show = _json if as_json else _text
    jobs, failures = plan(inputs, None, {SUFFIX}, SUFFIX)
    default_model = functools.cache(_default_model)

    def inspect(job: Job, workers: Workers, progress: FileProgress) -> None:
        held = inspect_file(job.source)
        click.echo(show(job.name, held, default_model().get(held.header.model_id)))

    # No bar: what is printed on standard output would run through it.
    _run(jobs, failures, inspect, threads=1, quiet=True)


def _default_model() -> dict[bytes, ModelConfig]:
    """Name and dimensions of the model that the package ships, if it is here."""
    from codec.api import load

    try:
        codec = load(backend="native")
    except CodecError:
        return {}
    return {codec.model_id: codec.config}


def _text(name: str, held: Info, model: ModelConfig | None) -> str:
    header = held.header
    latency = f", the default: {_latency(model):g} ms latency" if model else ""
    return (
        f"{name}\n"
        f"  audio   {held.duration:.3f} s: {held.n_samples} samples at {header.sample_rate} Hz,"
        f" {header.channels} channel{'s' * (header.channels > 1)}\n"
        f"  codes   {held.n_frames} frames at {float(header.frame_rate):g} Hz,"
        f" {header.n_codebooks} of {header.codebook_size} entries:"
        f" {held.channel_bitrate / 1000:g} kbit/s a channel\n"
        f"  file    {held.n_bytes} bytes, {held.n_chunks}"
        f" chunk{'s' * (held.n_chunks > 1)}, all sound\n"
        f"  model   {header.model_id.hex()}{latency}"
    )


def _json(name: str, held: Info, model: ModelConfig | None) -> str:
    header = held.header
    return json.dumps(
        {
            "name": name,
            "duration": held.duration,
            "samples": held.n_samples,
            "sample_rate": header.sample_rate,
            "channels": header.channels,
            "frames": held.n_frames,
            "frame_rate": float(header.frame_rate),
            "codebooks": header.n_codebooks,
            "codebook_size": header.codebook_size,
            "channel_bitrate": held.channel_bitrate,
            "bytes": held.n_bytes,
            "model": header.model_id.hex(),
            "latency_ms": _latency(model) if model else None,
        }
    )


def _latency(model: ModelConfig) -> float:
    return model.latency / model.sample_rate * 1000


def _output_of(inputs: Iterable[str], output: str | None) -> str | None:
    """Standard input goes to standard output unless told otherwise."""
    return "-" if output is None and list(inputs) == ["-"] else output


def _run(
    jobs: list[Job],
    failures: list[Failure],
    work: Callable[[Job, Workers, FileProgress], None],
    *,
    threads: int | None,
    quiet: bool,
) -> None:
    """Work on all jobs, as many at once as there are threads, whatever becomes of each.

    Exits with 1 if one failed.
    """
    threads = threads or _cores()
    files = max(1, min(threads, len(jobs)))
    failed = list(failures)
    with (
        Progress(sum(job.n_bytes for job in jobs), shown=not quiet) as progress,
        Workers(threads, files) as workers,
    ):
        for failure in failures:
            progress.say(_line(failure))

        def attempt(job: Job) -> None:
            file = progress.start(Path(job.name).name, job.n_bytes)
            try:
                work(job, workers, file)
            except BrokenPipeError:
                raise
            except (CodecError, OSError, MemoryError) as error:
                failed.append(Failure(job.name, _reason(error)))
                progress.say(_line(failed[-1]))
            file.done()

        if files == 1:
            for job in jobs:
                attempt(job)
        else:
            _side_by_side(attempt, jobs, files, progress)
    _conclude(failed, len(jobs) + len(failures))


def _side_by_side(
    attempt: Callable[[Job], None], jobs: list[Job], files: int, progress: Progress
) -> None:
    """`attempt` every job, `files` at once. What is raised here, as by Ctrl-C, ends them all."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(files, "codec-file") as pool:
        try:
            for future in as_completed([pool.submit(attempt, job) for job in jobs]):
                future.result()
        except BaseException:
            progress.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finish(failures: list[Failure], total: int) -> None:
    for failure in failures:
        click.echo(_line(failure), err=True)
    _conclude(failures, total)


def _conclude(failures: list[Failure], total: int) -> None:
    if failures:
        if total > 1:
            click.echo(f"codec: {len(failures)} of {total} failed", err=True)
        sys.exit(1)


def _line(failure: Failure) -> str:
    # A name may hold anything, line ends too; an error is one line.
    return " ".join(f"codec: {failure.name}: {failure.message}".split())


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "too long for this machine's memory"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)
