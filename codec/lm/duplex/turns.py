"""Decide from probabilities of speech who has the turn: begin, pause, end, interrupt."""

from __future__ import annotations

import dataclasses
from typing import Literal

from codec.errors import OptionError
from codec.lm.duplex.detectors import HOP_SECONDS
from codec.support.arguments import as_bool, real

RESUME = 0.032  # seconds of speech that show that a pause was only that
ABOVE = 0.048  # seconds by which patience exceeds a pause that was not the end
CALM = 0.064  # seconds without any suspicion after which a held reply goes on
TRUST = 1.0  # seconds after a false alarm in which only likely speech holds the reply

Action = Literal["begin", "pause", "resume", "end", "drop", "hold", "release"]


@dataclasses.dataclass(frozen=True)
class TurnTaking:
    """When somebody has begun to speak, and when they have finished. Times in seconds.

    threshold: the probability from which a hop is speech.
    begin: speech that lasts this long is a turn, or an interruption; what is shorter is a click.
    pause: silence after which a reply is asked for, and may be heard if `patience` is no longer.
    patience: silence after which the reply may be heard, at first. Whenever somebody goes on after
        the end of a turn, or within `resume` of a reply, patience grows to a little above the pause
        that they made, to `most_patience` at most; every turn that ends well takes a tenth of what
        it grew (the adaptive thresholds of Raux and Eskenazi, 2008, reduced to one number). With
        `adaptive` off it stays.
    shortest: speech in all of a turn below which nothing is replied (a cough).
    suspect: the probability from which the loudspeaker falls silent, before it is known whether
        the sound is speech; if it is not within `doubt`, the reply goes on where it stopped.
    interrupt: speech that lasts this long interrupts a reply; what is shorter only holds it.
    longest: a turn ends after this time, whatever is heard.
    resume: an interruption within this time of a reply is no new turn: the reply came too early.

    Raises OptionError on a value that makes no sense.
    """

    threshold: float = 0.5
    begin: float = 0.064
    pause: float = 0.064
    patience: float = 0.064
    most_patience: float = 0.8
    adaptive: bool = True
    shortest: float = 0.128
    suspect: float = 0.2
    doubt: float = 0.24
    interrupt: float = 0.128
    longest: float = 120.0
    resume: float = 0.6

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name == "adaptive":
                as_bool(self.adaptive, "adaptive", OptionError)
                continue
            value = real(getattr(self, field.name), field.name, OptionError)
            most = 1.0 if field.name in ("threshold", "suspect") else 3600.0
            if not 0 < value <= most:
                raise OptionError(f"{field.name} must be above 0 and at most {most:g}")
        if not self.suspect <= self.threshold:
            raise OptionError("suspect must not be above threshold")
        if not self.pause <= self.patience <= self.most_patience:
            raise OptionError("patience must lie between pause and most_patience")


def hops(seconds: float) -> int:
    """Return how many hops make `seconds`, at least 1."""
    return max(1, round(seconds / HOP_SECONDS))


class TurnTaker:
    """A state machine over hops. It knows nothing of audio, tokens or replies.

    began: the hop with which the speech of the turn began.
    last: the hop after its last speech.
    patience: hops of silence that end a turn, at present.
    """

    def __init__(self, rules: TurnTaking) -> None:
        self.rules = rules
        self.began = self.last = 0
        self.patience = hops(rules.patience)
        self._state: Literal["quiet", "voiced", "paused"] = "quiet"
        self._hop = 0
        self._run = 0  # hops of speech without a gap, up to now
        self._calm_run = 0  # hops without suspicion, up to now
        self._voiced = self._voiced_before = 0  # hops of speech in this turn, and in the last
        self._before = 0  # `last` of the turn before
        self._held: int | None = None  # the hop since which the reply has been held
        self._trusting = 0  # the hop up to which a mere suspicion holds nothing

    def push(self, probability: float, *, speaking: bool) -> tuple[Action, ...]:
        """Take the next hop; return what changes after it, in order.

        probability: of speech that is not echo. speaking: whether a reply is being played or held.
        """
        self._hop += 1
        speech = probability >= self.rules.threshold
        self._run = self._run + 1 if speech else 0
        self._calm_run = self._calm_run + 1 if probability < self.rules.suspect else 0
        if self._state == "quiet":
            return self._quiet(probability, speaking)
        self._voiced += speech
        if self._state == "voiced":
            if speech:
                self.last = self._hop
            return self._silence()
        if self._run >= hops(RESUME):
            self._state, self.last = "voiced", self._hop
            return ("resume",)
        return self._end()

    def came_too_early(self) -> None:
        """Learn that the turn before had not ended when it was said to: wait longer from now on."""
        self._voiced += self._voiced_before
        if self.rules.adaptive:
            enough = self.began - self._before + hops(ABOVE)
            self.patience = max(self.patience, min(hops(self.rules.most_patience), enough))

    def ended_well(self) -> None:
        """Learn that the turn had ended: wait a little less."""
        least = hops(self.rules.patience)
        self.patience = least + (self.patience - least) * 9 // 10

    def _quiet(self, probability: float, speaking: bool) -> tuple[Action, ...]:
        if self._run >= hops(self.rules.interrupt if speaking else self.rules.begin):
            self._before, self._voiced_before = self.last, self._voiced
            self.began, self.last = self._hop - self._run, self._hop
            self._voiced, self._held, self._state = self._run, None, "voiced"
            return ("begin",)
        if not speaking:
            self._held = None
        elif self._held is None:
            trusting = self._hop < self._trusting
            if probability >= (self.rules.threshold if trusting else self.rules.suspect):
                self._held = self._hop
                return ("hold",)
        elif self._calm_run >= hops(CALM) or (
            self._run == 0 and self._hop - self._held >= hops(self.rules.doubt)
        ):
            self._held, self._trusting = None, self._hop + hops(TRUST)
            return ("release",)
        return ()

    def _silence(self) -> tuple[Action, ...]:
        if self._hop - self.began >= hops(self.rules.longest):
            self._state, self._run = "quiet", 0
            return ("pause", "end")
        if self._hop - self.last < hops(self.rules.pause):
            return ()
        if self._voiced < hops(self.rules.shortest):
            self._state = "quiet"
            return ("drop",)
        self._state = "paused"
        return ("pause", *self._end())

    def _end(self) -> tuple[Action, ...]:
        if self._hop - self.last < self.patience:
            return ()
        self._state = "quiet"
        return ("end",)
