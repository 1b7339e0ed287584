"""Audio files, written block by block."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from codec.audio.arrays import Audio, as_int16, in_blocks
from codec.audio.channels import VORBIS_FROM_WAVE
from codec.audio.formats import MAX_WAV_BYTES, TAGS, WRITE_FORMATS, reason
from codec.errors import AudioError
from codec.support.holding import held

_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM: a write failed, and it does not say why
# libvorbis has no settings for higher rates, and libsndfile crashes there.
_MAX_OGG_RATE = 200_000
_NOT_WRITTEN = "cannot write the audio: is the disk full?"


class AudioWriter:
    """Writes audio block by block, in the format of `suffix`, a key of `WRITE_FORMATS`.

    tags: those of `TAGS` that the format can hold are kept.

    Channels are in the order of WAVE; an Ogg gets them in that of Vorbis.
    WAV and FLAC take 16-bit samples, clipped at full scale; a WAV that `n_samples` make too long
    for its 32-bit sizes becomes RF64. A file object must be in memory, as libsndfile cannot pass
    on what goes wrong in one.
    Raises AudioError if the format cannot hold that many channels or that rate, or the disk is
    full.
    """

    def __init__(
        self,
        target: Path | io.BytesIO,
        sample_rate: int,
        channels: int,
        n_samples: int,
        suffix: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        import soundfile

        container, self._subtype = WRITE_FORMATS[suffix]
        if container == "FLAC":
            _check_flac(sample_rate, channels)
        elif container == "OGG" and sample_rate > _MAX_OGG_RATE:
            raise AudioError(f"Ogg Vorbis has no sample rate of {sample_rate} Hz; choose .wav")
        self._order = VORBIS_FROM_WAVE.get(channels) if container == "OGG" else None
        if container == "WAV" and 2 * channels * n_samples > MAX_WAV_BYTES:
            container = "RF64"
        self._error = soundfile.LibsndfileError
        self._what = f"{channels} channels at {sample_rate} Hz as {suffix}"
        name = os.fspath(target) if isinstance(target, Path) else target
        with self._reasons():
            self._file = soundfile.SoundFile(
                name, "w", sample_rate, channels, self._subtype, format=container
            )
            for key in TAGS:
                if tags and key in tags:
                    setattr(self._file, key, tags[key])

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        quiet = contextlib.suppress(AudioError) if kind else contextlib.nullcontext()
        with quiet, self._reasons():
            self._file.close()

    def write(self, audio: Audio) -> None:
        """Append `audio` float32 [channels, samples]."""
        for block in in_blocks(audio):
            values = as_int16(block) if self._subtype == "PCM_16" else np.clip(block, -1, 1)
            with self._reasons():
                self._file.write(values.T if self._order is None else values.T[:, self._order])

    @contextlib.contextmanager
    def _reasons(self) -> Iterator[None]:
        try:
            with held():
                yield
        except self._error as error:
            # A FLAC's first bytes are written when it is opened, and then it says only that.
            if error.code == _SYSTEM_ERROR or "initialization of the flac" in reason(error):
                raise AudioError(_NOT_WRITTEN) from None
            raise AudioError(f"cannot write {self._what}: {reason(error)}") from None
        except AssertionError:
            # soundfile asserts that all was written; libsndfile gives no reason when it was not.
            raise AudioError(_NOT_WRITTEN) from None


def _check_flac(sample_rate: int, channels: int) -> None:
    """Check what a FLAC frame's header can state: RFC 9639, section 9.1. Raises AudioError."""
    if channels > 8:
        raise AudioError(f"FLAC has at most 8 channels, not {channels}; choose .wav")
    steps = ((65_535, 1), (255_000, 1000), (655_350, 10))
    if not any(sample_rate <= most and sample_rate % step == 0 for most, step in steps):
        raise AudioError(f"FLAC has no sample rate of {sample_rate} Hz; choose .wav")


def write_audio(target: Path | io.BytesIO, audio: Audio, sample_rate: int, suffix: str) -> None:
    """Write all of `audio` [channels, samples] by `AudioWriter`."""
    channels, samples = audio.shape
    with AudioWriter(target, sample_rate, channels, samples, suffix) as writer:
        writer.write(audio)
