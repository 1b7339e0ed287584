"""Formats of audio files: the names they go by, and those that can be written."""

from __future__ import annotations

# fmt: off
READ_SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au",
    ".snd", ".caf", ".w64", ".rf64", ".bw64", ".bwf", ".sph", ".nist", ".voc", ".mp2", ".mpga",
    ".m4a", ".m4b", ".aac", ".mp4", ".webm", ".mka", ".wma", ".ac3", ".eac3", ".amr", ".wv", ".spx",
))
# fmt: on
WRITE_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
}

# Tags that libsndfile supports in most formats.
TAGS = (
    "title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright", "license",
)  # fmt: skip

# WAV counts its bytes in 32 bits; beyond that libsndfile writes RF64, the same with 64.
MAX_WAV_BYTES = 2**32 - 4096


def reason(error: Exception) -> str:
    """Return the message of a libsndfile `error` in one short line."""
    text = str(getattr(error, "error_string", error)).strip()
    return text.removeprefix("Error :").strip().rstrip(".").splitlines()[0].lower()
