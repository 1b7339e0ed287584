"""Compresses, restores, checks and inspects one file, in memory that does not grow with it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from codec.audio import READ_SUFFIXES, WRITE_FORMATS, Audio, AudioReader, AudioWriter, silence
from codec.audio.pipes import NotStreamableError, SampleSink, SampleStream, open_wav
from codec.errors import AudioError, BackendError, FormatError, OutputError
from codec.files.plan import SUFFIX, Job
from codec.nac.layout import MAGIC, Header
from codec.nac.reader import FindCoder, Reader, own_coder
from codec.nac.salvage import Bytes, Survey, mapped, read_run, survey
from codec.nac.seek import SeekableReader
from codec.nac.writer import Writer
from codec.pipeline import Pipeline, stretch_of
from codec.support.atomic import check_writable, replacing, temporary_folder
from codec.support.types import Codes
from codec.support.workers import Workers

# Called with the seconds of audio done so far and the seconds of the whole file, 0 if unknown.
Report = Callable[[float, float], None]
RAW_SUFFIX = ".raw"


@dataclasses.dataclass(frozen=True)
class Coding:
    """How audio is compressed."""

    n_codebooks: int
    effort: str | None = None  # as for Pipeline.coder
    quality: float | None = None  # of each chunk, which then has up to n_codebooks
    live: bool = False  # chunks of one frame, coded while the audio arrives
    raw: tuple[int, int] | None = None  # rate and channels of input without a header
    strict: bool = False  # audio that is cut off or damaged is an error


@dataclasses.dataclass(frozen=True)
class Stretch:
    """The part of a file that is restored, in seconds; by default all of it."""

    start: float = 0.0
    duration: float | None = None


def compress_file(
    pipeline: Pipeline,
    job: Job,
    coding: Coding,
    workers: Workers,
    report: Report,
    *,
    overwrite: bool,
) -> list[str]:
    """Compress one file of audio.

    On an error no output is left, except what a pipe has taken already.

    From pipe to pipe, WAV is coded while it arrives. Returns what `AudioReader.warnings` says is
    missing or damaged, which is an error if `coding` is strict.
    """
    if coding.live or coding.raw or (job.source is None and job.target is None):
        check_nac_target(job, overwrite)
        with opened(job.source or sys.stdin.buffer) as pipe:
            try:
                stream = SampleStream(pipe, *coding.raw, "<i2", None) if coding.raw else None
                stream = stream or open_wav(pipe)
            except NotStreamableError as error:
                if coding.live:
                    raise
                with _at_hand(pipe, error.consumed) as source:
                    return _compress_at_hand(
                        pipeline, source, job, coding, workers, report, overwrite
                    )
            stream.strict = coding.strict
            _compress_stream(pipeline, stream, job, coding, workers, report, overwrite)
            return stream.warnings
    with _at_hand(job.source) as source:
        return _compress_at_hand(pipeline, source, job, coding, workers, report, overwrite)


def _compress_stream(
    pipeline: Pipeline,
    stream: SampleStream,
    job: Job,
    coding: Coding,
    workers: Workers,
    report: Report,
    overwrite: bool,
) -> None:
    from codec.files.live import encode_live

    streaming = pipeline.backend.streaming
    if coding.live and streaming is None:
        raise BackendError("coding frame by frame needs the native backend")
    rate, count = stream.sample_rate, coding.n_codebooks
    if streaming:
        spans = encode_live(streaming, stream, rate, count)
    else:
        spans = pipeline.encode_blocks(stream, rate, count, workers)
    header = pipeline.header(stream.channels, rate, count, live=coding.live)
    # One thread, so that every chunk goes out as soon as it is full.
    alone = Workers()
    _write(
        pipeline, header, spans, lambda: stream.n_samples, stream.tags, job, coding, alone, report,
        overwrite,
    )  # fmt: skip


def _compress_at_hand(
    pipeline: Pipeline,
    source: Path,
    job: Job,
    coding: Coding,
    workers: Workers,
    report: Report,
    overwrite: bool,
) -> list[str]:
    with source.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise FormatError("already a .nac file, which codec decompress restores")
    check_nac_target(job, overwrite)
    with AudioReader(source, strict=coding.strict) as audio:
        rate, total = audio.sample_rate, audio.claimed / audio.sample_rate
        header = pipeline.header(audio.channels, rate, coding.n_codebooks)
        spans = pipeline.encode_blocks(audio, rate, coding.n_codebooks, workers)

        def of_total(seconds: float, _: float) -> None:
            report(seconds, total)

        _write(
            pipeline, header, spans, lambda: audio.n_samples, audio.tags, job, coding, workers,
            of_total, overwrite,
        )  # fmt: skip
        return audio.warnings


def _write(
    pipeline: Pipeline,
    header: Header,
    spans: Iterator[Codes],
    n_samples: Callable[[], int],
    tags: dict[str, str],
    job: Job,
    coding: Coding,
    workers: Workers,
    report: Report,
    overwrite: bool,
) -> None:
    coder = pipeline.coder(coding.effort)
    choose = None if coding.quality is None else pipeline.rate_control(coding.quality)
    # Encode the first span before creating the output: a bad file usually fails here.
    first = next(spans, None)
    if first is None:
        raise AudioError("no audio: 0 samples")
    with binary_target(job, overwrite) as output:
        writer = Writer(output, header, coder, tags, choose)
        for frames in writer.write_all(itertools.chain([first], spans), workers):
            if job.target is None:
                output.flush()
            report(float(frames / header.frame_rate), 0.0)
        final = writer.finish(n_samples())
        if job.target:
            output.seek(0)
            output.write(final.pack())


def decompress_file(
    pipeline: Pipeline,
    job: Job,
    suffix: str,
    workers: Workers,
    report: Report,
    *,
    overwrite: bool,
    stretch: Stretch | None = None,
) -> None:
    """Restore one .nac file.

    On an error no output is left, except what a pipe has taken already.

    The extension of the output, or `suffix` on standard output, says which format is written. From
    pipe to pipe, WAV and raw samples go out while the file arrives.
    """
    suffix = _suffix_of(job, suffix)
    if job.source is None and job.target is None and stretch is None and suffix != ".flac":
        from codec.files.live import decode_live

        if pipeline.backend.streaming and suffix in (".wav", RAW_SUFFIX):
            _check_target(job, overwrite)
            reader = Reader(sys.stdin.buffer, pipeline.coder_of)
            maker = pipeline.maker(reader.header)
            maker.coder_of(reader.header)  # before any output
            if (streaming := maker.backend.streaming) is None:
                raise BackendError("the file's model cannot decode it here while it arrives")
            _restore(
                decode_live(streaming, reader), reader.header, {}, job, suffix, report, overwrite
            )
            return
    with _at_hand(job.source) as source, source.open("rb") as file:
        if stretch is not None:
            seekable = SeekableReader(file, pipeline.coder_of)
            pipeline.coder_of(seekable.header)
            start, stop = stretch_of(seekable.header, stretch.start, stretch.duration)
            header = dataclasses.replace(seekable.header, n_samples=stop - start)
            blocks = pipeline.decode_stretch(seekable, start, stop, workers)
            _check_target(job, overwrite)
            _restore(blocks, header, {}, job, suffix, report, overwrite)
            return
        held = inspect_file(source)
        pipeline.coder_of(held.header)
        _check_target(job, overwrite)
        reader = Reader(file, pipeline.coder_of)
        codes = reader.decoded(workers)
        blocks = pipeline.decode_blocks(codes, held.header, held.n_samples, workers)
        checked = _unchanged(blocks, reader, held.header)
        _restore(checked, held.header, held.tags, job, suffix, report, overwrite)


def _unchanged(blocks: Iterable[Audio], reader: Reader, header: Header) -> Iterator[Audio]:
    yield from blocks
    if reader.finish() != header:
        raise FormatError("the file changed while it was read")


def salvage_file(
    pipeline: Pipeline, job: Job, suffix: str, workers: Workers, report: Report, *, overwrite: bool
) -> Survey:
    """Restore what is intact of a damaged .nac file, with silence where it is not.

    Every stretch between two gaps is decoded as if it were a file. All its codes are exact, and so
    are its samples, except those within `decoder_reach` of a gap.
    """
    suffix = _suffix_of(job, suffix)
    with _at_hand(job.source) as source, mapped(source) as data:
        found = survey(data)
        pipeline = pipeline.maker(found.header)
        pipeline.coder_of(found.header)
        _check_target(job, overwrite)
        header = found.header
        salvaged = _salvaged(pipeline, data, found, workers)
        blocks = pipeline.at_rate(salvaged, header.sample_rate, header.length)
        _restore(blocks, found.header, found.tags, job, suffix, report, overwrite)
    return found


def _salvaged(pipeline: Pipeline, data: Bytes, found: Survey, workers: Workers) -> Iterator[Audio]:
    """Give the audio of what is intact, at the model's rate, and silence in the gaps."""
    header, hop = found.header, pipeline.config.hop_length
    frame = 0
    for runs in found.between_gaps():
        yield from silence(header.channels, (runs[0].first - frame) * hop)
        codes = (read_run(data, header, run, pipeline.coder_of) for run in runs)
        yield from pipeline.decode_frames(itertools.chain.from_iterable(codes), header, workers)
        frame = runs[-1].stop
    yield from silence(header.channels, (header.n_frames - frame) * hop)


