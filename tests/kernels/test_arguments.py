"""What people pass to the kernels: tensors of every kind, or one named error in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from codec import mel, rvq
from codec.errors import ArrayError, AudioError, BackendError, CodecError, SpecError, TokensError

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
AUDIO = RNG.normal(0, 0.1, 4000).astype(np.float32)
LATENTS = RNG.normal(0, 1, (5, 8)).astype(np.float32)
BOOKS = RNG.normal(0, 1, (3, 16, 8)).astype(np.float32)
CODES = RNG.integers(0, 16, (3, 5))

CALLS: dict[str, tuple[np.ndarray, Callable[[Any], np.ndarray], type[CodecError]]] = {
    "log_mel": (AUDIO, mel.log_mel, AudioError),
    "push": (AUDIO, lambda audio: mel.MelStream("speech-40hz").push(audio), AudioError),
    "latents": (LATENTS, lambda latents: rvq.encode(latents, BOOKS), ArrayError),
    "codebooks": (BOOKS, lambda books: rvq.encode(LATENTS, books), ArrayError),
    "prepared": (BOOKS, lambda books: rvq.Codebooks(books).values, ArrayError),
    "codes": (CODES, lambda codes: rvq.decode(codes, BOOKS), TokensError),
}


class Hostile:
    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("no\nway")


WRONG: dict[str, Callable[[np.ndarray], Any]] = {
    "sparse": lambda array: torch.tensor(array).to_sparse(),
    "meta": lambda array: torch.tensor(array).to("meta"),
    "objects": lambda array: array.astype(object),
    "ragged": lambda array: [[1.0], [2.0, 3.0]],
    "hostile": lambda array: Hostile(),
}


@pytest.mark.parametrize("name", CALLS)
def test_tensors_are_taken_as_arrays_are(name: str) -> None:
    array, call, _ = CALLS[name]
    tensor = torch.tensor(array)
    if tensor.is_floating_point():
        tensor.requires_grad_()
    assert np.array_equal(call(tensor), call(array))


@pytest.mark.parametrize("kind", [">f4", "f8", "f2", "list"])
@pytest.mark.parametrize("name", CALLS)
def test_floats_of_any_width_are_rounded_to_float32(name: str, kind: str) -> None:
    array, call, error = CALLS[name]
    if error is TokensError:
        return  # codes are integers
    given = (array * 1.01).tolist() if kind == "list" else (array * 1.01).astype(kind)
    assert np.array_equal(call(given), call(np.asarray(given).astype(np.float32)))


@pytest.mark.parametrize("name", CALLS)
def test_bfloat16_is_taken_as_the_values_it_holds(name: str) -> None:
    array, call, error = CALLS[name]
    tensor = torch.tensor(array).bfloat16()
    if error is TokensError:  # floats of any width are no codes
        with pytest.raises(TokensError):
            call(tensor)
    else:
        assert np.array_equal(call(tensor), call(tensor.float().numpy()))


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array_is_named_in_one_line(name: str, kind: str) -> None:
    array, call, error = CALLS[name]
    with pytest.raises(error) as caught:
        call(WRONG[kind](array))
    assert len(str(caught.value).splitlines()) == 1


def test_choices_of_a_wrong_type_are_named() -> None:
    for wrong in ("x", 2.5, 0, 4, float("nan")):
        with pytest.raises(ArrayError, match="n_codebooks"):
            rvq.encode(LATENTS, BOOKS, n_codebooks=wrong)  # type: ignore[arg-type]
    first = rvq.encode(LATENTS, BOOKS, n_codebooks=np.int8(2))  # type: ignore[arg-type]
    assert np.array_equal(first, rvq.encode(LATENTS, BOOKS)[:2])
    with pytest.raises(SpecError, match="one of whisper-80"):
        mel.log_mel(AUDIO, ["whisper-80"])  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="one of native"):
        mel.log_mel(AUDIO, backend=["native"])  # type: ignore[arg-type]
