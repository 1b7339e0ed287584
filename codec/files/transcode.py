"""Compresses and restores one file, in memory that does not grow with it."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from codec.audio import (
    WRITE_FORMATS,
    Audio,
    AudioReader,
    AudioWriter,
    Metered,
    silence,
)
from codec.audio.pipes import NotStreamableError, SampleSink, SampleStream, open_wav
from codec.engine.post import Post, Wanted
from codec.engine.refine import PLAIN, Search
from codec.errors import AudioError, BackendError, FormatError, OutputError
from codec.files.endpoints import (
    at_hand,
    audio_target,
    binary_target,
    check_nac_target,
    check_target,
    opened,
)
from codec.files.inspect import inspect_file
from codec.files.plan import Job
from codec.nac.layout import MAGIC, Header
from codec.nac.reader import Reader
from codec.nac.salvage import Bytes, Survey, mapped, read_run, survey
from codec.nac.seek import SeekableReader
from codec.nac.writer import Writer
from codec.pipeline import Pipeline, stretch_of
from codec.support.types import Codes
from codec.support.workers import Workers

# Called with the seconds of audio done so far and the seconds of the whole file, 0 if unknown.
Report = Callable[[float, float], None]
RAW_SUFFIX = ".raw"


@dataclasses.dataclass(frozen=True)
class Task:
    """A job, and what works on it."""

    pipeline: Pipeline
    job: Job
    workers: Workers
    report: Report
    overwrite: bool = False  # an output that exists; otherwise it is an error


@dataclasses.dataclass(frozen=True)
class Coding:
    """How audio is compressed."""

    n_codebooks: int
    effort: str | None = None  # as for Pipeline.coder
    quality: float | None = None  # of each chunk, which then has up to n_codebooks
    live: bool = False  # chunks of one frame, coded while the audio arrives
    raw: tuple[int, int] | None = None  # rate and channels of input without a header
    strict: bool = False  # audio that is cut off or damaged is an error
    search: Search = PLAIN


@dataclasses.dataclass(frozen=True)
class Stretch:
    """The part of a file that is restored, in seconds; by default all of it."""

    start: float = 0.0
    duration: float | None = None


def compress_file(task: Task, coding: Coding) -> list[str]:
    """Compress one file of audio.

    On an error no output is left, except what a pipe has taken already.

    From pipe to pipe, WAV is coded while it arrives. Returns what `AudioReader.warnings` says is
    missing or damaged, which is an error if `coding` is strict, and that it is too loud if it is.
    """
    job = task.job
    if not (coding.live or coding.raw or (job.source is None and job.target is None)):
        with at_hand(job.source) as source:
            return _compress_at_hand(task, source, coding)
    check_nac_target(job, task.overwrite)
    with opened(job.source or sys.stdin.buffer) as pipe:
        try:
            stream = SampleStream(pipe, *coding.raw, "<i2", None) if coding.raw else None
            stream = stream or open_wav(pipe)
        except NotStreamableError as error:
            if coding.live:
                raise
            with at_hand(pipe, error.consumed) as source:
                return _compress_at_hand(task, source, coding)
        stream.strict = coding.strict
        return _compress_stream(task, stream, coding)


def _compress_stream(task: Task, stream: SampleStream, coding: Coding) -> list[str]:
    from codec.files.live import encode_live

    pipeline = task.pipeline
    streaming = pipeline.backend.streaming
    if coding.live and streaming is None:
        raise BackendError("coding frame by frame needs the native backend")
    rate, count, blocks = stream.sample_rate, coding.n_codebooks, Metered(stream)
    if streaming and not coding.search.refine:
        spans = encode_live(streaming, blocks, rate, count, coding.search.beam)
    else:
        spans = pipeline.encode_blocks(blocks, rate, count, task.workers, coding.search)
    header = pipeline.header(stream.channels, rate, count, live=coding.live)
    # One thread, so that every chunk goes out as soon as it is full.
    task = dataclasses.replace(task, workers=Workers())
    return _write(task, coding, blocks, header, spans)


def _compress_at_hand(task: Task, source: Path, coding: Coding) -> list[str]:
    with source.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise FormatError("already a .nac file, which codec decompress restores")
    check_nac_target(task.job, task.overwrite)
    with AudioReader(source, strict=coding.strict) as audio:
        rate, total = audio.sample_rate, audio.claimed / audio.sample_rate
        header = task.pipeline.header(audio.channels, rate, coding.n_codebooks)
        blocks = Metered(audio)
        spans = task.pipeline.encode_blocks(
            blocks, rate, coding.n_codebooks, task.workers, coding.search
        )

        def of_total(seconds: float, _: float) -> None:
            task.report(seconds, total)

        return _write(dataclasses.replace(task, report=of_total), coding, blocks, header, spans)


def _write(
    task: Task,
    coding: Coding,
    blocks: Metered,
    header: Header,
    spans: Iterator[Codes],
) -> list[str]:
    """Write `spans`, the codes of `blocks`. Returns the warnings of `blocks`."""
    pipeline, audio = task.pipeline, blocks.audio
    coder = pipeline.coder(coding.effort)
    choose = None if coding.quality is None else pipeline.rate_control(coding.quality)
    if coding.search.refine:
        spans = _followed(spans, task, header)
    # Encode the first span before creating the output: a bad file usually fails here.
    first = next(spans, None)
    if first is None:
        raise AudioError("no audio: 0 samples")
    with binary_target(task.job, task.overwrite) as output:
        writer = Writer(output, header, coder, audio.tags, choose)
        for frames in writer.write_all(itertools.chain([first], spans), task.workers):
            if task.job.target is None:
                output.flush()
            if not coding.search.refine:
                task.report(float(frames / header.frame_rate), 0.0)
        final = writer.finish(audio.n_samples)
        if task.job.target:
            output.seek(0)
            output.write(final.pack())
    return blocks.warnings


def _followed(spans: Iterable[Codes], task: Task, header: Header) -> Iterator[Codes]:
    """Give `spans`, and report each: where encoding takes long, chunks are written much later."""
    frames = 0
    for span in spans:
        yield span
        frames += span.shape[2]
        task.report(float(frames / header.frame_rate), 0.0)


def decompress_file(
    task: Task, suffix: str, stretch: Stretch | None = None, *, post: Wanted | None = None
) -> None:
    """Restore one .nac file, or a stretch of it.

    On an error no output is left, except what a pipe has taken already.

    The extension of the output, or `suffix` on standard output, says which format is written. From
    pipe to pipe, WAV and raw samples go out while the file arrives. post: as for
    `Pipeline.decode_blocks`.
    """
    pipeline, job = task.pipeline, task.job
    suffix = _suffix_of(job, suffix)
    between_pipes = job.source is None and job.target is None
    as_it_arrives = suffix in (".wav", RAW_SUFFIX) and pipeline.backend.streaming is not None
    if stretch is None and between_pipes and as_it_arrives:
        return _decompress_stream(task, suffix, post)
    with at_hand(job.source) as source, source.open("rb") as file:
        if stretch is not None:
            seekable = SeekableReader(file, pipeline.coder_of)
            pipeline.coder_of(seekable.header)
            start, stop = stretch_of(seekable.header, stretch.start, stretch.duration)
            header = dataclasses.replace(seekable.header, n_samples=stop - start)
            blocks = pipeline.decode_stretch(seekable, start, stop, task.workers, post=post)
            return _restore(task, blocks, header, suffix, seekable.tags)
        held = inspect_file(source)
        pipeline.coder_of(held.header)
        reader = Reader(file, pipeline.coder_of)
        codes = reader.decoded(task.workers)
        blocks = pipeline.decode_blocks(codes, held.header, held.n_samples, task.workers, post=post)
        checked = _unchanged(blocks, reader, held.header)
        _restore(task, checked, held.header, suffix, held.tags)


def _decompress_stream(task: Task, suffix: str, post: Wanted | None) -> None:
    from codec.files.live import decode_live

    check_target(task.job, task.overwrite)  # before the header is waited for
    reader = Reader(sys.stdin.buffer, task.pipeline.coder_of)
    maker = task.pipeline.maker(reader.header)
    maker.coder_of(reader.header)  # before any output
    if (streaming := maker.backend.streaming) is None:
        raise BackendError("the file's model cannot decode it here while it arrives")
    blocks = decode_live(streaming, reader, post=maker.improvement(post))
    _restore(task, blocks, reader.header, suffix, reader.tags)


def _unchanged(blocks: Iterable[Audio], reader: Reader, header: Header) -> Iterator[Audio]:
    yield from blocks
    if reader.finish() != header:
        raise FormatError("the file changed while it was read")


def salvage_file(task: Task, suffix: str, *, post: Wanted | None = None) -> Survey:
    """Restore what is intact of a damaged .nac file, with silence where it is not.

    Every stretch between two gaps is decoded as if it were a file. All its codes are exact, and so
    are its samples, except those within `decoder_reach` of a gap.
    """
    suffix = _suffix_of(task.job, suffix)
    with at_hand(task.job.source) as source, mapped(source) as data:
        found = survey(data)
        header, pipeline = found.header, task.pipeline.maker(found.header)
        pipeline.coder_of(header)
        improvement = pipeline.improvement(post)
        salvaged = _salvaged(pipeline, data, found, task.workers, improvement)
        blocks = pipeline.at_rate(salvaged, header.sample_rate, header.length)
        _restore(task, blocks, header, suffix, found.tags)
    return found


def _salvaged(
    pipeline: Pipeline, data: Bytes, found: Survey, workers: Workers, improvement: Post | None
) -> Iterator[Audio]:
    """Give the audio of what is intact, at the model's rate, and silence in the gaps."""
    header, hop = found.header, pipeline.config.hop_length
    frame = 0
    for runs in found.between_gaps():
        yield from silence(header.channels, (runs[0].first - frame) * hop)
        codes = (read_run(data, header, run, pipeline.coder_of) for run in runs)
        intact = itertools.chain.from_iterable(codes)
        yield from pipeline.decode_frames(intact, header, workers, improvement)
        frame = runs[-1].stop
    yield from silence(header.channels, (header.n_frames - frame) * hop)


