"""csrc/library/safetensors.c reads what the safetensors package writes, and refuses damage."""

from __future__ import annotations

import ctypes
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from tests.helpers.c_library import GCC, load_parts

pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")

OK, MODEL = 0, 5
OTHER, I8, U8, I32, F16, BF16, F32, F64 = range(8)


class Reason(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char_p), ("size", ctypes.c_size_t))


class Memory(ctypes.Structure):
    _fields_ = (("last", ctypes.c_void_p),)


class Tensor(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("dtype_name", ctypes.c_char_p),
        ("dtype", ctypes.c_int),
        ("rank", ctypes.c_size_t),
        ("shape", ctypes.c_size_t * 8),
        ("count", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
    )


class File(ctypes.Structure):
    _fields_ = (
        ("nodes", ctypes.c_void_p),
        ("metadata", ctypes.c_size_t),
        ("tensors", ctypes.POINTER(Tensor)),
        ("count", ctypes.c_size_t),
    )


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("safetensors")
    library = load_parts(folder, "json", "memory", "safetensors", "status")
    library.nac_safetensors_find.restype = ctypes.POINTER(Tensor)
    library.nac_safetensors_open.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    library.nac_safetensors_open.argtypes += [ctypes.c_void_p, Reason]
    library.nac_tensor_floats.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    library.nac_tensor_floats.argtypes += [ctypes.c_void_p]
    return library


class Opened:
    """A file that the C reader opened; `status` and `reason` say how that went."""

    def __init__(self, parts: ctypes.CDLL, data: bytes) -> None:
        self.parts, self.file, self.memory = parts, File(), Memory()
        self.data = ctypes.create_string_buffer(data, len(data) or 1)
        text = ctypes.create_string_buffer(200)
        reason = Reason(ctypes.cast(text, ctypes.c_char_p), 200)
        self.status = parts.nac_safetensors_open(
            self.data, len(data), ctypes.byref(self.memory), ctypes.byref(self.file), reason
        )
        self.reason = text.value.decode()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.parts.nac_memory_free(ctypes.byref(self.memory))

    def tensor(self, name: str) -> Tensor | None:
        found = self.parts.nac_safetensors_find(ctypes.byref(self.file), name.encode())
        return found.contents if found else None

    def floats(self, name: str) -> tuple[bool, np.ndarray]:
        tensor = self.tensor(name)
        out = np.empty(tensor.count, np.float32)
        fine = self.parts.nac_tensor_floats(
            ctypes.byref(tensor), 0, tensor.count, out.ctypes.data_as(ctypes.c_void_p)
        )
        return bool(fine), out.reshape(tuple(tensor.shape[: tensor.rank]))


def every_half() -> np.ndarray:
    return np.arange(65536, dtype=np.uint16).view(np.float16)


def example_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "b.weight": rng.standard_normal((3, 5)).astype(np.float16),
        "a": np.arange(-4, 3, dtype=np.int8),
        "a.b": np.array([[-(2**31)], [2**31 - 1]], np.int32),
        "z": rng.standard_normal(4) * 1e30,
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 7), np.float32),
    }


def test_reads_what_the_package_writes(parts: ctypes.CDLL) -> None:
    tensors = example_tensors()
    with Opened(parts, save(tensors, metadata={"config": '{"a": 1}'})) as opened:
        assert opened.status == OK
        assert opened.file.count == len(tensors)
        kinds = {"b.weight": F16, "a": I8, "a.b": I32, "z": F64, "scalar": F32, "empty": F32}
        for name, expected in tensors.items():
            tensor = opened.tensor(name)
            assert tensor is not None
            assert tensor.dtype == kinds[name]
            assert tuple(tensor.shape[: tensor.rank]) == expected.shape
            assert ctypes.string_at(tensor.data, tensor.bytes) == expected.tobytes()
            if expected.dtype.kind == "f":
                fine, found = opened.floats(name)
                assert fine
                np.testing.assert_array_equal(found, expected.astype(np.float32))
        assert parts.nac_tensor_int32(ctypes.byref(opened.tensor("a.b")), 0) == -(2**31)
        for missing in ("", "A", "b", "b.weigh", "b.weight2", "zz"):
            assert opened.tensor(missing) is None


