"""Single layers of the CUDA engine, run on the CPU, against the scalar kernels: equal bits."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

engine = pytest.importorskip("codec.engine._engine")

PLAIN, GELU, ADD = 0, 1, 2


@pytest.fixture(scope="module")
def lib(cuda_stand_in: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(cuda_stand_in))


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def same_bits(left: np.ndarray, right: np.ndarray) -> None:
    np.testing.assert_array_equal(left.view(np.uint32), right.view(np.uint32))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 140),
    depth=st.integers(1, 70),
    columns=st.integers(1, 150),
    kind=st.sampled_from([PLAIN, GELU, ADD]),
    multiprocessors=st.sampled_from([0, 2, 1 << 20]),
    seed=st.integers(0, 1000),
)
def test_dense(lib, rows, depth, columns, kind, multiprocessors, seed) -> None:
    """With every tile; zeros of either sign among the inputs, which a padded sum would lose."""
    rng = np.random.default_rng(seed)
    x, weight = (
        (rng.integers(-1, 2, shape) * rng.random(shape)).astype(np.float32)
        for shape in ((rows, depth), (columns, depth))
    )
    bias = np.where(rng.random(columns) < 0.5, np.float32(-0.0), rng.random(columns))
    bias = bias.astype(np.float32)
    before = rng.standard_normal((rows, columns), np.float32)
    dense = engine.Dense(weight, bias)
    expected = np.ascontiguousarray(dense(x, "scalar", before if kind == ADD else None))
    if kind == GELU:
        expected = engine.elementwise("gelu", expected.reshape(-1)).reshape(rows, columns)

    stride, padded = -(-depth // 4) * 4, -(-columns // 128) * 128
    held = np.full((rows, stride), np.nan, np.float32)
    held[:, :depth] = x
    packed = np.zeros((depth, padded), np.float32)
    packed[:, :columns] = weight.T
    y = before.copy()
    biases = np.pad(bias, (0, padded - columns))
    code = lib.layers_dense(
        *(pointer(packed), pointer(biases), depth, padded, kind, pointer(held)),
        *(ctypes.c_size_t(stride), rows, pointer(y), columns, columns, multiprocessors),
    )
    assert code == 0
    same_bits(y, expected)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 40),
    dim=st.integers(1, 70),
    taps=st.integers(2, 7),
    ahead=st.integers(0, 1),
    seed=st.integers(0, 1000),
)
def test_convolution_and_norm(lib, rows, dim, taps, ahead, seed) -> None:
    rng = np.random.default_rng(seed)
    width = -(-dim // 16) * 16
    weight, bias, gain, shift, x = (
        np.pad(rng.standard_normal((n, dim), np.float32), ((0, 0), (0, width - dim)))
        for n in (taps, 1, 1, 1, rows)
    )
    past = taps - 1 - ahead
    around = np.pad(x, ((past, ahead), (0, 0)))
    expected, found = np.empty((2, rows, width), np.float32)
    parts = [pointer(part) for part in (weight, bias, gain, shift)]
    size = ctypes.c_size_t
    lib.scalar_conv_norm.restype = None
    lib.scalar_conv_norm(
        *(size(dim), size(width), size(taps), *parts, pointer(around), size(rows)),
        pointer(expected),
    )
    code = lib.layers_conv_norm(
        *(dim, width, taps, ahead, *parts, pointer(x), rows, pointer(found))
    )
    assert code == 0
    same_bits(found, expected)
