"""Codes to learn from, with what is known about them, and batches that are functions of a number.

Rows of one voice are joined into a stream, in the order in which they lie in their files; a row
whose speaker is not known is a stream of its own. A batch is stretches of streams.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import DataError
from codec.lm.model.config import LmConfig
from codec.lm.speech.phones import lay_alignment

Ints = npt.NDArray[np.int64]

TRIES = 8  # at a stretch of the same voice that lies apart
VALIDATION = "validation"  # in the column `split`


@dataclasses.dataclass(frozen=True)
class Dropping:
    """How often training goes without each condition, and without frames of the history.

    prompt: how often the phones of a stretch are known only from some frame on, as where speech
    goes on after a recording whose words nobody wrote down.
    history: the share of frames with phones that are hidden from those after them, so that the
    network listens to the phones.
    """

    tags: float = 0.2
    voice: float = 0.15
    phones: float = 0.15
    prompt: float = 0.25
    history: float = 0.15


@dataclasses.dataclass(frozen=True)
class Stream:
    """Codes uint16 [levels, frames] of one voice or piece, with their phones and tags."""

    codes: npt.NDArray[np.uint16]
    phones: npt.NDArray[np.uint8]  # [frames, 3]; zeros where no phone is known
    tags: tuple[int, ...]

    @property
    def frames(self) -> int:
        return len(self.phones)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Stretches of streams. -1 stands for nothing: no code, no tag, no voice."""

    codes: Ints  # [B, levels, T]
    tags: Ints  # [B, n]
    voice: Ints  # [B, levels, voice frames]
    phones: Ints  # [B, T, 3]
    kept: npt.NDArray[np.bool_]  # [B, T]


def words_of(row: Mapping[str, Any]) -> list[str]:
    """The tags of a row."""
    return str(row.get("tags") or "").split()


def known_tags(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """All tags of the rows, in alphabetical order."""
    return tuple(sorted({word for row in rows for word in words_of(row)}))


def kinds_of(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The tags that rows have together, those of the most frames first."""
    frames: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        frames[tuple(words_of(row))] += int(row["codes"].shape[2])
    return [kind for kind, _ in frames.most_common() if kind]


def streams_of(rows: Iterable[Mapping[str, Any]], config: LmConfig) -> list[Stream]:
    """Join rows (as `codec.corpus.token_rows` reads them) into streams.

    Used are "codes" and, where there are such columns, "speaker", "phones" ("START:PHONE ...") and
    "tags" (words; those that `config` does not have are left out). Raises DataError if the codes
    do not fit `config`.
    """
    places = {word: place for place, word in enumerate(config.tags)}
    joined: dict[tuple[str, ...], list[Stream]] = {}
    ordered = sorted(rows, key=lambda row: (str(row["path"]), float(row.get("offset") or 0)))
    for number, row in enumerate(ordered):
        for channel, codes in enumerate(row["codes"]):
            if len(codes) < config.levels:
                raise DataError(f"{row['id']}: {len(codes)} levels; {config.levels} are needed")
            codes = codes[: config.levels].astype(np.uint16)
            if codes.size and codes.max() >= config.codebook_size:
                raise DataError(f"{row['id']}: code {codes.max()} of {config.codebook_size}")
            frames = codes.shape[1]
            text = str(row.get("phones") or "")
            laid = lay_alignment(text, frames, frame_rate=config.frame_rate)
            tags = tuple(places[word] for word in words_of(row) if word in places)
            speaker = str(row.get("speaker") or "")
            key = ("voice", speaker) if speaker else ("row", str(number), str(channel))
            joined.setdefault(key, []).append(Stream(codes, laid.astype(np.uint8), tags))
    return [
        Stream(
            np.concatenate([part.codes for part in parts], axis=1),
            np.concatenate([part.phones for part in parts]),
            parts[0].tags,
        )
        for parts in joined.values()
        if sum(part.frames for part in parts)
    ]


def balanced(streams: Sequence[Stream]) -> list[float]:
    """Weights of streams by which kinds that are rare (their first tags) come more often.

    A kind with a share s of the frames gets a share in proportion to s^0.7, as the languages of
    multilingual models do (XLM-R, arXiv 1911.02116).
    """
    frames: dict[tuple[int, ...], int] = {}
    for stream in streams:
        frames[stream.tags[:1]] = frames.get(stream.tags[:1], 0) + stream.frames
    total = sum(frames.values())
    return [(frames[stream.tags[:1]] / total) ** -0.3 for stream in streams]


class Batches:
    """Batches drawn at random: `draw(n)` is the same whenever it is called.

    weights: of each stream's frames; by default 1.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        config: LmConfig,
        size: int,
        seed: int,
        dropping: Dropping | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        if not streams:
            raise DataError("no tokens to learn from")
        self.streams, self.config, self.size, self.seed = streams, config, size, seed
        self.dropping = dropping or Dropping()
        lengths = np.array([stream.frames for stream in streams], np.float64)
        wanted = lengths if weights is None else lengths * np.asarray(weights)
        self._ends = np.cumsum(wanted / wanted.sum())
        self._tags = max(1, *(len(stream.tags) for stream in streams))

    @property
    def seconds(self) -> float:
        """Seconds of audio in a batch, if every stretch is full."""
        return self.size * self.config.context / self.config.frame_rate

    def draw(self, number: int) -> Batch:
        """Batch `number`, a function of that and the seed."""
        random = np.random.Generator(np.random.Philox(key=np.array([self.seed, number], np.uint64)))
        config, drop = self.config, self.dropping
        frames = config.context
        batch = empty_batch(config, self.size, frames, self._tags)
        for item in range(self.size):
            place = min(int(np.searchsorted(self._ends, random.random())), len(self.streams) - 1)
            stream = self.streams[place]
            first = int(random.integers(0, max(1, stream.frames - frames + 1)))
            fill(batch, item, stream, first)
            keeps = random.random(4) >= (drop.tags, drop.voice, drop.phones, drop.prompt)
            if not keeps[0]:
                batch.tags[item] = -1
            if keeps[1]:
                self._show_voice(batch, item, stream, first, random)
            hidden = random.random(frames) < drop.history
            if not keeps[2]:
                batch.phones[item] = 0
            elif not keeps[3]:
                batch.phones[item, : int(random.integers(1, frames))] = 0
            batch.kept[item] = ~hidden | (batch.phones[item, :, 0] == 0)
        return batch

    def _show_voice(
        self, batch: Batch, item: int, stream: Stream, first: int, random: np.random.Generator
    ) -> None:
        length = self.config.voice_frames
        if stream.frames < length:
            return
        for _ in range(TRIES):
            start = int(random.integers(0, stream.frames - length + 1))
            if start + length <= first or start >= first + self.config.context:
                batch.voice[item] = stream.codes[:, start : start + length]
                return


def empty_batch(config: LmConfig, size: int, frames: int, tags: int) -> Batch:
    """A batch of nothing."""
    return Batch(
        np.full((size, config.levels, frames), -1, np.int64),
        np.full((size, tags), -1, np.int64),
        np.full((size, config.levels, config.voice_frames), -1, np.int64),
        np.zeros((size, frames, 3), np.int64),
        np.ones((size, frames), np.bool_),
    )


def fill(batch: Batch, item: int, stream: Stream, first: int) -> None:
    """Put `stream` from frame `first` on into the batch, with its phones and tags."""
    length = min(batch.codes.shape[2], stream.frames - first)
    batch.codes[item, :, :length] = stream.codes[:, first : first + length]
    batch.phones[item, :length] = stream.phones[first : first + length]
    batch.tags[item, : len(stream.tags)] = stream.tags
