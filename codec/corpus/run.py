"""A corpus run: a plan of shards, each of which is complete or absent.

    OUT/run.json            what decides about the shards; a restart must agree with it
    OUT/data/00000.parquet  the shards
    OUT/journal/00000.json  a shard's hashes, counts and rejects, once it is on disk
    OUT/rejects.jsonl       the inputs that gave no row, and why
    OUT/dataset.json        the card, when all is done

A shard counts once it has a journal, which is written after the files of the shard are flushed
and renamed. So a run that was killed at any moment goes on from the first shard without one; and
as shards depend on nothing but the items, the model and the settings, what comes out is, byte for
byte, that of a run that was never interrupted, on any number of threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.adapters import TorchAdapter
from codec.api import Codec
from codec.corpus.card import CARD_NAME, damaged, read_card
from codec.corpus.executors import INTERNAL, Executor, Reject, Result, attempt, layout_of, threads
from codec.corpus.libraries import libraries
from codec.corpus.places import Refused
from codec.corpus.rows import Row, Settings
from codec.corpus.sinks import FORMATS
from codec.corpus.sources import absolute, find_inputs
from codec.errors import AudioError, DataError, OutputError
from codec.support.atomic import replacing
from codec.support.journal import locked
from codec.support.progress import Progress
from codec.support.version import __version__

RUN_NAME = "run.json"
REJECTS_NAME = "rejects.jsonl"


class Corpus:
    """The plan of a run, and its output folder.

    sources: as for `find_inputs`. shard_items: inputs a shard. format: a key of `FORMATS`.
    """

    def __init__(
        self,
        codec: Codec,
        sources: Sequence[str],
        out: Path,
        settings: Settings,
        format_: str = "parquet",
        shard_items: int = 1000,
    ) -> None:
        self.codec, self.out, self.settings = codec, out, settings
        self.layout = layout_of(codec, settings)
        if settings.latents:
            codec.pipeline.latent_scale()  # before any work: the model must have one
        codec.pipeline.search(*settings.search)
        plain = np.float16 if settings.latents else np.uint16
        self.dtype = np.dtype(plain) if self.layout is None else self.layout.dtype
        self.sources = [absolute(source) for source in sources]
        inputs = find_inputs(self.sources)
        self.items, self.others = inputs.items, inputs.others
        self.columns = sorted({name for item in self.items for name in item.columns})
        self.format = FORMATS[format_]
        self.shards = [
            self.items[i : i + shard_items] for i in range(0, len(self.items), shard_items)
        ]
        identity = "\n".join(item.identity() for item in self.items)
        versions = "\n".join(item.place.version() for item in self.items)
        # Not in the card: times differ where the same files were copied to.
        self.versions = hashlib.sha256(versions.encode()).hexdigest()
        self.decides = {
            "model": codec.model_id.hex(),
            **_adapter(codec),
            **settings.decides(),
            "format": format_,
            "shard_items": shard_items,
            "codec": __version__,
            "libraries": libraries() | self.format.libraries(),
            "inputs": hashlib.sha256(identity.encode()).hexdigest(),
        }

    def failed(self) -> bool:
        """Tell whether no row was made, or audio may be missing, as of an unreadable file."""
        entries = [self.done(n) or {} for n in range(len(self.shards))]
        rejects = [refused for entry in entries for refused in entry.get("rejects", ())]
        return (
            not any(entry.get("rows") for entry in entries)
            or any(isinstance(item.place, Refused) and item.place.lost for item in self.items)
            or any(one.get("unread") or one["reason"].startswith(INTERNAL) for one in rejects)
        )

    def files(self, shard: int) -> list[Path]:
        return [self.out / "data" / f"{shard:05}{suffix}" for suffix in self.format.files]

    def journal(self, shard: int) -> Path:
        return self.out / "journal" / f"{shard:05}.json"

    def done(self, shard: int) -> dict[str, Any] | None:
        """Return the journal of a shard, None unless the shard is complete on disk."""
        try:
            entry: dict[str, Any] = json.loads(self.journal(shard).read_text())
        except FileNotFoundError:
            return None
        for file in self.files(shard):
            if not file.is_file() or file.stat().st_size != entry["files"][file.name]["bytes"]:
                return None
        return entry

    def check_run(self, *, versions: bool = True) -> None:
        """Check that `out` is empty, or holds a run with the same settings. Raises OutputError.

        versions: whether the inputs must also be as old as they were; a run that was begun without
            a note of that is taken as it is.
        """
        run = self.out / RUN_NAME
        try:
            begun = json.loads(run.read_text())
            held: dict[str, Any] = dict(begun["decides"])
        except FileNotFoundError:
            if next((self.out / "data").glob("*"), None) is not None:
                raise OutputError(f"{self.out}: holds data, but not of a run") from None
            text = {
                "decides": self.decides,
                "sources": self.sources,
                "versions": self.versions,
                "count": len(self.items),
            }
            _write(run, json.dumps(text, indent=2) + "\n")
            return
        except (ValueError, KeyError, TypeError):
            raise OutputError(f"{run} is damaged") from None
        changed = [
            self._other_inputs(begun) if key == "inputs" else f"{key} {held.get(key)} -> {now}"
            for key in {**held, **self.decides}
            if held.get(key) != (now := self.decides.get(key))
        ]
        if changed:
            raise OutputError(f"{self.out} was begun differently: {', '.join(changed)}")
        if versions and begun.get("versions", self.versions) != self.versions:
            raise OutputError(
                f"{self.out} was begun with other inputs: some were written again since, by their"
                " times; use another folder"
            )

    def _other_inputs(self, begun: Mapping[str, Any]) -> str:
        """Say how the inputs differ; their names are not kept."""
        count, now = begun.get("count"), len(self.items)
        how = f", {count} then and {now} now" if count not in (None, now) else ""
        return f"other inputs{how} (names, sizes, and rows of manifests count)"


def run(
    corpus: Corpus,
    executor: Executor | None = None,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make what is missing of `corpus`, and its card, which is returned.

    executor: what makes the rows; a thread by default. strict: raise AudioError at the first input
    that gives no row, or audio that is cut off or damaged. Raises OutputError if another process
    works on the same output, or if it was begun with another configuration.
    """
    executor = executor or threads(1)
    corpus.out.mkdir(parents=True, exist_ok=True)
    with locked(corpus.out):
        corpus.check_run()
        for folder in (corpus.out, corpus.out / "data", corpus.out / "journal"):
            for part in folder.glob(".codec-*.part"):  # of a run that was killed
                part.unlink()
        _write_rejects(corpus)
        todo = [n for n in range(len(corpus.shards)) if corpus.done(n) is None]
        counter = _Counter(progress, sum(len(corpus.shards[n]) for n in todo))
        items = (item for n in todo for item in corpus.shards[n])
        with contextlib.closing(executor(corpus.codec, corpus.settings, items)) as results:
            for n in todo:
                rows: list[Row] = []
                rejects: list[Reject] = []
                for _ in corpus.shards[n]:
                    result = next(results)
                    counter.count(result)
                    if strict and isinstance(result, Row) and result.damaged:
                        raise AudioError(f"{result.item.name}: {result.warning}")
                    if isinstance(result, Row):
                        rows.append(result)
                        continue
                    if strict:
                        raise AudioError(f"{result.item.name}: {result.reason}")
                    rejects.append(result)
                _write_shard(corpus, n, rows, rejects)
        return _conclude(corpus)


