"""The range coder: exact both ways, no longer than it must be, at peace with any bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

native = pytest.importorskip("codec.coders._entropy", reason="the native extension was not built")


@st.composite
def messages(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Weights uint32 [n, K] and symbols [n], likely ones and unlikely ones."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, size = draw(st.integers(0, 300)), draw(st.sampled_from([1, 2, 3, 37, 1024, 4096]))
    n = min(n, 100_000 // size)
    sharpness = draw(st.sampled_from([0.0, 1.0, 5.0, 40.0]))
    scores = sharpness * random.standard_normal((n, size))
    if n:
        scores -= scores.max(axis=1, keepdims=True)
    weights = (np.exp(scores) * 2**19).astype(np.uint32)
    likely = draw(st.booleans())
    symbols = weights.argmax(axis=1) if likely and n else random.integers(0, size, n)
    return weights, symbols.astype(np.uint16)


@given(messages())
def test_what_is_encoded_is_decoded(message: tuple[np.ndarray, np.ndarray]):
    weights, symbols = message
    payload = native.range_encode(weights, symbols)
    decoded, exact = native.range_decode(weights, payload)
    assert np.array_equal(decoded, symbols)
    assert exact
    assert not payload.endswith(b"\0")


def ideal_bits(weights: np.ndarray, symbols: np.ndarray) -> float:
    """The code length of the frequencies, by the formula that range_coder.h states."""
    size = weights.shape[1]
    sums = np.concatenate([np.zeros((len(weights), 1), np.uint64), np.cumsum(weights, 1)], axis=1)
    starts = np.arange(size + 1) + sums * (2**16 - size) // sums[:, -1:]
    frequency = np.diff(starts.astype(np.int64))[np.arange(len(symbols)), symbols]
    return float((16 - np.log2(frequency)).sum())


@given(messages())
def test_no_longer_than_the_frequencies_say(message: tuple[np.ndarray, np.ndarray]):
    weights, symbols = message
    bits = 8 * len(native.range_encode(weights, symbols))
    # what unit drops is below 2^-8 of it, and the end is a whole byte after a whole byte
    assert bits <= ideal_bits(weights, symbols) - len(symbols) * np.log2(1 - 2**-8) + 16


@given(messages(), st.binary(max_size=400))
@example((np.ones((300, 4096), np.uint32)[:24], np.zeros(24, np.uint16)), b"\xff" * 400)
@example((np.ones((24, 1), np.uint32), np.zeros(24, np.uint16)), b"")
def test_any_bytes_decode_to_symbols(message: tuple[np.ndarray, np.ndarray], payload: bytes):
    weights, _ = message
    symbols, exact = native.range_decode(weights, payload)
    assert (symbols < weights.shape[1]).all()
    # there is one payload for a message: what passes for exact is what the encoder writes
    assert exact == (native.range_encode(weights, symbols) == payload)


@given(messages(), st.integers(0, 2**32 - 1))
def test_a_changed_payload_is_not_taken_for_the_same(
    message: tuple[np.ndarray, np.ndarray], seed: int
):
    weights, symbols = message
    payload = bytearray(native.range_encode(weights, symbols))
    random = np.random.default_rng(seed)
    payload.insert(random.integers(0, len(payload) + 1), random.integers(1, 256))
    decoded, exact = native.range_decode(weights, bytes(payload))
    assert not (exact and np.array_equal(decoded, symbols))


def test_carries_run_through_many_bytes():
    # just below a boundary for many symbols, then over it
    weights = np.tile(np.array([[2**15, 1, 2**15 - 1]], np.uint32), (400, 1))
    for tail in range(3):
        symbols = np.array([1] * 300 + [tail] * 100, np.uint16)
        payload = native.range_encode(weights, symbols)
        decoded, exact = native.range_decode(weights, payload)
        assert exact
        assert np.array_equal(decoded, symbols)
