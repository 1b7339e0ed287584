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
from codec.tokens import Tokens

__version__ = "0.1.0"

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
    "load",
]
