"""Codes of a prepared corpus, encoded once for each model, for the entropy coders to learn."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from codec.engine.backend import Backend
from codec.errors import DataError
from codec.model.identity import TOKENS_ID_BYTES
from codec.support.atomic import replacing
from codec.support.types import Codes
from codec.training.prepare import FULL_SCALE, AudioEntry, PreparedAudio

HELD_OUT_SHARE = 0.04  # of the frames, in whole files


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Codes uint16 [codebooks, frames], one array a file."""

    train: list[Codes]
    held_out: list[Codes]

    frame_rate: float  # frames a second

    @property
    def hours(self) -> float:
        """Of training audio."""
        frames: int = sum(codes.shape[1] for codes in self.train)
        return frames / self.frame_rate / 3600


def open_corpus(
    prepared: PreparedAudio,
    backend: Backend,
    cache: Path,
    progress: Callable[[str, float, float], None] | None = None,
) -> Corpus:
    """The codes of all files of `prepared`, at all codebooks of the model.

    They are kept below `cache`, in a folder of their own for each pair of model and corpus, one
    file for each source file, so that an interrupted run goes on. `progress(name, seconds done,
    seconds in all)` is called after each. Every so many files are held out, the same ones whatever
    the model. Raises DataError if there are too few files to hold any out.
    """
    folder = cache / f"codes-{backend.model_id[:TOKENS_ID_BYTES].hex()}-{prepared.fingerprint[:16]}"
    files, done = [], 0.0
    for number, entry in enumerate(prepared.files):
        files.append(_codes(prepared, entry, backend, folder / f"{number:05}.npy"))
        done += entry.samples / prepared.sample_rate
        if progress is not None:
            progress(entry.path, done, prepared.seconds)
    held_out = choose_held_out([codes.shape[1] for codes in files])
    return Corpus(
        train=[codes for i, codes in enumerate(files) if i not in held_out],
        held_out=[codes for i, codes in enumerate(files) if i in held_out],
        frame_rate=backend.config.frame_rate,
    )


def choose_held_out(frames: list[int]) -> set[int]:
    """Numbers of the files that are held out, drawn until they have their share of the frames."""
    if len(frames) < 2:
        raise DataError("a single file: none is left to hold out; cut it into several")
    chosen: set[int] = set()
    wanted = HELD_OUT_SHARE * sum(frames)
    for number in np.random.default_rng(0).permutation(len(frames)):
        if len(chosen) == len(frames) - 1 or sum(frames[i] for i in chosen) >= wanted:
            break
        chosen.add(int(number))
    return chosen


def _codes(prepared: PreparedAudio, entry: AudioEntry, backend: Backend, path: Path) -> Codes:
    config = backend.config
    shape = (config.n_codebooks, config.n_frames(entry.samples))
    # A file that was damaged on disk is made again.
    with contextlib.suppress(OSError, EOFError, ValueError):
        found: Codes = np.load(path)
        if found.dtype == np.uint16 and found.shape == shape:
            return found
    samples = prepared.audio()[entry.offset : entry.offset + entry.samples]
    audio = np.ascontiguousarray(samples.T.astype(np.float32) / np.float32(FULL_SCALE))
    codes = backend.encode(audio, config.n_codebooks)
    with replacing(path, overwrite=True) as aside, aside.open("wb") as file:
        np.save(file, codes)
    return codes
