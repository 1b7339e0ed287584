"""What all adapters share: a PyTorch model as a `codec.engine.backend.Backend`."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from codec.errors import BackendError, MissingPackageError, ModelError, TokensError
from codec.model.checks import check_audio, check_codebooks, check_codes
from codec.model.config import ModelConfig
from codec.model.identity import MODEL_ID_BYTES
from codec.support.immutable import Immutable
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

NOTE = (
    "items were coded one at a time and whole; the codes depend on the floating point of the"
    " machine and of its libraries, and may differ where these differ"
)


class AdapterConfig(ModelConfig):
    """The rates and codebooks of another codec. Other fields of ModelConfig mean nothing here."""

    whole: ClassVar[bool] = True

    @property
    def latency(self) -> int:
        """Raises ModelError: it is not known of other people's models."""
        raise ModelError("the latency of this model is not known")


class TorchAdapter(Immutable, abc.ABC):
    """A codec in PyTorch from a folder or the local cache of the Hugging Face hub.

    Threads may share it. It pickles by its name. Nothing is downloaded.

    source: a folder, or an id on the hub. device: as `torch.device` takes it.
    Raises MissingPackageError without its library, ModelError if the checkpoint is not there or
    cannot be loaded, BackendError if the device is not available.
    """

    name: str  # before the colon of `codec.load`
    library: str = "transformers"
    streaming = None

    def __init__(self, source: str, device: Any = None) -> None:
        try:
            import torch
        except ImportError:
            raise MissingPackageError(
                f"{self.name} needs PyTorch: pip install 'codec[torch]'"
            ) from None
        self.source, self._torch = source, torch
        self._asked_device = None if device is None else str(device)
        try:
            self._device = torch.device(device or "cpu")
            self.module: Any = self._load(source).eval().to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise BackendError(f"device {device}: {' '.join(str(error).split())}") from None
        self.config = self._describe()
        self.model_id = _digest(self.module)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (type(self), self.source, self._asked_device, self.model_id)

    def account(self) -> dict[str, Any]:
        """Return what the card of a corpus says of the codes of this model."""
        from importlib import metadata  # of the time that `import codec` takes, it is a sixth

        libraries = {name: metadata.version(name) for name in ("torch", self.library)}
        return {"name": self.name, "note": NOTE, "libraries": libraries}

    @abc.abstractmethod
    def _load(self, source: str) -> Any:
        """Return the module, on the CPU. Raises ModelError, MissingPackageError."""

    @abc.abstractmethod
    def _describe(self) -> AdapterConfig:
        """Return the rates and the codebooks of `self.module`."""

    @abc.abstractmethod
    def _encode(self, audio: Any, n_codebooks: int) -> Any:
        """Encode float32 [samples], a multiple of the hop, to integers [n_codebooks, frames]."""

    @abc.abstractmethod
    def _decode(self, codes: Any) -> Any:
        """Decode int64 [codebooks, frames] to float32 [samples]."""

    def encode(self, audio: Floats, n_codebooks: int) -> Codes:
        """Encode `audio` float32 [samples] to uint16 [n_codebooks, config.n_frames(samples)].

        The audio is continued with silence to a whole frame. Raises AudioError, BitrateError.
        """
        samples = check_audio(audio)
        check_codebooks(n_codebooks, self.config)
        frames, hop = self.config.n_frames(len(samples)), self.config.hop_length
        if not frames:
            return np.zeros((n_codebooks, 0), np.uint16)
        # Some models make a frame less than there are hops, and need another hop of silence.
        for more in range(3):
            padded = np.pad(samples, (0, (frames + more) * hop - len(samples)))
            with self._torch.inference_mode():
                codes = self._encode(self._torch.from_numpy(padded).to(self._device), n_codebooks)
            if codes.shape[-1] >= frames:
                found: Codes = codes[:, :frames].cpu().numpy().astype(np.uint16)
                return np.ascontiguousarray(found)
        raise ModelError(f"{self.name} made {codes.shape[-1]} frames of {frames} hops")

    def decode(self, codes: Codes) -> Floats:
        """Decode `codes` uint16 [1 to Q, frames] to float32 [frames * config.hop_length].

        Raises TokensError.
        """
        checked = check_codes(codes, self.config)
        length = checked.shape[1] * self.config.hop_length
        if not length:
            return np.zeros(0, np.float32)
        given = self._torch.from_numpy(checked.astype(np.int64)).to(self._device)
        with self._torch.inference_mode():
            audio: Floats = self._decode(given).cpu().numpy().astype(np.float32).reshape(-1)
        return np.pad(audio[:length], (0, max(0, length - len(audio))))

    def decode_pieces(self, pieces: Sequence[Codes]) -> Floats:
        """Decode codes [1 to Q, frames] that follow one another and have one number of codebooks.

        Raises TokensError if it changes: these models decode an item in one piece.
        """
        if len({len(codes) for codes in pieces}) > 1:
            raise TokensError(f"{self.name} cannot change the number of codebooks within an item")
        return self.decode(np.concatenate(pieces, axis=1))


def from_transformers(name: str, model_class: str, source: str) -> Any:
    """Load `model_class` of transformers from a folder or the local cache.

    Raises MissingPackageError, ModelError.
    """
    try:
        import transformers
    except ImportError:
        raise MissingPackageError(f"{name} needs transformers: pip install transformers") from None
    kind = getattr(transformers, model_class, None)
    if kind is None:
        raise MissingPackageError(f"{name} needs a newer transformers, with {model_class}")
    try:
        return kind.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        here = Path(source).is_dir()
        why = " ".join(str(error).split())[:200] if here else "not a folder, nor in the local cache"
        raise ModelError(f"{name}: {source}: {why}") from None


def _digest(module: Any) -> bytes:
    """Return the 8 bytes that name the weights: of their names, types, shapes and values."""
    import torch

    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.digest()[:MODEL_ID_BYTES]


def _reopened(
    kind: type[TorchAdapter], source: str, device: str | None, model_id: bytes
) -> TorchAdapter:
    adapter = kind(source, device)
    if adapter.model_id != model_id:
        raise ModelError(f"{source} holds other weights than when this was pickled")
    return adapter
