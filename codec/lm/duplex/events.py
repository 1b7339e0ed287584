"""What happens in a conversation, and what is known when somebody has finished speaking."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

from codec.lm.vocabulary import Segment
from codec.support.types import Codes

State = Literal["listening", "hearing", "thinking", "speaking"]

Kind = Literal[
    "turn began",
    "turn paused",
    "turn resumed",
    "turn ended",
    "turn dropped",
    "reply began",
    "reply held",
    "reply went on",
    "reply ended",
    "reply interrupted",
    "reply failed",
    "reply empty",
]


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened when `sample` samples had come from the microphone.

    turn began          somebody speaks (known up to 100 ms after the first sound)
    turn paused         a short silence: the callback is asked for a reply, in case the turn is over
    turn resumed        they went on; the reply that was prepared is dropped
    turn ended          the silence lasted long enough: the reply may be heard from now on
    turn dropped        it was too short to be speech; nothing is replied
    reply began         its first frame is played from this sample on
    reply held          a sound that may be an interruption: the loudspeaker falls silent
    reply went on       it was none
    reply ended         all of it was played
    reply interrupted   somebody speaks; `heard` samples of the reply had been played
    reply failed        the callback raised `error`
    reply empty         the callback gave nothing
    """

    kind: Kind
    sample: int
    heard: int | None = None
    error: Exception | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Turn:
    """What somebody said, handed to the callback that replies.

    codes: uint16 [codebooks, frames] of the microphone.
    samples: float32 [n], the same stretch at the model's rate.
    start: the frame of the conversation's clock at which the codes begin.
    history: everything before it as segments of `codec.lm.vocabulary`: what they said, `Turn()`,
        the frames of the replies that were heard.
    interrupted: samples of the last reply that were heard before this turn cut it off; None if it
        was heard to its end.
    """

    codes: Codes
    samples: npt.NDArray[np.float32]
    start: int
    history: tuple[Segment, ...] = ()
    interrupted: int | None = None

    @property
    def stop(self) -> int:
        """The frame after the last."""
        return self.start + int(self.codes.shape[1])
