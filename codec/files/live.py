"""Coding between pipes: every chunk goes out as soon as its audio is in, and the other way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from codec.audio.arrays import Audio
from codec.audio.resample import resample_blocks, resampled_length
from codec.engine.backend import StreamingBackend
from codec.engine.pairs import paired, unpaired
from codec.engine.post import Post
from codec.engine.stream import StreamDecoder, StreamEncoder
from codec.errors import AudioError
from codec.nac.reader import Reader
from codec.support.types import Codes


def encode_live(
    backend: StreamingBackend,
    blocks: Iterable[Audio],
    sample_rate: int,
    n_codebooks: int,
    beam: int = 1,
) -> Iterator[Codes]:
    """Encode to codes uint16 [streams, n_codebooks, frames] as soon as they are certain.

    blocks: float32 [channels, samples], as they arrive. Joined, the codes are those of
    `Codec.encode`. Raises AudioError if there is no audio.
    """
    encoders: list[StreamEncoder] = []
    resampled = resample_blocks(blocks, sample_rate, backend.config.sample_rate)
    for block in paired(resampled, backend.config.channels):
        encoders = encoders or [StreamEncoder(backend, n_codebooks, beam) for _ in block]
        codes = [
            encoder.push_resampled(each) for encoder, each in zip(encoders, block, strict=True)
        ]
        if codes[0].shape[1]:
            yield np.stack(codes)
    if not encoders:
        raise AudioError("no audio: 0 samples")
    codes = [encoder.flush() for encoder in encoders]
    if codes[0].shape[1]:
        yield np.stack(codes)


def decode_live(
    backend: StreamingBackend, reader: Reader, *, post: Post | None = None
) -> Iterator[Audio]:
    """Decode to audio float32 [channels, samples] at the file's rate, as soon as it is certain.

    Joined, it is that of `Pipeline.decode_blocks`. Raises FormatError where the file turns out to
    be damaged, after what was before.
    """
    rate, own = reader.header.sample_rate, backend.config.sample_rate
    decoders = [StreamDecoder(backend, post) for _ in range(reader.header.streams)]
    known, blocks = reader.n_samples, _decoded(backend, reader, decoders)
    # Asked after the last block, when the whole file has been read.
    length = (lambda: reader.finish().length) if known is None else known
    return resample_blocks(blocks, own, rate, length)


def _decoded(
    backend: StreamingBackend, reader: Reader, decoders: list[StreamDecoder]
) -> Iterator[Audio]:
    """Give samples at the model's rate, all that are known to belong to the audio.

    Until the length is known, the last frame is kept back: the audio may end anywhere in it.
    """
    header = reader.header
    hop, rate = backend.config.hop_length, header.sample_rate
    given = 0
    held = np.zeros((header.channels, 0), np.float32)

    def joined(audio: list[Audio]) -> Audio:
        return next(unpaired([np.stack(audio)], header.channels, header.together))

    def cut(audio: Audio) -> Audio:
        nonlocal held, given
        held = np.concatenate([held, audio], axis=1)
        if reader.n_samples is None:
            length = (reader.n_frames - 1) * hop
        else:
            length = resampled_length(reader.n_samples, rate, backend.config.sample_rate)
        block, held = held[:, : length - given], held[:, max(0, length - given) :]
        given += block.shape[1]
        return block

    for codes in reader:
        audio = [decoder.push(own) for decoder, own in zip(decoders, codes, strict=True)]
        if (block := cut(joined(audio))).shape[1]:
            yield block
    yield cut(joined([decoder.flush() for decoder in decoders]))
