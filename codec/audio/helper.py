"""A decoder in a child process, which is ended if it hangs.

Decoders that have been known to loop, crash or write to standard error run there, with bounded
memory. The child gets the file as its standard input; it answers with a line of JSON, blocks of
samples, each after its size in bytes, and at the end, after a size of 0, a line of JSON again.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from codec.errors import AudioError
from codec.support.file_bytes import descriptor

PATIENCE = 30.0  # seconds without a byte after which a decoder is ended
_STEPS = 30
# How a decoder ends that damaged audio misleads.
_BY_ITSELF = frozenset(
    -number
    for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)
)
_MEMORY = 4 << 30
_SIZE = struct.Struct("<I")
_CHILD = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]);"
    "from codec.audio import helper; helper.end_with(int(sys.argv[2]));"
    "from codec.audio.decode import serve; serve(*sys.argv[3:])"
)


class DecoderEndedError(OSError):
    """The system ended the decoder, gave it nothing to start with, or did not read the file."""


class Helper:
    """Audio that a child decodes. Raises AudioError or DecoderEndedError, also in the iteration."""

    def __init__(self, file: BinaryIO, kind: str, decoder: str) -> None:
        with _of_the_system(file) as source:
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-c",
                    _CHILD,
                    json.dumps(sys.path),
                    str(os.getpid()),
                    kind,
                    decoder,
                ],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        assert self._child.stdout is not None
        self._pipe = self._child.stdout
        self._select = selectors.DefaultSelector()
        self._select.register(self._pipe, selectors.EVENT_READ)
        self._buffer = b""
        try:
            head = self._line()
        except BaseException:
            self.close()
            raise
        self.channels: int = head["channels"]
        self.sample_rate: int = head["sample_rate"]
        self.claimed: int = head["claimed"]
        self.tags: dict[str, str] = head["tags"]
        self.layout: str = head["layout"]
        self.decoder: str = head["decoder"]
        self.warnings: list[str] = []

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Give all audio in blocks [samples, channels]."""
        while size := _SIZE.unpack(self._exactly(_SIZE.size))[0]:
            yield np.frombuffer(self._exactly(size), np.float32).reshape(-1, self.channels)
        self.warnings += self._line()["warnings"]

    def _more(self) -> None:
        # In steps: time in which this process was stopped is one of them at most.
        if not any(self._select.select(PATIENCE / _STEPS) for _ in range(_STEPS)):
            self.close()
            raise AudioError(f"the decoder did not come back within {PATIENCE:g} s")
        data = os.read(self._pipe.fileno(), 1 << 18)
        if not data:
            status = self._child.wait()
            self.close()
            if status in _BY_ITSELF:
                raise AudioError("the decoder crashed on this file")
            # Out of memory or of processes, or ended by somebody: that is no fault of the file.
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise DecoderEndedError(f"the decoder was ended, or could not start ({how})")
        self._buffer += data

    def _exactly(self, size: int) -> bytes:
        parts = [self._buffer[:size]]
        held, self._buffer = len(parts[0]), self._buffer[size:]
        while held < size:
            self._more()
            parts.append(self._buffer[: size - held])
            self._buffer = self._buffer[size - held :]
            held += len(parts[-1])
        return b"".join(parts)

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if "lost" in said:
            raise DecoderEndedError(*filter(None, (said["errno"], said["lost"])))
        if "error" in said:
            raise AudioError(said["error"])
        return said

    def close(self) -> None:
        """End the child."""
        with contextlib.suppress(OSError):
            self._child.kill()
        self._child.wait()
        self._select.close()
        self._pipe.close()


@contextlib.contextmanager
def _of_the_system(file: BinaryIO) -> Iterator[BinaryIO]:
    """Return `file`, or a copy on disk if it is in memory, at its beginning."""
    file.seek(0)
    number = descriptor(file)
    if number is None:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.seek(0)
            yield copy  # type: ignore[misc]  # systems name it differently
    else:
        os.lseek(number, 0, os.SEEK_SET)
        yield file


def end_with(parent: int) -> None:
    """End this process soon after its parent process `parent` has ended, in any way."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def limit_memory() -> None:
    """Limit the memory of this process, where the system supports that."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def answer(output: BinaryIO, said: dict[str, Any]) -> None:
    """Write a line of JSON."""
    output.write(json.dumps(said).encode() + b"\n")


def send(output: BinaryIO, block: npt.NDArray[np.float32]) -> None:
    """Write a block [samples, channels]."""
    for start in range(0, len(block), 1 << 14):
        data = np.ascontiguousarray(block[start : start + (1 << 14)], np.float32).tobytes()
        output.write(_SIZE.pack(len(data)) + data)


def send_end(output: BinaryIO) -> None:
    """Write the mark that no block follows."""
    output.write(_SIZE.pack(0))
