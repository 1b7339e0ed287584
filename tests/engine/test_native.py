"""The native engine: exact on every instruction set, and equal to the torch model to rounding."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from bench.random_weights import (
    SMALL,
    STEREO,
    VARIANTS,
    noise,
    random_weights,
    signal,
    write_weights,
)
from codec.engine.backend import load_backend
from codec.errors import AudioError, BackendError, BitrateError, ModelError, TokensError
from codec.model.config import ModelConfig
from codec.model.weights_file import WeightsFile
from tests.helpers import engine_tables
from tests.helpers.fma import fma
from tests.helpers.processes import python

_engine = pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.native import NativeBackend, isas  # noqa: E402

ISAS = isas()


@pytest.fixture(scope="module", params=[*VARIANTS, "stereo"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = (VARIANTS | {"stereo": STEREO})[request.param]
    return write_weights(tmp_path_factory.mktemp("weights") / "model.safetensors", config)


@pytest.fixture(scope="module")
def small_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("small") / "s.safetensors", SMALL)


@pytest.fixture(scope="module")
def small(small_path: Path) -> NativeBackend:
    return NativeBackend(small_path)


def chain(x: np.ndarray, weight: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The definition in csrc/kernels/kernels.h: one chain of FMAs over k for each output."""
    total = np.broadcast_to(start, (len(x), len(weight))).astype(np.float32)
    for k in range(x.shape[1]):
        total = fma(x[:, k : k + 1], weight[None, :, k], total)
    return total


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("rows", "depth", "columns"), [(1, 5, 3), (3, 7, 65), (13, 400, 40), (31, 770, 17)]
)
def test_a_product_is_its_definition(isa: str, rows: int, depth: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((rows, depth), np.float32)
    weight = rng.standard_normal((columns, depth), np.float32)
    bias, held = rng.standard_normal(columns, np.float32), rng.standard_normal((rows, columns))
    layer = _engine.Dense(weight, bias)
    np.testing.assert_array_equal(layer(x, isa), chain(x, weight, bias))
    held = held.astype(np.float32)
    np.testing.assert_array_equal(layer(x, isa, add=held), chain(x, weight, held))


@pytest.mark.parametrize("isa", ISAS)
def test_a_row_does_not_depend_on_its_batch(isa: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((48, 33), np.float32)
    layer = _engine.Dense(rng.standard_normal((100, 33), np.float32), np.ones(100, np.float32))
    whole = layer(x, isa)
    for rows in range(1, 48):
        np.testing.assert_array_equal(layer(x[:rows], isa), whole[:rows])


def test_elementary_functions_keep_their_bounds() -> None:
    x = np.linspace(-87, 88, 200_001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(_engine.elementwise("exp", x) / exact - 1) < 1.5 * 2**-23).all()
    low = _engine.elementwise("exp", np.array([-87, -88, -1e30, -np.inf], np.float32))
    assert (low == low[0]).all()

    x = np.geomspace(1.2e-38, 3e38, 200_001).astype(np.float32)
    exact = np.log(x.astype(np.float64))
    error = np.abs(_engine.elementwise("log", x) - exact)
    assert (error < 2.0**-23 * np.maximum(np.abs(exact), 0.5)).all()

    x = np.linspace(-12, 12, 200_001).astype(np.float32)
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64)])
    assert (np.abs(_engine.elementwise("gelu", x) - exact) < 5e-8 + 1e-7 * np.abs(x)).all()
    assert (_engine.elementwise("gelu", np.float32([0.0, 1e30])) == np.float32([0, 1e30])).all()


