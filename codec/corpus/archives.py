"""WebDataset tars as sources: files that share a name up to its first dot are one sample."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from codec.audio import READ_SUFFIXES
from codec.corpus.items import Item, texts
from codec.corpus.places import LocalFile, Member, RemoteFile
from codec.errors import DataError

ARCHIVE_SUFFIXES = (".tar",)
LONGEST_COLUMN = 1 << 20  # bytes of a sample's text that are carried through


def tar_items(name: str, archive: LocalFile | RemoteFile) -> Iterator[Item]:
    """An item for each audio file of a tar, "name.tar/key.flac".

    Of the same sample, a .json object's fields are columns, and so are .txt, as `text`, and other
    small files of text, under their suffix. A `duration` among them describes the whole file, it
    cuts nothing. Raises DataError on what is no plain tar.
    """
    held: dict[str, list[tuple[str, Member]]] = {}
    columns: dict[str, dict[str, object]] = {}
    try:
        with archive.opened() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if not member.isfile() or path.name.startswith("."):
                    continue
                stem, _, suffix = path.name.partition(".")
                key = str(path.with_name(stem))
                last = path.suffix.lower()
                if last in READ_SUFFIXES:
                    place = Member(archive, member.offset_data, member.size)
                    held.setdefault(key, []).append((member.name, place))
                elif member.size <= LONGEST_COLUMN:
                    read = tar.extractfile(member)
                    data = read.read() if read else b""
                    said = _said(suffix, data, f"{name}: {member.name}")
                    columns.setdefault(key, {}).update(said)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{name}: not a plain tar: {error}") from None
    for key, files in held.items():
        for member_name, place in files:
            yield Item(f"{name}/{member_name}", place, columns=texts(columns.get(key, {})))


def _said(suffix: str, data: bytes, where: str) -> dict[str, object]:
    if suffix == "json":
        try:
            values = json.loads(data)
        except ValueError:
            raise DataError(f"{where} is not JSON") from None
        return values if isinstance(values, dict) else {"json": values}
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    return {"text" if suffix == "txt" else suffix: text.rstrip("\n")}
