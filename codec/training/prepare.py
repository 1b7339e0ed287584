"""Training data: a folder of any audio becomes one int16 memory map and an index, once.

    out/audio.i16    every file's samples, mono, one after another, little-endian int16
    out/index.json   which samples belong to which file, and what was measured on the way

While work goes on there are `audio.i16.part` and `journal.jsonl` instead: one line for the source's
fingerprint, then one for each file whose samples are on disk. A run that was killed cuts the
audio back to what the journal vouches for and goes on; its result is, byte for byte, that of a run
that was never interrupted.

Needs numpy, soundfile and soxr only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from codec.audio import READ_SUFFIXES, check_sample_rate
from codec.errors import AudioError, DataError

VERSION = 1
AUDIO_NAME = "audio.i16"
INDEX_NAME = "index.json"
PART_NAME = "audio.i16.part"
JOURNAL_NAME = "journal.jsonl"

BLOCK = 1 << 18  # samples of the source in memory at a time, of all its channels together
FULL_SCALE = 32_768
PEAK_LIMIT = 4.0  # lossy decoders overshoot full scale a little; more is not audio at this scale

# Bands of the average spectrum that tell a full-band recording, in Hz. The gaps keep the skirts of
# an 8 kHz low-pass and of the resampler's own out of both.
BODY_BAND = (4_000.0, 7_000.0)
UPPER_BAND = (8_500.0, 11_000.0)
# The power density of the upper band under that of the body from which a file counts as full-band.
# Measured on 23 sources: -17 dB and more where there is real treble, -57 dB and less where not.
FULL_BAND_DB = -35.0
SPECTRUM_SIZE = 1024

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class AudioEntry:
    """One source file inside the memory map."""

    path: str  # relative to the source folder, with forward slashes
    group: str  # first folder level, or the kind that was chosen for the whole folder
    offset: int  # first sample in the memory map
    samples: int
    source_sample_rate: int
    source_channels: int
    full_band: bool  # energy above 8 kHz was measured, see `is_full_band`
    peak: float  # of the resampled mono signal; above 1 means that samples were clipped
    rms: float


@dataclasses.dataclass(frozen=True)
class PreparedAudio:
    """A prepared folder: what is in the memory map, and where."""

    folder: Path
    sample_rate: int
    files: tuple[AudioEntry, ...]
    skipped: tuple[tuple[str, str], ...]  # (path, why)
    fingerprint: str

    @property
    def n_samples(self) -> int:
        return sum(entry.samples for entry in self.files)

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sample_rate

    def audio(self) -> npt.NDArray[np.int16]:
        """The memory map, read-only int16 [n_samples]; 32768 is full scale."""
        return np.memmap(self.folder / AUDIO_NAME, dtype="<i2", mode="r")


def prepare(
    source: Path,
    out: Path,
    sample_rate: int = 24_000,
    *,
    kind: str | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> PreparedAudio:
    """Decode every audio file under `source` into `out/audio.i16` and `out/index.json`.

    Each file is averaged over its channels (so what is opposite in phase cancels, as in any mono
    mix), resampled to `sample_rate` and rounded to int16, in blocks: memory does not grow with the
    length of a file. `kind` names the group of all files; without it the first folder level does.
    `progress(path, bytes_done, bytes_total)` is called after each source file, and `report(line)`
    for each file left out because it is unreadable, empty, silent, not finite or far over full
    scale (default: print to stderr); the index lists those too.

    An `out` prepared from the same files (names, sizes, modification times) with the same options
    is returned at once. An interrupted preparation is taken up where it stopped.
    Raises DataError if `source` has no usable audio, or another process is preparing `out`.
    """
    sources = find_audio(source)
    fingerprint = _fingerprint(source, sources, sample_rate, kind)
    with contextlib.suppress(DataError):
        ready = open_prepared(out)
        if ready.fingerprint == fingerprint:
            return ready

    out.mkdir(parents=True, exist_ok=True)
    report = report or (lambda line: print(line, file=sys.stderr))
    done_bytes = list(itertools.accumulate(path.stat().st_size for path in sources))
    with _exclusive(out) as (audio, journal):
        done = _resume(audio, journal, fingerprint)
        offset = sum(line["samples"] for line in done if "samples" in line)
        for number in range(len(done), len(sources)):
            name = sources[number].relative_to(source).as_posix()
            try:
                entry = _append(sources[number], audio, offset, sample_rate)
            except (soundfile.SoundFileError, AudioError, DataError) as error:
                audio.truncate(offset * 2)
                reason = getattr(error, "error_string", str(error)).strip()
                report(f"skipped {name}: {reason}")
                line: dict[str, Any] = {"path": name, "skipped": reason}
            else:
                group = kind or (name.split("/")[0] if "/" in name else "audio")
                line = {"path": name, "group": group, "offset": offset, **entry}
                offset += entry["samples"]
            _write_through(audio)
            journal.write(json.dumps(line).encode() + b"\n")
            _write_through(journal)
            done.append(line)
            if progress is not None:
                progress(name, done_bytes[number], done_bytes[-1])
        if not offset:
            raise DataError(f"no usable audio in {source}: all {len(sources)} files were skipped")
        _publish(out, done, sample_rate, fingerprint)
    return open_prepared(out)


def open_prepared(folder: Path) -> PreparedAudio:
    """The result of an earlier `prepare`. Raises DataError if it is missing, damaged or newer."""
    try:
        index = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
        if index["version"] != VERSION:
            raise DataError(f"{folder}: prepared in format {index['version']}, this is {VERSION}")
        prepared = PreparedAudio(
            folder=folder,
            sample_rate=int(index["sample_rate"]),
            files=tuple(AudioEntry(**entry) for entry in index["files"]),
            skipped=tuple((line["path"], line["reason"]) for line in index["skipped"]),
            fingerprint=str(index["fingerprint"]),
        )
        size = (folder / AUDIO_NAME).stat().st_size
    except FileNotFoundError as error:
        raise DataError(f"not prepared: {error.filename} is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / INDEX_NAME} is damaged: {error}") from None
    if size != prepared.n_samples * 2:
        raise DataError(
            f"{folder / AUDIO_NAME} has {size} bytes, the index says {prepared.n_samples * 2}"
        )
    return prepared


def find_audio(source: Path) -> list[Path]:
    """Audio files under `source` by name, sorted by path. Raises DataError if there are none."""
    if not source.is_dir():
        raise DataError(f"{source} is not a folder")
    found = [
        path
        for path in source.rglob("*")
        if path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        raise DataError(
            f"no audio files in {source} (looked for {' '.join(sorted(READ_SUFFIXES))})"
        )
    return sorted(found, key=lambda path: path.relative_to(source).as_posix())


class Spectrum:
    """Average power spectrum of a signal that arrives in pieces; the cutting does not matter."""

    def __init__(self) -> None:
        self._window = np.hanning(SPECTRUM_SIZE + 1)[:-1].astype(np.float32)
        self._rest = np.zeros(0, np.float32)
        self._power = np.zeros(SPECTRUM_SIZE // 2 + 1)

    def add(self, piece: npt.NDArray[np.float32]) -> None:
        joined = np.concatenate([self._rest, piece])
        whole = len(joined) // SPECTRUM_SIZE * SPECTRUM_SIZE
        frames = joined[:whole].reshape(-1, SPECTRUM_SIZE) * self._window
        self._power += np.square(np.abs(np.fft.rfft(frames, axis=1))).sum(axis=0)
        self._rest = joined[whole:]

    def band(self, low: float, high: float, sample_rate: int) -> float:
        """Mean power of the bins from `low` to `high` Hz, any unit that is the same for all."""
        bins = np.fft.rfftfreq(SPECTRUM_SIZE, 1 / sample_rate)
        chosen = (bins >= low) & (bins < high)
        return float(self._power[chosen].mean()) if chosen.any() else 0.0


def is_full_band(spectrum: Spectrum, sample_rate: int) -> bool:
    """Whether the average power density in 8.5-11 kHz is within 35 dB of that in 4-7 kHz.

    A recording that was once sampled at 16 kHz has next to nothing there, at any rate it is stored
    at. Always false below a sample rate of 22 kHz.
    """
    if sample_rate < 2 * UPPER_BAND[1]:
        return False
    upper = spectrum.band(*UPPER_BAND, sample_rate)
    return upper > 0 and upper >= spectrum.band(*BODY_BAND, sample_rate) * 10 ** (FULL_BAND_DB / 10)


def _append(path: Path, audio: IO[bytes], offset: int, sample_rate: int) -> dict[str, Any]:
    """Write `path` at sample `offset` of `audio`; the entry's fields. DataError if unusable."""
    audio.seek(offset * 2)
    spectrum = Spectrum()
    samples, peak, energy = 0, 0.0, 0.0
    with soundfile.SoundFile(path) as file:
        check_sample_rate(file.samplerate)
        for block in _mono_blocks(file, sample_rate):
            if not np.isfinite(block).all():
                raise DataError("it has samples that are not finite")
            peak = max(peak, float(np.abs(block).max(initial=0)))
            if peak > PEAK_LIMIT:
                raise DataError(f"its peak is {peak:.3g} times full scale")
            spectrum.add(block)
            samples += len(block)
            energy += float(np.square(block, dtype=np.float64).sum())
            scaled = np.rint(block * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1)
            audio.write(scaled.astype("<i2").tobytes())
        if not samples:
            raise DataError("it is empty")
        if peak * FULL_SCALE <= 0.5:
            raise DataError("it is silent")
        return {
            "samples": samples,
            "source_sample_rate": file.samplerate,
            "source_channels": file.channels,
            "full_band": is_full_band(spectrum, sample_rate),
            "peak": round(peak, 6),
            "rms": round((energy / samples) ** 0.5, 6),
        }