class _Counter:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total
        self._done = self._rejects = 0
        self._seconds = 0.0

    def count(self, result: Result) -> None:
        seconds = result.duration if isinstance(result, Row) else 0.0
        self._done += 1
        self._rejects += isinstance(result, Reject)
        self._seconds += seconds
        if self._progress is not None:
            if isinstance(result, Reject):
                self._progress.say(f"{result.item.name}: {' '.join(result.reason.split())}")
            elif result.warning:
                self._progress.say(
                    " ".join(f"{result.item.name}: warning: {result.warning}".split())
                )
            what = (
                f"{self._done}/{self._total} inputs, {self._seconds / 3600:.2f} h,"
                f" {self._rejects} rejected"
            )
            self._progress.advance(what, 1, seconds)


def _write_shard(corpus: Corpus, n: int, rows: list[Row], rejects: list[Reject]) -> None:
    files, described = {}, {}
    for file, write in zip(corpus.files(n), corpus.format.files.values(), strict=True):
        with replacing(file, overwrite=True) as aside:
            described[file.name] = write(rows, corpus.columns, corpus.dtype, aside)
            files[file.name] = {"bytes": aside.stat().st_size, "sha256": sha256(aside)}
    refused = [reject.record() for reject in rejects]
    entry = {
        "files": files,
        "described": described,
        "rows": len(rows),
        "warnings": sum(bool(row.warning) for row in rows),
        "seconds": sum(row.duration for row in rows),
        "frames": sum(row.n_frames * len(row.ids) for row in rows),
        "ids": sum(len(ids) for row in rows for ids in row.ids),
        "digests": {row.id: row.digest() for row in rows},
        "rejects": refused,
    }
    _write(corpus.journal(n), json.dumps(entry) + "\n")
    if rejects:
        # One write, so a run that is killed leaves whole lines. The next run writes the file anew.
        with (corpus.out / REJECTS_NAME).open("ab", buffering=0) as log:
            log.write(_lines(refused))


