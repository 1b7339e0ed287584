"""Make the training sets of stereo models: music from Debian's packages, prepared at 48 kHz.

    python -m bench.stereo_sets OUT [PACKAGE ...]

The packages are those of `bench/stereo_sets.tsv`, or those that are named. Each is downloaded by
apt-get, which checks its hash. Of its files those are kept that are music in stereo: two channels,
44.1 kHz or more, at least 5 s, and a side that is more than rounding. Writes

    OUT/audio/PACKAGE/...       the files, and the package's copyright, which says their licences
    OUT/sources.jsonl           a line a package: version, SHA-256, and why files were left out
    OUT/prepared/               all of it as `codec train` takes it, 48 kHz and two channels

A package counts once its line is in sources.jsonl, so a run that was killed goes on with the first
one that has none, and a preparation goes on at the file where it stopped. Needs apt-get and
dpkg-deb; a package takes three times its size on the disk while it is unpacked.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from codec.audio.reader import AudioReader
from codec.errors import AudioError, CodecError, DataError
from codec.support.journal import Journal
from codec.support.progress import Progress
from codec.training.prepare import PreparedAudio, prepare

LIST = Path(__file__).with_name("stereo_sets.tsv")
SAMPLE_RATE = 48_000
LEAST_RATE = 44_100  # of a file: below it there is no full band
LEAST_SECONDS = 5.0  # shorter sounds are effects, which are mono at heart
LEAST_SIDE = 1e-6  # energy of the side beside that of the mid, -60 dB
SUFFIXES = (".ogg", ".oga", ".opus", ".flac", ".wav", ".mp3")


def read_list(path: Path = LIST) -> list[str]:
    """Read the names of the packages."""
    with path.open(newline="") as file:
        return [row["package"] for row in csv.DictReader(file, delimiter="\t")]


def download(package: str, folder: Path) -> Path:
    """Download a package to `folder`. Raises DataError."""
    try:
        done = subprocess.run(
            ["apt-get", "download", package],
            cwd=folder, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        raise DataError(f"apt-get cannot be run: {error.strerror}") from None
    files = list(folder.glob("*.deb"))
    if done.returncode or len(files) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise DataError(f"{package} cannot be downloaded: {said[0] if said else 'no reason given'}")
    return files[0]


def unpack(deb: Path, folder: Path) -> Iterator[Path]:
    """Unpack the audio of a package to `folder`, and give each file; also its copyright.

    Nothing but plain files is taken, and none that lies outside. Raises DataError.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                for member in tar:
                    name = PurePosixPath(member.name)
                    legal = name.name == "copyright"
                    if not member.isfile() or ".." in name.parts or name.is_absolute():
                        continue
                    if not legal and name.suffix.lower() not in SUFFIXES:
                        continue
                    target = folder / ("copyright" if legal else name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source = tar.extractfile(member)
                    assert source is not None  # a plain file
                    with target.open("wb") as file:
                        shutil.copyfileobj(source, file, 1 << 20)
                    if not legal:
                        yield target
        except tarfile.TarError as error:
            raise DataError(f"{deb.name} is damaged: {error}") from None
        process.stdout.close()
    if process.returncode:
        raise DataError(f"{deb.name} is damaged: dpkg-deb ended with {process.returncode}")


def why_not(path: Path) -> tuple[str, float]:
    """Say why a file is no music in stereo, "" if it is, and how many seconds it lasts."""
    mid = side = 0.0
    try:
        with AudioReader(path) as audio:
            if audio.channels != 2:
                return f"{audio.channels} channels", 0.0
            if audio.sample_rate < LEAST_RATE:
                return f"{audio.sample_rate} Hz", 0.0
            for block in audio:
                left, right = block.astype(np.float64)
                mid += float(np.square(left + right).sum())
                side += float(np.square(left - right).sum())
            seconds = audio.n_samples / audio.sample_rate
    except (AudioError, OSError) as error:
        return str(error), 0.0
    if seconds < LEAST_SECONDS:
        return f"{seconds:.1f} s", seconds
    if not side > LEAST_SIDE * mid:
        return "both channels are the same", seconds
    return "", seconds


def add_package(package: str, out: Path, bar: Progress) -> dict[str, Any]:
    """Put the music of a package into OUT/audio/PACKAGE; what is to be said of it."""
    work = out / ".work"
    for folder in (work, out / "audio" / package):  # of a run that was killed
        shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        return _add(package, out / "audio" / package, work, bar)
    finally:
        shutil.rmtree(work)


def _add(package: str, target: Path, work: Path, bar: Progress) -> dict[str, Any]:
    bar.advance(f"{package}: download", 0)
    deb = download(package, work)
    kept, seconds, refused = [], 0.0, {}
    aside = work / "files"
    for path in unpack(deb, aside):
        name = path.relative_to(aside).as_posix()
        reason, length = why_not(path)
        if reason:
            refused[name] = reason
            path.unlink()
        else:
            kept.append(name)
            seconds += length
        bar.advance(f"{package}: {path.name}", 0, length)
    if kept:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(target)
    digest = hashlib.sha256()
    with deb.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {
        "package": package,
        "file": deb.name,
        "sha256": digest.hexdigest(),
        "kept": len(kept),
        "hours": round(seconds / 3600, 4),
        "refused": refused,
    }


def collect(out: Path, packages: list[str]) -> list[dict[str, Any]]:
    """Add all packages that are not there yet; the records of all.

    A package that cannot be had is told of and left out: the next run tries it again. Raises
    OutputError if another process works on `out`.
    """
    (out / "audio").mkdir(parents=True, exist_ok=True)
    with Journal(out / "sources.jsonl") as journal, Progress(len(packages)) as bar:
        done = {record["package"] for record in journal.records}
        bar.expect(len(packages), len(done & set(packages)))
        for package in packages:
            if package in done:
                continue
            try:
                record = add_package(package, out, bar)
            except DataError as error:
                bar.say(str(error))
                continue
            journal.add(record)
            bar.advance(package, 1)
            bar.say(
                f"{package}: {record['hours']:.2f} hours in {record['kept']} files,"
                f" {len(record['refused'])} left out"
            )
        return list(journal.records)


def prepare_all(out: Path) -> PreparedAudio:
    """Prepare what was collected. Raises DataError if that is nothing."""
    with Progress() as bar:
        done = 0

        def show(name: str, so_far: int, total: int, seconds: float) -> None:
            nonlocal done
            bar.expect(total)
            bar.advance(name, so_far - done, seconds)
            done = so_far

        return prepare(
            out / "audio", out / "prepared", SAMPLE_RATE,
            channels=2, progress=show, report=bar.say,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder to write to, or to go on in")
    parser.add_argument("packages", nargs="*", help="in place of those of stereo_sets.tsv")
    options = parser.parse_args()
    try:
        collect(options.out, options.packages or read_list())
        prepared = prepare_all(options.out)
    except CodecError as error:
        sys.exit(f"error: {error}")
    print(f"{len(prepared.files)} files, {prepared.seconds / 3600:.2f} hours in {prepared.folder}")


if __name__ == "__main__":
    main()
