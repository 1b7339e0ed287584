"""The shards of a corpus as fixed-length sequences of ids, to train a language model on.

Every sequence is a pure function of its number: how many ids each document makes is known before
any is read, so the packing of an epoch is arithmetic. Nothing has to be remembered to go on after a
restart but the number of batches that were taken, and it does not matter how many workers read.

    dataset = TokenDataset("tokens/", length=2048, vocabulary=vocabulary, seed=0)
    batches = TokenBatches(dataset, batch_size=8, rank=rank, world_size=world_size, workers=2)
    for ids in batches:                   # int64 [8, 2048]
        ...
        save({"data": batches.state_dict(), ...})
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from codec.corpus.card import TokenCard, damaged_shards, read_token_card
from codec.corpus.row_groups import RowGroups, parquet
from codec.errors import DataError
from codec.lm.layouts import make_layout
from codec.lm.vocabulary import Vocabulary
from codec.support.arguments import as_bool, shown, whole

Ids = npt.NDArray[np.int64]

DOCUMENTS_KEPT = 16  # laid out ahead, for the sequences that continue in them


class TokenDataset(Dataset[torch.Tensor]):
    """Sequences int64 [length] of the ids of all documents, one after another.

    A document is one channel of a row: `audio_begin`, the ids of the layout, `audio_end`. In every
    epoch the documents are in another order, and cut into sequences wherever these are full; each
    id occurs in an epoch once, and what fills up the last sequence is `pad`. The sequences are
    shuffled too.

    folder: of a finished `codec tokenize` run, as Parquet or bin. vocabulary: whose layout may have
        fewer codebooks than the shards, if these hold codes that are not laid out; by default no
        text, and the layout of the shards or else `flat`.
    seed: of the order, which is the same on every machine. shuffle: False for the order of the
        shards in every epoch.

    `dataset[n]` is sequence n counted over all epochs, `len(dataset)` those of one. Raises
    DataError on a folder that is no finished run, whose files are damaged as far as their sizes
    and indices tell (`codec tokenize --verify` reads them all), or that does not fit the
    vocabulary.
    """

    def __init__(
        self,
        folder: str | Path,
        length: int,
        *,
        vocabulary: Vocabulary | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.length = whole(length, "the length of a sequence", DataError)
        self.seed = whole(seed, "the seed", DataError)
        self.shuffle = as_bool(shuffle, "shuffle", DataError)
        if self.length < 1 or self.seed < 0:
            raise DataError(f"sequences of {self.length} ids with seed {self.seed}")
        card = read_token_card(self.folder)
        self.card, self.laid_out = card.fields, card.layout
        self.vocabulary = vocabulary or _vocabulary(card)
        self._check_layout(card)
        self._shards = _open_shards(self.folder, card)
        counts = [shard.documents() for shard in self._shards]
        self._row = np.concatenate([rows for rows, _, _ in counts])
        self._channel = np.concatenate([channels for _, channels, _ in counts])
        self._shard = np.repeat(np.arange(len(counts)), [len(rows) for rows, _, _ in counts])
        frames = np.concatenate([frames for _, _, frames in counts])
        sizes, inverse = np.unique(frames, return_inverse=True)
        lengths = [2 + self.vocabulary.layout.length(int(size)) for size in sizes]
        self._lengths = np.array(lengths, np.int64)[inverse]
        self.n_ids = int(self._lengths.sum())
        if not self.n_ids:
            raise DataError(f"{self.folder}: no rows")
        self._epoch = functools.lru_cache(maxsize=2)(self._arranged)
        self._document = functools.lru_cache(maxsize=DOCUMENTS_KEPT)(self._laid_out)

    @property
    def fingerprint(self) -> str:
        """Hash all that determines the sequences."""
        said = [
            str(self.card["hash"]),
            self.vocabulary.to_json(),
            self.length,
            self.seed,
            self.shuffle,
        ]
        return json.dumps(said)

    def __len__(self) -> int:
        return -(-self.n_ids // self.length)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self[n] for n in range(len(self)))

    def __getitem__(self, number: int) -> torch.Tensor:
        if number < 0:
            raise IndexError(f"there is no sequence {number}")
        order, ends, sequences = self._epoch(number // len(self))
        at = int(sequences[number % len(self)]) * self.length
        out = np.full(self.length, self.vocabulary.special("pad"), np.int64)
        filled = 0
        place = int(np.searchsorted(ends, at, "right"))
        while filled < self.length and place < len(order):
            ids = self._document(int(order[place]))
            first = at + filled - int(ends[place] - len(ids))
            piece = ids[first : first + self.length - filled]
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
            place += 1
        return torch.from_numpy(out)

    def __getstate__(self) -> dict[str, Any]:
        # Workers receive the dataset, but open files and fill caches of their own.
        state = self.__dict__.copy()
        for name in ("_epoch", "_document"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch = functools.lru_cache(maxsize=2)(self._arranged)
        self._document = functools.lru_cache(maxsize=DOCUMENTS_KEPT)(self._laid_out)

    def _arranged(self, epoch: int) -> tuple[Ids, Ids, Ids]:
        """Return the documents in the epoch's order, their ends, and the order of the sequences."""
        order, sequences = np.arange(len(self._lengths)), np.arange(len(self))
        if self.shuffle:
            key = np.array([self.seed, epoch], np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key))
            generator.shuffle(order)
            generator.shuffle(sequences)
        return order, np.cumsum(self._lengths[order]), sequences

    def _laid_out(self, document: int) -> Ids:
        shard = self._shards[self._shard[document]]
        row, channel = int(self._row[document]), int(self._channel[document])
        try:
            stored, levels = shard.read(row, channel)
        except (OSError, ValueError) as error:  # it was there when the dataset was opened
            raise DataError(f"{self.folder}: {shard.path.name} cannot be read: {error}") from None
        vocabulary = self.vocabulary
        if self.laid_out is None:
            codes = stored.reshape(-1, levels).T[: vocabulary.layout.n_codebooks]
        else:
            codes = self.laid_out.from_ids(stored)
        ids = np.empty(int(self._lengths[document]), np.int64)
        ids[0], ids[-1] = vocabulary.special("audio_begin"), vocabulary.special("audio_end")
        ids[1:-1] = vocabulary.audio_ids(codes)
        return ids

    def _check_layout(self, card: TokenCard) -> None:
        wanted, stored, most = self.vocabulary.layout, card.layout, card.n_codebooks
        if stored is not None and wanted != stored:
            raise DataError(f"{self.folder} is laid out as {stored}, not as {wanted}")
        if wanted.n_codebooks > most:
            raise DataError(f"{self.folder} has {most} codebooks, not {wanted.n_codebooks}")
        if stored is None and wanted.codebook_size != card.codebook_size:
            raise DataError(f"{self.folder} has codebooks of {card.codebook_size} codes")


