"""A neural audio codec and tokenizer: waveforms to discrete tokens at a fixed rate, and back.

import codec

model = codec.load()
tokens = model.encode(audio, sample_rate)
audio = model.decode(tokens)
"""

from codec.api import Codec, load
from codec.engine.latents import LatentStreamDecoder, LatentStreamEncoder
from codec.engine.stream import StreamDecoder, StreamEncoder
from codec.errors import (
    ArrayError,
    AudioError,
    BackendError,
    BitrateError,
    CodecError,
    CodecWarning,
    DataError,
    FormatError,
    LayoutError,
    MetricError,
    MissingPackageError,
    ModelError,
    OptionError,
    OutputError,
    PeerError,
    SpecError,
    StateError,
    TextError,
    TokensError,
    TrainingError,
)
from codec.files.recorder import Recorder
from codec.files.trim import trim_file
from codec.model.catalogue import Release
from codec.model.catalogue import releases as models
from codec.model.config import ModelConfig
from codec.support.version import __version__
from codec.tokens import Tokens

__all__ = [
    "ArrayError",
    "AudioError",
    "BackendError",
    "BitrateError",
    "Codec",
    "CodecError",
    "CodecWarning",
    "DataError",
    "FormatError",
    "LatentStreamDecoder",
    "LatentStreamEncoder",
    "LayoutError",
    "MetricError",
    "MissingPackageError",
    "ModelConfig",
    "ModelError",
    "OptionError",
    "OutputError",
    "PeerError",
    "Recorder",
    "Release",
    "SpecError",
    "StateError",
    "StreamDecoder",
    "StreamEncoder",
    "TextError",
    "Tokens",
    "TokensError",
    "TrainingError",
    "__version__",
    "load",
    "models",
    "trim_file",
]
