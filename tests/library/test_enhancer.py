"""libcodec's enhancer: the samples of Python for any size of a push, and what is refused."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from bench.random_weights import SMALL, STEREO, write_weights
from codec.model.enhancer_config import EnhancerConfig
from tests.helpers.c_library import binding
from tests.helpers.enhancers import TINY, enhancer_file, tensors, write_enhancer
from tests.helpers.postfiltered import voice

_engine = pytest.importorskip("codec.engine._engine", reason="needs the native engine")

ARGUMENT, SIZE, IO, MODEL, UNSUPPORTED, AUDIO, STATE = 1, 2, 4, 5, 6, 7, 9
CONFIG = dataclasses.replace(TINY, fft=480, hop=120, wide=241, narrow=100)
SPAN = 512 * CONFIG.hop
MOST = 2**64 - 1


class Case:
    """A model, an enhancer of it in C and in Python, and what Python makes of audio."""

    def __init__(self, libcodec: ctypes.CDLL, path: Path) -> None:
        self.model = binding().Model(libcodec, write_weights(path, SMALL))
        self.id = bytes(self.model.info.id)
        self.data = enhancer_file(CONFIG, self.id)
        self.enhancer = binding().Enhancer(self.model, self.data)
        self.python = _engine.Enhancer(self.data)
        before, after = self.python.reach
        self.before, self.after = before * CONFIG.hop, after * CONFIG.hop
        self.audio = voice(3 * SPAN, 0.1)

    def expected(self, n: int) -> np.ndarray[Any, Any]:
        """Of the first n samples."""
        hops = -(-n // CONFIG.hop)
        return self.python(self.audio[:n], 0, hops) if n else np.empty(0, np.float32)


@pytest.fixture(scope="module")
def case(libcodec: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(libcodec, tmp_path_factory.mktemp("enhanced") / "m.safetensors")


def failure(call: Callable[..., object], *arguments: object, match: str | None = None) -> int:
    with pytest.raises(binding().LibraryError, match=match) as caught:
        call(*arguments)
    return int(caught.value.status)


def same(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(found.view("u4"), expected.view("u4"))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3 * SPAN), st.lists(st.integers(0, 3 * SPAN), max_size=6))
@example(3 * SPAN, [SPAN, SPAN, 2 * SPAN])
def test_however_it_is_cut(case: Case, n: int, cuts: list[int]) -> None:
    stream, audio = binding().EnhancerStream(case.enhancer), case.audio[:n]
    library, handle = stream.library, stream.handle
    said, found = [], []
    for piece in np.split(audio, sorted(cut % (n + 1) for cut in cuts)):
        said.append(library.codec_enhancer_stream_ready(handle, len(piece)))
        found.append(stream.push(piece))
    said.append(library.codec_enhancer_stream_left(handle))
    found.append(stream.flush())
    assert [len(part) for part in found] == said
    assert max(said) > 0
    same(np.concatenate(found), case.expected(n))
    assert np.abs(np.concatenate(found) - audio).max() > 1e-4


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("hops", [0, 1, 2, 700])
def test_a_hop_comes_as_soon_as_it_is_certain(case: Case, hops: int, beyond: int) -> None:
    n = hops * CONFIG.hop + case.after + beyond
    stream = binding().EnhancerStream(case.enhancer)
    found = stream.push(case.audio[:n])
    assert len(found) == max(0, hops - (beyond < 0)) * CONFIG.hop
    same(np.concatenate([found, stream.flush()]), case.expected(n))


@pytest.mark.parametrize("n", [0, 1, CONFIG.hop - 1, CONFIG.hop, CONFIG.hop + 1])
def test_short_audio(case: Case, n: int) -> None:
    same(case.enhancer.enhance(case.audio[:n]), case.expected(n))


def test_a_reset_begins_anew(case: Case) -> None:
    stream = binding().EnhancerStream(case.enhancer)
    stream.push(case.audio[: SPAN + 9999])
    for _ in range(2):
        stream.reset()
        parts = [stream.push(case.audio[:7000]), stream.flush()]
        same(np.concatenate(parts), case.expected(7000))
        assert stream.library.codec_enhancer_stream_ready(stream.handle, 2 * SPAN) == 0
        assert stream.library.codec_enhancer_stream_left(stream.handle) == 0
        assert failure(stream.push, case.audio[:0]) == STATE
        assert failure(stream.flush) == STATE


def test_threads_share_an_enhancer(case: Case) -> None:
    found: list[np.ndarray[Any, Any]] = []
    work = [
        threading.Thread(target=lambda: found.append(case.enhancer.enhance(case.audio[:20_000])))
        for _ in range(3)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(found) == 3
    for one in found:
        same(one, case.expected(20_000))


def test_a_file_is_read_as_its_bytes(case: Case, libcodec: ctypes.CDLL, tmp_path: Path) -> None:
    """And the model is not needed afterwards."""
    model = binding().Model(libcodec, write_weights(tmp_path / "m.safetensors", SMALL))
    path = write_enhancer(tmp_path / "m.safetensors", case.id, CONFIG)
    enhancer = binding().Enhancer(model, path)
    del model
    same(enhancer.enhance(case.audio[:5000]), case.expected(5000))
    path.unlink()
    assert failure(binding().Enhancer, case.model, path, match="cannot be opened") == IO


def test_a_call_that_fails_changes_nothing(case: Case) -> None:
    stream = binding().EnhancerStream(case.enhancer)
    library, handle, n = stream.library, stream.handle, ctypes.c_size_t()
    push, flush = library.codec_enhancer_stream_push, library.codec_enhancer_stream_flush
    floats = ctypes.POINTER(ctypes.c_float)
    room = np.empty(3 * SPAN, np.float32)
    to, given = room.ctypes.data_as(floats), case.audio.ctypes.data_as(floats)
    parts = [stream.push(case.audio[: SPAN + 5000])]
    left = library.codec_enhancer_stream_left(handle)
    for value in (np.nan, np.inf, -np.inf):
        wrong = case.audio.copy()
        wrong[-1] = value
        assert failure(stream.push, wrong) == AUDIO
    for status, call, arguments in (
        (SIZE, push, (handle, given, SPAN, to, SPAN - 1, ctypes.byref(n))),
        (SIZE, push, (handle, given, SPAN, to, 0, ctypes.byref(n))),
        (ARGUMENT, push, (handle, None, SPAN, to, SPAN, ctypes.byref(n))),
        (ARGUMENT, push, (handle, given, SPAN, None, SPAN, ctypes.byref(n))),
        (ARGUMENT, push, (handle, given, SPAN, to, SPAN, None)),
        (ARGUMENT, push, (handle, given, MOST, to, MOST, ctypes.byref(n))),
        (ARGUMENT, push, (None, given, SPAN, to, SPAN, ctypes.byref(n))),
        (SIZE, flush, (handle, to, left - 1, ctypes.byref(n))),
        (ARGUMENT, flush, (handle, None, SPAN, ctypes.byref(n))),
        (ARGUMENT, flush, (handle, to, SPAN, None)),
        (ARGUMENT, flush, (None, to, SPAN, ctypes.byref(n))),
    ):
        assert call(*arguments) == status, arguments
    assert library.codec_enhancer_stream_ready(handle, 1 << 62) == MOST
    parts += [stream.push(case.audio[SPAN + 5000 :]), stream.flush()]
    same(np.concatenate(parts), case.expected(3 * SPAN))


def test_nothing_is_refused(case: Case, tmp_path: Path) -> None:
    """NULL has a reason where a call gives one, and no effect where nothing can fail."""
    library, made = case.model.library, ctypes.c_void_p(1)
    reason = ctypes.create_string_buffer(200)
    rest = (None, ctypes.byref(made), reason, len(reason))
    size, path = len(case.data), str(tmp_path).encode()
    for call, arguments in (
        (library.codec_enhancer_read, (None, case.data, size, *rest)),
        (library.codec_enhancer_read, (case.model.handle, None, size, *rest)),
        (library.codec_enhancer_read, (case.model.handle, case.data, size, None, None, *rest[2:])),
        (library.codec_enhancer_open, (None, path, *rest)),
        (library.codec_enhancer_open, (case.model.handle, None, *rest)),
        (library.codec_enhancer_open, (case.model.handle, path, None, None, *rest[2:])),
    ):
        reason.value = b""
        assert call(*arguments) == ARGUMENT
        assert reason.value.endswith(b"are NULL")
    new = library.codec_enhancer_stream_new
    assert new(None, ctypes.byref(made)) == ARGUMENT
    assert new(case.enhancer.handle, None) == ARGUMENT
    library.codec_enhancer_free(None)
    library.codec_enhancer_stream_free(None)
    library.codec_enhancer_stream_reset(None)
    assert library.codec_enhancer_stream_ready(None, SPAN) == 0
    assert library.codec_enhancer_stream_left(None) == 0


def test_that_of_another_model_is_refused(case: Case, libcodec: ctypes.CDLL) -> None:
    wrong = bytes(range(8))
    message = f"^the enhancer is of model 0001020304050607, not {case.id.hex()}$"
    data = enhancer_file(CONFIG, wrong)
    assert failure(binding().Enhancer, case.model, data, match=message) == MODEL
    for said in ("", case.id.hex()[:-1], case.id.hex() + "0", "\n" * 40):
        data = save(tensors(CONFIG), {"config": CONFIG.to_json(), "model": said})
        assert failure(binding().Enhancer, case.model, data, match="^[ -~]*$") == MODEL


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ({}, "the enhancer's model is missing"),
        ({"config": CONFIG.to_json()}, "the enhancer's model is missing"),
        ({"model": None}, "the enhancer's configuration is missing"),
        ({"model": None, "config": "[]"}, "the enhancer's configuration is missing"),
        (
            {"model": None, "config": json.dumps(dataclasses.asdict(CONFIG) | {"hop": 119})},
            "the enhancer's hop is missing or out of range",
        ),
    ],
)
def test_damage_is_refused(case: Case, metadata: dict[str, str | None], match: str) -> None:
    said = {key: case.id.hex() if value is None else value for key, value in metadata.items()}
    data = save(tensors(CONFIG), said)
    assert failure(binding().Enhancer, case.model, data, match=match) == MODEL


def test_a_file_that_ends_too_early_is_refused(case: Case) -> None:
    for size in (0, 7, 8, 100, len(case.data) // 2, len(case.data) - 1):
        assert failure(binding().Enhancer, case.model, case.data[:size]) == MODEL


def test_a_model_of_another_rate_is_refused(libcodec: ctypes.CDLL, tmp_path: Path) -> None:
    model = binding().Model(libcodec, write_weights(tmp_path / "m.safetensors", STEREO))
    data = enhancer_file(CONFIG, bytes(model.info.id))
    message = "^an enhancer is for models of 24000 Hz, not 48000 Hz$"
    assert failure(binding().Enhancer, model, data, match=message) == UNSUPPORTED


def test_an_instruction_set_that_does_not_exist(case: Case) -> None:
    assert failure(binding().Enhancer, case.model, case.data, "mmx") == UNSUPPORTED


@pytest.mark.slow
def test_one_of_full_size_on_every_instruction_set(case: Case) -> None:
    config = EnhancerConfig()
    data, audio = enhancer_file(config, case.id), voice(130_001, 0.1)
    expected = _engine.Enhancer(data)(audio, 0, -(-len(audio) // config.hop))
    for isa in _engine.isas():
        same(binding().Enhancer(case.model, data, isa).enhance(audio), expected)
