"""Writes a .nac file while its audio arrives, for programs that record."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from codec.api import Codec
from codec.audio.arrays import as_channels
from codec.engine.pairs import paired
from codec.errors import AudioError, OutputError, StateError
from codec.model.limits import MAX_CHANNELS, count_streams
from codec.nac.tags import check_tags
from codec.nac.writer import Place, Writer
from codec.support.arguments import as_path, whole


class Recorder:
    """Writes audio to a .nac file while it arrives.

    with codec.Recorder("voice.nac", model, n_codebooks=12) as recorder:
        for block in microphone:
            recorder.write(block)

    Each chunk of two seconds is in the file as soon as it is complete: if the power fails,
    `codec decompress --salvage` restores what came before. When the block ends, in any way, the
    file is finished with the audio that arrived. The result is what `Codec.compress` gives for the
    first `n_samples` samples with effort="raw".

    n_codebooks, bitrate, beam, refine: as for `Codec.encode`. With `refine`, chunks are complete
    four seconds later, and a `write` that completes some takes as long as their steps. Raises
    OutputError if the file exists or cannot be written, AudioError on an impossible number of
    channels, OptionError on another beam or refine or tags that are not text, BitrateError, and
    BackendError if the backend of `model` does not stream or cannot refine.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: Codec,
        *,
        channels: int = 1,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        beam: int = 1,
        refine: int = 0,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._path = as_path(path, "the output", OutputError)
        checked_tags = check_tags(tags)
        count = whole(channels, "the number of channels", AudioError)
        if not 1 <= count <= MAX_CHANNELS:
            raise AudioError(f"{count} channels; a file has 1 to {MAX_CHANNELS}")
        self._encoders = [
            model.stream_encoder(n_codebooks=n_codebooks, bitrate=bitrate, beam=beam, refine=refine)
            for _ in range(count_streams(count, model.config.channels))
        ]
        pipeline, rate = model.pipeline, model.config.sample_rate
        header = pipeline.header(count, rate, pipeline.n_codebooks(n_codebooks, bitrate))
        self._channels, self._together = count, model.config.channels
        try:
            self._file = _NewFile(self._path, "x")
        except FileExistsError:
            raise OutputError(f"{path}: the output exists") from None
        except OSError as error:
            raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        try:
            self._writer = Writer(self._file, header, tags=checked_tags)
        except BaseException:
            self._file.close()
            self._path.unlink()
            raise
        self._closed = False
        # An exception, Ctrl-C too, can come between any two steps. What counts is here, and is
        # replaced in one step, when all of a block is in the file.
        self._taken = self._state(0)
        self._in_step = True  # whether the encoders and the writer are where `_taken` says

    @property
    def n_samples(self) -> int:
        """Samples of each channel that are in the recording so far."""
        return self._taken.n_samples

    def write(self, audio: Any) -> None:
        """Append audio [samples] or [channels, samples] at the model's rate.

        float32 or float64 with full scale ±1, or int16. The block is taken as a whole: if this
        raises anything, KeyboardInterrupt too, all or none of it is in the recording, as
        `n_samples` says, and `write` and `close` may be called again. Raises AudioError on another
        number of channels, as for `Codec.encode`; StateError after `close`; OSError, with the
        block left out, if the disk is full.
        """
        if self._closed:
            raise StateError("the recording has ended: the file is closed")
        samples = as_channels(audio)
        if len(samples) != self._channels:
            raise AudioError(f"{len(samples)} channels; the file has {self._channels}")
        (streams,) = paired([samples], self._together)
        self._return()
        self._in_step = False
        codes = [one.push(own) for one, own in zip(self._encoders, streams, strict=True)]
        self._writer.write(np.stack(codes))
        self._taken = self._state(self.n_samples + samples.shape[1])
        self._in_step = True

    def close(self) -> None:
        """Finish the file. Raises AudioError, and leaves no file, if no audio arrived.

        If it was interrupted, or the disk was full (OSError), it may be called again.
        """
        if self._closed:
            return
        if self.n_samples and not self._file.closed:
            self._return()
            self._in_step = False
            self._writer.write(np.stack([encoder.flush() for encoder in self._encoders]))
            header = self._writer.finish(self.n_samples)
            self._file.seek(0)
            self._file.write(header.pack())  # now with the length
        self._file.close()
        if not self.n_samples:
            self._path.unlink(missing_ok=True)
        self._closed = True
        if not self.n_samples:
            raise AudioError("no audio: 0 samples")

    def _state(self, n_samples: int) -> _Taken:
        saved = tuple(encoder.save() for encoder in self._encoders)
        return _Taken(n_samples, saved, self._writer.place())

    def _return(self) -> None:
        """Go back to what was taken, if a call did not come to its end."""
        if self._in_step:
            return
        for encoder, saved in zip(self._encoders, self._taken.encoders, strict=True):
            encoder.restore(saved)
        self._writer.return_to(self._taken.place)
        self._in_step = True

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self.close()
        except KeyboardInterrupt:
            with contextlib.suppress(AudioError):
                self.close()
            raise
        except AudioError:
            if kind is None:
                raise


class _Taken(NamedTuple):
    """Everything that a recording consists of."""

    n_samples: int
    encoders: tuple[bytes, ...]
    place: Place


class _NewFile(io.FileIO):
    """A file without a buffer, so that no part of a block waits in one when the disk is full."""

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)
