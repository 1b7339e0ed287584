"""The model as torch operators: on the CPU, on the stand-in for CUDA, and on a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("codec.engine._engine")

from torch import Tensor  # noqa: E402

from bench.random_weights import SMALL, STEREO, noise, write_weights  # noqa: E402
from codec.engine import torch_ops as ops  # noqa: E402
from codec.engine.cuda import CudaBackend  # noqa: E402
from codec.engine.native import NativeBackend  # noqa: E402
from codec.errors import AudioError, BackendError, BitrateError, ModelError, TokensError  # noqa: E402
from codec.model.receptive_field import decoder_reach, encoder_reach  # noqa: E402

OPS = torch.ops.codec
HOP, Q, K = SMALL.hop_length, SMALL.n_codebooks, SMALL.codebook_size
LENGTHS = [70 * HOP + 3, 1, 0, 9 * HOP, 70 * HOP]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    return str(write_weights(path, SMALL))


@pytest.fixture(scope="module")
def native(weights: str) -> NativeBackend:
    return NativeBackend(Path(weights), "scalar")


# The stand-in is compiled, as everywhere; `conftest.py` does not see that this fixture asks for it.
@pytest.fixture(params=["cpu", pytest.param("stand-in", marks=pytest.mark.slow), "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, weights: str) -> str:
    """Where tensors lie; the stand-in's memory is the CPU's, and its batches cut long items."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("there is no GPU")
        try:
            CudaBackend(Path(weights))
        except BackendError as error:
            pytest.skip(str(error))
    if request.param != "stand-in":
        return str(request.param)
    library = request.getfixturevalue("cuda_stand_in")
    monkeypatch.setenv("CODEC_CUDA_LIBRARY", os.fspath(library))
    frames = max(sum(encoder_reach(SMALL)), sum(decoder_reach(SMALL))) + 9
    backend = CudaBackend(Path(weights), batch_frames=frames)
    monkeypatch.setattr(
        ops, "encode",
        lambda audio, _, count, lengths=None: ops.queue_encode(backend, audio, count, lengths, 0),
    )  # fmt: skip
    monkeypatch.setattr(
        ops, "decode", lambda codes, _, lengths=None: ops.queue_decode(backend, codes, lengths, 0)
    )
    return "cpu"


def ragged(device: str) -> Tensor:
    """A batch of LENGTHS, with noise behind the end of each item too."""
    return torch.stack([torch.from_numpy(noise(max(LENGTHS), i)) for i in range(5)]).to(device)


