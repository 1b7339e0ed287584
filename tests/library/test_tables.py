"""csrc/library/tables.c gives the bits of its definition in Python, for all sizes."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterable
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import ModelError
from codec.kernels.mel_tables import factors
from codec.model.limits import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from tests.helpers import engine_tables as tables
from tests.helpers.c_library import GCC, load_parts

pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")

RATES = (
    8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000,
    176_400, 192_000, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE, 1400 * 3, 1400 * 15,
)  # fmt: skip


class Reason(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char_p), ("size", ctypes.c_size_t))


class Plan(ctypes.Structure):
    _fields_ = (
        ("n", ctypes.c_size_t),
        ("n_steps", ctypes.c_size_t),
        ("radices", ctypes.POINTER(ctypes.c_int32)),
        ("twiddles", ctypes.POINTER(ctypes.c_float)),
        ("unpack", ctypes.POINTER(ctypes.c_float)),
    )


class Wide(ctypes.Structure):
    _fields_ = (("limb", ctypes.c_uint32 * 9),)

    @staticmethod
    def of(value: int) -> Wide:
        """The number value * 2^-256."""
        return Wide((ctypes.c_uint32 * 9)(*(value >> 32 * i & 0xFFFFFFFF for i in range(9))))

    @property
    def value(self) -> int:
        return sum(limb << 32 * i for i, limb in enumerate(self.limb))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = load_parts(tmp_path_factory.mktemp("tables"), "memory", "status", "tables", "wide")
    for name in ("log", "exp", "product", "subtract"):
        getattr(library, f"nac_wide_{name}").restype = Wide
    library.nac_wide_double.restype = ctypes.c_double
    return library


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def made(parts: ctypes.CDLL, name: str, n: int, *values: int) -> np.ndarray:
    """A window [n] that a function of C fills."""
    out = np.empty(n, np.float32)
    getattr(parts, name)(*map(ctypes.c_size_t, (n, *values)), pointer(out))
    return out


def edges(parts: ctypes.CDLL, n: int, rate: int) -> np.ndarray:
    out = np.empty(n)
    parts.nac_band_edges(ctypes.c_size_t(n), ctypes.c_size_t(rate), pointer(out))
    return out


def check_fft(parts: ctypes.CDLL, n: int) -> None:
    memory, plan = ctypes.c_void_p(), Plan()
    text = ctypes.create_string_buffer(200)
    reason = Reason(ctypes.cast(text, ctypes.c_char_p), 200)
    status = parts.nac_fft_tables(
        ctypes.c_size_t(n), ctypes.byref(memory), ctypes.byref(plan), reason
    )
    try:
        expected = tables.fft_tables(n)
    except ModelError as error:
        message = str(error)
    else:
        message = ""
    assert text.value.decode() == message
    assert status == (5 if message else 0)
    if message:
        return
    assert plan.n == n
    assert plan.radices[: plan.n_steps] == expected.radices.tolist()
    for name in ("twiddles", "unpack"):
        values = getattr(expected, name)
        found = np.ctypeslib.as_array(getattr(plan, name), values.shape)
        np.testing.assert_array_equal(found.view("u4"), values.view("u4"))
    parts.nac_memory_free(ctypes.byref(memory))


SMALL = [n for n in range(700) if n < 60 or (n % 2 == 0 and factors(n // 2))]


def check_windows(parts: ctypes.CDLL, n: int) -> None:
    np.testing.assert_array_equal(made(parts, "nac_hann", n), tables.hann(n))
    for hop in {1, n // 2, n // 3 + 1, n}:
        np.testing.assert_array_equal(
            made(parts, "nac_synthesis_window", n, hop), tables.synthesis_window(n, hop)
        )


def test_transforms_and_windows(parts: ctypes.CDLL) -> None:
    for n in [*SMALL, 960, 1200, 65536, 65538, 2**40]:
        check_fft(parts, n)
    for n in [*SMALL[4:], 960, 1200, 4096]:
        check_windows(parts, n)


@pytest.mark.slow
def test_all_transforms_and_windows(parts: ctypes.CDLL) -> None:
    sizes = [n for n in range(4, 65537, 2) if factors(n // 2)]
    assert len(sizes) > 200
    for n in sizes:
        check_fft(parts, n)
        if n <= 8192:
            check_windows(parts, n)


def check_bands(parts: ctypes.CDLL, n: int, rate: int) -> None:
    found = edges(parts, n, rate)
    assert found[0] == 0
    assert found[-1] == rate / 2
    np.testing.assert_array_equal(found, tables.band_edges(n, rate))


def test_band_edges(parts: ctypes.CDLL) -> None:
    for n, rate in itertools.product((2, 3, 7, 32, 64), RATES):
        check_bands(parts, n, rate)


@given(st.integers(2, 100), st.integers(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE))
def test_any_band_edges(parts: ctypes.CDLL, n: int, rate: int) -> None:
    check_bands(parts, n, rate)


@pytest.mark.slow
def test_all_plausible_band_edges(parts: ctypes.CDLL) -> None:
    """Up to 128 bands at the usual rates, and 32 at 3,000 rates: half a million edges."""
    for n, rate in itertools.product(range(2, 129), RATES):
        check_bands(parts, n, rate)
    for rate in range(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE, 251):
        check_bands(parts, 32, rate)


def weights(parts: ctypes.CDLL, n: int, n_fft: int, rate: int) -> tuple[np.ndarray, ...]:
    bins = n_fft // 2 + 1
    band, lower, upper = (np.empty(bins, dtype) for dtype in ("i4", "f4", "f4"))
    held = edges(parts, n, rate)
    sizes = map(ctypes.c_size_t, (n, n_fft, rate))
    assert parts.nac_band_weights(pointer(held), *sizes, *map(pointer, (band, lower, upper)))
    return band, lower, upper


def test_band_weights(parts: ctypes.CDLL) -> None:
    for n, n_fft, rate in itertools.product((2, 7, 32, 97), (192, 480, 960, 2048), RATES):
        found = weights(parts, n, n_fft, rate)
        for one, other in zip(found, tables.band_weights(n, n_fft, rate), strict=True):
            np.testing.assert_array_equal(one, other)


def test_bands_that_coincide_are_refused(parts: ctypes.CDLL) -> None:
    held = np.array([0.0, 1.0, 1.0])
    out = [np.empty(100, np.float32) for _ in range(3)]
    sizes = map(ctypes.c_size_t, (3, 16, 8000))
    assert not parts.nac_band_weights(pointer(held), *sizes, *map(pointer, out))


def decimals(values: Iterable[int], function: str) -> list[int]:
    """ln or exp of numbers value * 2^-256, rounded down to 2^-256, by 120 digits."""
    with localcontext() as context:
        context.prec = 120
        one = Decimal(2) ** 256
        return [int(getattr(Decimal(value) / one, function)() * one) for value in values]


@given(st.integers(1400, 2**20), st.integers(0, 8 * 2**256 - 1))
def test_errors_are_within_their_bounds(parts: ctypes.CDLL, rate: int, x: int) -> None:
    with localcontext() as context:
        context.prec = 120
        expected = int((Decimal(rate) / 1400).ln() * Decimal(2) ** 256)
    found = parts.nac_wide_log(ctypes.c_uint32(rate), ctypes.c_uint32(1400)).value
    assert abs(found - expected) < 2 ** (256 - 240)
    (expected,) = decimals([x], "exp")
    assert abs(parts.nac_wide_exp(Wide.of(x)).value - expected) < 2 ** (256 - 230)


@given(st.integers(0, 2**288 - 1) | st.integers(0, 2**60).map(lambda low: (1 << 200) + low))
def test_doubles_are_the_nearest(parts: ctypes.CDLL, x: int) -> None:
    assert parts.nac_wide_double(Wide.of(x)) == x / 2**256  # which Python rounds correctly


def test_doubles_on_a_tie_are_even(parts: ctypes.CDLL) -> None:
    for head in (2**53 + 1, 2**53 + 3, 2**54 - 1):
        for low in (-1, 0, 1):
            x = (head << 100) + low
            assert parts.nac_wide_double(Wide.of(x)) == x / 2**256
