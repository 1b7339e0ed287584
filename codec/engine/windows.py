"""Audio of any length in constant memory: cut into spans, which threads work on side by side.

A span is given to the network with all that its frames see on either side, and what comes out for
those neighbours is dropped:

    audio     |--------------------------------------------------
    window 0  [         span 0         |after]
    window 1              [before|         span 1         |after]
    window 2                                  [before|      span 2 ...

So the result is that of the whole, however it is cut, and no span waits for another. The price is
the neighbours' time, `before` + `after` frames a span: spans are many times as long.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from codec.engine.backend import Backend
from codec.errors import BackendError
from codec.model.receptive_field import Reach, decoder_reach, encoder_reach
from codec.support.workers import Workers

Audio = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]
Array = npt.NDArray[Any]

# Frames in the windows that are in memory at once, all channels and files taken together: of 960
# samples, they are 16 MB.
FRAMES_AT_WORK = 4096
SHORTEST_SPAN = 128  # frames; short audio is worth a second thread from twice of this


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
    backend: Backend, blocks: Iterable[Audio], n_codebooks: int, workers: Workers
) -> Iterator[Codes]:
    """Codes uint16 [channels, n_codebooks, frames], a span at a time.

    blocks: float32 [channels, samples] at the model's rate, one after another. They may be of any
    length; a span is kept in memory with the blocks that it touches.
    """
    hop = backend.config.hop_length

    def encode(window: Window, channel: int) -> Codes:
        codes = backend.encode(window.data[channel], n_codebooks)
        return codes[:, window.start : window.stop]

    return _coded(encode, blocks, hop, encoder_reach(backend.config), workers)


def decode_spans(backend: Backend, chunks: Iterable[Codes], workers: Workers) -> Iterator[Audio]:
    """Audio float32 [channels, samples] at the model's rate, a span at a time.

    chunks: uint16 [channels, codebooks, frames], one after another, as `encode_spans` gives them.
    The number of codebooks may change from one to the next. There are frames * hop_length samples
    in all.
    """
    hop, most = backend.config.hop_length, backend.config.n_codebooks

    def decode(window: Window, channel: int) -> Audio:
        pieces = _without_counts(window.data[channel])
        audio = backend.decode(pieces[0]) if len(pieces) == 1 else _decode_pieces(backend, pieces)
        return audio[window.start * hop : window.stop * hop]

    counted = (_with_counts(codes, most) for codes in chunks)
    return _coded(decode, counted, 1, decoder_reach(backend.config), workers)


def _with_counts(codes: Codes, most: int) -> Codes:
    """Codes [channels, 1 + most, frames] of which the first row counts the codebooks, so that
    chunks with different numbers of them can be joined and cut."""
    channels, count, frames = codes.shape
    counted = np.zeros((channels, 1 + max(count, most), frames), np.uint16)
    counted[:, 0] = count
    counted[:, 1 : 1 + count] = codes
    return counted


def _without_counts(counted: Codes) -> list[Codes]:
    """The codes [codebooks, frames] of one channel, cut where the number of codebooks changes."""
    edges = [0, *(np.flatnonzero(np.diff(counted[0].astype(int))) + 1), counted.shape[1]]
    return [
        np.ascontiguousarray(counted[1 : 1 + int(counted[0, first]), first:last])
        for first, last in itertools.pairwise(edges)
    ]


def _decode_pieces(backend: Backend, pieces: list[Codes]) -> Audio:
    decode = getattr(backend, "decode_pieces", None)
    if decode is None:
        raise BackendError("a bitrate that varies is decoded by the native engine only")
    audio: Audio = decode(pieces)
    return audio


class Window(NamedTuple):
    """A span among its neighbours."""

    data: Array  # [..., units]
    start: int  # frames of `data` before the span
    stop: int  # and those before its end


def windows(
    pieces: Iterable[Array], frame: int, spans: Iterable[int], reach: Reach
) -> Iterator[Window]:
    """Cuts what `pieces` [..., units] make when joined into windows.

    frame: units a frame; the last may be shorter. spans: frames of each span; the last takes what
    is left, which is at most `reach.after` frames more.
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
            joined = np.concatenate(held, axis=-1)
            yield Window(joined[..., :end], start, stop)
            done = max(0, stop - reach.before)
            held = [joined[..., done * frame :].copy()]
            del joined  # lets go of the rest once its window is done
            units = held[0].shape[-1]
            start = stop - done
            stop = start + next(lengths)
    if units > start * frame:
        yield Window(np.concatenate(held, axis=-1), start, -(-units // frame))


def _coded(
    code: Callable[[Window, int], Array],
    pieces: Iterable[Array],
    frame: int,
    reach: Reach,
    workers: Workers,
) -> Iterator[Array]:
    """`code` of every channel of every window, the channels of one stacked."""
    pieces = iter(pieces)
    try:
        first = next(pieces)
    except StopIteration:
        return
    channels = len(first)
    cut = windows(itertools.chain([first], pieces), frame, span_lengths(workers, channels), reach)
    results = workers.run(
        functools.partial(code, window, channel) for window in cut for channel in range(channels)
    )
    while row := list(itertools.islice(results, channels)):
        yield np.stack(row)
