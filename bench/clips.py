"""The clips of an evaluation folder, as the bench scripts hear them: 24 kHz, mono."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from codec.audio import READ_SUFFIXES, read_audio, resample
from codec.errors import AudioError, DataError
from codec.quality.pair import Audio

SAMPLE_RATE = 24_000

KINDS = ("speech", "music", "general")
OTHER = "audio"


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
    for path in folder.iterdir():
        if path.suffix.lower() not in READ_SUFFIXES or path.name.startswith("."):
            continue
        try:
            channels, rate = read_audio(path)
        except (AudioError, OSError) as error:
            raise DataError(f"{path.name}: {error}") from None
        audio = resample(channels.mean(axis=0), rate, SAMPLE_RATE)
        prefix = path.stem.split("_")[0]
        clips.append(Clip(path.stem, prefix if prefix in KINDS else OTHER, audio))
    if not clips:
        raise DataError(f"no audio files in {folder}")
    order = (*KINDS, OTHER)
    return sorted(clips, key=lambda clip: (order.index(clip.kind), clip.name))
