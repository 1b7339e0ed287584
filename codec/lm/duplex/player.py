"""Play a reply on the clock: frames through the stream decoder, held and cut off to the sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from codec.api import Codec
from codec.lm.duplex.replies import Ended
from codec.lm.duplex.tape import Tape
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]
Take = Callable[[], Codes | None]

FADE_SECONDS = 0.008


def silence_frame(model: Codec, n_codebooks: int) -> Codes:
    """Return the codes that digital silence has in the long run, uint16 [n_codebooks, 1]."""
    rate = model.config.sample_rate
    silent = model.encode(np.zeros(2 * rate, np.float32), rate, n_codebooks=n_codebooks)
    middle = silent.n_frames // 2
    return np.ascontiguousarray(silent.codes[0, :, middle : middle + 1])


class Player:
    """The loudspeaker's side of the clock, which is divided into slots of one frame.

    A reply begins with a slot, and its frame k lies in slot k. To finish a frame, the decoder looks
    into the next ones: if they are there when the reply begins, the sound begins with the slot,
    else so much later that from then on one frame a slot is enough. What is played is what
    `Codec.decode` gives for the frames, bit for bit, but for fades of 8 ms where it is held, goes
    on or is cut off. A held reply goes on at the same place of a later slot, so that its frames
    stay on the clock.

    postfilter, enhance: as for `Codec.decode`; they look 20 and 75 ms further.
    frames: the frames of this reply that were taken, a tape of uint16 [n_codebooks, n], with the
        frames of silence that fill in where the callback was late.
    underruns: how many those are, in all replies.
    heard: samples of this reply that were played, or will be when a fade that has begun ends.
    """

    def __init__(
        self, model: Codec, n_codebooks: int, *, postfilter: bool = False, enhance: bool = False
    ) -> None:
        self.silence = silence_frame(model, n_codebooks)
        self.frames = Tape(np.uint16, n_codebooks)
        self.underruns = 0
        self.heard = 0
        self._decoder = model.stream_decoder(postfilter=postfilter, enhance=enhance)
        self._slot = model.config.hop_length
        self._fade = round(FADE_SECONDS * model.config.sample_rate)
        self._mode: Literal["idle", "playing", "held", "waiting"] = "idle"
        self._clock = 0  # samples rendered
        self._ready = np.zeros(0, np.float32)  # decoded and not yet played
        self._finished = False  # no more frames come
        self._lead = 0  # samples of silence that are due before the reply
        self._tail = np.zeros(0, np.float32)  # a fade that is due at once
        self._risen = 0  # samples of a fade-in that were played
        self._phase = 0  # the place in a slot at which a held reply was stopped

    @property
    def latency(self) -> int:
        """Samples of the last frame and those before it that wait for frames to come, at most."""
        return self._decoder.latency

    @property
    def active(self) -> bool:
        """Whether a reply is being played or held."""
        return self._mode != "idle"

    def begin(self, first: Codes, take: Take) -> None:
        """Begin a reply with its first frame, at the start of a slot.

        take: returns the next frame, or None if it is not ready; raises Ended after the last.
        """
        self._decoder.reset()
        self._mode, self._finished, self._risen = "playing", False, self._fade
        self._ready, self.heard = np.zeros(0, np.float32), 0
        self.frames = Tape(np.uint16, len(self.silence))
        self._push(first)
        while len(self._ready) < self._slot and self._take(take):
            pass
        missing = self.latency - (len(self.frames) - 1) * self._slot
        self._lead = 0 if self._finished else max(0, missing)

    def slot(self, take: Take) -> bool:
        """Begin a slot: take the frames that it needs. Return False if the reply has ended."""
        if self._mode == "waiting" and self._phase == 0:
            self._mode = "playing"
        if self._mode != "playing":
            return self.active
        while len(self._ready) < self._slot - self._lead and not self._finished:
            if not self._take(take) and not self._finished:
                self.underruns += 1
                self._push(self.silence)
        if self._finished and not len(self._ready):
            self._mode = "idle"
        return self.active

    def frame(self) -> Codes:
        """Return the codes of the slot that begins now: of the reply, or of silence."""
        number = -(-self.heard // self._slot)
        if self._mode == "playing" and self._lead < self._slot and number < len(self.frames):
            return self.frames.read(number, number + 1)
        return self.silence

    def render(self, count: int) -> Floats:
        """Return the next `count` samples, float32; they must not reach beyond the slot's end."""
        out = np.zeros(count, np.float32)
        at = min(count, len(self._tail))
        out[:at], self._tail = self._tail[:at], self._tail[at:]
        if self._mode == "waiting":
            away = (self._phase - self._clock) % self._slot
            if away < count:
                self._mode, at = "playing", away
        if self._mode == "playing":
            lead = min(count - at, self._lead)
            self._lead -= lead
            at += lead
            taken = self._next(count - at)
            out[at : at + len(taken)] = taken
        self._clock += count
        return out

    def hold(self) -> None:
        """Fall silent within 8 ms, so that the reply can go on from there."""
        if self._mode == "playing":
            self._fade_out()
            self._mode = "held"
            self._phase = (self._clock + len(self._tail)) % self._slot

    def go_on(self) -> None:
        """Play the rest of a held reply, from the same place in the first slot that comes."""
        if self._mode == "held":
            self._mode, self._risen = "waiting", 0

    def stop(self) -> int:
        """Cut the reply off within 8 ms; return how many samples of it were heard."""
        if self._mode == "playing":
            self._fade_out()
        self._mode = "idle"
        return self.heard

    def heard_codes(self) -> Codes:
        """Return the frames of the reply of which something was heard, uint16 [codebooks, n]."""
        return self.frames.read(0, -(-self.heard // self._slot))

    def _take(self, take: Take) -> bool:
        """Push the next frame, if there is one."""
        try:
            frame = take()
        except Ended:
            self._finished = True
            self._ready = np.concatenate([self._ready, self._decoder.flush()])
            return False
        if frame is None:
            return False
        self._push(frame)
        return True

    def _push(self, frame: Codes) -> None:
        self.frames.append(frame)
        self._ready = np.concatenate([self._ready, self._decoder.push(frame)])

    def _next(self, count: int) -> Floats:
        taken, self._ready = self._ready[:count], self._ready[count:]
        self.heard += len(taken)
        rising = min(len(taken), self._fade - self._risen)
        if rising > 0:
            gain = (np.arange(self._risen, self._risen + rising) + 0.5) / self._fade
            taken = np.concatenate([taken[:rising] * gain.astype(np.float32), taken[rising:]])
            self._risen += rising
        return taken

    def _fade_out(self) -> None:
        taken = self._next(0 if self._lead else self._fade)
        falling = 1 - (np.arange(len(taken)) + 0.5) / max(1, len(taken))
        self._tail = taken * falling.astype(np.float32)
        self._lead = 0
