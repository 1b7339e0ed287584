"""Copy folders of training audio into one, where they stay when the checkout is replaced.

    python -m bench.gpu.unpack FOLDER... TARGET

A machine may take only so much in one call: each call brings a folder, and the last one trains. The
folders' tables of phones, phones.tsv, are joined. A folder that comes again replaces its own part.

Imports the standard library only: other packages may not be installed yet.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from bench.gpu.pack import PHONES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    for folder in given.folders:
        ignored = shutil.ignore_patterns(PHONES)
        shutil.copytree(folder, given.target, dirs_exist_ok=True, ignore=ignored)
        join_phones(folder / PHONES, given.target / PHONES)
    files = [path for path in given.target.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {size / 1e6:.1f} MB of audio in {given.target}")


def join_phones(table: Path, target: Path) -> None:
    """Add the rows of `table`, if there is one, to those of `target` for other files.

    The first column is the path. `bench.gpu.pack` wrote both, so their headers are the same.
    """
    if not table.exists():
        return
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    paths = {row.partition("\t")[0] for row in rows}
    old = target.read_text(encoding="utf-8").splitlines()[1:] if target.exists() else []
    kept = [row for row in old if row.partition("\t")[0] not in paths]
    target.write_text("\n".join([header, *kept, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
