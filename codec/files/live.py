"""Coding between pipes: every chunk goes out as soon as its audio is in, and the other way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from codec import audio as audio_
from codec.api import Codec
from codec.engine.native import NativeBackend
from codec.engine.stream import StreamDecoder, StreamEncoder
from codec.errors import AudioError
from codec.nac.reader import Reader

Codes = npt.NDArray[np.uint16]


def engine_of(codec: Codec) -> NativeBackend | None:
    """The native engine, which alone codes audio while it arrives, if it is what runs."""
    return codec.backend if isinstance(codec.backend, NativeBackend) else None


def encode_live(
    engine: NativeBackend, blocks: Iterable[audio_.Audio], sample_rate: int, n_codebooks: int
) -> Iterator[Codes]:
    """Codes uint16 [channels, n_codebooks, frames] as soon as they are certain.

    blocks: float32 [channels, samples], as they arrive. Joined, the codes are those of
    `Codec.encode`. Raises AudioError if there is no audio.
    """
    encoders: list[StreamEncoder] = []
    for block in audio_.resample_blocks(blocks, sample_rate, engine.config.sample_rate):
        encoders = encoders or [StreamEncoder(engine, n_codebooks) for _ in block]
        codes = [encoder.push(channel) for encoder, channel in zip(encoders, block, strict=True)]
        if codes[0].shape[1]:
            yield np.stack(codes)
    if not encoders:
        raise AudioError("no audio: 0 samples")
    codes = [encoder.flush() for encoder in encoders]
    if codes[0].shape[1]:
        yield np.stack(codes)


def decode_live(engine: NativeBackend, reader: Reader) -> Iterator[audio_.Audio]:
    """Audio float32 [channels, samples] at the file's rate, as soon as it is certain.

    Joined, it is that of `Codec.decode_blocks`. Raises FormatError where the file turns out to be
    damaged, after what was before.
    """
    rate, own = reader.header.sample_rate, engine.config.sample_rate
    known, blocks = reader.n_samples, _decoded(engine, reader)
    # Asked after the last block, when the whole file has been read.
    length = (lambda: reader.finish().length) if known is None else known
    return audio_.resample_blocks(blocks, own, rate, length)


def _decoded(engine: NativeBackend, reader: Reader) -> Iterator[audio_.Audio]:
    """Samples at the model's rate, at least as many as are known to be of the audio.

    Until the length is known, the last frame is kept back: the audio may end anywhere in it.
    """
    hop, rate = engine.config.hop_length, reader.header.sample_rate
    decoders = [StreamDecoder(engine) for _ in range(reader.header.channels)]
    given = 0
    held = np.zeros((len(decoders), 0), np.float32)

    def cut(audio: audio_.Audio) -> audio_.Audio:
        nonlocal held, given
        held = np.concatenate([held, audio], axis=1)
        if reader.n_samples is None:
            length = (reader.n_frames - 1) * hop
        else:
            length = audio_.resampled_length(reader.n_samples, rate, engine.config.sample_rate)
        block, held = held[:, : length - given], held[:, max(0, length - given) :]
        given += block.shape[1]
        return block

    for codes in reader:
        audio = [decoder.push(own) for decoder, own in zip(decoders, codes, strict=True)]
        if (block := cut(np.stack(audio))).shape[1]:
            yield block
    yield cut(np.stack([decoder.flush() for decoder in decoders]))
