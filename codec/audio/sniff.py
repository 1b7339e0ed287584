"""Detects what a file is from its content alone."""

from __future__ import annotations

from codec.audio import mpeg
from codec.audio.content import Bytes
from codec.audio.riff import MAGICS, W64_MAGIC

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, W64_MAGIC, "wav"),
    (0, b"caff", "caf"),
    (0, b".snd", "au"),
    (0, b"dns.", "au"),
    (0, b"NIST_1A", "sphere"),
    (0, b"Creative Voice File\x1a", "voc"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"wvpk", "wavpack"),
    (0, b"MAC ", "ape"),
    (0, b"TTA1", "tta"),
    (0, b"MPCK", "musepack"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x0b\x77", "ac3"),
    (0, b"\x7f\xfe\x80\x01", "dts"),
    (4, b"ftyp", "mp4"),
    (4, b"moov", "mp4"),
    (4, b"mdat", "mp4"),
    (4, b"wide", "mp4"),
)

_SIGNED = 32  # bytes that tell what has a signature

# Brands of the container of MP4 that are for pictures.
_PICTURES = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"crx ")

# What FFmpeg calls those that it reads; it is not asked to guess, as some of its formats are lists
# of other files.
FFMPEG_NAMES = {
    "wav": "wav", "w64": "w64", "flac": "flac", "ogg": "ogg", "mp3": "mp3", "rifx": "wav",
    "aiff": "aiff", "caf": "caf", "au": "au", "sphere": "nistsphere", "voc": "voc", "mp4": "mp4",
    "matroska": "matroska", "asf": "asf", "aac": "aac", "amr": "amr", "wavpack": "wv",
    "ape": "ape", "tta": "tta", "musepack": "mpc8", "flv": "flv", "ac3": "ac3", "eac3": "eac3",
    "dts": "dts", "latm": "loas",
}  # fmt: skip
# Not VOC: where that has several blocks, libsndfile takes their heads for samples.
BY_LIBSNDFILE = frozenset(("rifx", "aiff", "caf", "au", "sphere"))


def kind_of(data: bytes | Bytes) -> str | None:
    """Name the kind of file that has the content `data`; None if it is no known audio.

    MP3, AAC and AC-3, which have no signature, are told by frames that follow each other.
    """
    start = mpeg.after_id3(data)
    kind = _signed(bytes(data[start : start + _SIGNED]))
    if kind is None and _adts(data, start):
        return "aac"
    if kind is None and mpeg.first_frame(data, start) is not None:
        return "mp3"
    return kind


def _signed(head: bytes) -> str | None:
    """Name the kind of file that the signature at the beginning belongs to."""
    if head[:4] in MAGICS and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"RIFX" and head[8:12] == b"WAVE":
        return "rifx"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    for at, magic, kind in _SIGNATURES:
        if head[at : at + len(magic)] == magic and _plausible(kind, head):
            if kind == "ac3":
                kind = "eac3" if len(head) > 5 and head[5] >> 3 > 10 else "ac3"
            return kind
    return None


def begins_audio(head: bytes) -> bool:
    """Tell whether `head`, the start of a file, shows audio: a signature, a tag, or frames."""
    if head[:3] == b"ID3":  # which stands before nothing else
        return True
    return bool(_signed(head[:_SIGNED])) or _adts(head, 0) or mpeg.follow(head, 0, 3)


def _plausible(kind: str, head: bytes) -> bool:
    """Check `kind` by more than a signature, which might be chance or a word."""
    if kind == "au":
        return 24 <= int.from_bytes(head[4:8], "big" if head[:1] == b"." else "little") < 1 << 24
    if kind == "ac3":
        return len(head) > 5 and head[5] >> 3 <= 16
    if kind == "ape":
        return 3000 <= int.from_bytes(head[4:6], "little") < 5000
    return kind != "mp4" or head[4:8] != b"ftyp" or head[8:12] not in _PICTURES


def _adts(data: bytes | Bytes, at: int) -> bool:
    """Tell whether frames of AAC in ADTS follow each other."""
    for found in range(4):
        head = data[at : at + 7]
        if len(head) < 7:
            return found > 1
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12 or length < 7:
            return False
        at += length
    return True
