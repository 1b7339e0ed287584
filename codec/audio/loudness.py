"""Warns of audio so far beyond full scale that the network does not follow it."""

from __future__ import annotations

from collections.abc import Iterator

from codec.audio.arrays import Audio, peak_of
from codec.audio.pipes import SampleStream
from codec.audio.reader import AudioReader

# The network follows audio to about this peak; what it makes of louder audio is too quiet.
LOUDEST = 2.0


def loudness_warning(peak: float) -> str | None:
    """Say that audio of this peak comes back too quiet; None if it does not."""
    if peak <= LOUDEST:
        return None
    return (
        f"audio peaks at {peak:.4g}, full scale is 1: beyond {LOUDEST:g} it does not come back"
        " at its level; scale it first"
    )


class Metered:
    """Gives the blocks of `audio` as they are, and keeps their peak so far."""

    def __init__(self, audio: AudioReader | SampleStream) -> None:
        self.audio = audio
        self.peak = 0.0

    def __iter__(self) -> Iterator[Audio]:
        for block in self.audio:
            self.peak = max(self.peak, peak_of(block))
            yield block

    @property
    def warnings(self) -> list[str]:
        """What there is to say of the audio, once it has been read."""
        loud = loudness_warning(self.peak)
        return [*self.audio.warnings, *([loud] if loud else [])]
