"""libcodec's models: the codes, samples and ids of the Python package; damage is an error."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from bench.random_weights import (
    SMALL,
    STEREO,
    VARIANTS,
    noise,
    random_weights,
    signal,
    write_weights,
)
from codec.errors import ModelError
from codec.model.config import ModelConfig
from tests.helpers.c_library import CSRC, ROOT, binding, swapped

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.native import NativeBackend, isas

ARGUMENT, SIZE, _, IO, MODEL, UNSUPPORTED, AUDIO, CODES, STATE = range(1, 10)
TINY = dataclasses.replace(
    SMALL,
    n_codebooks=2,
    codebook_size=5,
    latent_dim=3,
    encoder_dim=4,
    encoder_hidden=5,
    encoder_blocks=1,
    decoder_dim=4,
    decoder_hidden=5,
    decoder_blocks=1,
    kernel_size=2,
    encoder_stack=1,
    backbone_hop=16,
    hop_length=32,
    long_fft=16,
    short_fft=8,
    phase_bins=2,
    synthesis_fft=16,
    synthesis_hop=8,
    gain_bands=3,
)
MODELS = VARIANTS | {"stereo": STEREO, "tiny": TINY}


def file_of(config: ModelConfig | dict[str, Any], weights: ModelConfig = TINY) -> bytes:
    """Weights as `weights` needs them, in a file that says it is of `config`."""
    text = config.to_json() if isinstance(config, ModelConfig) else json.dumps(config)
    return save(random_weights(weights), metadata={"config": text})


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return file_of(TINY)


@pytest.fixture(scope="module")
def open_model(libcodec: ctypes.CDLL) -> Callable[..., Any]:
    def opened(weights: Path | bytes, isa: str | None = None) -> Any:
        return binding().Model(libcodec, weights, isa)

    return opened


def failure(call: Callable[..., Any], *arguments: Any) -> int:
    """The status with which a call fails, after a check of its reason."""
    with pytest.raises(binding().LibraryError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert text
    assert text.isprintable()
    return int(caught.value.status)


@pytest.mark.parametrize("name", MODELS)
def test_codes_and_samples_are_those_of_python(
    open_model: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    config = MODELS[name]
    path = write_weights(tmp_path / "m.safetensors", config)
    python = NativeBackend(path)
    audio = signal(config, 5 * config.hop_length + 33)
    for isa in isas():
        model = open_model(path, isa)
        assert model.instruction_set == isa
        assert bytes(model.info.id) == python.model_id
        for n in (0, 1, config.hop_length, audio.shape[-1]):
            part = np.ascontiguousarray(audio[..., :n])
            codes = python.encode(part, config.n_codebooks)
            np.testing.assert_array_equal(model.encode(swapped(part), config.n_codebooks), codes)
            for levels in {1, config.n_codebooks}:
                np.testing.assert_array_equal(
                    model.decode(codes[:levels]).view("u4"),
                    swapped(python.decode(codes[:levels])).view("u4"),
                )
        np.testing.assert_array_equal(model.encode(swapped(audio), 1), codes[:1])


def test_info(open_model: Callable[..., Any], tmp_path: Path) -> None:
    for name, config in MODELS.items():
        path = write_weights(tmp_path / f"{name}.safetensors", config)
        python, info = NativeBackend(path), open_model(path).info
        for field in ("sample_rate", "hop_length", "codebook_size", "latent_dim", "channels"):
            assert getattr(info, field) == getattr(config, field)
        assert info.codebooks == config.n_codebooks
        assert info.encoder_latency == python.encoder.lookahead
        assert info.decoder_latency == python.decoder.lookahead


def test_an_older_caller_gets_what_it_knows(
    libcodec: ctypes.CDLL, open_model: Callable[..., Any], tiny: bytes
) -> None:
    model, info = open_model(tiny), binding().Info()
    libcodec.codec_model_info(model.handle, ctypes.byref(info), 8)
    assert (info.sample_rate, info.hop_length, info.codebooks) == (24_000, 32, 0)


def test_the_shipped_model(open_model: Callable[..., Any]) -> None:
    path = ROOT / "codec" / "weights" / "default.safetensors"
    python, model = NativeBackend(path), open_model(path)
    assert bytes(model.info.id) == python.model_id
    audio = noise(1000)
    codes = python.encode(audio, 28)
    np.testing.assert_array_equal(model.encode(audio, 28), codes)
    np.testing.assert_array_equal(model.decode(codes).view("u4"), python.decode(codes).view("u4"))


def test_the_id_is_of_names_types_shapes_and_values(
    open_model: Callable[..., Any], tmp_path: Path
) -> None:
    """Names beyond ASCII are hashed as Python's json writes them; other types count too."""
    tensors = random_weights(TINY)
    extra = {
        "quoted.ü": np.ones((2, 0), np.float64),
        "decoder.\U0001f600\x7f": np.arange(3),
        "scalar": np.array(True),
    }
    wide = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in tensors.items()}
    found = set()
    for named in (tensors, tensors | extra, wide):
        path = tmp_path / "m.safetensors"
        path.write_bytes(save(named, metadata={"config": TINY.to_json(), "step": "3"}))
        python = NativeBackend(path)
        assert bytes(open_model(path).info.id) == python.model_id
        found.add(python.model_id)
    assert len(found) == 3


