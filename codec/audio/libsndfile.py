"""Decodes with libsndfile, which receives bytes and never a name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from codec.audio.arrays import narrowed
from codec.audio.content import Bytes, Part, Spliced
from codec.audio.formats import TAGS, reason
from codec.audio.quiet import quiet
from codec.errors import AudioError
from codec.support.holding import held

_NAMES = {
    "flac": "FLAC", "mp3": "MP3", "ogg": "Ogg", "wav": "WAV", "aiff": "AIFF", "caf": "CAF",
    "au": "AU", "rifx": "big-endian WAV", "sphere": "NIST SPHERE", "voc": "VOC",
}  # fmt: skip


class UndecodableError(AudioError):
    """What follows cannot be decoded; block: the samples before it, of those that were asked for,
    float32 [samples, channels]."""

    def __init__(self, message: str, block: npt.NDArray[np.float32]) -> None:
        super().__init__(message)
        self.block = block


class SndFile:
    """One stream of audio that libsndfile reads. Raises AudioError, also when it is read.

    more: as for `Spliced`. damaged, cut: as of `FlacStream`.
    exact: the last sample to which `seek` goes exactly; None if it does so to all. preroll: how
    many samples after a seek differ from what they are in the whole file.
    """

    exact: int | None = None
    preroll = 0

    def __init__(self, data: Bytes, parts: Sequence[Part], kind: str = "", more: int = 0) -> None:
        import soundfile

        class Sequential(soundfile.SoundFile):  # type: ignore[misc]
            """soundfile seeks after every block, which a FLAC of unknown length refuses."""

            def seekable(self) -> bool:
                return False

        self.damaged, self.cut = list[tuple[int, int]](), False
        self._error = soundfile.LibsndfileError
        self._quiet = kind == "mp3"
        try:
            with self._aside():
                self._file = Sequential(Spliced(data, parts, more))
        except (self._error, TypeError) as error:
            name = _NAMES.get(kind, "it")
            said = reason(error) if isinstance(error, self._error) else "no header"
            if "unimplemented" in said:
                said = "a coding that libsndfile does not know"
            raise AudioError(f"cannot read audio: {name}: {said}") from None
        self.channels = int(self._file.channels)
        self.sample_rate = int(self._file.samplerate)
        self.claimed = int(self._file.frames)
        self.tags: dict[str, str] = {
            key: value for key, value in self._file.copy_metadata().items() if key in TAGS
        }
        # In 64 bits, what is too loud for 32 is told from infinity.
        self._dtype = "float64" if self._file.subtype == "DOUBLE" else "float32"
        self.decoder = f"libsndfile {soundfile.__libsndfile_version__}"

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Let libsndfile call Python for bytes, undisturbed by signals."""
        with held(), quiet() if self._quiet else contextlib.nullcontext():
            yield

    def seek(self, sample: int) -> None:
        """Go to a sample. Raises AudioError if the file has no such sample."""
        try:
            with self._aside():
                self._file.seek(sample)
        except self._error:
            raise AudioError(f"cannot read from sample {sample}: the audio ends before") from None

    def read(self, samples: int) -> npt.NDArray[np.float32]:
        """Read the next samples [samples, channels], fewer at the end.

        Raises UndecodableError on what cannot be decoded, AudioError on what is beyond the range of
        float32.
        """
        # soundfile does not say how much there was before an error: NaN is what was not written.
        buffer = np.full((samples, self.channels), np.nan, self._dtype)
        try:
            with self._aside():
                block = self._file.read(out=buffer)
        except self._error as error:
            rows = int(np.isnan(buffer).any(axis=1).argmax()) if np.isnan(buffer).any() else samples
            said = f"cannot read audio: {reason(error)}"
            raise UndecodableError(said, narrowed(buffer[:rows])) from None
        return narrowed(block)

    def close(self) -> None:
        self._file.close()
