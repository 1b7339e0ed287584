"""A conversation: microphone in, loudspeaker out, tokens of both on one clock.

    def reply(turn):                        # codec.lm.duplex.Turn: what they said
        yield from my_model(turn.codes)     # frames, uint16 [codebooks, n]

    with Conversation(model, reply) as conversation:
        for samples in microphone:          # any number at a time, float32
            loudspeaker.write(conversation.exchange(samples))

The clock is the microphone's: `exchange` takes as many samples as it gives. Everything that happens
does so at a number of samples since the beginning, whatever the pieces were.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from types import TracebackType

import numpy as np
import numpy.typing as npt

from codec.api import Codec
from codec.audio.arrays import as_samples
from codec.errors import OptionError, StateError
from codec.lm.duplex.detectors import Detector, hop_samples, load_detector
from codec.lm.duplex.echo import EchoGate
from codec.lm.duplex.events import Event, Kind, State, Turn
from codec.lm.duplex.player import Player
from codec.lm.duplex.replies import Callback, Ended, Inline, Threaded, as_exception, frames_of
from codec.lm.duplex.tape import Tape
from codec.lm.duplex.turns import Action, TurnTaker, TurnTaking, hops
from codec.lm.vocabulary import Audio, End, Segment
from codec.lm.vocabulary import Turn as TurnMark
from codec.model.checks import check_audio
from codec.support.arguments import as_bool, real, shown
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

BEFORE = 0.12  # seconds before the first speech that was noticed at which a turn's codes begin
KEPT = 1.0  # seconds of samples that are kept while nobody speaks


class Conversation:
    """Listen and speak at once: turns are found, replied to and may be interrupted.

    model: whose backend streams (the native one).
    reply: called with each `Turn` when the other side has finished; gives what is said, as
        `codec.lm.duplex.replies.frames_of` explains. It is cancelled (its generator is closed) when
        the other side goes on or interrupts.
    n_codebooks: of both token streams.
    detector: of speech; by default the Silero VAD where it is installed, else one of energy.
    rules: of turn-taking.
    echo: the gain from loudspeaker to microphone in dB to expect at first, or None where there is
        no echo: headphones, or a system that cancels it.
    threaded: whether the callback runs in its own thread, up to a second ahead of the clock. False
        runs it in `exchange`, when a frame is due: what is heard then depends on the microphone
        alone, and no reply is prepared in a pause.
    on_event: is called with each `Event`, in the thread of `exchange`. What it or the detector
        raises first, `exchange` or `close` raises when it has done all else; `exchange` then gives
        no samples.
    postfilter, enhance: whether replies are improved, as by `Codec.decode`. One whose second frame,
        with `enhance` one of the next three, is late then begins up to 20 or 75 ms later.

    transcript: the conversation so far as segments for `Vocabulary.encode`: turns, `Turn()` where
        the other side begins, and the frames of the replies that were heard.

    Both token streams are kept: 800 bytes for each second, at 8 codebooks. Raises BitrateError,
    BackendError, OptionError.
    """

    def __init__(
        self,
        model: Codec,
        reply: Callback,
        *,
        n_codebooks: int = 8,
        detector: Detector | None = None,
        rules: TurnTaking | None = None,
        echo: float | None = -12.0,
        threaded: bool = True,
        on_event: Callable[[Event], None] | None = None,
        postfilter: bool = False,
        enhance: bool = False,
    ) -> None:
        if not isinstance(model, Codec):
            raise OptionError(f"the model is what codec.load gives, not {shown(model)}")
        n_codebooks = model.pipeline.n_codebooks(n_codebooks)
        if not callable(reply):
            raise OptionError(f"reply must be a function, not {shown(reply)}")
        if on_event is not None and not callable(on_event):
            raise OptionError(f"on_event must be a function, not {shown(on_event)}")
        rules = TurnTaking() if rules is None else rules
        if not isinstance(rules, TurnTaking):
            raise OptionError(f"rules are a TurnTaking, not {shown(rules)}")
        if detector is not None and not hasattr(detector, "push"):
            raise OptionError(f"a detector is what load_detector gives, not {shown(detector)}")
        coupling = (
            None if echo is None else real(echo, "echo (None where there is none)", OptionError)
        )
        if coupling is not None and not math.isfinite(coupling):
            raise OptionError(f"echo is a gain in dB, not {coupling}")
        rate = model.config.sample_rate
        self._rate = rate
        self.model, self.n_codebooks = model, n_codebooks
        self.transcript: list[Segment] = []
        self._reply, self._on_event = reply, on_event
        self._raised: BaseException | None = None  # by on_event or the detector
        self._rules = rules
        self._detector = load_detector(rate) if detector is None else detector
        self._encoder = model.stream_encoder(n_codebooks=n_codebooks)
        self._player = Player(model, n_codebooks, postfilter=postfilter, enhance=enhance)
        self._taker = TurnTaker(self._rules)
        self._gate = None if coupling is None else EchoGate(coupling)
        self._hop, self._slot = hop_samples(rate), model.config.hop_length
        self._clock = 0
        self._closed = False
        self._heard = Tape(np.float32)  # the microphone, as far back as a turn may need it
        self._played_now: list[Floats] = []  # of the present hop
        self._listened = Tape(np.uint16, n_codebooks)
        self._spoken = Tape(np.uint16, n_codebooks)
        self._spoken.append(self._player.silence)
        self._state: State = "listening"
        self._in_turn = False
        self._turn_start = 0  # the frame at which the present or last turn began
        self._part_start = 0  # the same, or where they went on after a reply that came too early
        self._history: tuple[Segment, ...] = ()  # what was before the turn
        self._interrupted: int | None = None
        self._replying = False  # a reply was asked for and has not ended
        self._may_speak = False  # and the turn has ended
        self._reply_start = 0  # frame
        self._failed = False
        self._they_spoke_last = True
        self._unanswered = (0, True)  # length of the transcript, and the above, before the turn
        threaded = as_bool(threaded, "threaded", OptionError)
        self._source = Threaded() if threaded else Inline()
        weakref.finalize(self, self._source.close)  # a thread ends with its conversation

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def clock(self) -> int:
        """Samples that have come from the microphone, and gone to the loudspeaker."""
        return self._clock

    @property
    def state(self) -> State:
        """What the conversation does now."""
        return self._state

    @property
    def late(self) -> int:
        """Frames of silence that were played because the callback was late."""
        return self._player.underruns

    def listened(self) -> Codes:
        """Return the tokens of the microphone so far, uint16 [codebooks, frames].

        Frame t is that of clock samples [t, t + 1) times the model's hop length. The newest frames
        may be missing, as the encoder hears a little further than each; after `close` none is.
        """
        return self._listened.read(0, len(self._listened))

    def spoken(self) -> Codes:
        """Return the tokens of the loudspeaker on the same clock, those of silence included.

        They are those of all whole frames on the clock.
        """
        return self._spoken.read(0, self._clock // self._slot)

    def exchange(self, samples: npt.ArrayLike) -> Floats:
        """Take samples of the microphone; give as many for the loudspeaker, float32 [n].

        samples: floats or int16 [n], n >= 0, at the model's rate, as they arrive.
        Raises AudioError, or StateError after `close`.
        """
        if self._closed:
            raise StateError("the conversation has ended")
        heard = check_audio(as_samples(samples))
        played: list[Floats] = []
        while len(heard):
            due = min(
                -self._clock % self._slot or self._slot, -self._clock % self._hop or self._hop
            )
            piece, heard = heard[:due], heard[due:]
            played.append(self._player.render(len(piece)))
            self._heard.append(piece)
            self._played_now.append(played[-1])
            self._clock += len(piece)
            if len(piece) == due:
                self._advance()
        self._raise()
        return np.concatenate([np.zeros(0, np.float32), *played])

    def close(self) -> None:
        """End the conversation: the reply is cancelled, and what was heard of it written down."""
        if self._closed:
            return
        self._closed = True
        rest = self._heard.read(self._clock // self._hop * self._hop, self._clock)
        last = [self._encoder.push(rest), self._encoder.flush()]
        missing = self._clock // self._slot - len(self._listened)
        self._listened.append(np.concatenate(last, axis=1)[:, :missing])
        if self._player.active:
            self._interrupt()
        elif self._in_turn:
            codes = self._listened.read(self._part_start, len(self._listened))
            self._write(self._part_start, codes, they=True, end="open")
        self._source.close()
        self._raise()

    def _advance(self) -> None:
        """Do what is due at the end of a slot or a hop.

        A slot first takes the frames that the reply needs, so that a fade finds samples to fade;
        then the hop may change who speaks; then a new reply may begin with the slot.
        """
        slot = self._clock % self._slot == 0
        if slot and self._player.active and not self._player.slot(self._take):
            self._write_reply("whole")
            self._taker.ended_well()
            self._emit("reply ended", heard=self._player.heard)
            self._state = "listening"
        if self._clock % self._hop == 0:
            self._end_hop()
        if slot:
            if self._may_speak and not self._player.active:
                self._begin_reply()
            self._spoken.append(self._player.frame())

    def _end_hop(self) -> None:
        heard = self._heard.read(self._clock - self._hop, self._clock)
        played, self._played_now = np.concatenate(self._played_now), []
        self._listened.append(self._encoder.push(heard))
        if not self._turn_may_go_on():
            self._heard.forget(self._clock - hops(KEPT) * self._hop)
        try:
            probability = self._detector.push(heard)
        except BaseException as raised:
            self._raised, probability = self._raised or raised, 0.0
        echo = self._gate is not None and self._gate.push(heard, played)
        if echo and not self._in_turn:  # in a turn nothing is played: they may speak softly
            probability = 0.0
        for action in self._taker.push(probability, speaking=self._player.active):
            self._act(action)

    def _act(self, action: Action) -> None:
        if action == "begin":
            self._begin_turn()
        elif action == "pause":
            self._emit("turn paused")
            self._failed = False
            self._source.start(frames_of(self._reply, self._turn(), self.model, self.n_codebooks))
            self._replying = True
        elif action == "resume":
            self._emit("turn resumed")
            self._cancel()
        elif action == "end":
            self._unanswered = len(self.transcript), self._they_spoke_last
            codes = self._listened.read(self._part_start, self._stop())
            self._write(self._part_start, codes, they=True)
            self._in_turn, self._may_speak, self._state = False, True, "thinking"
            self._emit("turn ended")
        elif action == "drop":
            self._in_turn, self._state = False, "listening"
            self._emit("turn dropped")
        elif action == "hold":
            self._player.hold()
            self._emit("reply held", heard=self._player.heard)
        else:
            self._player.go_on()
            self._emit("reply went on", heard=self._player.heard)

    def _begin_turn(self) -> None:
        """They speak: a new turn, or the rest of one to which a reply came too early."""
        start = max(0, self._taker.began * self._hop - round(BEFORE * self._rate)) // self._slot
        early, heard = False, None
        if self._player.active:
            heard = self._interrupt()
            early = heard < self._rules.resume * self._rate
        elif self._replying:  # they went on while the reply was being thought of
            self._cancel()
            length, self._they_spoke_last = self._unanswered
            del self.transcript[length:]
            early, start = True, self._part_start
        self._part_start = start
        if early and start - self._turn_start < self._rules.longest * self._rate / self._slot:
            self._taker.came_too_early()
        else:
            self._turn_start = start
            self._history, self._interrupted = tuple(self.transcript), heard
        self._in_turn, self._state = True, "hearing"
        self._emit("turn began")

    def _begin_reply(self) -> None:
        """Begin the reply, if its first frame is ready."""
        try:
            first = self._take()
        except Ended:
            self._cancel()
            self._state = "listening"
            if not self._failed:
                self._emit("reply empty")
            return
        if first is not None:
            self._may_speak = False
            self._reply_start = self._clock // self._slot
            self._player.begin(first, self._take)
            self._state = "speaking"
            self._emit("reply began")

    def _interrupt(self) -> int:
        heard = self._player.stop()
        self._cancel()
        self._write_reply("interrupted")
        self._emit("reply interrupted", heard=heard)
        return heard

    def _cancel(self) -> None:
        # What a callback raises when nobody listens any more is its own affair, as in its thread.
        try:
            self._source.cancel()
        except BaseException as raised:
            self._interrupted_by(raised)
        self._replying = self._may_speak = False

    def _take(self) -> Codes | None:
        try:
            return self._source.take()
        except Ended:
            raise
        except BaseException as raised:  # of the callback, which may raise what it likes
            self._failed = True
            self._interrupted_by(raised)
            self._emit("reply failed", error=as_exception(raised))
            raise Ended from None

    def _interrupted_by(self, raised: BaseException) -> None:
        """Keep Ctrl-C, which may come while a callback runs, for the end of the step."""
        if isinstance(raised, KeyboardInterrupt):
            self._raised = self._raised or raised

    def _turn_may_go_on(self) -> bool:
        early = self._player.heard < self._rules.resume * self._rate
        return self._in_turn or self._may_speak or (self._player.active and early)

    def _turn(self) -> Turn:
        start, stop = self._turn_start, self._stop()
        return Turn(
            self._listened.read(start, stop),
            self._heard.read(start * self._slot, stop * self._slot),
            start,
            self._history,
            self._interrupted,
        )

    def _stop(self) -> int:
        """Return the frame after the last speech."""
        return -(-self._taker.last * self._hop // self._slot)

    def _write_reply(self, end: End) -> None:
        self._write(self._reply_start, self._player.heard_codes(), they=False, end=end)
        self._replying = False

    def _write(self, start: int, codes: Codes, *, they: bool, end: End = "whole") -> None:
        if they != self._they_spoke_last:
            self.transcript.append(TurnMark())
        self.transcript.append(Audio(codes, start, end))
        self._they_spoke_last = they

    def _emit(
        self, kind: Kind, *, heard: int | None = None, error: Exception | None = None
    ) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(Event(kind, self._clock, heard, error))
        except BaseException as raised:  # the step under way must end, or streams come apart
            self._raised = self._raised or raised

    def _raise(self) -> None:
        """Raise what `on_event` or the detector raised, once."""
        error, self._raised = self._raised, None
        if error is not None:
            raise error
