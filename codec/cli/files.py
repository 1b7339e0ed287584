"""Commands on files: parse, call codec.files, print."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click

from codec.cli import options
from codec.cli.errors import said
from codec.cli.models import described, latency_ms
from codec.cli.paths import TEXT
from codec.coders.base import CODER_IDS, CODER_NAMES, Coder
from codec.errors import CodecError
from codec.files.inspect import Info, inspect_file, verify_file
from codec.files.plan import SUFFIX, Failure, Job, plan, readings
from codec.files.transcode import (
    Coding,
    Stretch,
    Task,
    compress_file,
    decompress_file,
    salvage_file,
)
from codec.model.catalogue import Release, release_of
from codec.nac.layout import Header
from codec.nac.reader import own_coder
from codec.support.progress import FileProgress, Progress
from codec.support.terminal import shown
from codec.support.workers import Workers, usable_cores

_inputs = click.argument("inputs", nargs=-1, required=True, type=TEXT)
_output = click.option(
    "-o",
    "--output",
    type=TEXT,
    help="File, folder, or - for standard output. [default: next to the input]",
)
# --engine is another name of --backend, for scripts.
_ALIASES = {"token_normalize_func": lambda name: "backend" if name == "engine" else name}
_backend = click.option(
    "--backend",
    type=click.Choice(["native", "torch"]),
    help="Run the network in C or on PyTorch. [default: native if it is built]",
)


def _seconds(text: str) -> float:
    """Parse a time: 80, 1:20 or 1:02:03.5. Returns seconds."""
    *larger, rest = text.split(":")
    try:
        total = float(rest)
        for factor, part in zip((60, 3600), reversed(larger), strict=False):
            total += factor * int(part)
    except ValueError:
        total = -1.0
    if not 0 <= total < float("inf") or len(larger) > 2 or "-" in text.lower().partition("e")[0]:
        raise click.BadParameter(f"{text!r} is not a time; write 80, 1:20 or 1:02:03.5")
    return total


def _raw_format(text: str) -> tuple[int, int]:
    """Parse the format of raw samples: 24000 or 48000:2. Returns rate and channels."""
    rate, _, channels = text.partition(":")
    try:
        return int(rate), int(channels or 1)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a format; write 24000 or 48000:2") from None


@click.command(context_settings=_ALIASES)
@_inputs
@_output
@click.option(
    "-b", "--bitrate", type=options.Number(), help="kbit/s per channel. [default: the highest]"
)
@click.option("-n", "--codebooks", type=int, help="Number of codebooks, instead of --bitrate.")
@click.option(
    "--quality",
    type=options.Number(0, 10),
    help="Constant quality, 0 to 10, instead of a constant bitrate.",
)
@options.beam
@options.refine
@click.option(
    "--effort",
    type=click.Choice(list(CODER_IDS)),
    help="Lossless entropy coding of the codes. [default: fast if the model has it]",
)
@click.option("--live", is_flag=True, help="In a pipe, send every frame as soon as it is complete.")
@click.option(
    "--raw",
    type=_raw_format,
    metavar="RATE[:CHANNELS]",
    help="Input format: 16-bit samples without a header.",
)
@click.option("--strict", is_flag=True, help="Refuse audio that is cut off or damaged.")
@options.force
@options.quiet
@options.threads("Threads for the network")
@_backend
@options.device
@options.model
def compress(
    inputs: tuple[str, ...],
    output: str | None,
    bitrate: float | None,
    codebooks: int | None,
    quality: float | None,
    beam: int,
    refine: int,
    effort: str | None,
    live: bool,
    raw: tuple[int, int] | None,
    strict: bool,
    force: bool,
    quiet: bool,
    threads: int | None,
    backend: Literal["native", "torch"] | None,
    device: str | None,
    model: str,
) -> None:
    """Compress audio files, or all audio below folders, to .nac files.

    Reads WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF, CAF, AU and NIST SPHERE, and with codec[av]
    also M4A, AAC, WebM, WMA, WavPack, AC-3 and others, at any sample rate, with up to 255
    channels. The content tells the format, not the name. A file that is cut off is coded as far as
    it goes, with a warning. With - as input, reads standard input and writes to standard output:
    WAV and raw samples are coded as they arrive, two seconds at a time, with --refine four, or
    frame by frame with --live.
    """
    from codec.api import load
    from codec.audio import READ_SUFFIXES

    levels = {"bitrate": bitrate, "codebooks": codebooks, "quality": quality}
    options.at_most_one(**{name: value is not None for name, value in levels.items()})
    options.at_most_one(live=live, refine=refine > 0)  # which needs seconds at a time
    inputs, output = _pipes(inputs, output)
    jobs, failures = plan(inputs, output, READ_SUFFIXES, SUFFIX)
    if not jobs:
        _finish(failures)
    pipeline = load(model, backend=backend, device=device).pipeline
    count = pipeline.n_codebooks(codebooks, None if bitrate is None else 1000 * bitrate)
    pipeline.coder(effort)  # an error once, not for each file
    search = pipeline.search(beam, refine)
    if quality is not None:
        pipeline.rate_control(quality)
    coding = Coding(count, effort, quality, live, raw, strict, search)

    def work(job: Job, workers: Workers, progress: FileProgress) -> None:
        task = Task(pipeline, job, workers, progress.report, force)
        for text in compress_file(task, coding):
            progress.say(_line(Failure(job.name, f"warning: {text}")))

    _run(jobs, failures, work, threads=threads, quiet=quiet)


@click.command(context_settings=_ALIASES)
@_inputs
@_output
@click.option(
    "--format",
    "format_",
    type=click.Choice(["wav", "flac", "ogg", "raw"]),
    default="wav",
    show_default=True,
    help="Output format, unless -o names a file. raw: 16-bit samples to standard output.",
)
@click.option(
    "--start",
    type=_seconds,
    metavar="TIME",
    help="Start of the part to restore: seconds, or 1:20. [default: 0]",
)
@click.option(
    "--duration", type=_seconds, metavar="TIME", help="Length to restore. [default: to the end]"
)
@click.option("--salvage", is_flag=True, help="Restore the intact parts of damaged files.")
@click.option("--postfilter", is_flag=True, help="Lower the noise between the harmonics of voices.")
@options.enhance_usually
@options.force
@options.quiet
@options.threads("Threads for the network")
@_backend
@options.device
@options.model
def decompress(
    inputs: tuple[str, ...],
    output: str | None,
    format_: str,
    start: float | None,
    duration: float | None,
    salvage: bool,
    postfilter: bool,
    enhance: bool | None,
    force: bool,
    quiet: bool,
    threads: int | None,
    backend: Literal["native", "torch"] | None,
    device: str | None,
    model: str,
) -> None:
    """Restore audio from .nac files, or from all .nac files below folders.

    The output has the channels, the sample rate and the exact length of the original audio. WAV and
    FLAC have 16 bits. With - as input, reads standard input and writes to standard output as the
    file arrives. With --salvage, lost parts become silence.

    The default model has a second network that improves the sound. Restoring takes 2.6 times as
    long with it; --no-enhance does without.
    """
    from codec.api import load

    stretch = None
    if start is not None or duration is not None:
        if salvage:
            raise click.UsageError("choose --salvage or a part (--start, --duration), not both")
        stretch = Stretch(start or 0.0, duration)
    post = options.post_of(postfilter, enhance)
    suffix = f".{format_}"
    inputs, output = _pipes(inputs, output)
    jobs, failures = plan(inputs, output, {SUFFIX}, suffix)
    if not jobs:
        _finish(failures)
    pipeline = load(model, backend=backend, device=device).pipeline

    def work(job: Job, workers: Workers, progress: FileProgress) -> None:
        task = Task(pipeline, job, workers, progress.report, force)
        if not salvage:
            return decompress_file(task, suffix, stretch, post=post)
        found = salvage_file(task, suffix, post=post)
        for first, last in found.lost():
            progress.say(f"codec: {job.name}: {_span(first, last)} is lost and becomes silence")
        for problem in found.problems:
            progress.say(f"codec: {job.name}: {problem}")

    _run(jobs, failures, work, threads=threads, quiet=quiet)


@click.command()
@_inputs
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file and line.")
@click.option("--levels", is_flag=True, help="Also show the bits that each codebook takes.")
@options.model
def info(inputs: tuple[str, ...], as_json: bool, levels: bool, model: str) -> None:
    """Check .nac files to their end and show what they contain. Folders are searched."""
    show = _json if as_json else _text
    jobs, failures = readings(inputs, {SUFFIX})
    find_coder = _coders(model)

    def inspect(job: Job, workers: Workers, progress: FileProgress) -> None:
        held = inspect_file(job.source, find_coder if levels else None)
        click.echo(show(job.name, held, release_of(held.header.model_id)))

    # Show no bar: it would mix with the lines on standard output.
    _run(jobs, failures, inspect, threads=1, quiet=True)


@click.command()
@_inputs
@options.model
def verify(inputs: tuple[str, ...], model: str) -> None:
    """Find damage in .nac files and show what is lost. Folders are searched.

    Checks every checksum and decodes every code. Exits with 1 if a file is damaged.
    """
    jobs, failures = readings(inputs, {SUFFIX})
    find_coder = _coders(model)
    damaged: list[str] = []

    def look(job: Job, workers: Workers, progress: FileProgress) -> None:
        found = verify_file(job.source, find_coder)
        seconds = (found.header.n_samples or 0) / found.header.sample_rate
        if found.intact:
            click.echo(f"{shown(job.name)}: intact, {_clock(seconds)}")
            return
        damaged.append(job.name)
        lost = found.lost()
        total = sum(last - first for first, last in lost)
        at_least = "" if found.length_known else "at least "
        click.echo(f"{shown(job.name)}: damaged, {total:.3f} s lost of {at_least}{_clock(seconds)}")
        for first, last in lost:
            click.echo(f"  {_span(first, last)} is lost")
        for problem in found.problems:
            click.echo(f"  {problem}")

    _run(jobs, failures, look, threads=1, quiet=True)
    if damaged:
        sys.exit(1)


@click.command()
@_inputs
@_output
@click.option(
    "-n",
    "--codebooks",
    type=click.IntRange(1),
    required=True,
    help="Keep only the first N codebooks.",
)
@options.force
@options.quiet
@options.threads("Threads")
@options.model
def trim(
    inputs: tuple[str, ...],
    output: str | None,
    codebooks: int,
    force: bool,
    quiet: bool,
    threads: int | None,
    model: str,
) -> None:
    """Make .nac files smaller without encoding them again. Folders are searched.

    Codebooks refine one another, so the first N are the same audio at a lower quality: the output
    is what `codec compress -n N` makes of the original, if that was without --beam and
    --refine. Without -o, a.nac becomes a.N.nac.
    """
    from codec.files.trim import trim as trim_job

    inputs, output = _pipes(inputs, output)
    suffix = SUFFIX if output is not None else f".{codebooks}{SUFFIX}"
    jobs, failures = plan(inputs, output, {SUFFIX}, suffix)

    def work(job: Job, workers: Workers, progress: FileProgress) -> None:
        trim_job(job, codebooks, model, workers, progress.report, overwrite=force)

    _run(jobs, failures, work, threads=threads, quiet=quiet)


def _coders(model: str) -> Callable[[Header], Coder]:
    """Return a finder of a file's coder, which loads the model only if the coder needs it."""
    from codec.api import load

    pipeline = functools.cache(lambda: load(model).pipeline)
    return lambda header: pipeline().coder_of(header) if header.coder_id else own_coder(header)