@pytest.mark.parametrize("n", [1, 7, 8, 240, 960])
def test_circle(n: int) -> None:
    k = np.arange(-n, 2 * n)
    cos, sin = engine_tables.circle(k, n)
    # NumPy's own argument 2 pi (k mod n) / n is off by up to 2 pi 2^-53, rounded twice
    angle = 2 * np.pi * ((k % n) / n)
    assert np.abs(cos - np.cos(angle)).max() < 3e-15
    assert np.abs(sin - np.sin(angle)).max() < 3e-15
    assert np.array_equal(engine_tables.circle([0, 1, 2, 3], 4), [[1, 0, -1, 0], [0, 1, 0, -1]])
    # symmetric to the bit
    np.testing.assert_array_equal(cos[n + 1 : 2 * n], cos[n + 1 : 2 * n][::-1])
    np.testing.assert_array_equal(sin[n + 1 : 2 * n], -sin[n + 1 : 2 * n][::-1])


def test_windows_overlap_to_one() -> None:
    for n, hop in ((960, 240), (480, 160), (480, 240)):
        window = engine_tables.synthesis_window(n, hop).astype(np.float64) * n
        # the analysis of the training losses' kind: sin, without the factors of the synthesis
        product = window * np.sin(np.pi * (np.arange(n) + 0.5) / n)
        total = product.reshape(-1, hop).sum(0)
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_bands_interpolate() -> None:
    lower_band, lower, upper = engine_tables.band_weights(32, 960, 24_000)
    edges = engine_tables.band_edges(32, 24_000)
    assert (edges[0], edges[-1]) == (0, 12_000)
    hertz = np.arange(481) * 25.0
    position = edges[lower_band] * lower + edges[lower_band + 1] * upper
    np.testing.assert_allclose(position, hertz, rtol=2e-6)


def test_agrees_with_torch(weights: Path) -> None:
    torch = pytest.importorskip("torch")
    from codec.nn.backend import TorchBackend

    ours, theirs = NativeBackend(weights), TorchBackend(weights)
    config = ours.config
    assert ours.model_id == theirs.model_id
    assert config == theirs.config
    audio = signal(config, 40_321)
    missing = config.n_frames(40_321) * config.hop_length - 40_321
    padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, missing)])
    with torch.inference_mode():
        expected = theirs._model.encoder(torch.from_numpy(padded)[None])[0].numpy()
    latents = ours.encoder.latents(audio)
    assert np.abs(latents - expected).max() < 1e-4 * np.abs(expected).max()

    codes = ours.encode(audio, config.n_codebooks)
    assert (codes == theirs.encode(audio, config.n_codebooks)).mean() >= 0.995
    decoded, reference = ours.decode(codes), theirs.decode(codes)
    assert decoded.shape == reference.shape
    noise_power = np.square(decoded - reference).mean()
    assert noise_power < 1e-6 * np.square(reference).mean()


def test_every_instruction_set_gives_the_same_bits(weights: Path) -> None:
    reference = NativeBackend(weights, "scalar")
    audio = signal(reference.config, 12_345, seed=1)
    codes = reference.encode(audio, 3)
    latents, decoded = reference.encoder.latents(audio), reference.decode(codes)
    assert len(np.unique(codes)) > 5
    for isa in ISAS[1:]:
        other = NativeBackend(weights, isa)
        assert other.isa == other.encoder.isa == other.decoder.isa == isa
        np.testing.assert_array_equal(other.encoder.latents(audio), latents)
        np.testing.assert_array_equal(other.encode(audio, 3), codes)
        np.testing.assert_array_equal(other.decode(codes), decoded)


def test_blocks_change_nothing(weights: Path) -> None:
    backend = NativeBackend(weights)
    config, audio = backend.config, signal(backend.config, 30_000, seed=2)
    codes = backend.encode(audio, 3)
    decoded = backend.decode(codes)
    for block in (1, 7, 1000):
        other = NativeBackend(weights, block=block)
        np.testing.assert_array_equal(other.encode(audio, 3), codes)
        np.testing.assert_array_equal(other.decode(codes), decoded)
    assert codes.shape[1] == config.n_frames(30_000)