def _write_rejects(corpus: Corpus) -> None:
    entries = filter(None, map(corpus.done, range(len(corpus.shards))))
    with replacing(corpus.out / REJECTS_NAME, overwrite=True) as aside, aside.open("wb") as file:
        file.writelines(_lines(entry["rejects"]) for entry in entries)


def _lines(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _conclude(corpus: Corpus) -> dict[str, Any]:
    entries = [entry for n in range(len(corpus.shards)) if (entry := corpus.done(n)) is not None]
    files = {name: file for entry in entries for name, file in entry["files"].items()}
    described = {name: said for entry in entries for name, said in entry["described"].items()}
    for name, text in corpus.format.index(described).items():
        _write(corpus.out / "data" / name, text)
        files[name] = {"bytes": len(text.encode()), "sha256": sha256(corpus.out / "data" / name)}
    hashes = "".join(f"{name} {file['sha256']}\n" for name, file in files.items())
    config = corpus.codec.config
    layout = corpus.layout
    card = {
        **corpus.decides,
        "layout": "none" if layout is None else layout.describe(),
        "dtype": corpus.dtype.name,
        **_values(corpus),
        "frame_rate": config.sample_rate / config.hop_length,
        **_pairs(config.channels),
        "rows": sum(entry["rows"] for entry in entries),
        "rejects": sum(len(entry["rejects"]) for entry in entries),
        "warnings": sum(entry.get("warnings", 0) for entry in entries),
        "not_audio": len(corpus.others),
        "hours": sum(entry["seconds"] for entry in entries) / 3600,
        "frames": sum(entry["frames"] for entry in entries),
        "ids": sum(entry["ids"] for entry in entries),
        "shards": files,
        "hash": hashlib.sha256(hashes.encode()).hexdigest(),
    }
    _write_rejects(corpus)
    _write(corpus.out / CARD_NAME, json.dumps(card, indent=2) + "\n")
    return card


def _adapter(codec: Codec) -> dict[str, Any]:
    """What the card says if the model is another project's."""
    backend = codec.backend
    return {"adapter": backend.account()} if isinstance(backend, TorchAdapter) else {}


def _pairs(together: int) -> dict[str, Any]:
    """What the card says if a row's "channels" count pairs of channels that are coded together."""
    return {"channels_together": together} if together != 1 else {}


def _values(corpus: Corpus) -> dict[str, int]:
    """How many ids there are, or how many values a frame of latents has."""
    config, settings = corpus.codec.config, corpus.settings
    if settings.latents:
        return {"latent_dim": config.latent_dim}
    if corpus.layout is None:
        return {"vocabulary": config.codebook_size}
    return {"vocabulary": settings.n_codebooks * config.codebook_size + 1}


def check_shards(out: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the card of a finished run, and what is wrong with its shards, a line each."""
    card = read_card(out)
    try:
        files = {str(name): str(file["sha256"]) for name, file in card["shards"].items()}
    except (KeyError, TypeError, AttributeError):
        raise damaged(out) from None
    wrong = []
    for name, digest in files.items():
        path = out / "data" / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif sha256(path) != digest:
            wrong.append(f"{name} is damaged")
    return card, wrong


def check_rows(corpus: Corpus, sample: int, seed: int = 0) -> list[str]:
    """Tokenise `sample` items again, drawn by `seed`; return what differs, a line each."""
    digests: dict[str, str] = {}
    for n in range(len(corpus.shards)):
        digests.update((corpus.done(n) or {}).get("digests", {}))
    wrong = []
    drawn = random.Random(seed).sample(corpus.items, min(sample, len(corpus.items)))
    for item in drawn:
        if isinstance(item.place, Refused):
            continue
        result = attempt(corpus.codec, item, corpus.settings, corpus.layout)
        if isinstance(result, Row):
            if digests.get(result.id) != result.digest():
                wrong.append(f"{result.id} has other tokens now")
        elif item.id in digests:
            wrong.append(f"{item.name} gives no tokens now: {result.reason}")
    return wrong


def held_run(out: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the sources of the run in `out`, and the settings that determined it."""
    try:
        held = json.loads((out / RUN_NAME).read_text())
        return list(held["sources"]), dict(held["decides"])
    except FileNotFoundError:
        raise DataError(f"{out}: not a run: there is no {RUN_NAME}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{out / RUN_NAME} is damaged") from None


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    with replacing(path, overwrite=True) as aside:
        aside.write_text(text, "utf-8")
