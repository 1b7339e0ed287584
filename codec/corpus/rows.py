"""One item of a corpus becomes one row: its tokens and what is known of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.api import Codec
from codec.audio import Audio, AudioReader, Metered
from codec.corpus.items import Item
from codec.engine.refine import PLAIN, Search
from codec.errors import AudioError
from codec.lm.layouts import Layout
from codec.support.workers import Workers


@dataclasses.dataclass(frozen=True)
class Settings:
    """What determines the rows besides model and items. Durations in seconds; silence: the
    peak in dB of full scale below which audio is left out, None to keep all. latents: make
    normalised latents, float16, in place of codes; n_codebooks, beam and refine then count for
    nothing. beam, refine: as for `Codec.encode`."""

    n_codebooks: int
    layout: str = "none"
    min_duration: float = 0.0
    max_duration: float | None = None
    silence: float | None = None
    latents: bool = False
    beam: int = 1
    refine: int = 0

    def decides(self) -> dict[str, Any]:
        """Return what a run's card says: of latents or of codes, as only one of them is made."""
        said = dataclasses.asdict(self)
        del said["n_codebooks" if self.latents else "latents"]
        for name, value in PLAIN._asdict().items():
            if self.latents or said[name] == value:  # as runs say that were begun without it
                del said[name]
        return said

    @property
    def search(self) -> Search:
        """How the codes are searched."""
        return Search(self.beam, self.refine)

    @classmethod
    def held(cls, decides: Mapping[str, Any]) -> Settings:
        """Return the settings of a run whose card says `decides`."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**({"n_codebooks": 0} | {k: v for k, v in decides.items() if k in names}))


@dataclasses.dataclass(frozen=True)
class Row:
    """The tokens of an item.

    ids: of each channel, or of each two that the model codes together, 1-D: codes frame by frame,
        or laid out; or latents frame by frame.
    width: values a frame: codebooks, or dimensions of the latents.
    decoder: what read the audio: codec, libsndfile or FFmpeg.
    warning: what is missing of the audio or damaged, or that it is far too loud, "" if nothing is.
    damaged: whether it is more than too loud.
    """

    item: Item
    n_samples: int
    sample_rate: int
    n_frames: int
    width: int
    ids: list[npt.NDArray[Any]]
    decoder: str = ""
    warning: str = ""
    damaged: bool = False

    @property
    def duration(self) -> float:
        return self.n_samples / self.sample_rate

    @property
    def latents(self) -> bool:
        """Whether the row holds latents in place of codes."""
        return self.ids[0].dtype.kind == "f"

    @property
    def id(self) -> str:
        return self.item.id

    def fields(self) -> dict[str, Any]:
        """Return all of the row but its ids and the manifest's columns."""
        return {
            "id": self.id,
            "path": self.item.name,
            "offset": self.item.offset,
            "duration": self.duration,
            "sample_rate": self.sample_rate,
            "channels": len(self.ids),
            "n_frames": self.n_frames,
            "latent_dim" if self.latents else "n_codebooks": self.width,
            "decoder": self.decoder,
            "warning": self.warning,
        }

    def digest(self) -> str:
        """Hash everything in the row."""
        digest = hashlib.sha256(json.dumps([self.fields(), dict(self.item.columns)]).encode())
        for ids in self.ids:
            digest.update(ids.astype("<f2" if self.latents else "<u4").tobytes())
        return digest.hexdigest()[:16]


def tokenize(
    codec: Codec,
    item: Item,
    settings: Settings,
    layout: Layout | None,
    within: Workers | None = None,
) -> Row:
    """Make the row of `item`, in memory that grows only with its tokens.

    within: as for `Workers`. Raises AudioError on what cannot be coded or is filtered out, OSError
    on what cannot be opened, DataError if storage does not answer.
    """
    with (
        item.place.reading() as source,
        AudioReader(source, item.offset, item.duration) as reader,
        Workers(within=within) as workers,
    ):
        metered = Metered(reader)
        blocks = _filtered(metered, settings)
        if settings.latents:
            spans: Iterator[npt.NDArray[Any]] = codec.pipeline.encode_latent_blocks(
                blocks, reader.sample_rate, workers
            )
        else:
            spans = codec.pipeline.encode_blocks(
                blocks, reader.sample_rate, settings.n_codebooks, workers, settings.search
            )
        values = np.concatenate(list(spans), axis=2)
        if settings.latents:
            values = values.astype(np.float16)
    _, width, frames = values.shape
    if layout is None:
        ids: list[npt.NDArray[Any]] = [channel.T.ravel() for channel in values]
    else:
        ids = [layout.to_ids(channel) for channel in values]
    return Row(
        item, reader.n_samples, reader.sample_rate, frames, width, ids,
        reader.decoder.split()[0], "; ".join(metered.warnings), bool(reader.warnings),
    )  # fmt: skip


def _filtered(metered: Metered, settings: Settings) -> Iterator[Audio]:
    """Give the blocks. Raises AudioError by their end if a filter refuses."""
    reader, rate = metered.audio, metered.audio.sample_rate
    for block in metered:
        if settings.max_duration is not None and reader.n_samples > settings.max_duration * rate:
            raise AudioError(f"longer than {settings.max_duration:g} s")
        yield block
    if reader.n_samples < settings.min_duration * rate:
        raise AudioError(f"shorter than {settings.min_duration:g} s")
    if settings.silence is not None and metered.peak < 10 ** (settings.silence / 20):
        raise AudioError(f"silent: the peak is below {settings.silence:g} dB")
