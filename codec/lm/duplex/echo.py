"""Keep the program's own voice, heard by the microphone, from counting as somebody speaking."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from codec.lm.duplex.detectors import HOP_SECONDS, decibels

Floats = npt.NDArray[np.float32]

REACH = round(0.32 / HOP_SECONDS)  # hops that an echo lasts: sound card, room and its reverberation
MARGIN = 6.0  # dB by which the microphone must be louder than the expected echo
GROWTH = 0.3  # dB per hop by which the coupling may grow: what grows faster is somebody speaking
QUIET = -55.0  # dBFS of the loudspeaker below which no echo is expected
LEARNED = round(0.8 / HOP_SECONDS)  # hops from which the coupling is known


class EchoGate:
    """Judge whether a hop of the microphone could be only the echo of what was played.

    The echo is expected at the loudest level played within the last .32 s, plus the coupling: the
    gain from loudspeaker to microphone. The coupling begins at `coupling` dB and follows the
    loudest of what was heard while playing, of hops that were judged to be echo: it falls within
    .8 s where there is little echo (headphones, a browser that cancels it). This is a gate and no
    canceller: whoever wants to interrupt a loud loudspeaker must be 6 dB louder than its echo.
    """

    def __init__(self, coupling: float) -> None:
        self._played: deque[float] = deque(maxlen=REACH)
        self._ratios: deque[float] = deque([coupling] * LEARNED, maxlen=LEARNED)

    def push(self, heard: Floats, played: Floats) -> bool:
        """Take one hop of both, float32 [samples]; return whether `heard` may be echo only."""
        self._played.append(decibels(played))
        loudest = max(self._played)
        if loudest < QUIET:
            return False
        ratio, coupling = decibels(heard) - loudest, max(self._ratios)
        echo = ratio < coupling + MARGIN
        if echo:
            self._ratios.append(min(ratio, coupling + GROWTH))
        return echo