def test_fields_that_the_file_does_not_have_are_standard(
    open_model: Callable[..., Any], tmp_path: Path
) -> None:
    fields = dataclasses.asdict(SMALL)
    standard = dataclasses.asdict(ModelConfig())
    few = {name: value for name, value in fields.items() if value != standard[name]}
    assert len(few) < len(fields) - 10
    path = tmp_path / "m.safetensors"
    path.write_bytes(file_of(few, SMALL))
    without = bytes(open_model(path).info.id)
    assert without == NativeBackend(path).model_id
    path.write_bytes(file_of(fields | {"channels": 1}, SMALL))
    assert bytes(open_model(path).info.id) == without


WRONG: dict[str, list[Any]] = {
    "hop_length": [0, 33, 16, 64, 2**40, -32, 32.0, "32", None, True],
    "backbone_hop": [0, 8, 32, 5],
    "channels": [0, 2, 3, -1, "2", None, True, 1.0],
    "encoder_stack": [0, 2, 3],
    "long_fft": [0, 14, 15, 32, 70_000],
    "short_fft": [0, 6, 16, 48],
    "phase_bins": [9, 3, -1],
    "encoder_dim": [0, 5],
    "encoder_hidden": [0, 6],
    "encoder_blocks": [0, 2, 5000],
    "encoder_lookahead": [2],
    "kernel_size": [0, 1, 3],
    "latent_dim": [0, 4],
    "n_codebooks": [0, 1, 256],
    "codebook_size": [0, 4, 65_537],
    "decoder_dim": [3],
    "decoder_hidden": [4],
    "decoder_blocks": [0, 2],
    "decoder_lookahead": [2],
    "synthesis_fft": [8, 12, 14, 32],
    "synthesis_hop": [0, 3, 4, 16],
    "gain_bands": [0, 1, 2, 4, 40],
    "sample_rate": [0, 999, 768_001],
    "noise_from": [-1],
    "waveform": [True, 1, "no"],
}


@pytest.mark.parametrize("field", WRONG)
def test_a_configuration_that_does_not_fit(open_model: Callable[..., Any], field: str) -> None:
    for value in WRONG[field]:
        data = file_of(dataclasses.asdict(TINY) | {field: value})
        assert failure(open_model, data) == MODEL, value


def test_every_field_is_among_those_that_may_not_fit() -> None:
    assert {*WRONG, "head"} == {field.name for field in dataclasses.fields(ModelConfig)}


