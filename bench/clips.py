"""Read the clips of an evaluation folder for the bench scripts: 24 kHz, mono."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from codec.benchmark.clips import KINDS, OTHER, SAMPLE_RATE, find_sources, read_clip
from codec.errors import AudioError, DataError
from codec.quality.pair import Audio

__all__ = ["KINDS", "OTHER", "SAMPLE_RATE", "Clip", "read_clips"]


@dataclasses.dataclass(frozen=True)
class Clip:
    name: str  # file name without its suffix
    kind: str  # one of KINDS by the name's prefix ("music_3.flac"), or OTHER
    audio: Audio  # [samples] at 24 kHz


def read_clips(folder: Path) -> list[Clip]:
    """The audio files right in `folder`, sorted by kind, then name; channels are averaged.

    Raises DataError if there are none or one cannot be read: means over what happens to be
    readable could not be compared.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    clips = []
    for source in find_sources([folder]):
        try:
            clips.append(Clip(source.name, source.kind, read_clip(source)))
        except AudioError as error:
            raise DataError(f"{source.path.name}: {error}") from None
    return clips
