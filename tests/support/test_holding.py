"""Ctrl-C while C code calls Python for bytes: it comes afterwards, and is not lost."""

from __future__ import annotations

import io
import signal
import threading
from typing import Any

import numpy as np
import pytest

from codec.audio import AudioWriter
from codec.audio.libsndfile import SndFile
from codec.cli import habits
from codec.support.holding import handler_of, held
from tests.helpers.audio_inputs import flac


class Interrupted:
    """The bytes of a file; when it is `armed`, Ctrl-C is pressed while some are read."""

    def __init__(self, data: bytes) -> None:
        self._data, self.armed = data, False

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, place: slice) -> bytes:
        if self.armed:
            self.armed = False
            signal.raise_signal(signal.SIGINT)
        return self._data[place]


class InterruptedFile(io.BytesIO):
    armed = False

    def write(self, data: Any) -> int:
        if self.armed:
            self.armed = False
            signal.raise_signal(signal.SIGINT)
        return super().write(data)


def test_ctrl_c_in_a_decoder_is_not_lost_and_cuts_nothing() -> None:
    data = Interrupted(flac(300_000))
    file = SndFile(data, [(0, len(data))], "flac")  # type: ignore[arg-type]
    data.armed = True
    with pytest.raises(KeyboardInterrupt):
        file.read(200_000)
    assert len(file.read(300_000)) == 100_000
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_an_encoder_is_not_lost() -> None:
    file = InterruptedFile()
    with AudioWriter(file, 24_000, 1, 9, ".wav") as writer:
        file.armed = True
        with pytest.raises(KeyboardInterrupt):
            writer.write(np.zeros((1, 9), np.float32))


def test_a_signal_that_is_held_still_ends_a_process_that_hangs() -> None:
    with held(), held():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert handler_of(signal.SIGINT) is signal.default_int_handler
        assert habits._ends_us(signal.SIGINT)


def test_signals_are_left_alone_in_other_threads_and_where_they_are_ignored() -> None:
    inside: list[Any] = []

    def look() -> None:
        with held():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        look()
    finally:
        signal.signal(signal.SIGINT, before)
    assert inside == [signal.default_int_handler, signal.SIG_IGN]
