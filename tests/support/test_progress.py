"""The line of progress: what it counts, and where it stays silent."""

from __future__ import annotations

import io
import types

import pytest

from codec.support.progress import Progress, Stopped


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("codec.support.progress.sys", types.SimpleNamespace(stderr=terminal))
    return terminal


def test_inputs_count_by_bytes_and_pass_by_audio_time(terminal):
    with Progress(400) as progress:
        one, other = progress.start("one.wav", 100), progress.start("other.wav", 300)
        for seconds, total, n_bytes, text in (
            (600, 3600, 50, "other.wav 10:00/1:00:00"),
            (1200, 3600, 100, "other.wav 20:00/1:00:00"),
        ):
            other.report(seconds, total)
            assert progress._bar.n == pytest.approx(n_bytes)
            assert text in str(progress._bar)
            assert "x real time" in str(progress._bar)
        one.report(5, 0)  # of unknown length: no bytes before its end
        assert progress._bar.n == pytest.approx(100)
        one.done()
        assert progress._bar.n == pytest.approx(200)
        assert " 50%" in str(progress._bar)
        progress.say("a line")
        other.report(5000, 3600)  # the header was wrong
        assert progress._bar.n == pytest.approx(400)
        other.done()
        assert progress._bar.n == pytest.approx(400)
    assert "100%" in terminal.getvalue()
    assert "a line\n" in terminal.getvalue()


def test_a_speed_near_real_time_has_a_decimal(terminal, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("codec.support.progress.time.monotonic", lambda: clock[0])
    with Progress(100) as progress:
        for now, seconds, shown in ((2.0, 3.0, "a, 1.5x"), (2.5, 22.0, "a, 10x")):
            clock[0] = now
            progress.advance("a", 1, seconds)
            assert f"{shown} real time" in str(progress._bar)


def test_sums_that_round_up_end_at_the_end(terminal):
    with Progress(4.0) as progress:
        progress.advance("2.8 s", 2.8)
        for _ in range(30):
            progress.advance("4 s", 0.04)
        assert progress._bar.n == 4.0
        assert "100%" in str(progress._bar)
        progress.advance("5 s", 1)
        assert "100%" in str(progress._bar)
    assert "clamping" not in terminal.getvalue()


def test_totals_so_far_become_steps(terminal):
    with Progress() as progress:
        show = progress.follow()
        assert not progress.visible
        show("0.wav", 0, 100, 0.0)
        assert "0.wav   0%" in terminal.getvalue()
        for so_far, seconds in ((30, 2.0), (30, 0.0), (100, 3.0)):
            show(f"{so_far}.wav", so_far, 100, seconds)
            assert progress._bar.n == so_far
            assert f"{so_far}.wav" in str(progress._bar)
        assert progress._seconds == 5
        assert progress._bar.total == 100
    assert "100%" in terminal.getvalue()


@pytest.mark.parametrize("shown", [True, False])
def test_silence(shown, terminal, monkeypatch):
    if shown:
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    with Progress(10, shown=shown) as progress:
        file = progress.start("a.wav", 10)
        file.report(1, 2)
        file.done()
    assert terminal.getvalue() == ""
    progress.say("a line")
    assert terminal.getvalue() == "a line\n"


def test_stop_ends_who_reports():
    with Progress(10) as progress:
        file = progress.start("a.wav", 10)
        file.report(1, 2)
        progress.stop()
        with pytest.raises(Stopped):
            file.report(2, 2)
        with pytest.raises(Stopped):
            file.done()
