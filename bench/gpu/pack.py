"""Pack what a GPU machine without a network needs: wheels, and training audio in folders.

    python -m bench.gpu.pack wheels FOLDER [--python 3.12] [--skip NAME] [PACKAGE ...]
    python -m bench.gpu.pack audio SOURCE FOLDER [--folders 6] [--megabytes 45] [--kbits 56]

`wheels` downloads one wheel of each package for the Python and the platform there, without what
they depend on: name that too. `audio` writes FOLDER/0, FOLDER/1, ...: Opus files that keep their
paths below SOURCE, so that the folders can be joined there. Each folder has its share of each kind
(the first folder level of SOURCE). Opus files are copied; others become mono Opus. Where all does
not fit, the same share of each kind is left out, and said. Where SOURCE has phones.tsv, a table of
aligned phones (`codec.training.phones`), each folder has one of its own files.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

# What the steps import, beside numpy, PyTorch and pytest.
PACKAGES = [
    "soundfile", "cffi", "pycparser", "soxr", "click", "tqdm", "safetensors", "cython",
    "setuptools", "vector-quantize-pytorch", "einops", "einx", "frozendict", "torch-einops-utils",
]  # fmt: skip
GLIBC = 39  # manylinux_2_N wheels up to this N; pip takes an N only when it is named
PHONES = "phones.tsv"
OPUS_RATE = 48_000
OPUS_KBITS = (6, 256)  # of libsndfile's compression levels 1 and 0, a channel


def wheels(folder: Path, python: str, machine: str, packages: list[str]) -> list[Path]:
    """Download a wheel of each package; the files. Raises CalledProcessError."""
    platforms = [f"manylinux_2_{n}_{machine}" for n in range(GLIBC, 4, -1)]
    platforms += [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
    folder.mkdir(parents=True, exist_ok=True)
    target = ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    for platform in platforms:
        target += ["--platform", platform]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, *target, "-d", str(folder), *packages], check=True)
    return sorted(folder.glob("*.whl"))


def assign(sizes: Mapping[str, int], folders: int, most: int) -> tuple[list[list[str]], list[str]]:
    """Distribute files of `sizes` over folders of at most `most` bytes: (folders, left out).

    The kind of a file is its first folder level. Of each kind, each folder gets about the same
    number of bytes. If not all fit, about the same share of the bytes of each kind is left out.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        kinds[name.partition("/")[0]].append(name)
    share = min(1.0, folders * most / max(1, sum(sizes.values())))
    filled: list[list[str]] = [[] for _ in range(folders)]
    used = [0] * folders
    left = []
    for names in kinds.values():
        budget = share * sum(sizes[name] for name in names)
        own = [0] * folders
        for name in names:  # the largest first, into the folder with least of the kind
            size = sizes[name]
            fits = [i for i in range(folders) if used[i] + size <= most]
            if not fits or (share < 1 and sum(own) + size > budget):
                left.append(name)
                continue
            best = min(fits, key=lambda i: (own[i], used[i], i))
            filled[best].append(name)
            own[best] += size
            used[best] += size
    return filled, left


def encode(source: Path, target: Path, kbits: float) -> None:
    """Write the audio file `source` as mono Opus of about `kbits` kbit/s."""
    import soundfile
    import soxr

    audio, rate = soundfile.read(source, dtype="float32", always_2d=True)
    mono = soxr.resample(audio.mean(axis=1), rate, OPUS_RATE)
    low, high = OPUS_KBITS
    level = min(1.0, max(0.0, (high - kbits) / (high - low)))
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, mono, OPUS_RATE, format="OGG", subtype="OPUS", compression_level=level)


def audio(source: Path, folder: Path, folders: int, most: int, kbits: float) -> list[str]:
    """Write folders of Opus; lines that say what is in each and what was left out."""
    from tqdm import tqdm

    from codec.training.phones import Places, read_table, write_table
    from codec.training.prepare import find_audio

    whole = folder / "all"
    for path in tqdm(find_audio(source)[0], disable=None):
        target = whole / path.relative_to(source).with_suffix(".opus")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".opus":
            shutil.copyfile(path, target)
        else:
            encode(path, target, kbits)
    sizes = {
        path.relative_to(whole).as_posix(): path.stat().st_size for path in whole.rglob("*.opus")
    }
    clips = read_table(source / PHONES) if (source / PHONES).exists() else []
    if clips:  # each folder has room for the whole table
        most -= (source / PHONES).stat().st_size
    filled, left = assign(sizes, folders, most)
    lines = []
    for number, names in enumerate(filled):
        places = Places(names)
        own = [
            dataclasses.replace(clip, path=names[place])
            for clip in clips
            if (place := places.find(clip.path)) is not None
        ]
        for name in names:
            target = folder / str(number) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (whole / name).rename(target)
        total = sum(sizes[name] for name in names)
        said = f"{folder / str(number)}: {len(names)} files, {total / 1e6:.1f} MB"
        if own:
            write_table(folder / str(number) / PHONES, own)
            said += f", {sum(clip.duration for clip in own) / 3600:.2f} hours with phones"
        lines.append(said)
    shutil.rmtree(whole)
    if left:
        total = sum(sizes[name] for name in left)
        lines.append(f"left out: {len(left)} files, {total / 1e6:.1f} MB: {', '.join(left)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("wheels").add_argument
    add("folder", type=Path)
    add("--python", default="3.12", help="version there (default 3.12)")
    add("--machine", default="x86_64", help="processor there (default x86_64)")
    add("--skip", action="append", default=[], help="a package that is there; may be repeated")
    add("packages", nargs="*", help=f"default: {' '.join(PACKAGES)}")
    add = commands.add_parser("audio").add_argument
    add("source", type=Path)
    add("folder", type=Path)
    add("--folders", type=int, default=6, help="default 6")
    add("--megabytes", type=float, default=45, help="of each folder, at most (default 45)")
    add("--kbits", type=float, default=56, help="a second, of what is not Opus (default 56)")
    given = parser.parse_args()
    if given.command == "wheels":
        names = [name for name in given.packages or PACKAGES if name not in given.skip]
        for path in wheels(given.folder, given.python, given.machine, names):
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    else:
        if given.folder.exists():
            parser.error(f"{given.folder} exists")
        most = int(given.megabytes * 1e6)
        print("\n".join(audio(given.source, given.folder, given.folders, most, given.kbits)))


if __name__ == "__main__":
    main()
