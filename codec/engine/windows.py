"""Audio of any length in constant memory: cut into spans, which threads work on side by side.

The network gets a span together with all that its frames see on either side, its neighbours; what
comes out for the neighbours is dropped:

    audio     |--------------------------------------------------
    window 0  [         span 0         |after]
    window 1              [before|         span 1         |after]
    window 2                                  [before|      span 2 ...

So the result equals that of the whole however it is cut, and no span waits for another. The
neighbours cost time, `before` + `after` frames for each span, so spans are many times as long.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from codec.engine.backend import Backend, beam_search
from codec.model.receptive_field import Reach, decoder_reach, encoder_reach
from codec.support.types import Codes
from codec.support.workers import Workers

Audio = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

# Frames of all windows in memory at once, over all channels and files: with 960 samples a frame,
# 16 MB.
FRAMES_AT_WORK = 4096
SHORTEST_SPAN = 128  # frames; from twice this length, short audio is worth a second thread


def span_lengths(workers: Workers, channels: int) -> Iterator[int]:
    """Give the lengths of spans in frames, up to the longest that memory allows.

    With threads they start short and grow, so that short audio is spread over the threads too.
    """
    at_work = FRAMES_AT_WORK // workers.files
    longest = max(SHORTEST_SPAN, at_work // max(workers.in_flight, 2 * channels))
    length = SHORTEST_SPAN if workers.parallel else longest
    while length < longest:
        yield length
        length *= 2
    yield from itertools.repeat(longest)


def encode_spans(
    backend: Backend, blocks: Iterable[Audio], n_codebooks: int, workers: Workers, beam: int = 1
) -> Iterator[Codes]:
    """Encode to codes uint16 [channels, n_codebooks, frames], a span at a time.

    blocks: float32 [channels, samples] at the model's rate, one after another; of a model that
    codes two channels together, as `codec.engine.pairs` makes them. They may be of any length; a
    span is kept in memory with the blocks that it touches. beam: paths of the search for the codes,
    1 unless the backend is a `BeamSearch` (else BackendError).
    """
    hop, encode_one = backend.config.hop_length, backend.encode
    if beam > 1:
        search = beam_search(backend).encode_beam
        encode_one = functools.partial(search, beam=beam, stopped=workers.stopped)

    def encode(window: Window, channel: int) -> Codes:
        samples = np.concatenate([piece[channel] for piece in window.pieces], axis=-1)
        codes = encode_one(samples, n_codebooks)
        return codes[:, window.start : window.stop]

    return in_windows(encode, blocks, hop, encoder_reach(backend.config), workers)


def decode_spans(backend: Backend, chunks: Iterable[Codes], workers: Workers) -> Iterator[Audio]:
    """Decode to audio float32 [channels, samples] at the model's rate, a span at a time; that of
    a model which codes two channels together is [pairs, 2, samples].

    chunks: uint16 [channels, codebooks, frames], one after another, as `encode_spans` gives them.
    The number of codebooks may change from one to the next. There are frames * hop_length samples
    in all.
    """
    hop = backend.config.hop_length

    def decode(window: Window, channel: int) -> Audio:
        pieces = _joined([piece[channel] for piece in window.pieces])
        audio = backend.decode(pieces[0]) if len(pieces) == 1 else backend.decode_pieces(pieces)
        return audio[..., window.start * hop : window.stop * hop]

    return in_windows(decode, chunks, 1, decoder_reach(backend.config), workers)


def _joined(pieces: Sequence[Codes]) -> list[Codes]:
    """Join neighbours of codes [codebooks, frames] that have the same number of codebooks."""
    return [np.concatenate(list(same), axis=1) for _, same in itertools.groupby(pieces, key=len)]


class Window(NamedTuple):
    """A span among its neighbours."""

    pieces: tuple[Array, ...]  # [..., units], of span and neighbours, one after another
    start: int  # frames of them before the span
    stop: int  # and those before its end


def windows(
    pieces: Iterable[Array], frame: int, spans: Iterable[int], reach: Reach
) -> Iterator[Window]:
    """Cut what `pieces` [..., units] make when joined into windows.

    frame: units a frame; the last may be shorter. spans: frames of each span; the last takes what
    is left, which is at most `reach.after` frames more. The pieces of a window are views of those
    given, which may have any shape before their last axis.
    """
    held: list[Array] = []
    units = 0  # of `held`
    start = 0  # frames of `held` before the next span
    lengths = iter(spans)
    stop = next(lengths)
    for piece in pieces:
        held.append(piece)
        units += piece.shape[-1]
        while units >= (end := (stop + reach.after) * frame):
            yield Window(tuple(_cut(held, 0, end)), start, stop)
            done = max(0, stop - reach.before)
            held = _cut(held, done * frame, units)
            units -= done * frame
            start = stop - done
            stop = start + next(lengths)
    if units > start * frame:
        yield Window(tuple(held), start, -(-units // frame))


def _cut(pieces: Sequence[Array], first: int, last: int) -> list[Array]:
    """Give units [first, last) of the joined `pieces` [..., units], as views."""
    found, at = [], 0
    for piece in pieces:
        size = piece.shape[-1]
        if (part := piece[..., max(0, first - at) : max(0, last - at)]).shape[-1]:
            found.append(part)
        at += size
    return found


def in_windows(
    code: Callable[[Window, int], Array],
    pieces: Iterable[Array],
    frame: int,
    reach: Reach,
    workers: Workers,
    spans: Iterable[int] | None = None,
) -> Iterator[Array]:
    """Give `code` of every channel of every window, the channels of one window stacked.

    spans: frames of each span, for a `code` whose results depend on them; by default
    `span_lengths`.
    """
    pieces = iter(pieces)
    try:
        first = next(pieces)
    except StopIteration:
        return
    channels = len(first)
    lengths = span_lengths(workers, channels) if spans is None else spans
    cut = windows(itertools.chain([first], pieces), frame, lengths, reach)
    results = workers.run(
        functools.partial(code, window, channel) for window in cut for channel in range(channels)
    )
    while row := list(itertools.islice(results, channels)):
        yield np.stack(row)
