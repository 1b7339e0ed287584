"""The weights file of a model, and the two halves of the native engine made from it."""

from __future__ import annotations

import functools
import mmap
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from codec.engine import _engine
from codec.engine import tables as engine_tables
from codec.errors import ModelError
from codec.model import codebooks
from codec.model.config import ModelConfig
from codec.model.identity import model_id

Floats = npt.NDArray[np.float32]
Weights = Mapping[str, Any]
T = TypeVar("T")


class EngineWeights:
    """A safetensors file as `codec export` writes it; tensors are read when they are needed.

    Raises ModelError if it is damaged or has no configuration; what it holds may also turn out not
    to fit later, when a half is made of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _open(path) as file:
            config = (file.metadata() or {}).get("config")
        if config is None:
            raise ModelError(f"{path.name} has no model configuration: not weights of codec")
        self.config = ModelConfig.from_json(config)
        self._codebooks: Floats | None = None
        self._lock = threading.Lock()

    @functools.cached_property
    def model_id(self) -> bytes:
        """The 8 bytes of `codec.model_id.model_id`."""
        with (
            self._path.open("rb") as whole,
            mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return model_id(data, self.config)

    def encoder(self, isa: str | None, block: int) -> _engine.Encoder:
        """The encoder's half, its weights packed. Raises ModelError."""
        tables, weights = self._read(self._encoder)
        return self._checked(lambda: _engine.Encoder(self.config, tables, weights, isa, block))

    def decoder(self, isa: str | None, block: int) -> _engine.Decoder:
        """The decoder's half, its weights packed. Raises ModelError."""
        tables, weights = self._read(self._decoder)
        return self._checked(lambda: _engine.Decoder(self.config, tables, weights, isa, block))

    def codebooks(self) -> Floats:
        """The quantiser's codewords, float32 [codebooks, codewords, dim]. Raises ModelError."""
        with _open(self._path) as file:
            return self._checked(lambda: self._books(_Tensors(file)))

    def _read(self, half: Callable[[Weights], tuple[Weights, Weights]]) -> tuple[Weights, Weights]:
        with _open(self._path) as file:
            return self._checked(lambda: half(_Tensors(file)))

    def _checked(self, work: Callable[[], T]) -> T:
        """`work`, whose errors are the weights' fault."""
        try:
            with np.errstate(divide="raise", invalid="raise"):
                return work()
        except ModelError as error:
            raise ModelError(f"{self._path.name}: {error}") from None
        except (TypeError, ValueError, ArithmeticError, SafetensorError) as error:
            raise ModelError(f"{self._path.name} does not fit its configuration: {error}") from None

    def _encoder(self, tensors: Weights) -> tuple[Weights, Weights]:
        config = self.config
        tables = {
            "long_fft": engine_tables.fft_tables(config.long_fft),
            "short_fft": engine_tables.fft_tables(config.short_fft),
            "long_window": engine_tables.hann(config.long_fft),
            "short_window": engine_tables.hann(config.short_fft),
        }
        project = _linear(tensors, "encoder.project")
        stack = config.hop_length // (config.backbone_hop * config.encoder_stack)
        weights = {
            "mean": tensors["encoder.front.mean"],
            "scale": tensors["encoder.front.scale"],
            "embed": _linear(tensors, "encoder.embed"),
            "body": _backbone(tensors, "encoder.backbone", config.encoder_blocks),
            "project": {
                "weight": _padded_columns(project["weight"], stack, config.encoder_dim),
                "bias": project["bias"],
            },
            "codebooks": self._books(tensors),
        }
        return tables, weights

    def _decoder(self, tensors: Weights) -> tuple[Weights, Weights]:
        config = self.config
        fft = engine_tables.fft_tables(config.synthesis_fft)
        band, lower, upper = engine_tables.band_weights(
            config.gain_bands, config.synthesis_fft, config.sample_rate
        )
        tables = {
            "fft": fft,
            "window": engine_tables.synthesis_window(config.synthesis_fft, config.synthesis_hop),
            "band": band,
            "lower": lower,
            "upper": upper,
            "noise_bin": -(-config.noise_from * config.synthesis_fft // config.sample_rate),
        }
        embed = _linear(tensors, "decoder.embed")
        stack = config.hop_length // config.backbone_hop
        weights = {
            "codebooks": self._books(tensors),
            "embed": {
                "weight": _padded_columns(embed["weight"].T, stack, config.decoder_dim).T,
                "bias": _padded_columns(embed["bias"][None], stack, config.decoder_dim)[0],
            },
            "body": _backbone(tensors, "decoder.backbone", config.decoder_blocks),
            "gain": _linear(tensors, "decoder.head.gain"),
            "shape": _linear(tensors, "decoder.head.shape"),
        }
        return tables, weights

    def _books(self, tensors: Weights) -> Floats:
        """The codebooks, which both halves read: one copy in memory."""
        config = self.config
        with self._lock:
            if self._codebooks is None:
                books = codebooks.unpack(
                    tensors["quantiser.codewords"], tensors["quantiser.scales"]
                )
                if books.shape != (config.n_codebooks, config.codebook_size, config.latent_dim):
                    raise ModelError(f"codebooks of shape {list(books.shape)} are not the model's")
                self._codebooks = books
            return self._codebooks


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} is damaged, or not a safetensors file: {error}") from None


class _Tensors(Mapping[str, npt.NDArray[Any]]):
    """The tensors of an open safetensors file, read from the mapped file when asked for: integers
    as they are, everything else in float32."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = list(file.keys())

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

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _linear(tensors: Weights, name: str) -> Weights:
    return {part: tensors[f"{name}.{part}"] for part in ("weight", "bias")}


def _backbone(tensors: Weights, name: str, n_blocks: int) -> Weights:
    blocks = []
    for i in range(n_blocks):
        block = f"{name}.{i}"
        # each row of `reduce` makes one channel, which the block then scales
        reduce = tensors[f"{block}.reduce.weight"] * tensors[f"{block}.scale"][:, None]
        parts = {part: _linear(tensors, f"{block}.{part}") for part in ("conv", "norm", "expand")}
        blocks.append({**parts, "reduce": {"weight": reduce}})
    return {"blocks": blocks, "norm": _linear(tensors, f"{name}.{n_blocks}")}


def _padded_columns(matrix: Floats, groups: int, dim: int) -> Floats:
    """[rows, groups * dim] -> each group filled up with zeros to a multiple of the engine's panel.

    So wide are the engine's frames, which lie in the groups.
    """
    width = -(-dim // _engine.PANEL_WIDTH) * _engine.PANEL_WIDTH
    padded = np.zeros((len(matrix), groups, width), np.float32)
    padded[:, :, :dim] = matrix.reshape(len(matrix), groups, dim)
    return padded.reshape(len(matrix), groups * width)