@pytest.mark.parametrize("extra", [{"head": "mdct"}, {"x\n": 1}])
def test_what_the_library_has_no_code_for(
    open_model: Callable[..., Any], extra: dict[str, Any]
) -> None:
    data = file_of(dataclasses.asdict(TINY) | extra)
    assert failure(open_model, data) == UNSUPPORTED


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"head":}', '{"a":' * 20])
def test_a_configuration_that_is_none(open_model: Callable[..., Any], text: str) -> None:
    assert failure(open_model, save(random_weights(TINY), metadata={"config": text})) == MODEL
    assert failure(open_model, save(random_weights(TINY))) == MODEL


def test_values_that_are_not_finite(open_model: Callable[..., Any]) -> None:
    for name, values in random_weights(TINY).items():
        if values.dtype == np.int8:
            continue
        for bad in (np.inf, -np.inf, np.nan):
            tensors = random_weights(TINY)
            tensors[name].reshape(-1)[-1] = bad
            data = save(tensors, metadata={"config": TINY.to_json()})
            assert failure(open_model, data) == MODEL, name


def test_a_tensor_that_is_missing_or_of_another_shape_or_type(
    open_model: Callable[..., Any],
) -> None:
    metadata = {"config": TINY.to_json()}
    for name, values in random_weights(TINY).items():
        tensors = random_weights(TINY)
        others = [values[..., None], values[:-1], values.astype(np.int32)]
        for other in others:
            data = save(tensors | {name: np.ascontiguousarray(other)}, metadata=metadata)
            assert failure(open_model, data) == MODEL, name
        del tensors[name]
        assert failure(open_model, save(tensors, metadata=metadata)) == MODEL, name


@settings(max_examples=150)
@given(st.data())
def test_damage_is_an_error_or_python_takes_it_too(
    open_model: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    tiny: bytes,
    data: st.DataObject,
) -> None:
    """Bytes of the header change; what still opens codes as Python's engine does."""
    start = 8 + struct.unpack("<Q", tiny[:8])[0]
    changed = bytearray(tiny)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, start - 1) | st.integers(0, len(tiny) - 1))
        changed[at] = data.draw(st.sampled_from(b'0123456789"{}[],:\\F ') | st.integers(0, 255))
    size = data.draw(st.just(len(changed)) | st.integers(0, len(changed)))
    try:
        model = open_model(bytes(changed[:size]))
    except binding().LibraryError as error:
        status = error.status
    else:
        status = 0
    if status:
        assert status in (MODEL, UNSUPPORTED)
        return
    path = tmp_path_factory.mktemp("damaged") / "m.safetensors"
    path.write_bytes(changed)
    python = NativeBackend(path)
    audio = noise(100)
    codes = python.encode(audio, 1)
    np.testing.assert_array_equal(model.encode(audio, 1), codes)
    np.testing.assert_array_equal(model.decode(codes).view("u4"), python.decode(codes).view("u4"))


def test_files_and_instruction_sets_that_are_not_there(
    open_model: Callable[..., Any], tmp_path: Path, tiny: bytes
) -> None:
    assert failure(open_model, tmp_path / "none") == IO
    assert failure(open_model, tmp_path) == IO
    (tmp_path / "empty").touch()
    assert failure(open_model, tmp_path / "empty") == MODEL
    assert failure(open_model, tiny, "sse9") == UNSUPPORTED


