"""Decodes a file by what it contains: chooses the decoder, and runs it for each stream.

A source has channels, sample_rate, claimed (samples that the file says it has, 0 if it does not),
tags, layout (speakers in the order of the channels, "" if unknown), decoder, warnings, damaged (the
first sample and the number of samples of each place that could not be decoded), and
`blocks(start)`, all of it from a sample on, in blocks [samples, channels].
"""

from __future__ import annotations

import errno
import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from codec.audio import flac, helper, libav, mpeg, ogg, riff, sphere, wavpack
from codec.audio.arrays import block_samples
from codec.audio.channels import LAYOUTS, WAVE_FROM_VORBIS
from codec.audio.content import Bytes, Part, Spliced, check_unchanged, content
from codec.audio.extents import finished_caf, missing_bytes, second_file, whole_au
from codec.audio.flac_damage import FlacStream
from codec.audio.formats import TAGS
from codec.audio.libsndfile import SndFile
from codec.audio.sniff import BY_LIBSNDFILE, kind_of
from codec.errors import AudioError, CodecError
from codec.support.shortage import is_shortage

Block = npt.NDArray[np.float32]  # [samples, channels]

_BEHIND = "joined: what follows the audio cannot be decoded, and was left out"


class Source(Protocol):
    """A decoder of one file; see this file's docstring."""

    channels: int
    sample_rate: int
    claimed: int
    tags: dict[str, str]
    layout: str
    decoder: str
    warnings: list[str]

    @property
    def damaged(self) -> Sequence[tuple[int, int]]: ...

    def blocks(self, start: int) -> Iterator[Block]: ...

    def close(self) -> None: ...


def open_source(file: BinaryIO, data: Bytes) -> Source:
    """Open the source of a seekable file whose content is `data`. Raises AudioError."""
    kind = kind_of(data)
    if kind is None:
        raise AudioError("cannot read audio: format not recognised")
    if kind == "wav":
        wave = WaveSource(data)
        if wave.kind:
            return wave
    elif kind == "flac":
        try:
            return LinkSource([_flac_opener(data, stream) for stream in flac.streams(data)])
        except NotOpenedError:
            pass  # by FFmpeg, perhaps
    elif kind == "ogg":
        if links := _ogg_openers(data):
            return links
    elif kind == "mp3":
        frames, source = _mp3(data)
        if frames.clean:
            return source
        source.close()
    return _helped(file, kind)


class NotOpenedError(AudioError):
    """libsndfile cannot open the file; FFmpeg may."""


def _helped(file: BinaryIO, kind: str) -> Source:
    if kind == "mp3":
        return WholeSource(helper.Helper(file, kind, "libsndfile"))
    problem: CodecError | None = None
    if kind == "wav" or kind in BY_LIBSNDFILE:
        try:
            return WholeSource(helper.Helper(file, kind, "libsndfile"))
        except AudioError as error:
            problem = error
    if libav.available():
        try:
            return WholeSource(helper.Helper(file, kind, "av"))
        except AudioError as error:
            raise problem or error from None
    if problem:
        raise problem
    raise AudioError(f"cannot read audio: {kind.upper()} needs PyAV: {libav.HINT}")


