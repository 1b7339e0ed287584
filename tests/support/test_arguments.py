"""Arguments of any library: numbers and arrays, and one clear line for everything else."""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import OptionError
from codec.support.arguments import as_array, as_bool, as_path, real, shown, whole


class Hostile:
    """Raises something else wherever it is asked for a value."""

    def __index__(self) -> int:
        raise RuntimeError("two\nlines")

    def __float__(self) -> float:
        raise KeyError("two\nlines")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise KeyError("two\nlines")

    def __repr__(self) -> str:
        raise RuntimeError("two\nlines")


NO_NUMBERS = [
    *(None, "3", b"3", True, np.True_, [3], {}, 3j, Hostile(), np.array([1, 2])),
    *(decimal.Decimal("sNaN"), int, object()),
]


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_are_themselves(value):
    assert whole(value, "n", OptionError) == value
    assert whole(np.int64(value), "n", OptionError) == value


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("convert", [whole, real])
def test_what_is_no_number_is_one_line(convert, value):
    with pytest.raises(OptionError, match=r"^n must be a") as raised:
        convert(value, "n", OptionError)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("value", [1 << 63, -(10**400), 10**5000, 1e99], ids=range(4))
def test_a_number_beyond_64_bits_is_out_of_range(value):
    with pytest.raises(OptionError, match=r"^n is out of range: .{1,80}$"):
        whole(value, "n", OptionError)


@pytest.mark.parametrize("value", [[[1.0, 2.0], [1.0]], Hostile(), [object(), [1]]])
def test_what_is_no_array_is_one_line(value):
    with pytest.raises(ValueError, match=r".") as raised:
        as_array(value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.filterwarnings("ignore:Sparse CSR")  # PyTorch calls it beta
def test_tensors_of_every_kind_are_arrays():
    torch = pytest.importorskip("torch")
    values = torch.tensor([1.0, -2.0])
    negated = torch.complex(values, -values).conj().imag
    assert negated.is_neg()
    for tensor in (values.requires_grad_(), values, negated):
        assert as_array(tensor).tolist() == [1.0, -2.0]
    with pytest.raises(ValueError, match=r"."):
        as_array(values.to("meta"))
    square = values.detach().reshape(1, 2)
    for sparse in (square.to_sparse(), square.to_sparse_csr(), square.bfloat16().to_sparse()):
        with pytest.raises(ValueError, match=r"^a sparse tensor \(torch\.sparse_\w+\): .*to_dense"):
            as_array(sparse)


def test_values_are_shown_on_one_short_line():
    for value in (np.zeros((9, 9)), "x\n" * 99, 10**5000, Hostile()):
        assert len(shown(value).splitlines()) == 1
        assert len(shown(value)) <= 60


@pytest.mark.parametrize("value", [True, False, 1, 0, np.True_, np.bool_(False), np.uint8(1)])
def test_truth_of_any_library(value):
    found = as_bool(value, "n", OptionError)
    assert type(found) is bool
    assert found == value


@pytest.mark.parametrize("value", [None, "x", 2, -1, 0.5, [], np.array([0, 0]), Hostile()])
def test_what_is_neither_true_nor_false(value):
    with pytest.raises(OptionError, match=r"^n must be True or False, not .{1,80}$"):
        as_bool(value, "n", OptionError)


def test_paths_are_text_that_a_file_can_be_named(tmp_path):
    for value in (tmp_path, str(tmp_path)):
        assert as_path(value, "n", OptionError) == tmp_path
    for wrong in (None, 5, b"a", "a\0b", "a\ud800", Path("a\0b"), Hostile()):
        with pytest.raises(OptionError, match=r"^n must be a path, not .{1,80}$"):
            as_path(wrong, "n", OptionError)