def test_a_ragged_batch_is_its_items(device: str, weights: str, native: NativeBackend) -> None:
    audio = ragged(device)
    codes = ops.encode(audio, weights, 3, LENGTHS)
    assert codes.shape == (5, 3, 71)
    assert (codes.dtype, codes.device) == (torch.int64, audio.device)
    frames = [-(-n // HOP) for n in LENGTHS]
    decoded = ops.decode(codes, weights, frames)
    assert decoded.shape == (5, 71 * HOP)
    for i, (n, count) in enumerate(zip(LENGTHS, frames, strict=True)):
        expected = native.encode(audio[i, :n].cpu().numpy(), 3)
        np.testing.assert_array_equal(codes[i, :, :count].cpu(), expected)
        samples = decoded[i, : count * HOP].cpu().numpy()
        np.testing.assert_array_equal(
            samples.view(np.uint32), native.decode(expected).view(np.uint32)
        )
        assert not codes[i, :, count:].any()
        assert not decoded[i, count * HOP :].any()


def test_a_batch_of_one_length_and_other_strides(
    device: str, weights: str, native: NativeBackend
) -> None:
    audio = ragged(device)[1:3, : 5 * HOP]
    for given in (audio, audio.repeat(1, 2)[:, : 5 * HOP], audio.T.contiguous().T):
        codes = ops.encode(given, weights, Q)
        for i in range(2):
            np.testing.assert_array_equal(codes[i].cpu(), native.encode(audio[i].cpu().numpy(), Q))
    whole = ops.decode(codes, weights)
    torch.testing.assert_close(
        ops.decode(codes.transpose(1, 2).contiguous().transpose(1, 2), weights), whole,
        rtol=0, atol=0,
    )  # fmt: skip
    fewer = ops.decode(codes[:, :2], weights)[0].cpu().numpy()
    np.testing.assert_array_equal(fewer, native.decode(codes[0, :2].cpu().numpy()))


def test_nothing_gives_nothing(device: str, weights: str) -> None:
    for shape in ((0, 100), (2, 0)):
        codes = ops.encode(torch.zeros(shape, device=device), weights, 2)
        assert codes.shape == (shape[0], 2, -(-shape[1] // HOP))
        assert ops.decode(codes, weights).shape == (shape[0], codes.shape[2] * HOP)
    assert not ops.encode(torch.ones(2, 100, device=device), weights, 2, [0, 0]).any()


def test_bad_arguments_are_named(device: str, weights: str) -> None:
    audio = torch.zeros(2, 100, device=device)
    wrong = (audio[0], audio.double(), audio[None])
    calls: list[tuple[type[Exception], Callable[[], object]]] = [
        *((AudioError, lambda x=x: ops.encode(x, weights, 2)) for x in wrong),
        *((AudioError, lambda n=n: ops.encode(audio, weights, 2, n)) for n in ([1], [1, 101])),
        *((BitrateError, lambda n=n: ops.encode(audio, weights, n)) for n in (0, Q + 1)),
    ]
    codes = torch.zeros(2, Q, 4, dtype=torch.int64, device=device)
    bad = (codes[0], codes.int(), codes[:, :0], codes.repeat(1, 2, 1))
    calls += [
        *((TokensError, lambda c=c: ops.decode(c, weights)) for c in bad),
        *((TokensError, lambda n=n: ops.decode(codes, weights, n)) for n in ([5, 1], [-1, 1], [])),
    ]
    for error, call in calls:
        with pytest.raises(error, match=r"audio is|are|codebooks"):
            call()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_spoil_their_item_only(
    device: str, weights: str, value: float, request: pytest.FixtureRequest
) -> None:
    audio = ragged(device)[:, : 20 * HOP]
    good = ops.encode(audio, weights, 2)
    spoilt = audio.clone()
    spoilt[1, 5] = value
    if request.node.callspec.params["device"] == "cpu":
        with pytest.raises(AudioError, match="finite"):
            ops.encode(spoilt, weights, 2)
    else:
        codes = ops.encode(spoilt, weights, 2)
        assert (codes[1] == -1).all()
        assert torch.equal(codes[[0, 2, 3, 4]], good[[0, 2, 3, 4]])
        assert torch.isnan(ops.decode(codes, weights)[1]).all()
    cut = ops.encode(spoilt, weights, 2, [20 * HOP, 5, *[20 * HOP] * 3])  # it lies beyond the end
    assert torch.equal(cut[[0, 2, 3, 4]], good[[0, 2, 3, 4]])
    assert (cut[1, :, 0] >= 0).all()


@pytest.mark.parametrize("code", [-1, K, 1 << 40])
def test_codes_that_are_not_in_the_codebook_spoil_their_item_only(
    device: str, weights: str, code: int, request: pytest.FixtureRequest
) -> None:
    codes = torch.randint(K, (3, 2, 8), generator=torch.Generator().manual_seed(0)).to(device)
    good = ops.decode(codes, weights)
    spoilt = codes.clone()
    spoilt[1, 1, 6] = code
    if request.node.callspec.params["device"] == "cpu":
        with pytest.raises(TokensError, match="codes are 0 to"):
            ops.decode(spoilt, weights)
    else:
        audio = ops.decode(spoilt, weights)
        assert torch.isnan(audio[1]).all()
        assert torch.equal(audio[[0, 2]], good[[0, 2]])
    cut = ops.decode(spoilt, weights, [8, 6, 8])
    assert torch.equal(cut[[0, 2]], good[[0, 2]])
    assert torch.isfinite(cut).all()


def test_calls_that_wait_and_calls_that_do_not_take_turns(
    cuda_stand_in: Path, weights: str, native: NativeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEC_CUDA_LIBRARY", str(cuda_stand_in))
    backend = CudaBackend(Path(weights), batch_frames=60)
    audio = ragged("cpu")[:2, : 20 * HOP]
    expected = [native.encode(item.numpy(), 2) for item in audio]
    for _ in range(2):
        queued = ops.queue_encode(backend, audio, 2, None, 0)
        waited = backend.encode_many([item.numpy() for item in audio], 2)
        for one, two, three in zip(queued.numpy(), waited, expected, strict=True):
            np.testing.assert_array_equal(one, three)
            np.testing.assert_array_equal(two, three)


def test_operators_are_registered_as_torch_wants_them(weights: str) -> None:
    """Schemas, and shapes of fake tensors, which torch.compile relies on."""
    audio = ragged("cpu")[:2, : 5 * HOP + 1]
    codes = OPS.encode(audio, weights, 2)
    torch.library.opcheck(OPS.encode.default, (audio, weights, 2))
    torch.library.opcheck(OPS.encode.default, (audio, weights, 2, [7, 5 * HOP]))
    torch.library.opcheck(OPS.decode.default, (codes, weights))
    torch.library.opcheck(OPS.decode.default, (codes, weights, [1, 6]))


def test_it_compiles_without_a_break_of_the_graph(weights: str) -> None:
    def there_and_back(audio: Tensor) -> Tensor:
        codes = OPS.encode(audio * 0.5, weights, 2)
        return OPS.decode(codes.clamp(max=K - 2), weights)[:, : audio.shape[1]] + 1

    compiled = torch.compile(there_and_back, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (3 * HOP, 4 * HOP + 1):
        audio = ragged("cpu")[:2, :n]
        torch.testing.assert_close(compiled(audio), there_and_back(audio), rtol=0, atol=0)
    assert OPS.encode.default.tags == OPS.decode.default.tags
    assert torch.Tag.cudagraph_unsafe in OPS.encode.default.tags


def test_all_codebooks_by_default(weights: str) -> None:
    assert ops.encode(ragged("cpu")[:1], weights).shape[1] == Q


def test_a_model_of_two_channels_together_is_refused(tmp_path: Path) -> None:
    path = str(write_weights(tmp_path / "stereo.safetensors", STEREO))
    with pytest.raises(ModelError, match="one channel at a time"):
        OPS.decode(torch.zeros(1, 3, 2, dtype=torch.int64), path)
    with pytest.raises(ModelError, match="one channel at a time"):
        OPS.encode(torch.zeros(1, 5000), path, 3)