def test_context_is_what_is_needed_and_no_more(weights: Path) -> None:
    backend = NativeBackend(weights)
    hop, frame = backend.config.hop_length, 40
    audio = signal(backend.config, 60 * hop, seed=7)
    codes = backend.encode(audio, 3)
    latents, decoded = backend.encoder.latents(audio), backend.decode(codes)
    for missing in (0, 1):
        left = backend.encoder.context - missing
        same = backend.encoder.latents(audio[..., (frame - left) * hop :])[left:] == latents[frame:]
        assert same.all() == (missing == 0)
        left = backend.decoder.context - missing
        part = backend.decode(codes[:, frame - left :])[..., left * hop :]
        same = part == decoded[..., frame * hop :]
        assert same.all() == (missing == 0)


def test_items_at_once_change_nothing(small: NativeBackend) -> None:
    items = [noise(n, seed=n) for n in (9600, 1, 4801, 12_000, 960, 961, 7000)]
    expected = [small.encode(item, 3) for item in items]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda item: small.encode(item, 3), items[::-1]))[::-1]
        audio = list(pool.map(small.decode, expected))
    for codes, other, decoded in zip(expected, found, audio, strict=True):
        np.testing.assert_array_equal(other, codes)
        np.testing.assert_array_equal(small.decode(codes), decoded)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 24_000))
def test_lengths(small: NativeBackend, n: int) -> None:
    """Exactly ceil(n / hop) frames; silence after the end changes only what sees it."""
    codes = small.encode(noise(n, seed=4), 2)
    frames = -(-n // 960)
    assert codes.shape == (2, frames)
    assert small.decode(codes).shape == (frames * 960,)
    whole = small.encode(noise(n + 4000, seed=4)[:n], 2)
    np.testing.assert_array_equal(whole, codes)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 9000), more=st.integers(1, 5000))
def test_the_codes_of_a_prefix_are_a_prefix(small: NativeBackend, n: int, more: int) -> None:
    audio = noise(n + more, seed=5)
    codes, prefix = small.encode(audio, 3), small.encode(audio[:n], 3)
    certain = max(0, (n - small.encoder.lookahead) // 960)
    np.testing.assert_array_equal(codes[:, :certain], prefix[:, :certain])
    np.testing.assert_array_equal(small.encode(audio, 1), codes[:1])


def test_a_search_looks_between_pieces_whether_to_stop(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = NativeBackend(weights)
    hop, channels = backend.config.hop_length, backend.config.channels
    audio = np.stack([noise(9 * hop + 77, seed) for seed in range(channels)]).squeeze()
    whole = backend.encode_beam(audio, 2, 4)
    monkeypatch.setattr("codec.engine.native.PIECE", 2)
    never = itertools.repeat(False)
    np.testing.assert_array_equal(backend.encode_beam(audio, 2, 4, never.__next__), whole)
    answers = iter([False, False, True])
    with pytest.raises(RuntimeError, match="stopped"):
        backend.encode_beam(audio, 2, 4, answers.__next__)
    assert next(answers, None) is None


def test_nothing_at_all(small: NativeBackend) -> None:
    codes = small.encode(np.empty(0, np.float32), 3)
    assert codes.shape == (3, 0)
    assert small.decode(codes).shape == (0,)


def test_extremes_run(small: NativeBackend, small_path: Path) -> None:
    """Silence, full scale, and values whose powers overflow: codes in range, the same each time."""
    for audio in (np.zeros(5000), np.ones(5000), np.full(5000, 3e38), np.full(5000, 1e-42)):
        samples = audio.astype(np.float32)
        codes = small.encode(samples, 3)
        assert codes.max() < SMALL.codebook_size
        scalar = NativeBackend(small_path, "scalar").encode(samples, 3)
        np.testing.assert_array_equal(scalar, codes)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(9, np.float64),
        np.zeros((1, 9), np.float32),
        np.array([0, np.nan], np.float32),
        np.array([np.inf], np.float32),
    ],
)
def test_encode_refuses_audio(small: NativeBackend, audio: Any) -> None:
    with pytest.raises(AudioError):
        small.encode(audio, 3)