def _text(name: str, held: Info, model: Release | None) -> str:
    header = held.header
    known = f": {described(model)}" if model else ", which is not in this package"
    coder = CODER_NAMES.get(header.coder_id, f"coder {header.coder_id}")
    each = "a channel" if header.together == 1 else "for two channels"
    lines = [
        shown(name),
        f"  audio   {held.duration:.3f} s: {held.n_samples} samples at {header.sample_rate} Hz,"
        f" {header.channels} channel{'s' * (header.channels > 1)}"
        f"{', coded in pairs of two' * (header.together == 2)}",
        f"  codes   {held.n_frames} frames at {float(header.frame_rate):g} Hz,"
        f" {'' if not header.variable else 'up to '}{header.n_codebooks}"
        f" of {header.codebook_size} entries: {held.channel_bitrate / 1000:.4g} kbit/s {each}",
        f"  coder   {coder}: {held.coded_bitrate / 1000:.4g} kbit/s {each},"
        f" {8 * held.n_bytes / held.duration / 1000:.4g} kbit/s the whole file",
        f"  file    {held.n_bytes} bytes, {held.n_chunks}"
        f" chunk{'s' * (held.n_chunks > 1)}, all intact",
        f"  model   {header.model_id.hex()}{known}",
    ]
    for key, value in held.tags.items():
        lines.append(f"  tag     {key}: {_printable(value)}")
    for level, bitrate in enumerate(held.level_bitrates or ()):
        share = held.level_frames[level] / held.n_frames
        lines.append(f"  level   {level + 1:3}: {bitrate:6.1f} bit/s, in {share:.0%} of the frames")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Replace unprintable characters, so that no file can move the cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _json(name: str, held: Info, model: Release | None) -> str:
    header = held.header
    return json.dumps(
        {
            "name": name,
            "duration": held.duration,
            "samples": held.n_samples,
            "sample_rate": header.sample_rate,
            "channels": header.channels,
            "channels_together": header.together,
            "frames": held.n_frames,
            "frame_rate": float(header.frame_rate),
            "codebooks": header.n_codebooks,
            "variable": header.variable,
            "mean_codebooks": held.n_codebooks,
            "codebook_size": header.codebook_size,
            "channel_bitrate": held.channel_bitrate,
            "coder": CODER_NAMES.get(header.coder_id, header.coder_id),
            "coded_bitrate": held.coded_bitrate,
            "level_bitrates": held.level_bitrates,
            "tags": held.tags,
            "bytes": held.n_bytes,
            "model": header.model_id.hex(),
            "model_name": model.name if model else None,
            "latency_ms": latency_ms(model.config) if model else None,
        }
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes:02}:{rest / 1000:06.3f}" if hours else f"{minutes}:{rest / 1000:06.3f}"
    return f"{hours}:{clock}" if hours else clock


