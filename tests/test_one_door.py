"""One object for arrays, bytes, bare codes and streams, in any process."""

from __future__ import annotations

import copy
import inspect
import io
import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codec
from bench.random_weights import SMALL as SMALL_CONFIG
from bench.random_weights import noise, write_weights
from codec.model.location import DEFAULT_WEIGHTS
from tests.helpers.mean_backend import MeanBackend
from tests.helpers.processes import python

SMALL = codec.load(backend=MeanBackend())
SILENCE = np.zeros(960, np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return codec.load(write_weights(path, SMALL_CONFIG), backend="native")


def test_every_error_is_at_the_door():
    from codec import errors

    named = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert named <= set(codec.__all__)
    assert all(getattr(codec, name) for name in codec.__all__)


def test_twelve_methods_whose_options_have_names():
    methods = {
        name: method
        for name, method in inspect.getmembers(codec.Codec, inspect.isfunction)
        if not name.startswith("_")
    }
    assert len(methods) == 12
    for method in methods.values():
        for parameter in list(inspect.signature(method).parameters.values())[1:]:
            named = parameter.kind is inspect.Parameter.KEYWORD_ONLY
            # What a call is about comes first; whatever has a default is an option.
            assert named == (parameter.default is not inspect.Parameter.empty), parameter


@pytest.mark.parametrize(
    ("missing", "backend", "remedy"),
    [
        (["torch"], "torch", "pip install 'codec[torch]'"),
        (["codec.engine._engine"], "native", "install a C compiler"),
        (["codec.engine._engine", "torch"], None, "install a C compiler and reinstall codec; or"),
    ],
)
def test_what_is_missing_is_named(missing, backend, remedy):
    # None in sys.modules makes an import fail; in a process of its own, for the sake of others.
    code = (
        "import sys\n"
        f"for name in {missing!r}: sys.modules[name] = None\n"
        "import codec\n"
        f"try: codec.load(backend={backend!r})\n"
        "except codec.BackendError as error: print(error)"
    )
    assert remedy in python(code)


@pytest.mark.parametrize("whole", [int, float, np.int16, np.int64, np.uint32, np.float32, np.array])
def test_integers_of_any_library(whole):
    audio, expected = noise(960), SMALL.encode(noise(960), 24_000, n_codebooks=3)
    rate = whole(24_000) if whole is not np.array else np.array(24_000)
    count, threads = whole(3), whole(2)
    assert SMALL.encode(audio, rate, n_codebooks=count, threads=threads) == expected
    assert SMALL.encode_batch([audio, audio], rate, n_codebooks=count) == [expected] * 2
    assert SMALL.encode_batch([audio], [rate], bitrate=whole(1500)) == [expected]
    assert expected.first(whole(2)) == SMALL.encode(audio, 24_000, n_codebooks=2)


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    audio = noise(1920)
    expected = SMALL.encode(audio, 24_000)
    for tensor in (torch.from_numpy(audio), torch.from_numpy(audio).requires_grad_()):
        assert SMALL.encode(tensor, torch.tensor(24_000)) == expected
    for half in (torch.bfloat16, torch.float16):
        rounded = torch.from_numpy(audio).to(half)
        assert SMALL.encode(rounded, 24_000) == SMALL.encode(rounded.float(), 24_000)
    for wrong in (torch.zeros(9, dtype=torch.int64), torch.zeros(9, device="meta")):
        with pytest.raises(codec.AudioError, match="audio must be floats or int16, not"):
            SMALL.encode(wrong, 24_000)
    with pytest.raises(codec.AudioError, match=r"^audio is a sparse tensor \(torch\.sparse_coo\)"):
        SMALL.encode(torch.from_numpy(audio).to_sparse(), 24_000)
    codes = torch.from_numpy(expected.codes.astype(np.int64))
    assert SMALL.tokens(codes, n_samples=1920) == expected


def test_big_endian_arrays():
    audio = noise(1000)
    assert SMALL.encode(audio.astype(">f4"), 24_000) == SMALL.encode(audio, 24_000)
    whole = (audio * 32767).astype(np.int16)
    assert SMALL.encode(whole.astype(">i2"), 24_000) == SMALL.encode(whole, 24_000)


CALLS = {
    "a ragged list": (codec.AudioError, lambda: SMALL.encode([[0.1, 0.2], [0.3]], 24_000)),
    "no array": (codec.AudioError, lambda: SMALL.encode(None, 24_000)),
    "objects": (codec.AudioError, lambda: SMALL.encode(np.array([0.1, None]), 24_000)),
    "complex": (codec.AudioError, lambda: SMALL.encode(np.zeros(9, complex), 24_000)),
    "text as a rate": (codec.AudioError, lambda: SMALL.encode(SILENCE, "24000")),
    "true as a rate": (codec.AudioError, lambda: SMALL.encode(SILENCE, True)),
    "half a codebook": (codec.BitrateError, lambda: SMALL.encode(SILENCE, 24_000, n_codebooks=2.5)),
    "codebooks as text": (
        codec.BitrateError, lambda: SMALL.encode(SILENCE, 24_000, n_codebooks="2"),
    ),
    "bitrate as text": (codec.BitrateError, lambda: SMALL.encode(SILENCE, 24_000, bitrate="3000")),
    "kbit/s": (codec.BitrateError, lambda: SMALL.encode(SILENCE, 24_000, bitrate=3)),
    "quality as text": (codec.BitrateError, lambda: SMALL.compress(SILENCE, 24_000, quality="5")),
    "quality and codebooks": (
        codec.BitrateError, lambda: SMALL.compress(SILENCE, 24_000, quality=5, n_codebooks=2),
    ),
    "no threads": (codec.OptionError, lambda: SMALL.encode(SILENCE, 24_000, threads=0)),
    "threads=None": (codec.OptionError, lambda: SMALL.encode(SILENCE, 24_000, threads=None)),
    "a text for a truth value": (
        codec.OptionError, lambda: SMALL.decode(SMALL.encode(SILENCE, 24_000), postfilter="no"),
    ),
    "a text for another": (
        codec.OptionError, lambda: codec.load().encode_latents(SILENCE, 24_000, normalized="no"),
    ),
    "and another": (
        codec.OptionError,
        lambda: codec.load().stream_encoder(latents="no"),  # type: ignore[call-overload]
    ),
    "effort": (codec.OptionError, lambda: SMALL.compress(SILENCE, 24_000, effort="max")),
    "effort as a list": (codec.OptionError, lambda: SMALL.compress(SILENCE, 24_000, effort=[])),
    "codes to decode": (codec.TokensError, lambda: SMALL.decode(np.zeros((1, 2, 3), np.uint16))),
    "a name to decompress": (codec.FormatError, lambda: SMALL.decompress("x.nac")),
    "a start as text": (codec.AudioError, lambda: SMALL.decompress(b"", start="1:20")),
    "one array of a batch": (codec.AudioError, lambda: SMALL.encode_batch(None, 24_000)),
    "tokens alone": (codec.TokensError, lambda: SMALL.decode_batch(5)),
    "a model": (codec.ModelError, lambda: codec.load(3)),
    "a backend": (codec.BackendError, lambda: codec.load(backend="foo")),
    "no backend": (codec.BackendError, lambda: codec.load(backend=3)),
    "a device": (codec.BackendError, lambda: codec.load(backend="native", device="cuda")),
    "a device alone": (codec.BackendError, lambda: codec.load(device="cuda")),
    "a stream of a backend without": (codec.BackendError, lambda: SMALL.stream_decoder()),
    "ragged codes": (codec.TokensError, lambda: SMALL.tokens([[1, 2], [3]])),
    "codes that are not whole": (codec.TokensError, lambda: SMALL.tokens([[0.5]])),
    "codes of one dimension": (codec.TokensError, lambda: SMALL.tokens([1, 2, 3])),
    "no codes": (codec.TokensError, lambda: SMALL.tokens(np.zeros((3, 0), int))),
    "a code too high": (codec.TokensError, lambda: SMALL.tokens([[1024]])),
    "a code below 0": (codec.TokensError, lambda: SMALL.tokens([[-1]])),
    "frames first": (codec.TokensError, lambda: SMALL.tokens(np.zeros((100, 12), int))),
    "tokens of tokens": (codec.TokensError, lambda: SMALL.tokens(SMALL.tokens([[1]]))),
    "too many samples": (codec.TokensError, lambda: SMALL.tokens([[1, 2]], n_samples=961)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_mistake_is_an_error_of_one_line(name):
    kind, call = CALLS[name]
    with pytest.raises(kind) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_bitrate_in_kbits_is_hinted_at():
    with pytest.raises(codec.BitrateError, match="did you mean 3000"):
        SMALL.encode(SILENCE, 24_000, bitrate=3)


def test_audio_that_is_probably_a_mistake_gives_a_warning():
    with pytest.warns(codec.CodecWarning, match=r"peaks at 2\.5"):
        SMALL.encode(SILENCE + 2.5, 24_000)
    with pytest.warns(codec.CodecWarning, match="100 channels of 2 samples"):
        SMALL.encode(np.zeros((100, 2)), 24_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SMALL.encode(SILENCE + 2.0, 24_000)


@given(
    st.integers(1, 3),
    st.integers(1, 12),
    st.integers(1, 9),
    st.sampled_from([8000, 24_000, 44_100]),
)
def test_bare_codes_decode(channels, count, frames, rate):
    codes = np.random.default_rng(frames).integers(0, 1024, (channels, count, frames))
    expected = SMALL.tokens(codes, sample_rate=rate)
    assert expected.n_frames == frames
    assert np.array_equal(expected.codes, codes)
    # The most samples that these frames hold: one more would open another frame.
    assert (expected.n_samples + 1) * 50 > frames * rate
    for same in (codes.tolist(), codes.astype(np.int16), codes.astype(">u4")):
        assert SMALL.tokens(same, sample_rate=rate) == expected
    if channels == 1:
        assert SMALL.tokens(codes[0], sample_rate=rate) == expected
    assert SMALL.decode(expected).shape == (channels, expected.n_samples)


def test_tokens_are_saved_and_loaded(tmp_path):
    for audio, rate in ((noise(5000), 24_000), (noise(4001).reshape(1, -1), 44_100)):
        tokens = SMALL.encode(audio, rate, n_codebooks=3)
        for name in (tmp_path / "a.nac", str(tmp_path / "a.nac")):
            tokens.save(name)
            assert codec.Tokens.load(name) == tokens
        file = io.BytesIO()
        tokens.save(file)
        assert file.getvalue() == SMALL.compress(audio, rate, n_codebooks=3, effort="raw")
        file.seek(0)
        assert codec.Tokens.load(file) == tokens
    data = bytearray(file.getvalue())
    data[70] ^= 1
    with pytest.raises(codec.FormatError):
        codec.Tokens.load(io.BytesIO(data))
    varying = SMALL.compress(noise(9600), 24_000, quality=5)
    with pytest.raises(codec.FormatError, match="bitrate varies"):
        codec.Tokens.load(io.BytesIO(varying))
    with pytest.raises(codec.OutputError):
        tokens.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nac"]


def test_tokens_of_a_compressed_file_are_loaded():
    pytest.importorskip("codec.coders._entropy", reason="needs the entropy coders")
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    shipped = codec.load()
    tokens = shipped.encode(noise(4000), 24_000, n_codebooks=4)
    for effort in ("raw", "fast", "best"):
        data = shipped.compress(noise(4000), 24_000, n_codebooks=4, effort=effort)
        assert codec.Tokens.load(io.BytesIO(data)) == tokens


@pytest.mark.parametrize(
    "field",
    [
        {"frame_rate": np.float32(50)},
        {"frame_rate": np.array(50.0)},
        {"n_samples": np.int32(960)},
        {"n_samples": 960.0},
        {"sample_rate": np.array(24_000)},
        {"codebook_size": np.uint16(1024)},
        {"model_id": np.void(bytes(8))},
        {"model_id": bytearray(8)},
        {"codes": np.zeros((1, 2, 2), ">u2")},
    ],
)
def test_tokens_from_what_numpy_loads(field):
    fields = {
        "codes": np.zeros((1, 2, 2), np.uint16),
        "frame_rate": 50.0,
        "n_samples": 960,
        "sample_rate": 24_000,
        "codebook_size": 1024,
        "model_id": bytes(8),
    }
    rebuilt, expected = codec.Tokens(**{**fields, **field}), codec.Tokens(**fields)
    assert rebuilt == expected
    assert [type(value) for value in vars(rebuilt).values()] == [
        type(value) for value in vars(expected).values()
    ]
    (name,) = field
    for wrong in (None, "x", [1]):
        with pytest.raises(codec.TokensError):
            codec.Tokens(**{**fields, name: wrong})


def test_samples_are_counted_without_overflow():
    codes = np.zeros((1, 1, 90_000), np.uint16)
    assert codec.Tokens(codes, 25.0, np.int32(86_400_000), 24_000, 2, bytes(8)).duration == 3600


def test_streams_share_the_codec_s_weights(model):
    audio = noise(10_000)
    expected = model.encode(audio, 24_000, n_codebooks=2)
    encoder, decoder = model.stream_encoder(n_codebooks=np.int64(2)), model.stream_decoder()
    assert isinstance(encoder, codec.StreamEncoder)
    assert isinstance(decoder, codec.StreamDecoder)
    codes, heard = [], []
    for start in range(0, 10_000, 777):
        codes.append(encoder.push(audio[start : start + 777]))
        heard.append(decoder.push(codes[-1].astype(np.int64)))
        # As a process that ends here and another that goes on.
        encoder, decoder = pickle.loads(pickle.dumps((encoder, decoder)))
    codes.append(encoder.flush())
    heard += [decoder.push(codes[-1]), decoder.flush()]
    assert np.array_equal(np.concatenate(codes, axis=1), expected.codes[0])
    assert np.array_equal(np.concatenate(heard)[:10_000], model.decode(expected)[0])
    with pytest.raises(codec.BitrateError):
        model.stream_encoder(n_codebooks=4)


def test_a_codec_pickles_and_copies(model):
    audio = noise(3000)
    expected = model.encode(audio, 24_000)
    for same in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert same.encode(audio, 24_000) == expected
        assert same.compress(audio, 24_000) == model.compress(audio, 24_000)
    assert pickle.dumps(model) == pickle.dumps(pickle.loads(pickle.dumps(model)))


def test_a_codec_goes_to_processes_that_are_spawned(model):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(model.encode, (noise(3000), 24_000))
    assert found == model.encode(noise(3000), 24_000)


def test_other_weights_at_the_same_place_are_noticed(model, tmp_path):
    path = write_weights(tmp_path / "w.safetensors", SMALL_CONFIG)
    pickled = pickle.dumps(codec.load(path, backend="native"))
    write_weights(path, SMALL_CONFIG, seed=1)
    with pytest.raises(codec.ModelError, match="pickled with model"):
        pickle.loads(pickled)


def test_the_shipped_codec_s_hash_is_the_same_in_every_process():
    hash_of = pytest.importorskip("datasets.fingerprint").Hasher.hash
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    code = (
        "import codec; from datasets.fingerprint import Hasher;"
        "model = codec.load(); print(Hasher.hash(model), Hasher.hash(model.encode))"
    )
    model = codec.load()
    assert python(code).split() == [hash_of(model), hash_of(model.encode)]
    assert str(DEFAULT_WEIGHTS).encode() not in pickle.dumps(codec.load())


def test_a_device_that_is_not_here(tmp_path):
    torch = pytest.importorskip("torch")
    path = write_weights(tmp_path / "w.safetensors", SMALL_CONFIG)
    on_cpu = codec.load(path, backend="torch", device="cpu")
    assert pickle.loads(pickle.dumps(on_cpu)).backend.device == torch.device("cpu")
    for device in ("cuda:99", "nonsense", "meta", 3.5):
        with pytest.raises(codec.BackendError, match="is not available"):
            codec.load(path, backend="torch", device=device)


def test_torch_decodes_a_bitrate_that_varies(tmp_path, model):
    pytest.importorskip("torch")
    path = write_weights(tmp_path / "w.safetensors", SMALL_CONFIG)
    torch_model = codec.load(path, backend="torch")
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 50, (count, 7), np.uint16) for count in (3, 1, 2)]
    native, torch_ = (m.backend.decode_pieces(pieces) for m in (model, torch_model))
    assert np.abs(native - torch_).max() < 1e-3 * np.abs(native).max()
