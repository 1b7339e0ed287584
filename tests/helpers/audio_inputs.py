"""Audio files as they come from the world, each made of a tone by a few lines."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import soundfile

RATE = 16_000


def tone(samples: int = 8000, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """float32 [samples, channels], each channel of a pitch of its own."""
    t = np.arange(samples)[:, None] / rate
    return (0.3 * np.sin(2 * np.pi * t * 220 * (1 + np.arange(channels)))).astype(np.float32)


def encoded(audio: np.ndarray, kind: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    """A file of libsndfile's."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=kind, subtype=subtype)
    return file.getvalue()


def pcm(audio: np.ndarray) -> bytes:
    """16-bit samples, interleaved."""
    return np.rint(audio * 32767).astype("<i2").tobytes()


def chunk(name: bytes, body: bytes, size: int | None = None, pad: bool = True) -> bytes:
    """A chunk of RIFF; size: what it claims."""
    claimed = len(body) if size is None else size
    return name + struct.pack("<I", claimed) + body + bytes(len(body) % 2 if pad else 0)


def wav(
    *before: bytes,
    audio: np.ndarray | None = None,
    size: int | None = None,
    behind: bytes = b"",
    magic: bytes = b"RIFF",
    whole: int | None = None,
    mask: int = 0,
) -> bytes:
    """A WAV of 16 bits, put together by hand."""
    audio = tone() if audio is None else audio
    channels = audio.shape[1]
    format_ = struct.pack("<HHIIHH", 1, channels, RATE, RATE * 2 * channels, 2 * channels, 16)
    if mask:
        guid = bytes.fromhex("0100000000001000800000aa00389b71")
        format_ = b"\xfe\xff" + format_[2:] + struct.pack("<HHI", 22, 16, mask) + guid
    body = chunk(b"fmt ", format_) + b"".join(before) + chunk(b"data", pcm(audio), size) + behind
    ds64 = b""
    if magic != b"RIFF":
        ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, 0, 0, 0))
    claimed = len(ds64 + body) + 4 if whole is None else whole
    return magic + struct.pack("<I", claimed) + b"WAVE" + ds64 + body


def id3(size: int) -> bytes:
    """An ID3v2 tag of so many bytes of picture."""
    syncsafe = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + syncsafe + bytes(size)


ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8)


def mp3(samples: int = 3 * RATE, channels: int = 1) -> bytes:
    """An MP3 with LAME's header in front."""
    return encoded(tone(samples, channels), "MP3", "MPEG_LAYER_III")


def bare_mp3(samples: int = 3 * RATE) -> bytes:
    """An MP3 of frames of many bitrates, without a header: quiet at first, loud then."""
    audio = tone(samples)
    noise = np.random.default_rng(0).normal(0, 0.2, audio.shape).astype(np.float32)
    audio = np.where(np.arange(samples)[:, None] < samples // 3, audio * 1e-3, noise)
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", RATE, 1, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE"
    ) as out:
        out.write(audio)
    data = file.getvalue()
    return data[frame_bytes(data, 0) :]


def frame_bytes(data: bytes, at: int) -> int:
    """The length of the MP3 frame at `at`."""
    from codec.audio.mpeg import frame_length

    return frame_length(int.from_bytes(data[at : at + 4], "big"))


def ogg(samples: int = RATE, channels: int = 1, kind: str = "VORBIS") -> bytes:
    """One link of Ogg; Opus at 48 kHz."""
    rate = 48_000 if kind == "OPUS" else RATE
    return encoded(tone(samples, channels, rate), "OGG", kind, rate)


def ogg_crc(page: bytes) -> int:
    """The checksum of an Ogg page: RFC 3533, section 6."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFF_FFFF
    return crc


def ogg_page(body: bytes, flags: int, number: int, serial: int = 7) -> bytes:
    """A page of one packet of less than 64 KiB."""
    lacing = bytes([255] * (len(body) // 255) + [len(body) % 255])
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, serial, number, 0, len(lacing))
    page = head + lacing + body
    return page[:22] + struct.pack("<I", ogg_crc(page)) + page[26:]


def flac(samples: int = RATE, channels: int = 1) -> bytes:
    """A FLAC of 16 bits."""
    return encoded(tone(samples, channels), "FLAC", "PCM_16")


def flac_in_ogg(samples: int = RATE) -> bytes:
    """FLAC in Ogg: what follows the STREAMINFO, cut into packets anywhere short of 60,000 bytes."""
    data = flac(samples)
    rest = data[42:]
    parts = [rest[at : at + 5000] for at in range(0, len(rest), 5000)]
    pages = [ogg_page(b"\x7fFLAC\1\0\0\1" + data[:42], 2, 0)]
    for k, part in enumerate(parts):
        pages.append(ogg_page(part, 4 if k == len(parts) - 1 else 0, k + 1))
    return b"".join(pages)


def with_total(data: bytes, total: int) -> bytes:
    """A FLAC whose STREAMINFO claims `total` samples."""
    field = int.from_bytes(data[21:26], "big") >> 36 << 36 | total
    return data[:21] + field.to_bytes(5, "big") + data[26:]


def caf(samples: int = 8000, size: int = -1) -> bytes:
    """A CAF as it comes from a pipe: its data have no size."""
    audio = np.rint(tone(samples) * 32767).astype(">i2").tobytes()
    desc = struct.pack(">d4sIIIII", RATE, b"lpcm", 0, 2, 1, 1, 16)
    head = b"caff\0\1\0\0" + b"desc" + struct.pack(">q", len(desc)) + desc
    return head + b"data" + struct.pack(">qI", size, 0) + audio


def adts(frames: int = 30) -> bytes:
    """Headers of AAC in ADTS, with nothing in their frames."""
    length = 40
    head = bytes([0xFF, 0xF1, 0x50, 0x80, length >> 3, (length & 7) << 5 | 0x1F, 0xFC])
    return (head + bytes(length - len(head))) * frames


HOSTILE_LIST = chunk(
    b"LIST", b"INFOXXXX" + struct.pack("<i", -8) + bytes(24)
)  # a size that leads back

EVERYTHING: dict[str, Callable[[], bytes]] = {
    "wav": wav,
    "hostile_list": lambda: wav(HOSTILE_LIST),
    "rf64": lambda: wav(magic=b"RF64", size=0xFFFF_FFFF),
    "alaw": lambda: encoded(tone(800), "WAV", "ALAW"),
    "adpcm": lambda: encoded(tone(800), "WAV", "IMA_ADPCM"),
    "w64": lambda: encoded(tone(800), "W64", "PCM_16"),
    "flac": lambda: flac(4000),
    "flac_in_ogg": lambda: flac_in_ogg(4000),
    "vorbis": lambda: ogg(4000),
    "opus": lambda: ogg(9600, 2, "OPUS"),
    "mp3": lambda: mp3(6000),
    "bare_mp3": lambda: bare_mp3(6000),
    "aiff": lambda: encoded(tone(800), "AIFF", "PCM_16"),
    "au": lambda: encoded(tone(800), "AU", "PCM_16"),
    "caf": lambda: caf(800),
    "sphere": lambda: encoded(tone(800), "NIST", "PCM_16"),
}  # one small file of each kind