def verify_file(source: Path | None, find_coder: FindCoder = own_coder) -> Survey:
    """Check one .nac file for damage: the checksums, the order of its parts, every code.

    Raises FormatError if nothing in it can be read.
    """
    with _at_hand(source) as path, mapped(path) as data:
        found = survey(data)
        problems = list(found.problems)
        for run in found.runs:
            try:
                for _ in read_run(data, found.header, run, find_coder):
                    pass
            except FormatError as error:
                problems.append(str(error))
        return dataclasses.replace(found, problems=tuple(problems))


def _restore(
    blocks: Iterable[Audio],
    header: Header,
    tags: dict[str, str],
    job: Job,
    suffix: str,
    report: Report,
    overwrite: bool,
) -> None:
    """Write `blocks`, whose rate, channels and length are those of `header`."""
    rate, n_samples = header.sample_rate, header.n_samples
    samples = 0

    def write(sink: AudioWriter | SampleSink) -> None:
        nonlocal samples
        for block in blocks:
            sink.write(block)
            samples += block.shape[1]
            report(samples / rate, (n_samples or 0) / rate)

    if job.target is None and suffix in (".wav", RAW_SUFFIX):
        output = sys.stdout.buffer
        write(SampleSink(output, rate, header.channels, n_samples, suffix == RAW_SUFFIX))
        output.flush()
        return
    with (
        _audio_target(job, overwrite) as path,
        AudioWriter(path, rate, header.channels, header.length, suffix, tags) as writer,
    ):
        write(writer)


