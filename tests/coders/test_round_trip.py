"""Codes through a file, exact: lengths to three seconds, up to eight channels, all bitrates."""

from __future__ import annotations

import io

import numpy as np
import pytest

from codec.nac.reader import Reader
from codec.tokens import Tokens, read_tokens, write_tokens
from tests.helpers.entropy_models import (
    LEVELS,
    MODEL_ID,
    WORDS,
    random_codes,
    small_codebooks,
    small_data,
)

# The lengths of a chunk, a frame, a sample and what is beside them, and odd steps between.
EDGES = (1, 2, 479, 480, 481, 48_000, 48_001, 71_999, 72_000)
STEPS = range(1448, 72_000, 1447)


def lengths(channels: int) -> list[int]:
    """Every edge, and every third step: three numbers of channels in a row have them all."""
    return sorted({*EDGES, *STEPS[channels % 3 :: 3]})


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("quality", [None, 5.0])
def test_every_length_channel_and_bitrate(small, channels, quality):
    rng = np.random.default_rng(channels)
    audio = np.repeat(rng.uniform(-1, 1, (channels, 150)).astype(np.float32), 480, axis=1)
    most = small.config.n_codebooks
    for number, length in enumerate(lengths(channels)):
        # Lengths and bitrates meet in turn, others for each number of channels.
        count = 1 + (number + channels) % most
        tokens = small.encode(audio[:, :length], 24_000, n_codebooks=count)
        data = small.compress(audio[:, :length], 24_000, n_codebooks=None if quality else count,
                              quality=quality)  # fmt: skip
        reader = Reader(io.BytesIO(data), small.pipeline.coder_of)
        chunks = list(reader)
        every = tokens.codes if not quality else small.encode(audio[:, :length], 24_000).codes
        frame = 0
        for codes in chunks:
            kept = every[:, : codes.shape[1], frame : frame + codes.shape[2]]
            assert np.array_equal(codes, kept)
            frame += codes.shape[2]
        assert frame == every.shape[2]
        assert reader.n_samples == length
        assert small.decompress(data)[0].shape == (channels, length)


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("kind", ["tables", "prior"])
def test_every_length_channel_and_bitrate_by_both_coders_on_any_processor(channels, kind):
    pytest.importorskip("codec.coders._entropy", reason="the native extension was not built")
    from codec.coders import _entropy, entropy

    def coder(isa):
        if kind == "tables":
            return entropy.TablesCoder(small_data(), isa)
        return entropy.PriorCoder(small_data(), small_codebooks(), isa)

    coders = [coder(isa) for isa in _entropy.isas()]
    for number, length in enumerate(lengths(channels)):
        count = 1 + (number + channels) % LEVELS
        codes = random_codes(channels, count, -(-length // 480), seed=number)
        tokens = Tokens(codes, 50.0, length, 24_000, WORDS, MODEL_ID)
        file = io.BytesIO()
        write_tokens(file, tokens, coders[number % len(coders)])
        for other in coders:
            read = read_tokens(io.BytesIO(file.getvalue()), lambda header, other=other: other)
            assert np.array_equal(read.codes, codes)
            assert read.n_samples == length
