"""Audio in and out: arrays, sample rates, files, pipes."""

from codec.audio.arrays import (
    MAX_PEAK,
    Audio,
    after,
    as_channels,
    as_int16,
    check_sample_rate,
    first,
    fit,
    in_blocks,
    peak_of,
    silence,
)
from codec.audio.formats import READ_SUFFIXES, TAGS, WRITE_FORMATS
from codec.audio.loudness import Metered
from codec.audio.reader import AudioReader, read_audio
from codec.audio.resample import resample, resample_blocks, resampled_length
from codec.audio.writer import AudioWriter, write_audio

__all__ = [
    "MAX_PEAK", "READ_SUFFIXES", "TAGS", "WRITE_FORMATS", "Audio", "AudioReader", "AudioWriter",
    "Metered", "after", "as_channels", "as_int16", "check_sample_rate", "first", "fit", "in_blocks",
    "peak_of", "read_audio", "resample", "resample_blocks",
    "resampled_length", "silence", "write_audio",
]  # fmt: skip
