"""The command line, run in the process of the tests."""

from __future__ import annotations

import io
import sys

import pytest


class Cli:
    """Runs `codec ARGS` in this process: exit code, standard output and error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
        self._monkeypatch = monkeypatch
        self._capture = capfdbinary

    def __call__(self, *args: object, stdin: bytes = b"") -> tuple[int, bytes, str]:
        from codec.cli.main import main

        self._capture.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["codec", *map(str, args)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = self._capture.readouterr()
        assert b"Traceback" not in err
        return int(exit_.value.code or 0), out, err.decode()
