"""Reads the weights of a model: a safetensors file as `codec export` writes it."""

from __future__ import annotations

import contextlib
import functools
import mmap
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from codec.errors import ModelError
from codec.model import codebooks
from codec.model.config import ModelConfig
from codec.model.identity import model_id

Floats = npt.NDArray[np.float32]
Tensors = Mapping[str, npt.NDArray[Any]]
T = TypeVar("T")

# The quantiser's codebooks: one tensor of the network, two in the file, which `codebooks.unpack`
# turns into the first.
CODEBOOKS, CODEWORDS, SCALES = "quantiser.codebooks", "quantiser.codewords", "quantiser.scales"

# Tensors of the quantiser that only training needs; the file does not have them.
TRAINING_ONLY = ("quantiser.counts", "quantiser.sums")


class WeightsFile:
    """The weights at `path`; tensors are read when they are needed. Safe to share between threads.

    Raises ModelError if the file is damaged or has no configuration. Tensors that do not fit the
    configuration are found later, when they are read, and so is a file that has changed since.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._state = _state_of(path)
        with self._opened() as file:
            config = (file.metadata() or {}).get("config")
        if config is None:
            raise ModelError(f"{path.name} has no model configuration: not weights of codec")
        self.config = ModelConfig.from_json(config)
        self._codebooks: Floats | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self._path.name

    @functools.cached_property
    def model_id(self) -> bytes:
        """The 8 bytes of `codec.model.identity.model_id`."""
        with self.mapped() as data:
            return model_id(data, self.config)

    @contextlib.contextmanager
    def mapped(self) -> Iterator[mmap.mmap]:
        """The bytes of the file, until the context ends. Raises ModelError."""
        with _mapped(self._path) as data:
            yield data
            self._check_unchanged()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """Open the file, which stays the one that it was at first. Raises ModelError."""
        self._check_unchanged()
        with _open(self._path) as file:
            yield file
            self._check_unchanged()

    def _check_unchanged(self) -> None:
        """Raise ModelError if the file is another one now: parts of two models make no model.

        A copy of it, or one that was only touched, is none, if the model's name was asked for by
        then, as `codec.load` does.
        """
        state = _state_of(self._path)
        if state == self._state:
            return
        known = self.__dict__.get("model_id")
        with _mapped(self._path) as data:
            if known is None or model_id(data, self.config) != known:
                raise changed(self.name)
        self._state = state

    @property
    def codebooks(self) -> Floats:
        """The quantiser's codewords, float32 [codebooks, codewords, dim]: one copy in memory.

        Raises ModelError.
        """
        with self._lock:
            if self._codebooks is None:
                self._codebooks = self.read(self._unpack)
            return self._codebooks

    def read(self, work: Callable[[Tensors], T]) -> T:
        """Return what `work` makes of the tensors. Raises ModelError, as every error is theirs.

        The tensors are read from the mapped file when asked for by name: integers as they are, all
        others in float32. A name that is missing and values that are not finite are errors.
        """
        try:
            with self._opened() as file, np.errstate(divide="raise", invalid="raise"):
                return self._done(work, _Tensors(file))
        except (TypeError, ValueError, ArithmeticError, SafetensorError) as error:
            raise ModelError(f"{self.name} does not fit its configuration: {error}") from None

    def _done(self, work: Callable[[Tensors], T], tensors: Tensors) -> T:
        try:
            return work(tensors)
        except ModelError as error:
            raise ModelError(f"{self.name}: {error}") from None

    def _unpack(self, tensors: Tensors) -> Floats:
        books = codebooks.unpack(tensors[CODEWORDS], tensors[SCALES])
        config = self.config
        if books.shape != (config.n_codebooks, config.codebook_size, config.latent_dim):
            raise ModelError(f"codebooks of shape {list(books.shape)} are not the model's")
        return books


def changed(name: str) -> ModelError:
    """Make the error of weights that are no longer those that were loaded."""
    return ModelError(f"{name} has changed since it was loaded: load it again")


def _state_of(path: Path) -> tuple[int, ...]:
    """Return what tells a file from another one of its name, or from what it was. Raises ModelError
    if there is none."""
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror or error}") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from None
    with data:
        yield data


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        opened = safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} is damaged, or not a safetensors file: {error}") from None
    with opened as file:
        yield file


class _Tensors(Mapping[str, npt.NDArray[Any]]):
    """The tensors of an open safetensors file, each read and checked when asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = frozenset(file.keys())

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._names:
            raise ModelError(f"{name} is missing")
        tensor = cast("npt.NDArray[Any]", self._file.get_tensor(name))
        if tensor.dtype.kind == "i":
            return tensor
        tensor = tensor.astype(np.float32)
        if not np.isfinite(tensor).all():
            raise ModelError(f"{name} has values that are not finite numbers")
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
