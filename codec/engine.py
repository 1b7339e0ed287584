"""The native engine: weights in; tokens and audio out, the same bits on every machine.

This is the definition of the codec: tokens do not depend on the instruction set, the number of
threads, or how the audio was cut into pieces. It needs no torch.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from codec import _engine, codebooks
from codec.backend import MODEL_ID_BYTES
from codec.config import ModelConfig
from codec.errors import AudioError, BackendError, BitrateError, ModelError, TokensError
from codec.kernels import engine_tables

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]
Weights = Mapping[str, Any]

# A span costs its context twice over; shorter ones than this many contexts are not worth a thread.
SPAN_CONTEXTS = 4
T = TypeVar("T")


class UnsupportedModelError(ModelError):
    """Good weights of a model that the engine has not all parts of; torch runs it."""


class NativeBackend:
    """A `codec.backend.Backend` in C. Safe to share between threads.

    weights: a safetensors file as `codec export` writes it. isa: one of `isas()`; by default the
    environment's CODEC_ISA, else the widest. block: frames worked on together, which changes speed
    and memory, never a bit.

    Raises ModelError if the weights are damaged or do not fit their configuration (in part on
    first use), UnsupportedModelError if they have parts that only torch runs, BackendError if this
    CPU does not have the instruction set.
    """

    def __init__(self, weights: Path, isa: str | None = None, block: int = _engine.BLOCK) -> None:
        isa = isa or os.environ.get("CODEC_ISA") or None
        if isa is not None and isa not in isas():
            raise BackendError(f"this CPU runs {', '.join(isas())}, not {isa}")
        if block < 1:
            raise BackendError(f"a block is 1 frame or more, not {block}")
        self._isa, self._block = isa, block
        self._path = weights
        self._config, self._model_id = _identify(weights)
        if not supports(self._config):
            raise UnsupportedModelError(
                f"{weights.name}: the native engine has no head {self._config.head!r}"
            )
        self._lock = threading.Lock()
        self._encoder: _engine.Encoder | None = None
        self._decoder: _engine.Decoder | None = None

    @property
    def config(self) -> ModelConfig:
        return self._config

    @property
    def model_id(self) -> bytes:
        return self._model_id

    @property
    def isa(self) -> str:
        """The instruction set that runs."""
        return self._isa or isas()[-1]

    @property
    def encoder(self) -> _engine.Encoder:
        """The encoder's half of the network, its weights packed on first use."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._build(_encoder)
            return self._encoder

    @property
    def decoder(self) -> _engine.Decoder:
        """The decoder's half of the network, its weights packed on first use."""
        with self._lock:
            if self._decoder is None:
                self._decoder = self._build(_decoder)
            return self._decoder

    def encode(self, audio: Floats, n_codebooks: int, threads: int = 1) -> Codes:
        """Codes uint16 [n_codebooks, config.n_frames(samples)] of `audio` float32 [samples].

        Long audio is cut into spans for `threads` threads; the codes stay the same.
        Raises AudioError, BitrateError.
        """
        samples = check_audio(audio)
        check_codebooks(n_codebooks, self.config)
        encoder = self.encoder
        hop = self.config.hop_length

        def encode_span(first: int, last: int) -> Codes:
            start, end = max(0, first - encoder.context), last * hop + encoder.lookahead
            state = np.empty(encoder.state_size, np.int64)
            encoder.reset(state)
            codes = encoder.push(state, samples[start * hop : end], n_codebooks)
            if end >= len(samples):
                codes = np.concatenate([codes, encoder.flush(state, n_codebooks)], axis=1)
            return codes[:, first - start : last - start]

        spans = _spans(self.config.n_frames(len(samples)), encoder.context, threads)
        return _joined(encode_span, spans, axis=1)

    def decode(self, codes: Codes, threads: int = 1) -> Floats:
        """Audio float32 [frames * config.hop_length] of `codes` uint16 [1 to Q, frames].

        Long audio is cut into spans for `threads` threads; the samples stay the same.
        Raises TokensError.
        """
        codes = check_codes(codes, self.config)
        decoder = self.decoder
        hop, total = self.config.hop_length, codes.shape[1]
        ahead = -(-decoder.lookahead // hop)

        def decode_span(first: int, last: int) -> Floats:
            start, end = max(0, first - decoder.context), last + ahead
            state = np.empty(decoder.state_size, np.int64)
            decoder.reset(state)
            audio = decoder.push(state, np.ascontiguousarray(codes[:, start:end]))
            if end >= total:
                audio = np.concatenate([audio, decoder.flush(state)])
            return audio[(first - start) * hop : (last - start) * hop]

        return _joined(decode_span, _spans(total, decoder.context, threads), axis=0)

    def _build(self, make: Callable[[ModelConfig, Weights, str | None, int], T]) -> T:
        """`make` of the weights, of which it reads what it needs."""
        try:
            with _open(self._path) as file, np.errstate(divide="raise", invalid="raise"):
                return make(self._config, _Tensors(file), self._isa, self._block)
        except ModelError as error:
            raise ModelError(f"{self._path.name}: {error}") from None
        except (TypeError, ValueError, ArithmeticError, SafetensorError) as error:
            raise ModelError(f"{self._path.name} does not fit its configuration: {error}") from None


def isas() -> tuple[str, ...]:
    """Names of the instruction sets that this CPU runs, of scalar, avx2, avx512 and neon."""
    return _engine.isas()


def supports(config: ModelConfig) -> bool:
    """Whether the engine has every part of such a model."""
    return config.head == "gain_shape"


def check_audio(audio: Floats) -> Floats:
    """`audio`, contiguous. Raises AudioError unless it is float32 [samples], all finite."""
    samples = np.ascontiguousarray(audio)
    if samples.dtype != np.float32 or np.ndim(audio) != 1:
        raise AudioError(f"audio is float32 [samples], not {samples.dtype} {list(np.shape(audio))}")
    if not np.isfinite(samples).all():
        raise AudioError("audio has samples that are not finite numbers")
    return samples


def check_codebooks(n_codebooks: int, config: ModelConfig) -> None:
    """Raises BitrateError unless the model has as many."""
    if not 1 <= n_codebooks <= config.n_codebooks:
        raise BitrateError(f"{n_codebooks} codebooks; the model has 1 to {config.n_codebooks}")


def check_codes(codes: Codes, config: ModelConfig) -> Codes:
    """`codes`, contiguous uint16. Raises TokensError unless they are [1 to Q, frames], in range."""
    array = np.asarray(codes)
    if array.ndim != 2 or not 1 <= len(array) <= config.n_codebooks or array.dtype.kind not in "iu":
        raise TokensError(
            f"codes are integers [1 to {config.n_codebooks}, frames], "
            f"not {array.dtype} {list(array.shape)}"
        )
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < config.codebook_size:
        raise TokensError(f"codes are 0 to {config.codebook_size - 1}")
    return np.ascontiguousarray(array, np.uint16)


def _spans(total: int, context: int, threads: int) -> list[tuple[int, int]]:
    """Cuts `total` frames for `threads` threads: [(first, last), ...]."""
    count = max(1, min(threads, total // max(1, SPAN_CONTEXTS * context)))
    edges = [total * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def _joined(
    work: Callable[[int, int], npt.NDArray[Any]], spans: list[tuple[int, int]], axis: int
) -> npt.NDArray[Any]:
    if len(spans) == 1:
        return work(*spans[0])
    with ThreadPoolExecutor(len(spans)) as pool:
        return np.concatenate(list(pool.map(lambda span: work(*span), spans)), axis=axis)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} is damaged, or not a safetensors file: {error}") from None


def _identify(path: Path) -> tuple[ModelConfig, bytes]:
    """The configuration in a weights file, and the start of the hash of the file."""
    with _open(path) as file:
        config = (file.metadata() or {}).get("config")
    if config is None:
        raise ModelError(f"{path.name} has no model configuration: not weights of codec")
    with path.open("rb") as whole, mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ) as data:
        model_id = hashlib.sha256(data).digest()[:MODEL_ID_BYTES]
    return ModelConfig.from_json(config), model_id


class _Tensors(Mapping[str, Floats]):
    """The tensors of an open safetensors file, read from the mapped file when asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = list(file.keys())

    def __getitem__(self, name: str) -> Floats:
        if name not in self._names:
            raise ModelError(f"{name} is missing")
        tensor = self._file.get_tensor(name)
        if tensor.dtype.kind not in "fi" or not np.isfinite(tensor).all():
            raise ModelError(f"{name} has values that are not finite numbers")
        return cast(Floats, tensor.astype(np.float32))

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


def _encoder(config: ModelConfig, tensors: Weights, isa: str | None, block: int) -> _engine.Encoder:
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
        "codebooks": _codebooks(config, tensors),
    }
    return _engine.Encoder(config, tables, weights, isa, block)


def _decoder(config: ModelConfig, tensors: Weights, isa: str | None, block: int) -> _engine.Decoder:
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
    }
    embed = _linear(tensors, "decoder.embed")
    stack = config.hop_length // config.backbone_hop
    weights = {
        "codebooks": _codebooks(config, tensors),
        "embed": {
            "weight": _padded_columns(embed["weight"].T, stack, config.decoder_dim).T,
            "bias": _padded_columns(embed["bias"][None], stack, config.decoder_dim)[0],
        },
        "body": _backbone(tensors, "decoder.backbone", config.decoder_blocks),
        "gain": _linear(tensors, "decoder.head.gain"),
        "shape": _linear(tensors, "decoder.head.shape"),
    }
    return _engine.Decoder(config, tables, weights, isa, block)


def _codebooks(config: ModelConfig, tensors: Weights) -> Floats:
    books = codebooks.unpack(tensors["quantiser.codewords"], tensors["quantiser.scales"])
    if books.shape != (config.n_codebooks, config.codebook_size, config.latent_dim):
        raise ModelError(f"codebooks of shape {list(books.shape)} are not the model's")
    return books
