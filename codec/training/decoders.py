"""Decode audio files in several processes.

Each process runs this module, reads a request a line from its standard input and answers with a
line, both JSON. Unlike those of `multiprocessing` such processes import nothing of the caller's
script, are safe beside threads, and end with the caller, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from codec.errors import DataError
from codec.training.decoding import Unusable, decode

# The caller's path of modules: it may have been changed, and need not be that of a new process.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import {0}; {0}.serve()"


class Decoders:
    """A number of processes that decode files, each for one thread of the caller at a time."""

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-c", _START.format(__name__), json.dumps(sys.path)]
        self._idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        self._all: list[subprocess.Popen[str]] = []
        for _ in range(count):
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="ascii",
                start_new_session=True,  # Ctrl-C is for the caller, who ends them
            )
            self._all.append(process)
            self._idle.put(process)

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes, whatever they are at. Threads that wait for them get DataError."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()

    def decode(
        self, path: Path, target: Path, sample_rate: int, channels: int = 1
    ) -> dict[str, Any]:
        """Decode `path` to the file `target`, as `decoding.decode`, in a process that is idle.

        Raises Unusable as `decoding.decode`, OSError where the process could not read or write,
        and DataError if it ended.
        """
        process = self._idle.get()
        try:
            request = [os.fspath(path), os.fspath(target), sample_rate, channels]
            answer = _ask(process, request)
        finally:
            self._idle.put(process)
        if answer is None:
            raise DataError(f"the process that decoded {path} ended ({process.wait()})")
        if "unusable" in answer:
            raise Unusable(answer["unusable"], answer["unread"])
        if "errno" in answer:
            raise OSError(answer["errno"], answer["strerror"], answer["filename"])
        entry: dict[str, Any] = answer["entry"]
        return entry


def serve() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library may print is no answer
    for line in sys.stdin:
        answers.write(json.dumps(_answer(*json.loads(line))) + "\n")
        answers.flush()


def _ask(process: subprocess.Popen[str], request: list[Any]) -> Any:
    """Send a request and wait for the answer; None if the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    return json.loads(line) if line.endswith("\n") else None


def _answer(path: str, target: str, sample_rate: int, channels: int) -> dict[str, Any]:
    try:
        with Path(target).open("wb") as audio:
            return {"entry": decode(Path(path), audio, sample_rate, channels)}
    except Unusable as error:
        return {"unusable": str(error), "unread": error.unread}
    except OSError as error:
        return {"errno": error.errno, "strerror": error.strerror, "filename": error.filename}
