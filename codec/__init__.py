"""A neural audio codec and tokenizer: waveforms to discrete tokens at a fixed rate, and back.

import codec

model = codec.load()
tokens = model.encode(audio, sample_rate)
audio = model.decode(tokens)
"""

import importlib
from typing import TYPE_CHECKING, Any

from codec.support.version import __version__

if TYPE_CHECKING:
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

# Where what is public lies, if not in codec.errors. It is imported when it is first asked for: the
# command must be ready for Ctrl-C before NumPy and other large packages are.
_PLACES = {
    "Codec": "codec.api",
    "LatentStreamDecoder": "codec.engine.latents",
    "LatentStreamEncoder": "codec.engine.latents",
    "ModelConfig": "codec.model.config",
    "Recorder": "codec.files.recorder",
    "Release": "codec.model.catalogue",
    "StreamDecoder": "codec.engine.stream",
    "StreamEncoder": "codec.engine.stream",
    "Tokens": "codec.tokens",
    "load": "codec.api",
    "models": "codec.model.catalogue",
    "trim_file": "codec.files.trim",
}

if not TYPE_CHECKING:  # it would be told that this module has any name

    def __getattr__(name: str) -> Any:
        """Import what is public, or a module of the package."""
        if name in __all__:
            place = importlib.import_module(_PLACES.get(name, "codec.errors"))
            value = getattr(place, "releases" if name == "models" else name)
            globals()[name] = value
            return value
        if not name.startswith("_"):
            try:
                return importlib.import_module(f"codec.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"codec.{name}":
                    raise
        raise AttributeError(f"module 'codec' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