@pytest.mark.parametrize("n_codebooks", [0, -1, 4])
def test_encode_refuses_codebooks(small: NativeBackend, n_codebooks: int) -> None:
    with pytest.raises(BitrateError):
        small.encode(np.zeros(9, np.float32), n_codebooks)


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((4, 1), np.uint16),
        np.zeros((0, 1), np.uint16),
        np.zeros(3, np.uint16),
        np.zeros((1, 1)),
        np.full((3, 2), 50),
        np.full((3, 2), -1),
    ],
)
def test_decode_refuses(small: NativeBackend, codes: Any) -> None:
    with pytest.raises(TokensError):
        small.decode(codes)


def test_an_instruction_set_that_is_not_there(
    small_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendError, match="mmx"):
        NativeBackend(small_path, "mmx")
    monkeypatch.setenv("CODEC_ISA", "scalar")
    assert NativeBackend(small_path).isa == "scalar"
    monkeypatch.setenv("CODEC_ISA", "altivec")
    with pytest.raises(BackendError, match="altivec"):
        NativeBackend(small_path)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    good = random_weights(SMALL)
    audio, codes = np.zeros(9, np.float32), np.zeros((1, 1), np.uint16)

    def write(change: dict[str, Any], config: ModelConfig = SMALL) -> NativeBackend:
        tensors = {k: v for k, v in {**good, **change}.items() if v is not None}
        path = tmp_path / "bad.safetensors"
        save_file(tensors, path, metadata={"config": config.to_json()})
        return NativeBackend(path)

    for name, tensor in good.items():
        if name.startswith("encoder") or name.startswith("quantiser"):
            with pytest.raises(ModelError, match=name):
                write({name: None}).encode(audio, 1)
            with pytest.raises(ModelError):
                write({name: tensor[..., :-1]}).encode(audio, 1)
        if not name.startswith("encoder"):
            with pytest.raises(ModelError, match=name):
                write({name: None}).decode(codes)
            with pytest.raises(ModelError):
                write({name: tensor[..., :-1]}).decode(codes)
    nan = good["encoder.embed.bias"] * np.float16(np.nan)
    with pytest.raises(ModelError, match=r"encoder\.embed\.bias"):
        write({"encoder.embed.bias": nan}).encode(audio, 1)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"long_fft": 961}, {"long_fft": 14}, {"long_fft": 240}, {"short_fft": 2}, {"short_fft": 0},
    {"backbone_hop": 0}, {"backbone_hop": 7}, {"hop_length": 0}, {"encoder_stack": 0},
    {"encoder_stack": 3}, {"phase_bins": 481}, {"phase_bins": -1}, {"encoder_lookahead": 3},
    {"kernel_size": 0}, {"latent_dim": 0}, {"encoder_dim": 0},
    {"encoder_hidden": 0}, {"decoder_hidden": 0},
    {"encoder_blocks": -1}, {"encoder_blocks": 10**6}, {"codebook_size": 0}, {"n_codebooks": 0},
    {"synthesis_fft": 100}, {"synthesis_hop": 0}, {"synthesis_hop": 7}, {"gain_bands": 1},
    {"gain_bands": 0}, {"decoder_dim": -8}, {"sample_rate": 0}, {"head": "mdct"}, {"head": 3},
]  # fmt: skip


@pytest.mark.parametrize("change", IMPOSSIBLE, ids=str)
def test_configurations_that_make_no_model(tmp_path: Path, change: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL, **change)
    path = tmp_path / "bad.safetensors"
    save_file(random_weights(SMALL), path, metadata={"config": config.to_json()})

    def build() -> None:
        backend = NativeBackend(path)
        assert backend.encoder is not backend.decoder  # type: ignore[comparison-overlap]

    with pytest.raises(ModelError):
        build()


