"""Whole conversations in simulated time, with recorded speech as the microphone."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.lm.duplex import Conversation, EnergyDetector, Event, Turn, TurnTaking
from codec.lm.duplex.player import silence_frame
from codec.lm.duplex.tape import Tape
from codec.lm.layouts import Flat
from codec.lm.vocabulary import Audio, Vocabulary
from codec.lm.vocabulary import Turn as TurnMark

pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

CLIPS = Path(__file__).parents[2] / "clips"
RATE, SLOT, LEVELS = 24_000, 960, 4
FADE = 192
MODEL = codec.load()


def clip(name: str) -> np.ndarray:
    return soundfile.read(CLIPS / f"{name}.flac", dtype="float32", always_2d=True)[0][:, 0]


SPEECH = clip("speech")
ANSWER = MODEL.encode(clip("strings")[: 2 * RATE], RATE, n_codebooks=LEVELS).codes[0]
SOUND = MODEL.decode(MODEL.tokens(ANSWER))[0]


def microphone(*parts: float | np.ndarray) -> np.ndarray:
    """Silence of so many seconds, with a little noise, and recordings."""
    rng = np.random.default_rng(0)
    made = [
        p
        if isinstance(p, np.ndarray)
        else (rng.standard_normal(round(p * RATE)) * 3e-4).astype(np.float32)
        for p in parts
    ]
    return np.concatenate(made)


class Heard:
    """A conversation that was driven to its end: what came out, and what happened."""

    def __init__(
        self,
        mic: np.ndarray,
        reply: Callable[[Turn], Any],
        pieces: list[int] | None = None,
        **options: Any,
    ) -> None:
        self.events: list[Event] = []
        options.setdefault("detector", EnergyDetector(RATE))
        options.setdefault("echo", None)
        options.setdefault("threaded", False)
        self.turns: list[Turn] = []

        def kept(turn: Turn) -> Any:
            self.turns.append(turn)
            return reply(turn)

        self.conversation = Conversation(
            MODEL, kept, n_codebooks=LEVELS, on_event=self.events.append, **options
        )
        out, at, number = [np.zeros(0, np.float32)], 0, 0
        while at < len(mic):
            count = pieces[number % len(pieces)] if pieces else SLOT
            out.append(self.conversation.exchange(mic[at : at + count]))
            at += count
            number += 1
        self.conversation.close()
        self.out = np.concatenate(out)
        self.mic = mic

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def at(self, kind: str) -> int:
        return next(event.sample for event in self.events if event.kind == kind)


def answer(turn: Turn) -> np.ndarray:
    return ANSWER


ONE_TURN = microphone(0.5, SPEECH, 3.0)
INTERRUPTED = microphone(0.5, SPEECH, 1.0, SPEECH, 3.0)


@functools.cache
def answered() -> Heard:
    return Heard(ONE_TURN, answer)


def test_a_turn_is_heard_and_answered() -> None:
    heard = answered()
    assert heard.kinds == [
        "turn began", "turn paused", "turn ended", "reply began", "reply ended",
    ]  # fmt: skip
    assert len(heard.out) == len(heard.mic)
    # To the bit what a decode of the whole reply gives, from the start of a slot on.
    began = heard.at("reply began")
    assert began % SLOT == 0
    assert np.array_equal(heard.out[began : began + len(SOUND)], SOUND)
    assert not heard.out[:began].any()
    assert not heard.out[began + len(SOUND) :].any()
    (turn,) = heard.turns
    whole = MODEL.encode(heard.mic, RATE, n_codebooks=LEVELS).codes[0]
    assert np.array_equal(turn.codes, whole[:, turn.start : turn.stop])
    assert np.array_equal(turn.samples, heard.mic[turn.start * SLOT : turn.stop * SLOT])
    spoken = RATE // 2, RATE // 2 + len(SPEECH)
    assert turn.start * SLOT <= spoken[0]
    assert turn.stop * SLOT > spoken[1] - RATE // 4


@pytest.mark.parametrize("how", ["postfilter", "enhance"])
def test_a_reply_is_improved_on_request(how: str) -> None:
    plain, heard = answered(), Heard(ONE_TURN, answer, **{how: True})
    sound = MODEL.decode(MODEL.tokens(ANSWER), **{how: True})[0]
    assert not np.array_equal(sound, SOUND)
    assert heard.events == plain.events
    began = heard.at("reply began")
    assert np.array_equal(heard.out[began : began + len(sound)], sound)
    assert not heard.out[began + len(sound) :].any()
    assert np.array_equal(heard.conversation.spoken(), plain.conversation.spoken())


def test_both_streams_lie_on_one_clock() -> None:
    conversation = answered().conversation
    frames = len(ONE_TURN) // SLOT
    listened, spoken = conversation.listened(), conversation.spoken()
    whole = MODEL.encode(ONE_TURN, RATE, n_codebooks=LEVELS).codes[0]
    assert spoken.shape == (LEVELS, frames)
    assert np.array_equal(listened, whole[:, :frames])
    running = Conversation(MODEL, answer, n_codebooks=LEVELS)
    running.exchange(ONE_TURN)
    missing = frames - running.listened().shape[1]
    assert 0 <= missing <= 1  # the encoder's look-ahead
    running.close()
    assert np.array_equal(running.listened(), listened)
    expected = np.repeat(silence_frame(MODEL, LEVELS), frames, axis=1)
    reply = conversation.transcript[-1]
    assert isinstance(reply, Audio)
    assert reply.start is not None
    expected[:, reply.start : reply.start + ANSWER.shape[1]] = ANSWER
    assert np.array_equal(spoken, expected)


@functools.cache
def in_frames() -> Heard:
    return Heard(INTERRUPTED, answer)


@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.integers(100, 5000) | st.just(1), min_size=1, max_size=6).filter(
        lambda p: max(p) > 1
    )
)
def test_how_the_microphone_is_cut_changes_nothing(pieces: list[int]) -> None:
    expected, found = in_frames(), Heard(INTERRUPTED, answer, pieces)
    assert found.events == expected.events
    assert np.array_equal(found.out, expected.out)
    assert np.array_equal(found.conversation.listened(), expected.conversation.listened())
    assert np.array_equal(found.conversation.spoken(), expected.conversation.spoken())
    assert found.conversation.transcript == expected.conversation.transcript


def test_the_microphone_may_use_one_buffer_again_and_again() -> None:
    expected = in_frames()
    buffer, out = np.zeros(240, np.float32), []
    with Conversation(
        MODEL, answer, n_codebooks=LEVELS, detector=EnergyDetector(RATE), echo=None, threaded=False
    ) as conversation:
        for at in range(0, len(INTERRUPTED) // 240 * 240, 240):
            buffer[:] = INTERRUPTED[at : at + 240]
            out.append(conversation.exchange(buffer))
        listened = conversation.listened()
    assert np.array_equal(np.concatenate(out), expected.out[: 240 * len(out)])
    assert np.array_equal(listened, expected.conversation.listened()[:, : listened.shape[1]])


PERIOD = microphone(0.5, SPEECH, 3.0)
PERIOD = np.pad(PERIOD, (0, -len(PERIOD) % 1920))  # whole slots, and whole hops


@dataclasses.dataclass
class Worst:
    """The exchange, of a frame, that put together most: how many arrays, and bytes."""

    arrays: int = 0
    bytes: int = 0


def costs(periods: int, monkeypatch: pytest.MonkeyPatch) -> list[Worst]:
    """What each period of a conversation cost, as the same turn comes again and again.

    At the start of each, all that is older than it is taken from the conversation.
    """
    now = Worst()
    join = np.concatenate

    def joined(arrays: Any, *args: Any, **options: Any) -> Any:
        made = join(arrays, *args, **options)
        now.arrays += len(arrays)
        now.bytes += made.nbytes
        return made

    def read(self: Tape[Any], start: int, stop: int) -> Any:
        made = plain(self, start, stop)
        now.bytes += made.nbytes
        return made

    plain = Tape.read
    monkeypatch.setattr(np, "concatenate", joined)
    monkeypatch.setattr(Tape, "read", read)
    events: list[Event] = []
    conversation = Conversation(
        MODEL, answer, n_codebooks=LEVELS, detector=EnergyDetector(RATE), echo=None, threaded=False,
        rules=TurnTaking(adaptive=False), on_event=events.append,
    )  # fmt: skip
    found = []
    for period in range(periods):
        conversation._listened.forget(period * len(PERIOD) // SLOT - 1)
        conversation._spoken.forget(period * len(PERIOD) // SLOT)
        worst = Worst()
        events.clear()
        for at in range(0, len(PERIOD), SLOT):
            now.arrays = now.bytes = 0
            conversation.exchange(PERIOD[at : at + SLOT])
            worst = Worst(max(worst.arrays, now.arrays), max(worst.bytes, now.bytes))
        assert [event.kind for event in events] == answered().kinds
        found.append(worst)
    return found


def test_a_turn_costs_the_same_however_long_the_conversation_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing that is older than the turn is copied, walked through, or read at all."""
    first, *later = costs(6, monkeypatch)
    assert later == [first] * 5


