"""Serve a page that talks to a `Conversation` from a browser, over a WebSocket.

The page sends the microphone as int16 samples, little-endian, in messages of any length, at the
rate that it names in the address (`/talk?rate=24000`). It gets as much sound back, in the same
form, and a JSON text message for each event:

    {"kind": "turn began", "state": "hearing", "seconds": 1.2, "heard": null, "late": 0}

and first {"kind": "ready", "rate": 24000}. Everything is served from the package: the page loads
nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import numpy.typing as npt
import soxr

from codec.errors import MissingPackageError, OutputError
from codec.lm.duplex.conversation import Conversation
from codec.lm.duplex.events import Event

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/worklets.js": ("worklets.js", "text/javascript; charset=utf-8"),
}
POLICY = "default-src 'self'; connect-src 'self' ws: wss:; img-src data:; frame-ancestors 'none'"
MOST = 8  # conversations at once
RATES = range(8000, 192_001)
LONGEST_MESSAGE = 1 << 20  # bytes

Make = Callable[[Callable[[Event], None]], Conversation]
Floats = npt.NDArray[np.float32]


async def serve(
    make: Make, host: str, port: int, started: Callable[[str], None] | None = None
) -> None:
    """Serve the page until cancelled.

    make: opens a conversation, given what must be called with each event; one for each visitor.
    port: 0 for any that is free. started: is called with the address once the page can be opened.
    Raises MissingPackageError without websockets, OutputError if the port cannot be had.
    """
    try:
        from websockets.asyncio.server import serve as listen
    except ImportError:
        raise MissingPackageError(
            "the page needs websockets: pip install 'codec[converse]'"
        ) from None
    visitors = _Visitors(make)
    try:
        server = await listen(
            visitors.talk, host, port, process_request=_answer, max_size=LONGEST_MESSAGE,
            logger=_quiet_logger(), compression=None,
        )  # fmt: skip
    except OSError as error:
        raise OutputError(f"cannot listen on {host}, port {port}: {error.strerror}") from None
    async with server:
        found = next(iter(server.sockets)).getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        if started is not None:
            started(f"http://{name}:{found}/")
        await asyncio.get_running_loop().create_future()


def _quiet_logger() -> logging.Logger:
    logger = logging.getLogger("codec-converse")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False  # a visitor that leaves in the middle is no error
    return logger


def _answer(connection: Any, request: Any) -> Any:
    """Serve a file of the page; None for the WebSocket, to those who come from the page itself."""
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    def response(status: HTTPStatus, kind: str, body: bytes) -> Response:
        headers = Headers(
            {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Content-Security-Policy": POLICY,
                "Cache-Control": "no-cache",
                "X-Content-Type-Options": "nosniff",
                "Connection": "close",
            }
        )
        return Response(status.value, status.phrase, headers, body)

    path = urlsplit(request.path).path
    if path == "/talk":
        origin = request.headers.get("Origin")
        # Any other page that is open in this browser could connect, and listen, too.
        if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
            return response(HTTPStatus.FORBIDDEN, "text/plain", b"another origin\n")
        return None
    if path not in FILES:
        return response(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
    name, kind = FILES[path]
    return response(HTTPStatus.OK, kind, (PAGE / name).read_bytes())


class _Visitors:
    """The conversations that are open."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._count = 0

    async def talk(self, connection: Any) -> None:
        """Run one conversation, from the WebSocket's opening to its end."""
        from websockets.exceptions import ConnectionClosed

        rate = _rate(connection.request.path)
        if rate is None:
            await connection.close(1008, "the rate is 8000 to 192000")
            return
        if self._count >= MOST:
            await connection.close(1013, f"{MOST} conversations are open already")
            return
        self._count += 1
        try:
            with contextlib.suppress(ConnectionClosed):
                await self._run(connection, rate)
        finally:
            self._count -= 1

    async def _run(self, connection: Any, rate: int) -> None:
        events: list[Event] = []
        # Loading the detector takes a moment, in which others talk on.
        conversation = await asyncio.to_thread(self._make, events.append)
        with conversation:
            ends = _Ends(rate, conversation.model.config.sample_rate)
            await connection.send(json.dumps({"kind": "ready", "rate": rate}))
            async for message in connection:
                if isinstance(message, str) or len(message) % 2:
                    await connection.close(1003, "messages are int16 samples")
                    return
                played = ends.out(conversation.exchange(ends.into(message)))
                for event in events:
                    await connection.send(_described(event, conversation))
                events.clear()
                await connection.send(played)


class _Ends:
    """Take samples of a browser to the model's rate, and back."""

    def __init__(self, rate: int, own: int) -> None:
        self._to = self._back = None
        if rate != own:
            self._to = soxr.ResampleStream(rate, own, 1, dtype="float32", quality="MQ")
            self._back = soxr.ResampleStream(own, rate, 1, dtype="float32", quality="MQ")

    def into(self, message: bytes) -> Floats:
        samples: Floats = np.frombuffer(message, "<i2").astype(np.float32) / np.float32(32768)
        return samples if self._to is None else self._to.resample_chunk(samples)

    def out(self, samples: Floats) -> bytes:
        if self._back is not None:
            samples = self._back.resample_chunk(samples)
        return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


def _rate(path: str) -> int | None:
    given = parse_qs(urlsplit(path).query).get("rate", ["24000"])[0]
    rate = int(given) if given.isascii() and given.isdigit() and len(given) < 7 else 0
    return rate if rate in RATES else None


def _described(event: Event, conversation: Conversation) -> str:
    said: dict[str, Any] = {
        "kind": event.kind,
        "state": conversation.state,
        "seconds": round(event.sample / conversation.model.config.sample_rate, 3),
        "heard": event.heard,
        "late": conversation.late,
    }
    if event.error is not None:
        said["error"] = " ".join(str(event.error).split()) or type(event.error).__name__
    return json.dumps(said)
