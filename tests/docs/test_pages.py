"""What README and docs refer to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import codec
from codec.cli.main import COMMANDS

ROOT = Path(codec.__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]
FILE = re.compile(r"`((?:codec|csrc|tests|bench|examples|docs)/[\w./-]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = [ROOT / name for name in FILE.findall(text)]
    names += [page.parent / name for name in LINK.findall(text)]
    missing = [str(path) for path in names if not path.exists()]
    # A page may name files that a reader is to write.
    assert [name for name in missing if "NAME" not in name] == []


def test_readme_is_a_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_every_command_is_documented() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in COMMANDS:
        assert f"codec {name} " in text, name


def test_the_map_names_every_folder() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    package = ROOT / "codec"
    for folder in sorted(path.parent.name for path in package.glob("*/__init__.py")):
        assert f"codec/{folder}`" in text, folder
