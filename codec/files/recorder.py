"""Writes a .nac file while its audio arrives, for programs that record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codec.api import Codec
from codec.audio.arrays import as_channels
from codec.engine.pairs import paired
from codec.errors import AudioError, OutputError
from codec.model.limits import MAX_CHANNELS, count_streams
from codec.nac.writer import Writer
from codec.support.arguments import whole


class Recorder:
    """Writes audio to a .nac file while it arrives.

    with codec.Recorder("voice.nac", model, n_codebooks=12) as recorder:
        for block in microphone:
            recorder.write(block)

    Each chunk of two seconds is in the file as soon as it is complete: if the power fails,
    `codec decompress --salvage` restores what came before. When the block ends, in any way, the
    file is finished with the audio that arrived. The result is what `Codec.compress` gives with
    effort="raw".

    n_codebooks, bitrate: as for `Codec.encode`. Raises OutputError if the file exists or cannot be
    written, AudioError on an impossible number of channels, BitrateError, and BackendError if the
    backend of `model` does not stream.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: Codec,
        *,
        channels: int = 1,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._path = Path(path)
        count = whole(channels, "the number of channels", AudioError)
        if not 1 <= count <= MAX_CHANNELS:
            raise AudioError(f"{count} channels; a file has 1 to {MAX_CHANNELS}")
        self._encoders = [
            model.stream_encoder(n_codebooks=n_codebooks, bitrate=bitrate)
            for _ in range(count_streams(count, model.config.channels))
        ]
        pipeline, rate = model.pipeline, model.config.sample_rate
        header = pipeline.header(count, rate, pipeline.n_codebooks(n_codebooks, bitrate))
        self._channels, self._together = count, model.config.channels
        try:
            self._file = self._path.open("xb")
        except FileExistsError:
            raise OutputError(f"{path}: the output exists") from None
        except OSError as error:
            raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        self._writer = Writer(self._file, header, tags=tags)
        self.n_samples = 0  # of each channel, so far

    def write(self, audio: Any) -> None:
        """Append audio [samples] or [channels, samples] at the model's rate.

        float32 or float64 with full scale ±1, or int16. Raises AudioError on another number of
        channels, as for `Codec.encode`.
        """
        samples = as_channels(audio)
        if len(samples) != self._channels:
            raise AudioError(f"{len(samples)} channels; the file has {self._channels}")
        (streams,) = paired([samples], self._together)
        codes = [one.push(own) for one, own in zip(self._encoders, streams, strict=True)]
        self._writer.write(np.stack(codes))
        self.n_samples += samples.shape[1]

    def close(self) -> None:
        """Finish the file. Raises AudioError, and leaves no file, if no audio arrived."""
        if self._file.closed:
            return
        with self._file:
            if self.n_samples:
                self._writer.write(np.stack([encoder.flush() for encoder in self._encoders]))
                header = self._writer.finish(self.n_samples)
                self._file.seek(0)
                self._file.write(header.pack())  # now with the length
                return
        self._path.unlink()
        raise AudioError("no audio: 0 samples")

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self.close()
        except AudioError:
            if kind is None:
                raise