def test_arguments_are_checked(
    libcodec: ctypes.CDLL, open_model: Callable[..., Any], tiny: bytes
) -> None:
    model = open_model(tiny)
    audio = noise(100)
    assert failure(model.encode, audio, 0) == ARGUMENT
    assert failure(model.encode, audio, 3) == ARGUMENT
    for bad in (np.nan, np.inf, -np.inf):
        audio[50] = bad
        assert failure(model.encode, audio, 1) == AUDIO
    codes = np.zeros((2, 4), np.uint16)
    assert len(model.decode(codes)) == 128
    codes[1, 3] = 5
    assert failure(model.decode, codes) == CODES
    assert failure(model.decode, np.zeros((3, 4), np.uint16)) == ARGUMENT
    assert failure(model.decode, np.zeros((0, 4), np.uint16)) == ARGUMENT

    n = ctypes.c_size_t()
    floats, out = np.zeros(100, np.float32), np.full((2, 4), 9, np.uint16)
    samples = floats.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    held = out.ctypes.data_as(ctypes.POINTER(ctypes.c_uint16))
    encode, decode = libcodec.codec_encode, libcodec.codec_decode
    assert encode(model.handle, samples, 100, 2, held, 3, ctypes.byref(n)) == SIZE
    assert encode(model.handle, samples, 100, 2, None, 4, ctypes.byref(n)) == ARGUMENT
    assert encode(model.handle, None, 100, 2, held, 4, ctypes.byref(n)) == ARGUMENT
    assert encode(model.handle, samples, 2**63, 2, held, 2**63, ctypes.byref(n)) == ARGUMENT
    assert encode(None, samples, 100, 2, held, 4, ctypes.byref(n)) == ARGUMENT
    assert (out == 9).all()
    out[:] = 0
    assert decode(model.handle, held, 4, 2, 4, samples, 127, ctypes.byref(n)) == SIZE
    assert decode(model.handle, held, 3, 2, 4, samples, 128, ctypes.byref(n)) == ARGUMENT
    assert decode(model.handle, held, 4, 2, 2**62, samples, 128, ctypes.byref(n)) == ARGUMENT
    libcodec.codec_model_free(None)


def test_a_reason_is_cut_to_its_room(libcodec: ctypes.CDLL) -> None:
    handle, text = ctypes.c_void_p(), ctypes.create_string_buffer(b"x" * 20)
    for room in (0, 1, 5):
        status = libcodec.codec_model_read(b"abc", 3, None, ctypes.byref(handle), text, room)
        assert status == MODEL
        assert not handle
        assert text.raw[room:20] == b"x" * (20 - room)
        assert b"\0" in text.raw[: max(room, 1)] or room == 0
    assert libcodec.codec_model_read(b"abc", 3, None, ctypes.byref(handle), None, 99) == MODEL


def test_threads_share_a_model(open_model: Callable[..., Any], tmp_path: Path) -> None:
    model = open_model(write_weights(tmp_path / "m.safetensors", SMALL))
    clips = [noise(3000 + 500 * i, i) for i in range(6)]
    alone = [model.encode(clip, 3) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda clip: model.encode(clip, 3), clips))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_versions_agree(libcodec: ctypes.CDLL) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    header = (CSRC / "include" / "codec.h").read_text()
    (version,) = re.findall(r'^version = "(.*)"', project, re.MULTILINE)
    assert libcodec.codec_version().decode() == version
    assert f'CODEC_VERSION "{version}"' in header
    (abi,) = re.findall(r"CODEC_ABI_VERSION (\d+)", header)
    assert libcodec.codec_abi_version() == int(abi)
    assert f"CODEC_{abi} {{" in (CSRC / "libcodec.map").read_text()


def test_every_function_of_the_header_is_bound_and_every_status_has_a_text(
    libcodec: ctypes.CDLL,
) -> None:
    header = (CSRC / "include" / "codec.h").read_text()
    declared = set(re.findall(r"CODEC_API[^;]*?\b(codec_\w+)\(", header))
    assert set(binding().FUNCTIONS) <= declared
    for name in declared:
        assert hasattr(libcodec, name), name
    values = [int(value) for value in re.findall(r"CODEC_(?:OK|ERROR_\w+) = (\d+)", header)]
    texts = {libcodec.codec_status_text(value) for value in values}
    assert len(texts) == len(values) > 10
    assert libcodec.codec_status_text(-1) == libcodec.codec_status_text(999) == b"unknown status"


def test_python_refuses_what_the_library_refuses(tmp_path: Path, tiny: bytes) -> None:
    """The helper's files are fine but for their damage: the undamaged one opens in Python."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(tiny)
    assert NativeBackend(path).encode(noise(64), 2).shape == (2, 2)
    assert set(load(tiny)) == set(random_weights(TINY))
    path.write_bytes(file_of(dataclasses.asdict(TINY) | {"latent_dim": 4}))
    with pytest.raises(ModelError):
        NativeBackend(path).encode(noise(64), 2)