def check_replies(heard: Heard) -> None:
    """What was played is what the transcript says, and the transcript is a sequence of ids."""
    replies = [
        segment
        for segment in heard.conversation.transcript
        if isinstance(segment, Audio) and segment.codes.shape[1] and not is_microphone(segment)
    ]
    ends = [e for e in heard.events if e.kind in ("reply ended", "reply interrupted")]
    assert len(replies) == len(ends)
    for segment, event in zip(replies, ends, strict=True):
        assert event.heard is not None
        assert segment.start is not None
        assert segment.codes.shape[1] == -(-event.heard // SLOT)
        assert np.array_equal(segment.codes, ANSWER[:, : segment.codes.shape[1]])
        start = segment.start * SLOT
        intact = max(0, event.heard - FADE)
        assert np.array_equal(heard.out[start : start + intact], SOUND[:intact])
        assert not heard.out[start + event.heard : event.sample].any()
    vocabulary = Vocabulary(0, Flat(LEVELS, MODEL.config.codebook_size))
    ids = vocabulary.encode(heard.conversation.transcript)
    assert vocabulary.decode(ids) == heard.conversation.transcript


def is_microphone(segment: Audio) -> bool:
    return not np.array_equal(segment.codes, ANSWER[:, : segment.codes.shape[1]])


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2 * RATE), st.booleans())
def test_an_interruption_at_any_sample_leaves_all_consistent(after: int, adaptive: bool) -> None:
    mic = microphone(0.3, SPEECH, 0.3 + after / RATE, SPEECH[: RATE // 2], 3.5)
    rules = TurnTaking(adaptive=adaptive)
    heard = Heard(mic, answer, rules=rules)
    check_replies(heard)
    assert heard.kinds[-1] == "reply ended"
    last = heard.turns[-1]
    interrupted = [e.heard for e in heard.events if e.kind == "reply interrupted"]
    early = bool(interrupted) and (interrupted[0] or 0) < rules.resume * RATE
    if interrupted and not early:
        (cut,) = interrupted
        assert last.interrupted == cut
        assert [type(segment) for segment in last.history] == [Audio, TurnMark, Audio]
        assert last.history[-1].end == "interrupted"  # type: ignore[union-attr]
    if early:  # the whole of it is one turn
        assert last.start == heard.turns[0].start
        assert last.history == ()
        assert last.interrupted is None


def test_a_click_costs_no_word_of_the_reply() -> None:
    mic = ONE_TURN.copy()
    click = answered().at("reply began") + 20_000
    mic[click : click + 480] += 0.3
    found = Heard(mic, answer)
    assert found.kinds == [
        "turn began", "turn paused", "turn ended", "reply began", "reply held", "reply went on",
        "reply ended",
    ]  # fmt: skip
    held = next(event.heard for event in found.events if event.kind == "reply held")
    assert held is not None
    began = found.at("reply began")
    # The same sound in two parts, a whole number of slots apart.
    later = next(
        shift
        for shift in range(SLOT, 20 * SLOT, SLOT)
        if np.array_equal(
            found.out[began + shift + held + FADE : began + shift + len(SOUND)],
            SOUND[held + FADE :],
        )
    )
    assert not found.out[began + held : began + held + later].any()
    assert np.array_equal(found.out[began : began + held - FADE], SOUND[: held - FADE])


def test_a_turn_that_goes_on_after_a_pause_is_one_turn() -> None:
    mic = microphone(0.3, SPEECH, 0.4, SPEECH, 3.5)
    heard = Heard(mic, answer, rules=TurnTaking(patience=0.7))
    assert heard.kinds == [
        "turn began", "turn paused", "turn resumed", "turn paused", "turn ended", "reply began",
        "reply ended",
    ]  # fmt: skip
    assert len(heard.turns) == 1
    assert heard.turns[0].codes.shape[1] * SLOT > 2 * len(SPEECH)


def test_a_thread_that_has_prepared_a_reply_in_vain_closes_it() -> None:
    asked: list[int] = []
    closed: list[int] = []

    def prepared(turn: Turn) -> Iterator[np.ndarray]:
        asked.append(turn.stop)
        try:
            while True:
                yield ANSWER
        finally:
            closed.append(turn.stop)

    with Conversation(
        MODEL, prepared, n_codebooks=LEVELS, detector=EnergyDetector(RATE), echo=None,
        rules=TurnTaking(patience=0.7),
    ) as conversation:  # fmt: skip
        conversation.exchange(microphone(0.3, SPEECH, 0.4))
        wait_for(lambda: asked)
        assert not closed
        conversation.exchange(SPEECH)
        wait_for(lambda: closed == asked)


def test_a_callback_is_closed_when_it_is_interrupted() -> None:
    closed = []

    def endless(turn: Turn) -> Iterator[np.ndarray]:
        try:
            while True:
                yield ANSWER
        finally:
            closed.append(True)

    heard = Heard(INTERRUPTED[: round(5.5 * RATE)], endless)
    assert "reply interrupted" in heard.kinds
    assert closed == [True]


def failing(turn: Turn) -> Any:
    raise ValueError("no model")


def failing_later(turn: Turn) -> Iterator[np.ndarray]:
    yield ANSWER[:, :10]
    raise ValueError("no more")


def test_a_callback_that_raises_ends_only_its_reply() -> None:
    heard = Heard(INTERRUPTED, failing)
    assert heard.kinds.count("reply failed") == 2
    assert "reply began" not in heard.kinds
    assert [str(e.error) for e in heard.events if e.error] == ["no model"] * 2
    later = Heard(ONE_TURN, failing_later)
    assert later.kinds[-3:] == ["reply began", "reply failed", "reply ended"]
    reply = later.conversation.transcript[-1]
    assert isinstance(reply, Audio)
    assert np.array_equal(reply.codes, ANSWER[:, :10])


def go_on_until(conversation: Conversation, condition: Callable[[], bool]) -> None:
    """Go on in silence; the thread of a callback has its own time."""
    for _ in range(100_000):
        if condition():
            return
        conversation.exchange(np.zeros(SLOT, np.float32))
    pytest.fail("it did not happen")


@pytest.mark.parametrize("leaves", [SystemExit, asyncio.CancelledError])
def test_a_callback_that_leaves_its_thread_ends_only_its_reply(leaves: type[BaseException]) -> None:
    failed, turns = threading.Event(), []

    def reply(turn: Turn) -> np.ndarray:
        turns.append(turn)
        if len(turns) == 1:
            raise leaves(0)
        return ANSWER

    def on_event(event: Event) -> None:
        if event.kind == "reply failed":
            assert leaves.__name__ in str(event.error)
            failed.set()

    with Conversation(
        MODEL, reply, n_codebooks=LEVELS, detector=EnergyDetector(RATE), echo=None,
        on_event=on_event,
    ) as conversation:  # fmt: skip
        conversation.exchange(microphone(0.5, SPEECH, 1.0))
        go_on_until(conversation, failed.is_set)
        conversation.exchange(microphone(SPEECH, 1.0))
        go_on_until(conversation, lambda: conversation.state == "speaking")
    assert len(turns) == 2


@pytest.mark.parametrize("raises", [ValueError, asyncio.CancelledError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["turn began", "turn paused", "turn ended", "reply began"])
def test_what_on_event_raises_leaves_the_streams_together(
    kind: str, raises: type[BaseException]
) -> None:
    def on_event(event: Event) -> None:
        if event.kind == kind:
            raise raises("once")

    raised, conversation = raised_in(raises, answer, on_event=on_event)
    expected = answered()
    assert raised == expected.kinds.count(kind) == 1
    assert conversation.transcript == expected.conversation.transcript
    assert np.array_equal(conversation.spoken(), expected.conversation.spoken())
    assert np.array_equal(conversation.listened(), expected.conversation.listened())


def test_ctrl_c_in_a_reply_is_raised_behind_the_step() -> None:
    def reply(turn: Turn) -> np.ndarray:
        raise KeyboardInterrupt

    raised, conversation = raised_in(KeyboardInterrupt, reply)
    failing = Heard(ONE_TURN, lambda turn: 1 / 0).conversation
    assert raised == 1
    assert conversation.transcript == failing.transcript
    assert np.array_equal(conversation.spoken(), failing.spoken())


def test_what_the_detector_raises_leaves_the_streams_together() -> None:
    class Failing(EnergyDetector):
        left = 20

        def push(self, hop: np.ndarray) -> float:
            self.left -= 1
            if not self.left:
                raise ValueError("once")
            return super().push(hop)

    raised, conversation = raised_in(ValueError, answer, detector=Failing(RATE))
    assert raised == 1
    assert np.array_equal(conversation.listened(), answered().conversation.listened())
    assert conversation.spoken().shape == conversation.listened().shape


def raised_in(
    raises: type[BaseException], reply: Callable[[Turn], Any], **options: Any
) -> tuple[int, Conversation]:
    """Exchange one turn frame by frame; how often that raised, and the conversation."""
    options = {"detector": EnergyDetector(RATE), **options}
    conversation = Conversation(
        MODEL, reply, n_codebooks=LEVELS, echo=None, threaded=False, **options
    )
    raised = 0
    for piece in np.array_split(ONE_TURN, range(SLOT, len(ONE_TURN), SLOT)):
        try:
            conversation.exchange(piece)
        except raises:
            raised += 1
    conversation.close()
    return raised, conversation


def test_a_conversation_that_is_forgotten_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    conversation = Conversation(MODEL, answer)
    (thread,) = set(threading.enumerate()) - before
    assert thread.name == "codec-reply"
    del conversation
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "wrong",
    [
        {"echo": False}, {"echo": "no"}, {"echo": float("nan")}, {"threaded": "no"},
        {"detector": "energy"}, {"rules": {}}, {"model": "v1"}, {"reply": 5}, {"on_event": 5},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(codec.OptionError, match=next(iter(wrong))):
        Conversation(**{"model": MODEL, "reply": answer, **wrong})
    with pytest.raises(codec.OptionError, match="adaptive"):
        TurnTaking(adaptive="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("nothing", [None, [], np.zeros((LEVELS, 0), np.uint16)])
def test_a_callback_that_gives_nothing(nothing: Any) -> None:
    heard = Heard(INTERRUPTED, lambda turn: nothing)
    assert heard.kinds == ["turn began", "turn paused", "turn ended", "reply empty"] * 2
    assert not heard.out.any()
    assert [type(s) for s in heard.turns[1].history] == [Audio]


def test_a_reply_may_be_of_any_kind() -> None:
    tokens = MODEL.tokens(ANSWER)
    wide = MODEL.encode(clip("strings")[: 2 * RATE], RATE)
    kinds: list[Any] = [
        tokens, wide, [ANSWER[:, :7], ANSWER[:, 7:]], ANSWER.astype(np.int64),
        clip("strings")[: 2 * RATE], np.array_split(clip("strings")[: 2 * RATE], 9), wide.codes[0],
    ]  # fmt: skip
    for kind in kinds:
        heard = Heard(ONE_TURN, lambda turn, kind=kind: kind)
        reply = heard.conversation.transcript[-1]
        assert isinstance(reply, Audio)
        assert np.array_equal(reply.codes, ANSWER)


def test_a_reply_may_be_samples_of_16_bits() -> None:
    torch = pytest.importorskip("torch")
    samples = clip("strings")[:RATE]
    integers = (samples * 32768).astype(np.int16)
    short = torch.tensor(samples).bfloat16()
    for piece, floats in ((integers, integers / np.float32(32768)), (short, short.float().numpy())):
        reply = Heard(ONE_TURN, lambda turn, piece=piece: piece).conversation.transcript[-1]
        assert isinstance(reply, Audio)
        codes = MODEL.encode(floats, RATE, n_codebooks=LEVELS).codes[0]
        assert np.array_equal(reply.codes, codes)


OTHERS = dataclasses.replace(MODEL.tokens(ANSWER), model_id=b"somebody")


@pytest.mark.parametrize(
    "wrong",
    [
        "text", 5, ANSWER[:2], ANSWER.astype(float), ANSWER.astype(int) + 1024, [ANSWER, "x"],
        OTHERS, ANSWER.T,
    ],
)  # fmt: skip
def test_a_reply_that_is_no_audio_fails(wrong: Any) -> None:
    heard = Heard(ONE_TURN, lambda turn: wrong)
    errors = [event.error for event in heard.events if event.kind == "reply failed"]
    assert len(errors) == 1
    assert isinstance(errors[0], codec.TokensError)


def test_it_can_end_at_any_time() -> None:
    for seconds in (0.0, 0.2, 1.0, 3.2, 3.5, 4.9):
        heard = Heard(ONE_TURN[: round(seconds * RATE)], answer)
        check_replies_or_open(heard)
        with pytest.raises(codec.StateError):
            heard.conversation.exchange(np.zeros(1, np.float32))
        heard.conversation.close()


def check_replies_or_open(heard: Heard) -> None:
    vocabulary = Vocabulary(0, Flat(LEVELS, MODEL.config.codebook_size))
    transcript = heard.conversation.transcript
    assert vocabulary.decode(vocabulary.encode(transcript)) == transcript
    if heard.kinds and heard.kinds[-1] == "turn began":
        assert transcript[-1].end == "open"  # type: ignore[union-attr]
    if "reply began" in heard.kinds:
        assert heard.kinds[-1] in ("reply interrupted", "reply ended")


def test_a_slow_callback_is_waited_for_and_never_waits() -> None:
    """Each frame is released by the test; the clock goes on meanwhile."""
    release = threading.Semaphore(0)

    def slow(turn: Turn) -> Iterator[np.ndarray]:
        for frame in range(6):
            release.acquire()
            yield ANSWER[:, frame : frame + 1]

    events: list[Event] = []
    with Conversation(
        MODEL, slow, n_codebooks=LEVELS, detector=EnergyDetector(RATE), echo=None,
        on_event=events.append,
    ) as conversation:  # fmt: skip
        quiet = microphone(0.5)
        conversation.exchange(microphone(0.5, SPEECH, 0.5))
        assert conversation.state == "thinking"
        conversation.exchange(quiet)
        assert conversation.state == "thinking"
        release.release()
        wait_for(lambda: conversation._source._job._ready)  # type: ignore[union-attr]
        conversation.exchange(quiet[: 5 * SLOT])
        assert conversation.state == "speaking"  # type: ignore[comparison-overlap]
        assert 3 <= conversation.late <= 5
        late = conversation.late
        release.release(5)
        wait_for(lambda: len(conversation._source._job._ready) == 5)  # type: ignore[union-attr]
        conversation.exchange(microphone(1.0))
        assert events[-1].kind == "reply ended"
        # Every frame of the callback was played, and the missing ones were silence.
        reply = conversation.transcript[-1]
        assert isinstance(reply, Audio)
        assert reply.codes.shape[1] == 6 + late == 6 + conversation.late
        assert np.array_equal(reply.codes[:, -5:], ANSWER[:, 1:6])


def wait_for(condition: Callable[[], Any]) -> None:
    for _ in range(10_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")


def test_a_thread_gives_what_the_clock_s_own_would() -> None:
    """With frames that are all ready before they are due."""
    events: list[Event] = []
    rules = TurnTaking(patience=0.5, pause=0.096)
    expected = Heard(ONE_TURN, answer, rules=rules)
    with Conversation(
        MODEL, answer, n_codebooks=LEVELS, detector=EnergyDetector(RATE), echo=None, rules=rules,
        on_event=events.append,
    ) as conversation:  # fmt: skip
        out = []
        for start in range(0, len(ONE_TURN), SLOT):
            out.append(conversation.exchange(ONE_TURN[start : start + SLOT]))
            if events and events[-1].kind in ("turn paused", "reply began"):
                wait_for(lambda: job_is_ready(conversation))
    assert events == expected.events
    assert np.array_equal(np.concatenate(out), expected.out)
    assert conversation.late == 0


def job_is_ready(conversation: Conversation) -> bool:
    job = conversation._source._job  # type: ignore[union-attr]
    return job._done or len(job._ready) >= 20


def test_its_own_echo_does_not_interrupt_it() -> None:
    """The loudspeaker is heard by the microphone 50 ms later, 20 dB softer."""
    events: list[Event] = []
    speech = MODEL.encode(SPEECH, RATE, n_codebooks=LEVELS).codes[0]
    conversation = Conversation(
        MODEL, lambda turn: speech, n_codebooks=LEVELS, detector=EnergyDetector(RATE),
        threaded=False, on_event=events.append,
    )  # fmt: skip
    mic, delay = microphone(0.5, SPEECH, 6.0), 1200
    out = np.zeros(len(mic) + 2 * SLOT, np.float32)
    for start in range(0, len(mic), 480):
        piece = mic[start : start + 480].copy()
        piece += 0.1 * out[max(0, start - delay) : max(0, start - delay) + 480] * (start > delay)
        out[start : start + len(piece)] = conversation.exchange(piece)
    assert [event.kind for event in events] == [
        "turn began", "turn paused", "turn ended", "reply began", "reply ended",
    ]  # fmt: skip


def test_with_the_silero_detector() -> None:
    pytest.importorskip("silero_vad", reason="needs silero-vad")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    heard = Heard(INTERRUPTED, answer, detector=None)
    assert heard.kinds == [
        "turn began", "turn paused", "turn ended", "reply began", "reply held",
        "reply interrupted", "turn began", "turn paused", "turn ended", "reply began",
        "reply ended",
    ]  # fmt: skip
    check_replies(heard)
    again = Heard(INTERRUPTED, answer, [777], detector=None)
    assert again.events == heard.events


def test_a_language_model_goes_on_with_what_was_said() -> None:
    torch = pytest.importorskip("torch")
    from codec.lm import LanguageModel
    from codec.lm.duplex.answers import continuation
    from codec.lm.model.config import LmConfig
    from codec.lm.model.network import Network

    torch.manual_seed(0)
    size = MODEL.config.codebook_size
    config = LmConfig(levels=LEVELS, codebook_size=size, width=16, layers=1, heads=2, hidden=16)
    lm = LanguageModel(Network(config).eval())
    heard, again = (Heard(ONE_TURN, continuation(lm, 30)) for _ in range(2))
    assert heard.kinds[-2:] == ["reply began", "reply ended"]
    (turn,) = heard.turns
    expected = np.concatenate(list(continuation(lm, 30)(turn)), axis=1)
    assert expected.shape == (LEVELS, 30)
    for conversation in (heard.conversation, again.conversation):
        reply = conversation.transcript[-1]
        assert isinstance(reply, Audio)
        assert np.array_equal(reply.codes, expected)
