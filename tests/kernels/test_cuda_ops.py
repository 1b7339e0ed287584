"""The torch operators: on CPU tensors here, and on CUDA tensors where there is a GPU."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec import mel, rvq  # noqa: E402
from codec.errors import ArrayError, TokensError  # noqa: E402
from codec.kernels import cuda_ops  # noqa: E402
from codec.kernels import torch_ops as ops  # noqa: E402
from tests.helpers.kernel_cases import LENGTHS, SPECS, case, clips_of  # noqa: E402

OPS = torch.ops.codec


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("there is no GPU; test_cuda.py runs the CUDA kernels on a CPU")
        if not cuda_ops.is_built():
            pytest.skip("the CUDA kernels are not built (CODEC_CUDA=1)")
    return str(request.param)


@pytest.mark.parametrize(
    ("n", "q", "k", "d"), [(0, 1, 3, 2), (1, 1, 1, 1), (70, 3, 130, 17), (20_000, 2, 300, 64)]
)
def test_rvq_is_that_of_the_exact_kernels(device: str, n: int, q: int, k: int, d: int) -> None:
    latents, codebooks = case(n, q, k, d)
    books = torch.from_numpy(codebooks).to(device)
    codes = OPS.rvq_encode(torch.from_numpy(latents).to(device), books)
    assert codes.dtype == torch.int64
    expected = rvq.encode(latents, codebooks)
    np.testing.assert_array_equal(codes.cpu().numpy(), expected)
    decoded = OPS.rvq_decode(codes, books).cpu().numpy()
    np.testing.assert_array_equal(decoded, rvq.decode(expected, codebooks))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("frame_major", [False, True])
def test_mel_is_that_of_the_exact_kernels(
    device: str, spec: mel.MelSpec, frame_major: bool
) -> None:
    floats = clips_of(5000)
    for clips in (floats, (floats * 20_000).astype(np.int16)):
        levels = cuda_ops.log_mel(torch.from_numpy(clips).to(device), spec, frame_major)
        expected = mel.log_mel(clips, spec, frame_major=frame_major)
        np.testing.assert_array_equal(levels.cpu().numpy(), expected)


@pytest.mark.parametrize("n_fft", LENGTHS)
def test_every_kind_of_length_fits(device: str, n_fft: int) -> None:
    spec = dataclasses.replace(mel.WHISPER_80, n_fft=n_fft, n_mels=min(n_fft // 2, 40))
    assert cuda_ops.fits(spec)
    clips = clips_of(3 * n_fft + 200)
    levels = cuda_ops.log_mel(torch.from_numpy(clips).to(device), spec)
    np.testing.assert_array_equal(levels.cpu().numpy(), mel.log_mel(clips, spec))


def test_operators_are_registered_as_torch_wants_them() -> None:
    """Schemas, shapes of fake tensors, and gradients, which torch.compile relies on."""
    latents, codebooks = map(torch.from_numpy, case(30, 3, 50, 8))
    codes = OPS.rvq_encode(latents, codebooks)
    torch.library.opcheck(OPS.rvq_encode.default, (latents, codebooks))
    torch.library.opcheck(OPS.rvq_decode.default, (codes, codebooks.clone().requires_grad_()))
    clips = torch.from_numpy(clips_of(2000))
    text = cuda_ops.spec_text(SPECS["torchaudio"])
    for spec, frame_major in (("speech-40hz", False), (text, True)):
        torch.library.opcheck(OPS.log_mel.default, (clips, spec, frame_major))


def test_decoding_has_the_gradient_of_plain_torch(device: str) -> None:
    latents, codebooks = (torch.from_numpy(part).to(device) for part in case(40, 3, 20, 6))
    codes = OPS.rvq_encode(latents, codebooks)
    grads = []
    for decode in (OPS.rvq_decode, ops.rvq_decode):
        books = codebooks.clone().requires_grad_()
        decode(codes, books).square().sum().backward()
        grads.append(books.grad)
    torch.testing.assert_close(*grads)


def test_bad_values_are_the_errors_of_the_exact_kernels() -> None:
    latents, codebooks = map(torch.from_numpy, case(3, 1, 5, 2))
    with pytest.raises(ArrayError, match="float64"):
        OPS.rvq_encode(latents.double(), codebooks)
    with pytest.raises(TokensError, match="0 to 4"):
        OPS.rvq_decode(torch.tensor([[5]]), codebooks)
