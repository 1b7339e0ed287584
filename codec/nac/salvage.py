"""Finds what is left of a damaged file: the intact chunks, by their markers and checksums."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from codec.coders.base import Coder
from codec.errors import FormatError
from codec.nac.layout import (
    CHUNK_HEADER_BYTES,
    CHUNK_MARKER,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    TRAILER_BYTES,
    TRAILER_MARKER,
    Chunk,
    Header,
    IndexBuilder,
    Trailer,
)
from codec.nac.reader import FindCoder, decode_chunk, read_tags
from codec.support.file_bytes import FileBytes
from codec.support.types import Codes

Bytes = bytes | FileBytes

# Bytes under checksums for each byte of a file: one suffices for what we write, and without a limit
# a file full of markers, each claiming the longest payload, would be summed up thousands of times.
MAX_WORK = 64

# The most silence that may replace missing frames: a forged chunk may claim to be years later.
MAX_GAP_SECONDS = 24 * 3600


@dataclasses.dataclass(frozen=True)
class Run:
    """Intact chunks with nothing between them: frames [first, stop), from byte `offset` on."""

    first: int
    stop: int
    offset: int


@dataclasses.dataclass(frozen=True)
class Survey:
    """What a scan found. `header.n_samples` is known: that of the file, or what its runs make."""

    header: Header
    tags: dict[str, str]
    runs: tuple[Run, ...]
    problems: tuple[str, ...]  # beside lost frames; each a line
    length_known: bool
    n_bytes: int

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Frames [first, stop) that are missing."""
        edges = [0, *(edge for run in self.runs for edge in (run.first, run.stop))]
        pairs = zip(edges[::2], [*edges[1::2], self.header.n_frames], strict=True)
        return [(first, stop) for first, stop in pairs if first < stop]

    @property
    def intact(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.gaps and not self.problems

    def between_gaps(self) -> list[list[Run]]:
        """Group the runs: two are in one group if no frame is missing between them."""
        groups: list[list[Run]] = []
        for run in self.runs:
            if groups and groups[-1][-1].stop == run.first:
                groups[-1].append(run)
            else:
                groups.append([run])
        return groups

    def lost(self) -> list[tuple[float, float]]:
        """Return the seconds [start, end) that are missing."""
        rate, header = self.header.frame_rate, self.header
        end = (header.n_samples or 0) / header.sample_rate
        return [(float(first / rate), min(end, float(stop / rate))) for first, stop in self.gaps]


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[Bytes]:
    """Give the bytes of a file, which is not read whole. Raises FormatError if it is empty."""
    with path.open("rb") as file:
        data = FileBytes(file.fileno())
        if not len(data):
            raise FormatError("the file is empty")
        yield data


def survey(data: Bytes) -> Survey:
    """Find every intact chunk of `data`, whatever else is damaged or missing.

    Raises FormatError if the header and its copy in the trailer are both damaged, if no chunk is
    intact, or if there are more markers than any damage explains.
    """
    trailer, end = _find_trailer(data)
    header, tags, start, problems = _open(data, trailer)
    found = _scan(data, header, start)
    if not found.runs:
        raise FormatError("none of its chunks is intact")
    known = header.n_samples or (trailer.header.n_samples if trailer else None)
    complete = dataclasses.replace(header, n_samples=known)
    if trailer is None:
        problems.append("the trailer is missing or damaged")
    elif not problems and _covers(found.runs, trailer.header.n_frames):
        problems += _misfits(data[found.end : end - TRAILER_BYTES], complete, trailer, found)
    if end < len(data) and trailer is not None:
        problems.append("there is more after its end")
    frames = found.runs[-1].stop
    if known is None or complete.n_frames < frames:
        complete = dataclasses.replace(header, n_samples=_samples(header, frames))
    result = Survey(
        header=complete,
        tags=tags,
        runs=tuple(found.runs),
        problems=tuple(problems),
        length_known=header.n_samples is not None or trailer is not None,
        n_bytes=len(data),
    )
    lost = sum(stop - first for first, stop in result.gaps) / header.frame_rate
    if lost > MAX_GAP_SECONDS:
        raise FormatError(f"{float(lost) / 3600:.0f} hours are missing in it: they are not filled")
    return result


def _open(data: Bytes, trailer: Trailer | None) -> tuple[Header, dict[str, str], int, list[str]]:
    """Return the header, the tags, where chunks may begin, and what is wrong, a line each.

    Raises FormatError if the header is damaged and there is no trailer with its copy.
    """
    problems: list[str] = []
    try:
        header = Header.unpack(data[:HEADER_BYTES])
        start = header.body
    except FormatError as error:
        if trailer is None:
            raise
        header, start = trailer.header, HEADER_BYTES
        problems.append(f"{error}; its copy at the end is read")
    try:
        return header, read_tags(data[HEADER_BYTES : header.body], header), start, problems
    except FormatError as error:
        return header, {}, HEADER_BYTES, [*problems, str(error)]


@dataclasses.dataclass
class _Scan:
    """The intact chunks of a file, as runs in order."""

    index: IndexBuilder
    runs: list[Run]
    end: int  # of the last chunk
    strange: bool = False  # whether there is anything between chunks


def _scan(data: Bytes, header: Header, position: int) -> _Scan:
    """Find the intact chunks from `position` on. Raises FormatError if that is too much work."""
    found = _Scan(IndexBuilder(header), [], position)
    runs = found.runs
    work = MAX_WORK * len(data) + MAX_PAYLOAD_BYTES
    while position >= 0:
        at = _chunk_at(data, position, header)
        if at is None:
            position = data.find(CHUNK_MARKER, position + 1)
            continue
        chunk, payload_end, crc = at
        work -= payload_end - position
        if work < 0:
            raise FormatError("too many false chunks in it: it was made to waste time")
        after = runs[-1].stop if runs else 0
        if chunk.first_frame < after or not _is_intact(data, position, payload_end):
            position += 1
            continue
        found.index.add(position, crc)
        joined = position == found.end
        found.strange = found.strange or not joined
        stop = chunk.first_frame + chunk.frames
        if runs and joined and chunk.first_frame == after:
            runs[-1] = dataclasses.replace(runs[-1], stop=stop)
        else:
            runs.append(Run(chunk.first_frame, stop, position))
        position = found.end = payload_end
    return found


def _misfits(index: bytes, header: Header, trailer: Trailer, found: _Scan) -> list[str]:
    """Tell what is wrong around chunks that are all intact: `index` lies after the last."""
    chunks = found.index
    expected = Trailer(header, found.end, chunks.n_chunks, chunks.digest)
    if index != chunks.pack() or trailer != expected:
        return ["the index or the trailer is not that of the chunks"]
    return ["there is something between its chunks"] if found.strange else []


def read_run(data: Bytes, header: Header, run: Run, find_coder: FindCoder) -> Iterator[Codes]:
    """Give the codes uint16 [channels, codebooks, frames] of each chunk of a run."""
    coder: Coder = find_coder(header)
    position, frame = run.offset, run.first
    while frame < run.stop:
        found = _chunk_at(data, position, header)
        assert found is not None  # as it was when the run was found
        chunk, end, _ = found
        payload = data[position + CHUNK_HEADER_BYTES : end]
        number = chunk.first_frame // header.frames_per_chunk
        yield decode_chunk(coder, header, dataclasses.replace(chunk, payload=payload), number)
        position, frame = end, frame + chunk.frames


def _chunk_at(data: Bytes, position: int, header: Header) -> tuple[Chunk, int, bytes] | None:
    """Return the chunk at `position`, if it can be one: header, end of its payload, CRC."""
    fields = data[position : position + CHUNK_HEADER_BYTES]
    if len(fields) < CHUNK_HEADER_BYTES or not fields.startswith(CHUNK_MARKER):
        return None
    try:
        chunk, length, crc = Chunk.unpack_header(fields, header)
    except FormatError:
        return None
    end = position + CHUNK_HEADER_BYTES + length
    return (chunk, end, crc) if end <= len(data) else None


def _is_intact(data: Bytes, position: int, end: int) -> bool:
    payload = position + CHUNK_HEADER_BYTES
    return Chunk.is_intact(data[position:payload], data[payload:end])


def _find_trailer(data: Bytes) -> tuple[Trailer | None, int]:
    """Return the last intact trailer, and where it ends."""
    end = len(data)
    for _ in range(16):
        at = data.rfind(TRAILER_MARKER, 0, end)
        if at < 0:
            break
        with contextlib.suppress(FormatError):
            return Trailer.unpack(data[at : at + TRAILER_BYTES]), at + TRAILER_BYTES
        end = at + len(TRAILER_MARKER) - 1
    return None, len(data)


def _covers(runs: list[Run], frames: int) -> bool:
    """Tell whether the runs, which are in order, have all of `frames` frames."""
    return sum(run.stop - run.first for run in runs) == frames


def _samples(header: Header, frames: int) -> int:
    """Return the most samples that make `frames` frames."""
    rate = header.frame_rate
    return frames * header.sample_rate * rate.denominator // rate.numerator
