"""Audio that a model makes, written to a file or to standard output while it is made."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from codec.api import Codec
from codec.audio.arrays import Audio, after
from codec.audio.formats import WRITE_FORMATS
from codec.audio.pipes import SampleSink
from codec.audio.reader import read_audio
from codec.audio.writer import AudioWriter
from codec.cli import options
from codec.engine.post import Wanted
from codec.errors import OutputError
from codec.support.atomic import check_writable, replacing
from codec.support.progress import Progress
from codec.support.types import Codes
from codec.support.warning import warn

SILENT = 10**-1.5  # of the loudest channel: a mix that is 30 dB below it has lost the sound


def check_output(output: str, *, overwrite: bool, source: Path | None = None) -> Path | None:
    """Return the file that `output` names, None for "-", standard output.

    Raises OutputError, also if it would overwrite `source`, which is read.
    """
    if output == "-":
        if sys.stdout.isatty():
            raise OutputError("refusing to write binary data to a terminal; use -o or a pipe")
        return None
    target = Path(output)
    if target.suffix.lower() not in WRITE_FORMATS:
        known = ", ".join(WRITE_FORMATS)
        raise OutputError(f"{target}: cannot write {target.suffix or 'this'}; choose from {known}")
    check_writable(target, overwrite=overwrite, source=source)
    return target


def read_mono(source: Path) -> tuple[Audio, int]:
    """Read the mean of a recording's channels, float32 [samples], and its rate in Hz.

    Where the channels cancel each other, the loudest is taken instead, with a warning. Raises as
    `read_audio` does.
    """
    audio, sample_rate = read_audio(source)
    mono: Audio = audio.mean(0)
    loudness = np.sqrt(np.square(audio, dtype=np.float64).mean(1))
    loudest = int(loudness.argmax())
    if np.sqrt(np.square(mono, dtype=np.float64).mean()) < SILENT * loudness[loudest]:
        warn(f"{source}: the channels cancel each other; only channel {loudest + 1} is used")
        return audio[loudest], sample_rate
    return mono, sample_rate


def write_frames(
    codec: Codec,
    frames: Iterable[Codes],
    target: Path | None,
    *,
    overwrite: bool,
    quiet: bool,
    n_frames: int | None = None,
    skip: int = 0,
    post: Wanted | None = None,
) -> float:
    """Decode frames [levels, n] as they come and write the audio; return its length in seconds.

    target: of `check_output`; standard output gets a WAV, every frame as soon as it is certain.
    n_frames: how many will come, for the bar on a terminal. skip: samples at the beginning that
    are not written. post: as for `Pipeline.decode_blocks`.
    """
    rate = codec.config.sample_rate
    samples = 0
    total = n_frames / codec.config.frame_rate if n_frames else None
    with contextlib.ExitStack() as stack:
        sink: AudioWriter | SampleSink
        if target is None:
            sink = SampleSink(sys.stdout.buffer, rate, 1, None, False)
        else:
            aside = stack.enter_context(replacing(target, overwrite=overwrite))
            suffix = target.suffix.lower()
            sink = stack.enter_context(AudioWriter(aside, rate, 1, 0, suffix))
        progress = stack.enter_context(Progress(total, shown=not quiet))
        for block in after(decoded(codec, frames, post), skip):
            sink.write(block)
            samples += block.shape[1]
            progress.advance(f"{samples / rate:.1f} s", block.shape[1] / rate)
    return samples / rate


def learning(progress: Progress) -> Callable[[int, int], None]:
    """Return a callback for `LanguageModel.adapted`; its bar appears when the model learns."""
    show = progress.follow()
    return lambda done, steps: show("learns from the recording", done, steps, 0.0)


def chosen_post(codec: Codec, *, postfilter: bool, enhance: bool | None) -> Wanted | None:
    """Return what is to follow the decoder; enhance: None if that is as usual.

    Raises click.UsageError if that is both, BackendError or ModelError if it cannot.
    """
    post = codec.pipeline.improvement(options.post_of(postfilter, enhance))
    return post.name if post else None


def decoded(codec: Codec, frames: Iterable[Codes], post: Wanted | None) -> Iterator[Audio]:
    """Yield the audio of frames [levels, n] as soon as it is certain: float32 [1, samples]."""
    decoder = codec.stream_decoder(postfilter=post == "postfilter", enhance=post == "enhancer")
    for codes in frames:
        audio = decoder.push(codes)
        if len(audio):
            yield audio[None]
    audio = decoder.flush()
    if len(audio):
        yield audio[None]
