"""The same audio cut into frames at several places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec.api import Codec
from codec.audio.arrays import as_channels, check_sample_rate, in_blocks, native_array
from codec.audio.resample import resample
from codec.errors import AudioError, OptionError
from codec.support.arguments import whole
from codec.support.types import Codes
from codec.support.workers import Workers

CUTS = 4  # in the length of a frame


def cuts_of(
    codec: Codec, audio: npt.ArrayLike, sample_rate: int, levels: int, frames: int | None = None
) -> Codes:
    """Return codes of `audio` from its start and from quarters of a frame later.

    audio: floats or int16, [samples] or [channels, samples], of which the first channel
        is cut. sample_rate: of it, in Hz. levels: codebooks.
    frames: 1 or more; only the last so many are cut, and what lies before is not checked.

    The result is uint16 [4, levels, frames], of as many frames as the shortest cut has: three
    quarters of a frame at the end can be missing. Raises AudioError, BitrateError or OptionError.
    """
    given = whole(sample_rate, "the sample rate", AudioError)
    check_sample_rate(given)
    levels = codec.pipeline.n_codebooks(levels, None)
    rate, hop = codec.config.sample_rate, codec.config.hop_length
    channels = native_array(audio)
    if channels.ndim not in (1, 2) or not len(channels):
        raise AudioError(
            f"audio must be [samples] or [channels, samples], not {list(channels.shape)}"
        )
    samples = channels if channels.ndim == 1 else channels[0]
    if frames is not None:
        frames = whole(frames, "frames", OptionError)
        if frames < 1:
            raise OptionError(f"{frames} frames cannot be cut")
        samples = samples[max(0, len(samples) - (frames + 1) * hop * given // rate) :]
    samples = resample(as_channels(samples)[0], given, rate)
    starts = [k * hop // CUTS for k in range(CUTS)]
    kept = (len(samples) - starts[-1]) // hop
    if kept <= 0:
        return np.zeros((CUTS, levels, 0), np.uint16)
    found = []
    with Workers(1) as workers:
        for start in starts:
            blocks = in_blocks(samples[None, start:])
            codes = list(codec.pipeline.encode_blocks(blocks, rate, levels, workers))
            found.append(np.concatenate(codes, axis=2)[0, :, :kept])
    return np.stack(found)[:, :, -(frames or kept) :]