@dataclasses.dataclass(frozen=True)
class Info:
    """What a .nac file holds."""

    header: Header
    tags: dict[str, str]
    n_samples: int  # of each channel, at header.sample_rate
    n_frames: int
    n_chunks: int
    n_bytes: int
    payload_bytes: int
    level_frames: tuple[int, ...]  # for each codebook, frames that have it
    level_bytes: tuple[int, ...] | None = None  # of the payloads; None: not asked for

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.n_samples / self.header.sample_rate

    @property
    def code_seconds(self) -> float:
        """Seconds of audio in the frames, of which the last may be longer than the audio."""
        return float(self.n_frames / self.header.frame_rate)

    @property
    def n_codebooks(self) -> float:
        """Mean number of codebooks of a frame."""
        return sum(self.level_frames) / self.n_frames

    @property
    def channel_bitrate(self) -> float:
        """Bits a second of one channel's codes, each in as many bits as its codebook needs."""
        return self.n_codebooks * self.header.bits_per_code * float(self.header.frame_rate)

    @property
    def coded_bitrate(self) -> float:
        """Bits a second that the codes of one channel take in the file."""
        return 8 * self.payload_bytes / self.header.channels / self.code_seconds

    @property
    def level_bitrates(self) -> list[float] | None:
        """Bits a second that each codebook of one channel takes in the file."""
        if self.level_bytes is None:
            return None
        seconds = self.header.channels * self.code_seconds
        return [8 * n / seconds for n in self.level_bytes]