class WaveSource:
    """A WAV of plain samples, which are read here."""

    decoder = "codec"
    damaged = ()

    def __init__(self, data: Bytes) -> None:
        walker = riff.Walker(data)
        wave = walker.head
        self._data, self._start, self._frame = data, walker.at, wave.frame_bytes
        self._wave = wave
        self.kind = wave.kind
        there = len(data) - walker.at
        self.claimed = (wave.size if wave.size is not None else there) // wave.frame_bytes
        self._n_frames = min(there // wave.frame_bytes, self.claimed)
        self.channels, self.sample_rate = wave.channels, wave.sample_rate
        self.warnings: list[str] = []
        self.tags, self.layout = dict(wave.tags), wave.layout
        try:
            self.tags |= walker.tags_behind()
        except riff.JoinedError as error:
            self.warnings.append(str(error))

    def for_decoder(self) -> list[Part]:
        """Return the samples behind a plain header. Raises AudioError if there are too many."""
        there = len(self._data) - self._start
        size = min(there, self._wave.size or there)
        return [riff.plain_header(self._wave, size), (self._start, self._start + size)]

    def mpeg_stream(self) -> Bytes | None:
        """Take MP3 out of the WAV, into memory: its frames say how many samples there are, of which
        the header knows nothing. None if there is none."""
        if self._wave.coding not in riff.MPEG:
            return None
        bare = Spliced(self._data, self.for_decoder()[1:]).read()
        return bare if mpeg.first_frame(bare, mpeg.after_id3(bare)) is not None else None

    def blocks(self, start: int) -> Iterator[Block]:
        if start and start >= self._n_frames:
            raise AudioError(f"cannot read from sample {start}: the audio ends before")
        step = block_samples(self.channels)
        for frame in range(start, self._n_frames, step):
            stop = min(self._n_frames, frame + step)
            at = self._start + frame * self._frame
            data = bytes(self._data[at : at + (stop - frame) * self._frame])
            yield riff.floats(data, self.kind).reshape(-1, self.channels)

    def close(self) -> None:
        pass


# A stream in the file: itself, to be read from a sample on or from the start; what is warned of.
Opener = Callable[[], tuple[SndFile, list[str]]]


_VORBIS_BLOCK = 8192  # samples at most (Vorbis I, 1.2.1)
# Samples at 48 kHz after which an Opus decoder that began elsewhere gives the same to the bit. RFC
# 7845 asks for 80 ms, which leaves a thousandth; after 1 s nothing was left in any file tried.
_OPUS_PREROLL = 96_000
# Frames of MP3 have bits in up to 511 bytes before them, which are at most 15 frames. The last bit
# of a sample stays another, as the decoder's sums have another order.
_MP3_PREROLL = 16 * 1152


class LinkSource:
    """Streams that follow each other, all read by libsndfile, which reads one.

    order: that of WAVE, as channels of the stream. trusted: the streams are as long as they claim,
    and a start within is sought.
    """

    def __init__(
        self,
        openers: list[Opener],
        order: tuple[int, ...] | None = None,
        layout: str | None = None,
        claimed: int | None = None,
        trusted: bool = False,
    ) -> None:
        self._openers, self._order, self._trusted = openers, order, trusted
        self._begun, self._before = 0, list[tuple[int, int]]()  # of the streams that were read
        self._file, self.warnings = openers[0]()
        self.channels, self.sample_rate = self._file.channels, self._file.sample_rate
        own = self._file.claimed if self._file.claimed < 1 << 40 else 0
        self.claimed = claimed if claimed is not None else own if len(openers) == 1 else 0
        self.tags, self.decoder = self._file.tags, self._file.decoder
        self.layout = LAYOUTS.get(self.channels, "") if layout is None else layout

    def blocks(self, start: int) -> Iterator[Block]:
        ahead, given = start, 0
        form = (self.channels, self.sample_rate)
        for k, opener in enumerate(self._openers):
            if k:
                self._before = self.damaged
                self._file.close()
                self._file, warnings = opener()
                self.warnings += warnings
                self._begun = given
            file = self._file
            if (file.channels, file.sample_rate) != form:
                raise AudioError(
                    f"the audio changes from {form[0]} channels at {form[1]} Hz to"
                    f" {file.channels} at {file.sample_rate} after {given} samples"
                )
            if self._trusted and ahead:
                if ahead >= file.claimed:
                    ahead, given = ahead - file.claimed, given + file.claimed
                    continue
                last = ahead if file.exact is None else file.exact
                sought = max(0, min(ahead - file.preroll, last))
                file.seek(sought)
                ahead, given = ahead - sought, given + sought
            for block in self._all(file):
                given += len(block)
                skipped = min(ahead, len(block))
                ahead -= skipped
                block = block[skipped:]
                if len(block):
                    yield block if self._order is None else block[:, self._order]
        if ahead or (start and given <= start):
            raise AudioError(f"cannot read from sample {start}: the audio ends before")

    @property
    def damaged(self) -> list[tuple[int, int]]:
        return [*self._before, *((self._begun + at, n) for at, n in self._file.damaged)]

    def _all(self, file: SndFile) -> Iterator[Block]:
        """Read `file` to its end. What cannot be decoded behind the samples it claims is none."""
        read, step = 0, block_samples(self.channels)
        while True:
            missing = file.claimed - read
            try:
                block = file.read(min(step, missing) if missing > 0 else step)
            except AudioError:
                if read != file.claimed or not read:
                    raise
                self.warnings.append(_BEHIND)
                return
            if not len(block):
                if file.cut:
                    self.warnings.append("cut off")
                return
            read += len(block)
            yield block

    def close(self) -> None:
        self._file.close()


def _flac_opener(data: Bytes, stream: flac.Stream) -> Opener:
    def opened() -> tuple[SndFile, list[str]]:
        try:
            file = FlacStream(data, stream.endless, "flac", lambda: (data, stream))
        except AudioError as error:
            raise NotOpenedError(str(error)) from None
        file.claimed = stream.claimed
        return file, []

    return opened


def _ogg_openers(data: Bytes) -> LinkSource | None:
    found, damaged = ogg.links(data)
    streams = [link.audio for link in found]
    if not streams or any(s is None or s.codec not in ogg.READABLE for s in streams):
        return None
    openers: list[Opener] = []
    warnings: list[str] = []
    for stream in streams:
        assert stream is not None
        flac_ = stream.codec == "FLAC"
        parts: list[Part] = ogg.native_flac(data, stream) if flac_ else list(stream.pages)

        def opened(
            parts: list[Part] = parts, flac_: bool = flac_, stream: ogg.Stream = stream
        ) -> tuple[SndFile, list[str]]:
            if flac_:
                return FlacStream(data, parts, "ogg", lambda: _native(data, parts)), []
            file = SndFile(data, parts, "ogg")
            if stream.codec == "Vorbis":
                # libsndfile counts back from the end of a page, and that of the last one may be
                # trimmed.
                file.exact = file.claimed - stream.last_page - _VORBIS_BLOCK
            elif stream.codec == "Opus":
                file.preroll = _OPUS_PREROLL
            return file, []

        openers.append(opened)
        if stream.gaps:
            warnings.append(f"damaged: {stream.gaps} times pages are missing")
        if not stream.ended:
            warnings.append("cut off")
    if damaged and not warnings:
        warnings.append("damaged: bytes that are in no page were left out")
    first = streams[0]
    assert first is not None
    discrete = ogg.is_discrete(first)
    source = LinkSource(openers, trusted=not damaged and first.codec != "FLAC")
    if first.codec != "FLAC" and not discrete:
        source._order = WAVE_FROM_VORBIS.get(source.channels)
    if discrete:
        source.layout = ""
    source.warnings += warnings
    return source


def _native(data: Bytes, parts: list[Part]) -> tuple[Bytes, flac.Stream]:
    """Take FLAC out of Ogg, into memory."""
    whole = Spliced(data, parts).read()
    return whole, flac.streams(whole)[0]


def _mp3(data: Bytes) -> tuple[mpeg.Frames, LinkSource]:
    start = mpeg.first_frame(data, mpeg.after_id3(data))
    assert start is not None
    frames = mpeg.frames(data, start)
    # The tag in front is handed over as it is: libsndfile reads its fields, but knows no footer.
    footer = len(data) > 5 and data[5] & 0x10
    parts: list[Part] = [(0, 0 if footer else mpeg.after_id3(data)), *frames.parts]

    def opened() -> tuple[SndFile, list[str]]:
        warnings = []
        if not frames.clean:
            warnings.append("damaged: bytes between frames were left out")
        if frames.cut or frames.missing:
            warnings.append("cut off")
        if frames.samples is None:
            file = SndFile(data, parts, "mp3")
        else:
            # libsndfile guesses from the bitrate of the first frame, at most 40 times another's.
            file = SndFile(data, parts, "mp3", more=64 * len(data))
            file.claimed = frames.samples
        file.preroll = _MP3_PREROLL
        return file, warnings

    source = LinkSource([opened], trusted=True)
    source.claimed += frames.missing
    return frames, source


class WholeSource:
    """A source that can be read from its beginning only."""

    damaged = ()

    def __init__(self, inner: helper.Helper | libav.AvFile) -> None:
        self._inner = inner
        self.channels, self.sample_rate = inner.channels, inner.sample_rate
        self.claimed, self.tags, self.layout = inner.claimed, inner.tags, inner.layout
        self.decoder, self.warnings = inner.decoder, inner.warnings

    def blocks(self, start: int) -> Iterator[Block]:
        ahead, given = start, 0
        for block in self._inner.blocks():
            skipped = min(ahead, len(block))
            ahead, given = ahead - skipped, given + len(block)
            if skipped < len(block):
                yield block[skipped:]
        if start and given <= start:
            raise AudioError(f"cannot read from sample {start}: the audio ends before")

    def close(self) -> None:
        self._inner.close()


def serve(kind: str, decoder: str) -> None:
    """Decode standard input for a `Helper`, to standard output."""
    helper.limit_memory()
    file, output = sys.stdin.buffer, sys.stdout.buffer
    begun, unchanged = False, functools.partial(check_unchanged, b"")
    try:
        source: Source
        if decoder == "av":
            data = content(file)
            tagged = mpeg.before_tags(data) < len(data)
            file.seek(0)
            read = libav.AvFile(file, kind, tagged=tagged)
            if kind == "wavpack" and (rest := wavpack.bytes_behind(data)):
                read.warnings.append(f"joined: {rest} bytes behind the first stream are not read")
            source = WholeSource(read)
        else:
            data = content(file)
            unchanged = functools.partial(check_unchanged, data)
            if kind == "mp3":
                source = _mp3(data)[1]
            else:
                parts: list[Part] = [(0, len(data))]
                more: list[str] = []
                wave = WaveSource(data) if kind == "wav" else None
                if wave:
                    parts = wave.for_decoder()
                elif kind == "caf":
                    parts = finished_caf(data)
                elif kind == "au":
                    parts = whole_au(data)
                elif kind == "sphere":
                    parts, more = sphere.samples(data)
                cut = ["cut off"] if missing_bytes(data, kind) else []
                if (end := second_file(data, kind)) is not None:
                    parts = [(0, end)]
                    more = ["joined: another file follows, which was not read"]
                bare = wave.mpeg_stream() if wave else None
                if bare is not None:
                    source = _mp3(bare)[1]
                    cut = [text for text in cut if text not in source.warnings]
                    source.warnings += cut
                else:
                    source = LinkSource(
                        [lambda: (SndFile(data, parts, kind), cut + more)], layout=""
                    )
                if wave:
                    source.tags = wave.tags
                    source.warnings += wave.warnings
        blocks = source.blocks(0)
        first = next(blocks, None)
        tags = {key: value for key, value in source.tags.items() if key in TAGS}
        head = {
            "channels": source.channels, "sample_rate": source.sample_rate, "tags": tags,
            "claimed": source.claimed, "layout": source.layout, "decoder": source.decoder,
        }  # fmt: skip
        helper.answer(output, head)
        begun = True
        for block in itertools.chain([] if first is None else [first], blocks):
            helper.send(output, block)
        unchanged()
        problem: dict[str, Any] = {}
    except CodecError as error:
        problem = {"error": str(error)}
    except OSError as error:
        # Others are of damaged files: FFmpeg seeks to places before the beginning.
        if is_shortage(error) or error.errno in (errno.EIO, errno.ESTALE):
            problem = {"lost": error.strerror or str(error), "errno": error.errno}
        else:
            problem = {"error": str(error)}
    except MemoryError:
        problem = {"error": "the decoder needs too much memory for this file"}
    except Exception as error:  # of a library that the file misleads, as where it crashes
        said = " ".join(str(error).split())
        problem = {"error": f"the decoder failed on this file: {type(error).__name__}: {said}"}
    if begun:
        helper.send_end(output)
    helper.answer(output, problem or {"warnings": source.warnings})
    output.flush()
