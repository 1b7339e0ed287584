"""Run the callback that replies, beside the clock, and hand over its frames one by one."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from codec.api import Codec
from codec.engine.stream import StreamEncoder
from codec.errors import TokensError
from codec.lm.duplex.events import Turn
from codec.model.identity import same_tokens
from codec.support.arguments import named_array, shown
from codec.support.types import Codes
from codec.tokens import Tokens

Callback = Callable[[Turn], Any]

AHEAD = 25  # frames that a thread may make ahead of the clock: 1 s


class Ended(Exception):
    """The reply has no more frames."""


class ReplyLeftError(Exception):
    """The callback raised what is no Exception: SystemExit, or that its task was cancelled."""


def frames_of(callback: Callback, turn: Turn, model: Codec, n_codebooks: int) -> Iterator[Codes]:
    """Call `callback` and yield its reply frame by frame, uint16 [n_codebooks, 1].

    It may return one piece, an iterable of pieces, or None for no reply. A piece is codes (integers
    [codebooks, frames]) or the model's `Tokens` of one channel, with at least `n_codebooks`
    codebooks, of which the first are played; or samples (floats or int16 [n] at the model's rate),
    which are encoded. Raises TokensError on anything else, and whatever the callback raises.
    """
    encoder: StreamEncoder | None = None  # of samples: a reply of codes needs none
    levels = range(n_codebooks, model.config.n_codebooks + 1)
    pieces = _pieces(callback(turn))
    try:
        for piece in pieces:
            if isinstance(piece, Tokens):
                codes = _codes_of(piece, model, n_codebooks)
            else:
                array = named_array(piece, "a piece of a reply", TokensError)
                if array.ndim == 1 and (array.dtype.kind == "f" or array.dtype == np.int16):
                    encoder = encoder or model.stream_encoder(n_codebooks=n_codebooks)
                    codes = encoder.push(array)
                elif array.dtype.kind in "iu" and array.ndim == 2 and len(array) in levels:
                    codes = array[:n_codebooks]
                else:
                    raise TokensError(
                        f"a reply is codes [{n_codebooks} or more levels, frames], samples [n] as"
                        f" floats or int16, or Tokens, not {array.dtype} {list(array.shape)}"
                    )
            yield from _single(codes, model)
        if encoder is not None:
            yield from _single(encoder.flush(), model)
    finally:
        close = getattr(pieces, "close", None)  # a generator ends here, not when it is collected
        if close is not None:
            close()


def _pieces(reply: Any) -> Iterator[Any]:
    if reply is None:
        return iter(())
    if isinstance(reply, Tokens) or hasattr(reply, "dtype"):
        return iter((reply,))
    if not isinstance(reply, Iterable) or isinstance(reply, str | bytes):
        raise TokensError(f"a reply is audio, tokens or an iterable of them, not {shown(reply)}")
    return iter(reply)


def _codes_of(tokens: Tokens, model: Codec, n_codebooks: int) -> Codes:
    if not same_tokens(tokens.model_id, model.model_id):
        raise TokensError(
            f"a reply of model {tokens.model_id.hex()}, but this is {model.model_id.hex()}"
        )
    if tokens.channels != 1 or tokens.n_codebooks < n_codebooks:
        raise TokensError(
            f"a reply has one channel and at least {n_codebooks} codebooks, not"
            f" {tokens.channels} and {tokens.n_codebooks}"
        )
    return tokens.codes[0, :n_codebooks]


def _single(codes: Any, model: Codec) -> Iterator[Codes]:
    if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < model.config.codebook_size:
        raise TokensError(f"codes are 0 to {model.config.codebook_size - 1}")
    for frame in range(codes.shape[1]):
        yield np.ascontiguousarray(codes[:, frame : frame + 1], np.uint16)


class Inline:
    """Make each frame when it is due, in the thread of the clock: for replies that never wait.

    What is heard is then a function of the microphone alone.
    """

    def __init__(self) -> None:
        self._frames: Iterator[Codes] = iter(())

    def start(self, frames: Iterator[Codes]) -> None:
        """Begin a reply; one that is still running is cancelled."""
        self.cancel()
        self._frames = frames

    def take(self) -> Codes | None:
        """Return the next frame, or None if it is not ready yet.

        Raises Ended after the last, and once whatever the callback raised.
        """
        try:
            return next(self._frames)
        except StopIteration:
            raise Ended from None

    def cancel(self) -> None:
        """Drop the reply: the callback's generator is closed."""
        frames, self._frames = self._frames, iter(())
        if (close := getattr(frames, "close", None)) is not None:
            close()

    def close(self) -> None:
        """End for good."""
        self.cancel()


class Threaded:
    """Make frames in a thread of their own, up to a second ahead, so that none is waited for.

    One reply runs at a time: the next begins when the callback's generator of the one before has
    been closed. A callback that never comes back is left to itself; the thread is a daemon.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._job = _Job(iter(()))
        self._thread = threading.Thread(target=self._work, name="codec-reply", daemon=True)
        self._thread.start()

    def start(self, frames: Iterator[Codes]) -> None:
        """See `Inline.start`."""
        self.cancel()
        self._job = _Job(frames)
        self._jobs.put(self._job)

    def take(self) -> Codes | None:
        """See `Inline.take`."""
        return self._job.take()

    def cancel(self) -> None:
        """See `Inline.cancel`; the generator is closed in its thread, at its next frame."""
        self._job.cancel()

    def close(self) -> None:
        """End for good, without waiting for a callback that is busy."""
        self.cancel()
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()


class _Job:
    """One reply and the frames of it that wait to be played."""

    def __init__(self, frames: Iterator[Codes]) -> None:
        self._frames = frames
        self._ready: deque[Codes] = deque()
        self._changed = threading.Condition()
        self._cancelled = self._done = False
        self._error: Exception | None = None

    def run(self) -> None:
        error: Exception | None = None
        # What the callback raises is handed to the conversation. It ends no thread: the next
        # replies need this one.
        try:
            if not self._cancelled:
                for frame in self._frames:
                    if not self._offer(frame):
                        break
        except BaseException as raised:
            error = as_exception(raised)
        try:
            self._frames.close()  # type: ignore[attr-defined]
        except BaseException as raised:
            error = error or as_exception(raised)
        with self._changed:
            self._done, self._error = True, error

    def take(self) -> Codes | None:
        with self._changed:
            if self._ready:
                self._changed.notify()
                return self._ready.popleft()
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._done:
                raise Ended
            return None

    def cancel(self) -> None:
        with self._changed:
            self._cancelled = True
            self._ready.clear()
            self._changed.notify()

    def _offer(self, frame: Codes) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or len(self._ready) < AHEAD)
            if not self._cancelled:
                self._ready.append(frame)
            return not self._cancelled


def as_exception(raised: BaseException) -> Exception:
    """Return what a callback raised, or a ReplyLeftError in place of what is no Exception."""
    if isinstance(raised, Exception):
        return raised
    error = ReplyLeftError(f"the callback raised {raised!r}")
    error.__cause__ = raised
    return error
