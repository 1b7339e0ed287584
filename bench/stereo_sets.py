"""Make the training sets of stereo models: music from packages and git repositories, at 48 kHz.

    python -m bench.stereo_sets OUT [SOURCE ...]

The sources are those of `bench/stereo_sets.tsv`, or those that are named: a package of Debian,
which apt-get downloads and whose hash it checks; or a git repository, its address or the folder of
a clone, of which the newest commit is taken. Of its files those are kept that are music in stereo:
two channels, 44.1 kHz or more, at least 5 s, and a side that is more than rounding. Writes

    OUT/audio/SOURCE/...        the files, and those that say the licences
    OUT/sources.jsonl           a line a source: version, hash, and why files were left out
    OUT/prepared/               all of it as `codec train` takes it, 48 kHz and two channels

A source counts once its line is in sources.jsonl, so a run that was killed goes on with the first
one that has none, and a preparation goes on at the file where it stopped. Needs apt-get and
dpkg-deb, or git; a source takes three times its size on the disk while it is unpacked.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import re
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
LEGAL = re.compile(r"copyright|licen[cs]e|copying|authors|credits", re.IGNORECASE)  # of a stem


def read_list(path: Path = LIST) -> list[str]:
    """Read the names of the packages and the addresses of the repositories."""
    with path.open(newline="") as file:
        return [row["source"] for row in csv.DictReader(file, delimiter="\t")]


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


def is_repository(source: str) -> bool:
    """Tell a repository, its address or folder, from a package, whose name has no slash."""
    return "/" in source


def folder_name(source: str) -> str:
    """Name the folder of a source: a package's name, or the last two parts of an address."""
    if not is_repository(source):
        return source
    parts = re.split(r"[/:]+", source.rstrip("/").removesuffix(".git"))
    return re.sub(r"[^\w.-]", "_", "-".join(part for part in parts[-2:] if part)).strip(".")


def clone(source: str, folder: Path) -> str:
    """Check the newest commit of a repository out to `folder`; its hash. Raises DataError."""
    plain = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}

    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ["git", *words], env=plain, capture_output=True, text=True, errors="replace"
            )
        except OSError as error:
            raise DataError(f"git cannot be run: {error.strerror}") from None
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("fatal:")]
            reason = said[0] if said else "no reason given"
            raise DataError(f"{source} cannot be cloned: {reason}")
        return done.stdout.strip()

    address = Path(source).resolve().as_uri() if Path(source).is_dir() else source
    git("clone", "--quiet", "--depth", "1", "--", address, str(folder))
    return git("-C", str(folder), "rev-parse", "HEAD")


def pick(tree: Path, folder: Path) -> Iterator[Path]:
    """Move the audio of a clone to `folder`, and give each file; also what says the licences.

    Nothing but plain files is taken.
    """
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree)
        if name.parts[0] == ".git" or path.is_symlink() or not path.is_file():
            continue
        legal = LEGAL.search(path.stem) is not None and path.suffix.lower() not in SUFFIXES
        if not legal and path.suffix.lower() not in SUFFIXES:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        if not legal:
            yield target


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


def add_source(source: str, out: Path, bar: Progress) -> dict[str, Any]:
    """Put the music of a source into OUT/audio; what is to be said of it. Raises DataError."""
    work, target = out / ".work", out / "audio" / folder_name(source)
    for folder in (work, target):  # of a run that was killed
        shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True)
    aside = work / "files"
    try:
        bar.advance(f"{source}: download", 0)
        if is_repository(source):
            record = {"source": source, "commit": clone(source, work / "clone")}
            files = pick(work / "clone", aside)
        else:
            deb = download(source, work)
            record = {"source": source, "file": deb.name, "sha256": _sha256(deb)}
            files = unpack(deb, aside)
        return record | _keep(source, files, aside, target, bar)
    finally:
        shutil.rmtree(work)


def _keep(
    source: str, files: Iterator[Path], aside: Path, target: Path, bar: Progress
) -> dict[str, Any]:
    """Keep the music among `files`, which lie in `aside`, in `target`."""
    kept, seconds, refused = 0, 0.0, {}
    for path in files:
        reason, length = why_not(path)
        if reason:
            refused[path.relative_to(aside).as_posix()] = reason
            path.unlink()
        else:
            kept += 1
            seconds += length
        bar.advance(f"{source}: {path.name}", 0, length)
    if kept:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(target)
    return {"kept": kept, "hours": round(seconds / 3600, 4), "refused": refused}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def collect(out: Path, sources: list[str]) -> list[dict[str, Any]]:
    """Add all sources that are not there yet; the records of all.

    One that cannot be downloaded is told of and left out: the next run tries it again. Raises
    OutputError if another process works on `out`.
    """
    (out / "audio").mkdir(parents=True, exist_ok=True)
    with Journal(out / "sources.jsonl") as journal, Progress(len(sources)) as bar:
        done = {record["source"] for record in journal.records}
        bar.expect(len(sources), len(done & set(sources)))
        for source in sources:
            if source in done:
                continue
            try:
                record = add_source(source, out, bar)
            except DataError as error:
                bar.say(str(error))
                continue
            journal.add(record)
            bar.advance(source, 1)
            bar.say(
                f"{source}: {record['hours']:.2f} hours in {record['kept']} files,"
                f" {len(record['refused'])} left out"
            )
        return list(journal.records)


def prepare_all(out: Path) -> PreparedAudio:
    """Prepare what was collected. Raises DataError if that is nothing."""
    with Progress() as bar:
        return prepare(
            out / "audio", out / "prepared", SAMPLE_RATE,
            channels=2, progress=bar.follow(), report=bar.say,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder to write to, or to go on in")
    parser.add_argument("sources", nargs="*", help="in place of those of stereo_sets.tsv")
    options = parser.parse_args()
    try:
        collect(options.out, options.sources or read_list())
        prepared = prepare_all(options.out)
    except CodecError as error:
        sys.exit(f"error: {error}")
    print(f"{len(prepared.files)} files, {prepared.seconds / 3600:.2f} hours in {prepared.folder}")


if __name__ == "__main__":
    main()
