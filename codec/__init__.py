"""A neural audio codec and tokenizer: waveforms to discrete tokens at a fixed rate, and back."""

from codec.api import Codec, load
from codec.errors import (
    AudioError,
    BackendError,
    BitrateError,
    CodecError,
    FormatError,
    ModelError,
    OutputError,
    TokensError,
)
from codec.model.config import ModelConfig
from codec.support.version import __version__
from codec.tokens import Tokens

__all__ = [
    "AudioError",
    "BackendError",
    "BitrateError",
    "Codec",
    "CodecError",
    "FormatError",
    "ModelConfig",
    "ModelError",
    "OutputError",
    "Tokens",
    "TokensError",
    "__version__",
    "load",
]