class TokenBatches:
    """Batches int64 [batch_size, length] without end, from `step` on.

    Of the batches of one step each rank takes its own; together, over an epoch, they take every
    sequence once. workers: processes that read ahead; they change nothing. `step` is the number of
    batches that were taken from this object, not of those read ahead.
    """

    def __init__(
        self,
        dataset: TokenDataset,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        step: int = 0,
    ) -> None:
        self.dataset = dataset
        self.batch_size = whole(batch_size, "the batch size", DataError)
        self.rank = whole(rank, "the rank", DataError)
        self.world_size = whole(world_size, "the number of ranks", DataError)
        self.workers = whole(workers, "the number of workers", DataError)
        self.step = _step(step)
        if self.batch_size < 1 or not 0 <= self.rank < self.world_size or self.workers < 0:
            raise DataError(
                f"batches of {self.batch_size} for rank {self.rank} of {self.world_size},"
                f" {self.workers} workers"
            )

    @property
    def epoch(self) -> float:
        """Epochs that all ranks together have taken."""
        return self.step * self.batch_size * self.world_size / len(self.dataset)

    def __iter__(self) -> Iterator[torch.Tensor]:
        numbers = _Numbers(self.batch_size, self.rank, self.world_size, self.step)
        loader = DataLoader(self.dataset, batch_sampler=numbers, num_workers=self.workers)
        for batch in loader:
            self.step += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the state for `load_state_dict`, which may run with another number of workers."""
        return {
            "step": self.step,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
            "dataset": self.dataset.fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises DataError, and changes nothing, if it is no state, or of other data or batches.
        """
        if not isinstance(state, Mapping):
            raise DataError(f"a state is a dict, not {shown(state)}")
        own = self.state_dict()
        for name in ("dataset", "batch_size", "world_size"):
            if state.get(name) != own[name]:
                raise DataError(f"the state is of another {name}: {state.get(name)}")
        self.step = _step(state.get("step"))