def _restore(
    task: Task,
    blocks: Iterable[Audio],
    header: Header,
    suffix: str,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write `blocks`, whose rate, channels and length are those of `header`."""
    job, rate, n_samples = task.job, header.sample_rate, header.n_samples
    check_target(job, task.overwrite)
    samples = 0

    def write(sink: AudioWriter | SampleSink) -> None:
        nonlocal samples
        for block in blocks:
            sink.write(block)
            samples += block.shape[1]
            task.report(samples / rate, (n_samples or 0) / rate)

    if job.target is None and suffix in (".wav", RAW_SUFFIX):
        output = sys.stdout.buffer
        raw = suffix == RAW_SUFFIX
        write(SampleSink(output, rate, header.channels, n_samples, raw, tags))
        output.flush()
        return
    with (
        audio_target(job, task.overwrite) as path,
        AudioWriter(path, rate, header.channels, header.length, suffix, tags) as writer,
    ):
        write(writer)


def _suffix_of(job: Job, suffix: str) -> str:
    """Return the extension that names the format to restore to. Raises OutputError."""
    if job.target is None:
        return suffix
    suffix = job.target.suffix.lower()
    if suffix == RAW_SUFFIX:
        raise OutputError("raw samples go to standard output only: -o -")
    if suffix not in WRITE_FORMATS:
        known = ", ".join(WRITE_FORMATS)
        raise OutputError(f"{job.target}: cannot write {suffix or 'this'}; choose from {known}")
    return suffix