def _span(first: float, last: float) -> str:
    return f"{_clock(first)} to {_clock(last)}"


def _pipes(inputs: tuple[str, ...], output: str | None) -> tuple[tuple[str, ...], str | None]:
    """Send standard input to standard output by default; "- -" says it explicitly."""
    if inputs == ("-", "-") and output is None:
        inputs = ("-",)
    return inputs, "-" if output is None and inputs == ("-",) else output


def _run(
    jobs: list[Job],
    failures: list[Failure],
    work: Callable[[Job, Workers, FileProgress], None],
    *,
    threads: int | None,
    quiet: bool,
) -> None:
    """Run all jobs, as many at once as there are threads. A failure does not stop the others.

    Exits with 1 if one failed.
    """
    threads = threads or usable_cores()
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
            except Exception as error:  # of this file: the others go on
                if progress.stopped:
                    raise
                failed.append(Failure(job.name, _reason(error)))
                progress.say(_line(failed[-1]))
            file.done()

        if files == 1:
            for job in jobs:
                attempt(job)
        else:
            _side_by_side(attempt, jobs, files, progress, workers)
    _conclude(failed, len(jobs) + sum(failure.counted for failure in failures))


def _side_by_side(
    attempt: Callable[[Job], None],
    jobs: list[Job],
    files: int,
    progress: Progress,
    workers: Workers,
) -> None:
    """Run `attempt` on every job, `files` at once. An exception here, as by Ctrl-C, ends all."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(files, "codec-file") as pool:
        try:
            for future in as_completed([pool.submit(attempt, job) for job in jobs]):
                future.result()
        except BaseException:
            progress.stop()
            workers.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _finish(failures: list[Failure]) -> None:
    for failure in failures:
        click.echo(_line(failure), err=True)
    _conclude(failures, sum(failure.counted for failure in failures))


def _conclude(failures: list[Failure], total: int) -> None:
    """Exits with 1 if anything failed, or was skipped and there was nothing else to do."""
    failures = [failure for failure in failures if failure.counted]
    failed = [failure for failure in failures if failure.lost]
    if failed and total > 1:
        click.echo(f"codec: {len(failed)} of {total} failed", err=True)
    if failed or (failures and len(failures) == total):
        sys.exit(1)


def _line(failure: Failure) -> str:
    # A name may hold anything, line ends too; an error is one line.
    return f"codec: {shown(failure.name)}: {shown(' '.join(failure.message.split()))}"


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "too long for this machine's memory"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    if isinstance(error, CodecError):
        return said(error)
    return f"internal error: {type(error).__name__}: {error}"