def _step(value: Any) -> int:
    step = whole(value, "the step", DataError)
    if step < 0:
        raise DataError(f"the step is 0 or more, not {step}")
    return step


class _Numbers(Sampler[list[int]]):
    """Numbers of sequences, a batch at a time, without end."""

    def __init__(self, batch_size: int, rank: int, world_size: int, step: int) -> None:
        self.batch_size, self.stride = batch_size, batch_size * world_size
        self.first = step * self.stride + rank * batch_size

    def __iter__(self) -> Iterator[list[int]]:
        first = self.first
        while True:
            yield list(range(first, first + self.batch_size))
            first += self.stride


class _BinShard:
    """Ids in one file, and a line of JSON for each row."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.path, self.dtype = path, dtype.newbyteorder("<")
        with path.with_suffix(".jsonl").open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        fields = ("start", "stop", "channels", "n_frames", "n_codebooks")
        table = np.array([[row[name] for name in fields] for row in rows], np.int64)
        self.start, self.stop, self.channels, self.frames, self.levels = table.reshape(-1, 5).T
        ends = np.concatenate([[0], self.stop])
        held = path.stat().st_size // self.dtype.itemsize
        if (ends[:-1] != self.start).any() or (self.channels < 1).any() or ends[-1] != held:
            raise ValueError(f"{path.name} does not fit its index")

    def documents(self) -> tuple[Ids, Ids, Ids]:
        return _documents(self.channels, self.frames)

    def read(self, row: int, channel: int) -> tuple[npt.NDArray[Any], int]:
        start, stop = int(self.start[row]), int(self.stop[row])
        each = (stop - start) // int(self.channels[row])
        ids = np.memmap(
            self.path, self.dtype, "r", offset=start * self.dtype.itemsize, shape=stop - start
        )
        return np.array(ids[channel * each : (channel + 1) * each]), int(self.levels[row])


class _ParquetShard:
    """A table whose column `codes` is read a row group at a time."""

    def __init__(self, path: Path, groups: RowGroups) -> None:
        self.path, self.groups = path, groups
        table = parquet().ParquetFile(path).read(columns=["channels", "n_frames", "n_codebooks"])
        self.channels, self.frames, self.levels = (
            column.to_numpy().astype(np.int64) for column in table.itercolumns()
        )

    def documents(self) -> tuple[Ids, Ids, Ids]:
        return _documents(self.channels, self.frames)

    def read(self, row: int, channel: int) -> tuple[npt.NDArray[Any], int]:
        codes = self.groups.codes(self.path, row)
        start, stop = codes.offsets[channel].as_py(), codes.offsets[channel + 1].as_py()
        return codes.values.slice(start, stop - start).to_numpy(), int(self.levels[row])


def _documents(channels: Ids, frames: Ids) -> tuple[Ids, Ids, Ids]:
    """Give row, channel and frames of each channel of each row."""
    rows = np.repeat(np.arange(len(channels)), channels)
    firsts = np.repeat(np.cumsum(channels) - channels, channels)
    return rows, np.arange(len(rows)) - firsts, frames[rows]


def _open_shards(folder: Path, card: TokenCard) -> Sequence[_BinShard | _ParquetShard]:
    groups = RowGroups()
    try:
        shards = [
            _BinShard(path, card.dtype) if path.suffix == ".bin" else _ParquetShard(path, groups)
            for path in card.paths
        ]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise damaged_shards(folder, error) from None
    rows = sum(len(shard.channels) for shard in shards)
    if rows != card.rows:
        raise DataError(f"{folder} is damaged: {rows} rows, not {card.rows}")
    return shards


def _vocabulary(card: TokenCard) -> Vocabulary:
    found = card.layout or make_layout("flat", card.n_codebooks, card.codebook_size)
    return Vocabulary(0, found, card.frame_rate)
