"""Tokens of any shape, and the files that hold them."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from codec.model.limits import frames_for
from codec.tokens import Tokens, write_tokens


def make(
    channels: int = 2,
    n_codebooks: int = 3,
    codebook_size: int = 1024,
    n_samples: int = 3000,
    sample_rate: int = 24_000,
    frame_rate: float = 50.0,
    seed: int = 0,
) -> Tokens:
    """Draw tokens of such a model."""
    frames = frames_for(n_samples, sample_rate, Fraction(frame_rate).limit_denominator(1 << 16))
    shape = (channels, n_codebooks, frames)
    codes = np.random.default_rng(seed).integers(0, codebook_size, shape, np.uint16)
    return Tokens(codes, frame_rate, n_samples, sample_rate, codebook_size, b"\x00\x01modelZ")


ANY_TOKENS = st.builds(
    make,
    channels=st.integers(1, 9),
    n_codebooks=st.integers(1, 9),
    codebook_size=st.integers(2, 1 << 16),
    n_samples=st.integers(1, 200_000),
    sample_rate=st.sampled_from([8000, 24_000, 44_100, 768_000]),
    frame_rate=st.sampled_from([25.0, 50.0, 12.5, 24_000 / 320, 1 / 3]),
)


def written(tokens: Tokens, **kind: Any) -> bytes:
    """Return the file of `write_tokens`."""
    file = io.BytesIO()
    write_tokens(file, tokens, **kind)
    return file.getvalue()
