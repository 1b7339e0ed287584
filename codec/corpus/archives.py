"""WebDataset tars as sources: files that share a name up to its first dot are one sample."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from codec.audio import READ_SUFFIXES
from codec.audio.folders import SNIFFED
from codec.audio.sniff import begins_audio
from codec.corpus.items import Item, texts
from codec.corpus.places import NOT_AUDIO, LocalFile, Member, Place, Refused, RemoteFile
from codec.errors import DataError

ARCHIVE_SUFFIXES = (".tar",)
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_SIGNED = max(map(len, _PACKED))
LONGEST_COLUMN = 1 << 20  # bytes of a sample's text that are kept


def tar_items(name: str, archive: LocalFile | RemoteFile) -> Iterator[Item]:
    """Make an item of each audio file in a tar, "name.tar/key.flac", told by suffix or content.

    Of the same sample, a .json object's fields are columns, and so are .txt, as `text`, and other
    small files of text, under their suffix. A `duration` among them describes the whole file, it
    cuts nothing. Links are followed within the tar; of two files of one name the last counts, as
    when it is unpacked. Joined tars are read to the end, and so is what follows damage, which is an
    item that is refused. Raises DataError on what is no plain tar.
    """
    contents = _Contents()
    try:
        with archive.opened() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            tar.ignore_zeros = True  # read on in joined tars, and after damage
            _scan(tar, archive, contents)
    except (tarfile.TarError, EOFError, ValueError) as error:
        with archive.opened() as file:
            head = file.read(_SIGNED)
        packed = (what for magic, what in _PACKED.items() if head.startswith(magic))
        why = next((f"it is packed by {what}: unpack it first" for what in packed), str(error))
        raise DataError(f"{name}: not a plain tar: {why}") from None
    for member, place in contents.audio.items():
        key = _key(member)
        reason = contents.wrong.get(key)
        columns = texts(contents.columns.get(key, {}))
        yield Item(f"{name}/{member}", Refused(reason) if reason else place, columns=columns)
    if contents.endless:
        reason = "the tar has no mark at its end: it may be cut off"
        yield Item(f"{name}/end", Refused(reason, lost=False))
    for number, reason in enumerate(contents.damage, 1):
        yield Item(f"{name}/damage-{number}", Refused(f"the tar is damaged: {reason}"))


@dataclasses.dataclass
class _Contents:
    """What was found in a tar. audio: by the name of a member. columns, wrong: by the key of a
    sample. damage: why something may be missing. endless: the file ends with the last member."""

    audio: dict[str, Place] = dataclasses.field(default_factory=dict)
    columns: dict[str, dict[str, object]] = dataclasses.field(default_factory=dict)
    wrong: dict[str, str] = dataclasses.field(default_factory=dict)
    damage: list[str] = dataclasses.field(default_factory=list)
    endless: bool = False


def _scan(tar: tarfile.TarFile, archive: LocalFile | RemoteFile, contents: _Contents) -> None:
    files: dict[str, Place] = {}
    links: dict[str, str] = {}
    end = 0
    for member in _members(tar, contents):
        if member.offset > end:
            _note_damage(tar, end, member.offset, contents)
        end = int(tar.offset)  # type: ignore[attr-defined]  # where the next should begin
        path = PurePosixPath(member.name)
        name = str(path)  # without "./", as the targets of links
        if path.name.startswith(".") or member.isdir():
            continue
        named = path.suffix.lower() in READ_SUFFIXES
        links.pop(name, None)
        if member.issym() or member.islnk():
            links[name] = _target(member)
            if named:
                files[name] = Refused("a link to what is not in the tar")
        elif not member.isreg():
            if named:
                files[name] = Refused("a special file, skipped", lost=False)
        elif named or _begins_audio(tar, member):
            files[name] = Member(archive, member.offset_data, member.size)
            if member.issparse():
                files[name] = Refused("a sparse file in a tar cannot be read")
        elif member.size > LONGEST_COLUMN or not _add_columns(tar, member, contents):
            files[name] = NOT_AUDIO
    if not contents.damage:
        _note_end(tar, end, contents)
    for link in links:
        target, steps = link, 0
        while target in links and steps <= len(links):
            target, steps = links[target], steps + 1
        if target in files:
            files[link] = files[target]
            if files[link] == NOT_AUDIO and PurePosixPath(link).suffix.lower() in READ_SUFFIXES:
                files[link] = Refused("a link to what is not audio")
    contents.audio = files


def _members(tar: tarfile.TarFile, contents: _Contents) -> Iterator[tarfile.TarInfo]:
    """Give the members up to the end, or to where the tar is cut off."""
    members = iter(tar)
    count = 0
    while True:
        try:
            member = next(members, None)
        except (tarfile.TarError, EOFError, ValueError) as error:
            if not count:
                raise
            contents.damage.append(str(error))
            return
        if member is None:
            return
        count += 1
        yield member


def _begins_audio(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    read = tar.extractfile(member)
    return read is not None and begins_audio(read.read(SNIFFED))


def _add_columns(tar: tarfile.TarFile, member: tarfile.TarInfo, contents: _Contents) -> bool:
    """Take a small file as a column of its sample; False if it is not text."""
    read = tar.extractfile(member)
    key = _key(member.name)
    suffix = PurePosixPath(member.name).name.partition(".")[2]
    try:
        said = _said(suffix, read.read() if read else b"")
    except (ValueError, RecursionError):
        contents.wrong[key] = f"{member.name} is not JSON"
        return True
    columns = contents.columns.setdefault(key, {})
    for column, value in said.items():
        # The .json has a field with the name of a file: keep both.
        taken = column in columns and columns[column] != value
        columns[f"{column} ({suffix})" if taken else column] = value
    return bool(said)


def _note_damage(tar: tarfile.TarFile, start: int, stop: int, contents: _Contents) -> None:
    """Record damage: bytes between two members that are not the zeros that end a tar."""
    file = tar.fileobj
    assert file is not None
    file.seek(start)
    left = stop - start
    while left > 0 and (block := file.read(min(left, 1 << 20))):
        if block.count(0) != len(block):
            contents.damage.append(f"{stop - start} bytes at {start} are no part of it")
            break
        left -= len(block)
    file.seek(stop)


def _note_end(tar: tarfile.TarFile, end: int, contents: _Contents) -> None:
    """Record what is wrong behind the last member, where zeros mark the end."""
    file = tar.fileobj
    assert file is not None
    _note_damage(tar, end, int(tar.offset), contents)  # type: ignore[attr-defined]
    file.seek(end)
    rest = file.read(tarfile.BLOCKSIZE)
    contents.endless = not rest
    if 0 < len(rest) < tarfile.BLOCKSIZE and rest.strip(b"\0") and not contents.damage:
        contents.damage.append(f"it is cut off in the head of a file, at {end + len(rest)}")


def _target(link: tarfile.TarInfo) -> str:
    """Find the member that a link names: from its folder if symbolic, from the root if hard."""
    if link.islnk():
        return str(PurePosixPath(link.linkname))
    return posixpath.normpath(posixpath.join(posixpath.dirname(link.name), link.linkname))


def _key(member: str) -> str:
    path = PurePosixPath(member)
    return str(path.with_name(path.name.partition(".")[0]))


def _said(suffix: str, data: bytes) -> dict[str, object]:
    """Read the columns in a file of a sample. Raises ValueError."""
    if suffix == "json":
        try:
            values = json.loads(data)
        except RecursionError as error:
            raise ValueError(str(error)) from None
        return values if isinstance(values, dict) else {"json": values}
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    return {"text" if suffix == "txt" else suffix: text.rstrip("\n")}