def inspect_file(source: Path | None, level_coder: FindCoder | None = None) -> Info:
    """Read one .nac file to its end and check it. Raises FormatError.

    Needs no model. level_coder: to tell how many bytes each codebook takes, by coding every chunk
    with one codebook after another.
    """
    with opened(source or sys.stdin.buffer) as file:
        reader = Reader(file)
        most = reader.header.n_codebooks
        payload, frames, levels = 0, [0] * most, [0] * most
        for chunk in reader.chunks():
            payload += len(chunk.payload)
            for level in range(chunk.n_codebooks):
                frames[level] += chunk.frames
            if level_coder:
                coder = level_coder(reader.header)
                codes = coder.decode(
                    chunk.payload, reader.header.channels, chunk.n_codebooks, chunk.frames
                )
                sizes = [len(coder.encode(codes[:, : k + 1])) for k in range(codes.shape[1])]
                for level, (before, size) in enumerate(itertools.pairwise([0, *sizes])):
                    levels[level] += size - before
        header = reader.finish()
        return Info(
            header, reader.tags, header.length, reader.n_frames, reader.n_chunks,
            reader.n_bytes, payload, tuple(frames), tuple(levels) if level_coder else None,
        )  # fmt: skip


@contextlib.contextmanager
def _at_hand(source: Path | BinaryIO | None, consumed: bytes = b"") -> Iterator[Path]:
    """Give the path of `source`, or of a temporary copy if it is a pipe.

    consumed: what was already read of a pipe.
    """
    if isinstance(source, Path) and source.is_file():
        yield source
        return
    with opened(source or sys.stdin.buffer) as pipe, _aside() as copy:
        with copy.open("wb") as file:
            file.write(consumed)
            shutil.copyfileobj(pipe, file, 1 << 20)
        yield copy


@contextlib.contextmanager
def binary_target(job: Job, overwrite: bool) -> Iterator[BinaryIO]:
    """Open the output of `job`: a file that is complete or absent, or standard output."""
    if job.target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with replacing(job.target, overwrite=overwrite) as aside, aside.open("wb") as output:
            yield output


@contextlib.contextmanager
def _audio_target(job: Job, overwrite: bool) -> Iterator[Path]:
    """Give a path to write audio to. A pipe gets the file once it is complete, as its header is
    written last."""
    if job.target:
        with replacing(job.target, overwrite=overwrite) as aside:
            yield aside
        return
    with _aside() as path:
        yield path
        with path.open("rb") as whole:
            shutil.copyfileobj(whole, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _aside() -> Iterator[Path]:
    """Give a path for a temporary file, on the disk that TMPDIR names."""
    with temporary_folder() as folder:
        yield folder / "file"


def opened(source: Path | BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open a path; a pipe is open already and stays so."""
    return source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source)


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


def check_nac_target(job: Job, overwrite: bool) -> None:
    """Raises OutputError, before any work, if a .nac file cannot be written where `job` says."""
    _check_target(job, overwrite)
    if job.target and job.target.suffix.lower() in READ_SUFFIXES:
        raise OutputError(f"{job.target} is named as audio; name it {SUFFIX}")


def _check_target(job: Job, overwrite: bool) -> None:
    if job.target is None:
        if sys.stdout.isatty():
            raise OutputError("refusing to write binary data to a terminal; use -o or a pipe")
        return
    if job.source and job.target.exists() and job.target.samefile(job.source):
        raise OutputError("the output would overwrite the input")
    check_writable(job.target, overwrite=overwrite)