def test_every_half_and_short_float(parts: ctypes.CDLL) -> None:
    halves = every_half()
    header = {"h": {"dtype": "F16", "shape": [65536], "data_offsets": [0, 131072]}}
    header["b"] = {"dtype": "BF16", "shape": [65536], "data_offsets": [131072, 262144]}
    text = json.dumps(header).encode()
    bits = np.arange(65536, dtype=np.uint16)
    data = struct.pack("<Q", len(text)) + text + bits.tobytes() * 2
    expected = {"h": halves.astype(np.float32), "b": (bits.astype("u4") << 16).view(np.float32)}
    with Opened(parts, data) as opened:
        for name, values in expected.items():
            fine, found = opened.floats(name)
            assert not fine  # infinities are among them
            quiet = np.isnan(values)
            np.testing.assert_array_equal(np.isnan(found), quiet)
            np.testing.assert_array_equal(found[~quiet].view("u4"), values[~quiet].view("u4"))


def built(header: Any, values: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def tensor(dtype: str, shape: Any, offsets: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


GOOD = tensor("F32", [2], [0, 8])
DAMAGED = {
    "nothing": b"",
    "short": bytes(7),
    "header beyond the file": struct.pack("<Q", 100) + b"{}",
    "largest header": b"\xff" * 8 + b"{}",
    "no JSON": built(b"{"),
    "a list": built([1]),
    "a number": built({"a": 1}),
    "no shape": built({"a": {"dtype": "F32", "data_offsets": [0, 8]}}),
    "unknown type": built({"a": tensor("F31", [2], [0, 8])}),
    "negative extent": built({"a": tensor("F32", [-2], [0, 8])}),
    "fraction": built({"a": tensor("F32", [2.0], [0, 8])}),
    "nested shape": built({"a": tensor("F32", [[2]], [0, 8])}),
    "rank": built({"a": tensor("F32", [1] * 9, [0, 4])}, bytes(4)),
    "product overflows": built({"a": tensor("F32", [2**32, 2**32], [0, 8])}),
    "bytes overflow": built({"a": tensor("F64", [2**61], [0, 8])}),
    "offsets backwards": built({"a": tensor("F32", [2], [8, 0])}),
    "offsets beyond": built({"a": tensor("F32", [3], [0, 12])}),
    "offsets of another size": built({"a": tensor("F32", [1], [0, 8])}),
    "three offsets": built({"a": tensor("F32", [2], [0, 8, 8])}),
    "a gap": built({"a": tensor("F32", [1], [4, 8])}),
    "not filled": built({"a": tensor("F32", [1], [0, 4])}),
    "overlap": built({"a": GOOD, "b": GOOD}),
    "metadata": built({"a": GOOD, "__metadata__": {"x": 1}}),
    "metadata list": built({"a": GOOD, "__metadata__": ["x"]}),
    "twice": built(
        b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
        b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_refuses_damage(parts: ctypes.CDLL, name: str) -> None:
    with Opened(parts, DAMAGED[name]) as opened:
        assert opened.status == MODEL
        assert opened.reason
        assert "\n" not in opened.reason


def test_the_cases_would_be_fine_without_their_damage(parts: ctypes.CDLL) -> None:
    with Opened(parts, built({"a": GOOD, "__metadata__": {"x": "1"}})) as opened:
        assert opened.status == OK


@given(st.data())
def test_a_changed_byte_is_refused_or_harmless(parts: ctypes.CDLL, data: st.DataObject) -> None:
    """Whatever the C reader accepts, the package reads alike."""
    whole = bytearray(save({"a": np.arange(3, dtype=np.float32), "b": np.ones((2, 2), np.int8)}))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255) | st.sampled_from(b'0129"{}[],:'))
    size = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    with Opened(parts, bytes(whole[:size])) as opened:
        if opened.status != OK:
            assert opened.status == MODEL
            assert opened.reason
            return
        for i in range(opened.file.count):
            found = opened.file.tensors[i]
            start = ctypes.addressof(opened.data)
            assert start <= found.data
            assert found.data + found.bytes <= start + size
        if all(opened.file.tensors[i].dtype != OTHER for i in range(opened.file.count)):
            try:
                expected = load(bytes(whole[:size]))
            except Exception:  # types that NumPy does not have
                return
            for name, values in expected.items():
                tensor = opened.tensor(name)
                if tensor is not None:  # names with escapes are refused
                    assert ctypes.string_at(tensor.data, tensor.bytes) == values.tobytes()
