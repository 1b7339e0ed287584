"""What is left of a damaged file: its intact chunks, found by their markers and checksums."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codec.coders.base import Coder
from codec.errors import FormatError
from codec.nac.container import FindCoder, decode_chunk, read_tags
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

Codes = npt.NDArray[np.uint16]
Bytes = bytes | mmap.mmap

# Bytes under checksums for each byte of a file: one suffices for what we write, and without a limit
# a file full of markers, each claiming the longest payload, would be summed up thousands of times.
MAX_WORK = 64

# Silence in place of what is lost, in all: a forged chunk may claim to be years later.
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
        """Frames [first, stop) that are lost."""
        edges = [0, *(edge for run in self.runs for edge in (run.first, run.stop))]
        pairs = zip(edges[::2], [*edges[1::2], self.header.n_frames], strict=True)
        return [(first, stop) for first, stop in pairs if first < stop]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.gaps and not self.problems

    def between_gaps(self) -> list[list[Run]]:
        """The runs, those together that only strange bytes lie between."""
        groups: list[list[Run]] = []
        for run in self.runs:
            if groups and groups[-1][-1].stop == run.first:
                groups[-1].append(run)
            else:
                groups.append([run])
        return groups

    def lost(self) -> list[tuple[float, float]]:
        """Seconds [start, end) that are lost."""
        rate, header = self.header.frame_rate, self.header
        end = (header.n_samples or 0) / header.sample_rate
        return [(float(first / rate), min(end, float(stop / rate))) for first, stop in self.gaps]


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[Bytes]:
    """The bytes of a file, without reading it whole."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise FormatError("the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def survey(data: Bytes) -> Survey:
    """Find every intact chunk of `data`, whatever else is damaged or missing.

    Raises FormatError if neither the header nor its copy in the trailer is there, if no chunk is
    intact, or if there are more markers than any damage explains.
    """
    problems: list[str] = []
    trailer, end = _find_trailer(data)
    try:
        header = Header.unpack(data[:HEADER_BYTES])
        position = header.body
    except FormatError as error:
        if trailer is None:
            raise
        header, position = trailer.header, HEADER_BYTES
        problems.append(f"{error}; its copy at the end is read")
    tags: dict[str, str] = {}
    try:
        tags = read_tags(data[HEADER_BYTES : header.body], header)
    except FormatError as error:
        problems.append(str(error))
        position = HEADER_BYTES
    index = IndexBuilder(header)
    runs: list[Run] = []
    chunks_end = position
    strange = False  # whether there is something between chunks
    work = MAX_WORK * len(data) + MAX_PAYLOAD_BYTES
    while True:
        found = _chunk_at(data, position, header)
        if found is None:
            following = data.find(CHUNK_MARKER, position + 1)
            if following < 0:
                break
            position = following
            continue
        chunk, payload_end, crc = found
        work -= payload_end - position
        if work < 0:
            raise FormatError("too many false chunks in it: it was made to waste time")
        stop = chunk.first_frame + chunk.frames
        after = runs[-1].stop if runs else 0
        if chunk.first_frame < after or not _is_sound(data, position, payload_end):
            position += 1
            continue
        index.add(position, crc)
        joined = position == chunks_end
        strange = strange or not joined
        if runs and joined and chunk.first_frame == after:
            runs[-1] = dataclasses.replace(runs[-1], stop=stop)
        else:
            runs.append(Run(chunk.first_frame, stop, position))
        position = chunks_end = payload_end
    if not runs:
        raise FormatError("none of its chunks is intact")
    known = header.n_samples or (trailer.header.n_samples if trailer else None)
    if trailer is None:
        problems.append("the trailer is missing or damaged")
    else:
        expected = Trailer(
            dataclasses.replace(header, n_samples=known), chunks_end, index.n_chunks, index.digest
        )
        whole = data[chunks_end : end - TRAILER_BYTES] == index.pack() and trailer == expected
        if not whole and not problems and _covers(runs, trailer.header.n_frames):
            problems.append("the index or the trailer is not that of the chunks")
        elif strange and not problems and _covers(runs, trailer.header.n_frames):
            problems.append("there is something between its chunks")
    if end < len(data) and trailer is not None:
        problems.append("there is more after its end")
    frames = runs[-1].stop
    if known is None or dataclasses.replace(header, n_samples=known).n_frames < frames:
        known = _samples(header, frames)
    result = Survey(
        dataclasses.replace(header, n_samples=known),
        tags,
        tuple(runs),
        tuple(problems),
        header.n_samples is not None or trailer is not None,
        len(data),
    )
    lost = sum(stop - first for first, stop in result.gaps) / header.frame_rate
    if lost > MAX_GAP_SECONDS:
        raise FormatError(f"{float(lost) / 3600:.0f} hours are missing in it: they are not filled")
    return result


def read_run(data: Bytes, header: Header, run: Run, find_coder: FindCoder) -> Iterator[Codes]:
    """The codes uint16 [channels, codebooks, frames] of the chunks of a run."""
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
    """The chunk that starts at `position`, if it can be one: header, end of its payload, CRC."""
    fields = data[position : position + CHUNK_HEADER_BYTES]
    if len(fields) < CHUNK_HEADER_BYTES or not fields.startswith(CHUNK_MARKER):
        return None
    try:
        chunk, length, crc = Chunk.unpack_header(fields, header)
    except FormatError:
        return None
    end = position + CHUNK_HEADER_BYTES + length
    return (chunk, end, crc) if end <= len(data) else None


def _is_sound(data: Bytes, position: int, end: int) -> bool:
    payload = position + CHUNK_HEADER_BYTES
    return Chunk.is_sound(data[position:payload], data[payload:end])


def _find_trailer(data: Bytes) -> tuple[Trailer | None, int]:
    """The last intact trailer, and where it ends."""
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
    """Whether runs, which are in order, have all of so many frames."""
    return sum(run.stop - run.first for run in runs) == frames


def _samples(header: Header, frames: int) -> int:
    """The most samples that make `frames` frames."""
    rate = header.frame_rate
    return frames * header.sample_rate * rate.denominator // rate.numerator