def _mono_blocks(file: soundfile.SoundFile, sample_rate: int) -> Iterator[npt.NDArray[np.float32]]:
    """The file, channels averaged, at `sample_rate`, a block of at most some seconds at a time."""
    stream = (
        soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="VHQ")
        if file.samplerate != sample_rate
        else None
    )
    frames = max(1, BLOCK // file.channels)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        mono = block.mean(axis=1)
        yield mono if stream is None else stream.resample_chunk(mono)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _fingerprint(source: Path, sources: list[Path], sample_rate: int, kind: str | None) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, sample_rate, kind]).encode())
    for path in sources:
        stat = path.stat()
        name = path.relative_to(source).as_posix()
        digest.update(json.dumps([name, stat.st_size, stat.st_mtime_ns]).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _exclusive(out: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The part file and the journal, open for update, for one process at a time.

    The lock dies with its process, so a kill leaves nothing to clean up. Without fcntl (Windows)
    there is no lock.
    """
    with (out / JOURNAL_NAME).open("a+b") as journal:
        try:
            import fcntl
        except ImportError:
            pass
        else:
            try:
                fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DataError(f"{out} is being prepared by another process") from None
        (out / PART_NAME).touch()
        with (out / PART_NAME).open("r+b") as audio:
            yield audio, journal


def _resume(audio: IO[bytes], journal: IO[bytes], fingerprint: str) -> list[dict[str, Any]]:
    """The journal's lines that hold, with both files cut back to what they vouch for.

    A line holds if it is whole and its samples are in the part file: audio is on disk before its
    line is written, so only the last line can be torn, and only unjournalled audio can be.
    """
    header = json.dumps({"fingerprint": fingerprint}).encode() + b"\n"
    audio.seek(0, os.SEEK_END)
    available = audio.tell() // 2
    done: list[dict[str, Any]] = []
    offset, kept = 0, 0
    journal.seek(0)
    if journal.readline() == header:
        kept = len(header)
        for raw in journal:
            try:
                line = json.loads(raw)
            except ValueError:
                break
            if not raw.endswith(b"\n") or offset + line.get("samples", 0) > available:
                break
            offset += line.get("samples", 0)
            kept += len(raw)
            done.append(line)
    journal.truncate(kept)
    audio.truncate(offset * 2)
    if not kept:
        journal.write(header)
        _write_through(journal)
    return done


def _publish(out: Path, lines: list[dict[str, Any]], sample_rate: int, fingerprint: str) -> None:
    """Rename the finished audio into place, then the index that makes it valid."""
    index = {
        "version": VERSION,
        "sample_rate": sample_rate,
        "fingerprint": fingerprint,
        "files": [line for line in lines if "skipped" not in line],
        "skipped": [
            {"path": line["path"], "reason": line["skipped"]} for line in lines if "skipped" in line
        ],
    }
    part = out / (INDEX_NAME + ".part")
    with part.open("wb") as file:
        file.write(json.dumps(index, indent=1).encode() + b"\n")
        _write_through(file)
    # An older index must not outlive the audio that it describes.
    (out / INDEX_NAME).unlink(missing_ok=True)
    (out / PART_NAME).replace(out / AUDIO_NAME)
    part.replace(out / INDEX_NAME)
    (out / JOURNAL_NAME).unlink()


def _write_through(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
