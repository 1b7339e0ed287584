"""What runs the network: the interface between the codec and its backends, and their choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from codec.errors import BackendError, ModelError
from codec.model.config import ModelConfig
from codec.support.arguments import shown
from codec.support.packages import needed
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]
State = npt.NDArray[np.int64]

_CPU = ("'cpu'", "device(type='cpu')")  # the CPU's name, and PyTorch's object for it


@runtime_checkable
class Backend(Protocol):
    """Audio at the model's rate to codes, and back. Safe to share by threads.

    Audio is one channel, float32 [samples], or for a model with `config.channels` = 2 a left and a
    right channel, [2, samples].
    """

    @property
    def config(self) -> ModelConfig:
        """The dimensions of the model."""

    @property
    def model_id(self) -> bytes:
        """The 8 bytes that name the weights (`codec.model.identity`)."""

    @property
    def streaming(self) -> StreamingBackend | None:
        """This backend as one that codes audio while it arrives; None if it does not."""

    def encode(self, audio: Floats, n_codebooks: int) -> Codes:
        """Encode `audio` [samples], float32 at `config.sample_rate`, to codes
        [n_codebooks, frames].

        frames is `config.n_frames(samples)`. The first k codebooks are the same for every
        `n_codebooks` >= k.
        """

    def decode(self, codes: Codes) -> Floats:
        """Decode `codes` [n_codebooks, frames] to audio [frames * config.hop_length].

        Every delay of the network is compensated: sample i out belongs to sample i in.
        """

    def decode_pieces(self, pieces: Sequence[Codes]) -> Floats:
        """Decode pieces [n_codebooks, frames] that follow one another, as `decode` does: the
        number of codebooks may change from one to the next."""


@runtime_checkable
class BatchBackend(Backend, Protocol):
    """A backend that works on many items at once, as a GPU does."""

    def encode_many(self, audios: Sequence[Floats], n_codebooks: int) -> list[Codes]:
        """`encode` every item, in one call."""

    def decode_many(self, items: Sequence[Codes]) -> list[Floats]:
        """`decode` every item, in one call."""


@runtime_checkable
class BeamSearch(Protocol):
    """What a backend has that searches codes with several paths, up to 64.

    The codes depend on `n_codebooks`: those of fewer are not the first of those of more. `push` and
    `flush` of its `EncoderNetwork`, if it has one, take the paths after the levels.
    """

    def encode_beam(
        self,
        audio: Floats,
        n_codebooks: int,
        beam: int,
        stopped: Callable[[], bool] | None = None,
    ) -> Codes:
        """Encode as `Backend.encode` does, with so many paths. Raises RuntimeError once `stopped()`
        is true, which is asked every few seconds of audio."""


def beam_search(backend: Backend) -> BeamSearch:
    """Return `backend`, which must be able to search with several paths. Raises BackendError."""
    if not isinstance(backend, BeamSearch):
        raise BackendError("this backend has no beam search; native has, on the CPU")
    return backend


@runtime_checkable
class Refinement(Protocol):
    """What a backend has that improves codes by gradient steps through its decoder.

    As those of a `BeamSearch`, the codes depend on `n_codebooks`.
    """

    def check_refinement(self) -> None:
        """Raise BackendError if codes of this model cannot be refined."""

    def encode_refined(
        self,
        audio: Floats,
        n_codebooks: int,
        steps: int,
        first: int,
        last: int,
        beam: int = 1,
        stopped: Callable[[], bool] | None = None,
    ) -> Codes:
        """Encode frames [first, last) of `audio`, at least one, and improve them by `steps` steps,
        each of which searches with 1 to 64 paths.

        They begin at the latents that `Backend.encode` quantises, on which all of `audio` counts;
        the steps see only the samples of these frames. Raises RuntimeError once `stopped()` is
        true, which is asked before each step.
        """


def refinement(backend: Backend) -> Refinement:
    """Return `backend`, which must be able to refine codes. Raises BackendError."""
    if not isinstance(backend, Refinement):
        raise BackendError("this backend cannot refine codes; native can, on the CPU")
    backend.check_refinement()
    return backend


class StreamingRefinement(Refinement, Protocol):
    """A `Refinement` that also improves the codes of audio while it arrives."""

    @property
    def refiner(self) -> RefinedNetwork:
        """What gives the codes of `encode_refined`, a window at a time."""


class Network(Protocol):
    """One half of the network as a stream, whose state is a flat array that the caller keeps."""

    @property
    def state_size(self) -> int:
        """Values of the state."""

    @property
    def lookahead(self) -> int:
        """Samples after the end of a frame on which the frame depends."""

    def reset(self, state: State) -> None:
        """Make `state` that of a stream in which nothing was pushed."""

    def valid(self, state: State) -> bool:
        """Check a `state` from any origin: tell whether this network can go on from it."""

    def ended(self, state: State) -> bool:
        """Tell whether the stream of `state` was flushed."""


class EncoderNetwork(Network, Protocol):
    """Samples in, codes out."""

    def push(self, state: State, audio: Floats, levels: int) -> Codes: ...

    def flush(self, state: State, levels: int) -> Codes: ...

    def push_latents(self, state: State, audio: Floats) -> Floats: ...

    def flush_latents(self, state: State) -> Floats: ...


class RefinedNetwork(Network, Protocol):
    """As an `EncoderNetwork`, with the paths and the steps of a search after the levels; an
    exception between steps leaves the state as it was."""

    def push(self, state: State, audio: Floats, levels: int, beam: int, steps: int) -> Codes: ...

    def flush(self, state: State, levels: int, beam: int, steps: int) -> Codes: ...


class DecoderNetwork(Network, Protocol):
    """Codes in, samples out."""

    def push(self, state: State, codes: Codes) -> Floats: ...

    def push_latents(self, state: State, latents: Floats) -> Floats: ...

    def flush(self, state: State) -> Floats: ...


class StreamingBackend(Backend, Protocol):
    """A backend that codes audio while it arrives: `codec.engine.stream` is built on it."""

    @property
    def encoder(self) -> EncoderNetwork: ...

    @property
    def decoder(self) -> DecoderNetwork: ...


def load_backend(weights: Path, backend: str | None = None, device: Any = None) -> Backend:
    """Load the backend that runs the model at `weights`.

    backend: "native", the definition, exact and fast; "torch", equal to it up to rounding; by
        default the native one where it is installed and knows the model, else torch.
    device: by default the CPU. The native backend also runs on "cuda" or "cuda:1", with the same
        bits, where codec was installed with CODEC_CUDA=1; torch on what `torch.device` takes.

    Raises ModelError if the weights are missing, damaged or cannot run here, BackendError if the
    backend or the device is unknown or not available.
    """
    if backend not in (None, "native", "torch"):
        raise BackendError(f"backend is native or torch, not {shown(backend)}")
    on_gpu = backend != "torch" and str(device).partition(":")[0] == "cuda"
    if device is not None and backend != "torch" and not on_gpu and shown(device) not in _CPU:
        raise BackendError(
            f"the native backend runs on cpu and cuda; for {shown(device)} choose backend='torch'"
        )
    if not weights.is_file():
        raise ModelError(f"{weights}: no such weights")
    if on_gpu:
        return _cuda(weights, device)
    if backend == "torch":
        return _torch(weights, "cpu" if device is None else device)
    try:
        from codec.engine.halves import UnsupportedModelError
        from codec.engine.native import NativeBackend
    except ModuleNotFoundError as error:
        if error.name != "codec.engine._engine":
            raise
        missing = "the native backend is not built: install a C compiler and reinstall codec"
        if backend == "native":
            raise BackendError(missing) from None
        try:
            return _torch(weights, "cpu")
        except BackendError as no_torch:
            raise BackendError(f"{missing}; or {no_torch}") from None
    try:
        return NativeBackend(weights)
    except UnsupportedModelError as error:
        if backend == "native":
            raise
        try:
            return _torch(weights, "cpu")
        except BackendError as no_torch:
            raise ModelError(f"{error}; {no_torch}") from None


def _cuda(weights: Path, device: Any) -> Backend:
    try:
        from codec.engine.cuda import CudaBackend
    except ModuleNotFoundError as error:
        if error.name not in ("codec.engine._engine", "codec.kernels._native"):
            raise
        raise BackendError(
            "the native backend is not built: install a C compiler and reinstall codec"
        ) from None
    return CudaBackend(weights, device)


def _torch(weights: Path, device: Any) -> Backend:
    missing = BackendError("the torch backend needs PyTorch: pip install 'codec[torch]'")
    with needed("torch", missing):
        from codec.nn.backend import TorchBackend
    return TorchBackend(weights, device=device)