def test_what_is_packed_is_checked_in_c(small_path: Path) -> None:
    data, config = small_path.read_bytes(), SMALL.to_json().encode()
    books = WeightsFile(small_path).codebooks
    with pytest.raises(ValueError, match="codebooks do not fit"):
        _engine.Encoder(data, config, books[:2])
    with pytest.raises(ValueError, match="not a safetensors file"):
        _engine.Decoder(b"", config, books)
    with pytest.raises(ValueError, match="configuration is damaged"):
        _engine.Decoder(data, b"", books)
    with pytest.raises(ValueError, match="no instruction set mmx"):
        _engine.Encoder(data, config, books, "mmx")
    with pytest.raises(TypeError):
        _engine.Encoder()


def test_steps_are_checked_in_c(small: NativeBackend) -> None:
    encoder, decoder = small.encoder, small.decoder
    state, other = (np.empty(half.state_size, np.int64) for half in (encoder, decoder))
    encoder.reset(state)
    decoder.reset(other)
    audio, latents = noise(5000), np.zeros((2, SMALL.latent_dim), np.float32)
    for levels in (0, SMALL.n_codebooks + 1):
        with pytest.raises(ValueError, match="out of range"):
            encoder.push(state, audio, levels)
        with pytest.raises(ValueError, match="out of range"):
            encoder.flush(state, levels)
        with pytest.raises(ValueError, match="out of range"):
            decoder.push(other, np.zeros((levels, 1), np.uint16))
    for beam in (0, 65, 2**63):
        with pytest.raises(ValueError, match="out of range"):
            encoder.push(state, audio, 1, beam)
        with pytest.raises(ValueError, match="out of range"):
            encoder.flush(state, 1, beam)
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite"):
            encoder.push(state, np.append(audio, np.float32(value)), 1)
    with pytest.raises(ValueError, match="out of range"):
        decoder.push(other, np.full((1, 3), SMALL.codebook_size, np.uint16))
    for value in (np.nan, 2e30):
        latents[1, 1] = value
        with pytest.raises(ValueError, match="out of range"):
            decoder.push_latents(other, latents)
    with pytest.raises(ValueError, match="dimension"):
        decoder.push_latents(other, latents[:, 1:].copy())
    for half, wrong in ((encoder, other), (decoder, state)):
        with pytest.raises(ValueError, match="not a state"):
            half.reset(wrong)
    codes = [encoder.push(state, audio, 2), encoder.flush(state, 2)]
    np.testing.assert_array_equal(np.concatenate(codes, axis=1), small.encode(audio, 2))
    decoder.flush(other)
    assert encoder.ended(state)
    assert decoder.ended(other)
    with pytest.raises(ValueError, match="has ended"):
        encoder.push(state, audio, 2)
    with pytest.raises(ValueError, match="has ended"):
        decoder.flush(other)


def test_the_library_stays_inside_the_extension() -> None:
    """Its symbols must not meet those of a libcodec.so in the same process."""
    library = ctypes.CDLL(_engine.__file__)
    assert hasattr(library, "PyInit__engine")
    for name in ("codec_encode", "codec_model_open", "nac_model_make"):
        assert not hasattr(library, name)


def test_files_that_are_no_weights(tmp_path: Path, small_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    data = small_path.read_bytes()
    for damaged in (b"", b"RIFF", data[:100], data[:-1], b"\xff" * 64):
        path.write_bytes(damaged)
        with pytest.raises(ModelError):
            NativeBackend(path)
    save_file({"x": np.zeros(1, np.float32)}, path)
    with pytest.raises(ModelError, match="no model configuration"):
        NativeBackend(path)


def test_load_backend_prefers_the_engine(small_path: Path) -> None:
    assert isinstance(load_backend(small_path), NativeBackend)


def test_torch_is_not_imported(small_path: Path) -> None:
    code = (
        "import sys, numpy; from pathlib import Path;"
        "from codec.engine.native import NativeBackend;"
        f"b = NativeBackend(Path({str(small_path)!r}));"
        "b.decode(b.encode(numpy.zeros(5000, 'f4'), 3));"
        "assert not {'torch', 'numba', 'scipy'} & set(sys.modules)"
    )
    python(code)
