"""Packed codebooks: exact once packed, and close to what they were."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from codec.model import codebooks
from codec.model.catalogue import release_named

DEFAULT = release_named("default").weights


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_within_half_a_step(seed, size):
    original = (np.random.default_rng(seed).standard_normal((3, 7, 16)) * size).astype(np.float32)
    values, scales = codebooks.pack(original)
    step = scales[..., None].astype(np.float64)
    error = np.abs(codebooks.unpack(values, scales).astype(np.float64) - original)
    # the quotient is rounded to float32 before it is rounded to an integer
    assert np.all(error <= step * (0.5 + 128 * 2**-24))


@given(st.integers(0, 2**32 - 1), st.floats(1e-1, 1e3))
def test_what_was_packed_is_packed_as_it_was(seed, size):
    original = (np.random.default_rng(seed).standard_normal((3, 7, 16)) * size).astype(np.float32)
    packed = codebooks.pack(original)
    for one, other in zip(packed, codebooks.pack(codebooks.unpack(*packed)), strict=True):
        assert np.array_equal(one, other)


def test_the_shipped_codebooks_are_packed_as_they_were():
    """A decoder that is trained further must keep the id of the tokens."""
    weights = load_file(DEFAULT)
    packed = weights["quantiser.codewords"], weights["quantiser.scales"]
    for one, other in zip(packed, codebooks.pack(codebooks.unpack(*packed)), strict=True):
        assert np.array_equal(one, other)


@given(st.integers(0, 2**32 - 1))
def test_the_product_is_exact(seed):
    random = np.random.default_rng(seed)
    values = random.integers(-127, 128, (50, 4), dtype=np.int8)
    scales = random.uniform(1e-6, 100, 50).astype(np.float16)
    exact = values.astype(np.float64) * scales[:, None].astype(np.float64)
    assert np.array_equal(codebooks.unpack(values, scales), exact)


def test_a_codeword_of_zeros_stays():
    values, scales = codebooks.pack(np.zeros((1, 2, 5), np.float32))
    assert scales.min() > 0
    assert not codebooks.unpack(values, scales).any()
