"""Every error that `codec` raises on purpose, each with a message of one line; its warning."""

from __future__ import annotations


class CodecError(Exception):
    """Base of all errors that `codec` raises on purpose; the CLI prints it and exits with 1."""


class CodecWarning(UserWarning):
    """Audio that can be coded, but probably not as it was meant: too loud, or transposed."""


class AudioError(CodecError, ValueError):
    """Audio that cannot be coded: unreadable, empty, not finite, of a wrong shape or dtype."""


class TokensError(CodecError, ValueError):
    """Tokens whose fields do not fit each other or the model: shape, dtype, a code out of range."""


class TextError(CodecError, ValueError):
    """Text that cannot be spoken: without words, or with a word that has no English reading."""


class LayoutError(CodecError, ValueError):
    """Codes or ids that do not fit a layout, or a sequence that a vocabulary did not write."""


class FormatError(CodecError, ValueError):
    """Bytes that are not a .nac file, or one that is damaged or claims more than it holds."""


class ModelError(CodecError):
    """Weights that are missing, damaged, or not those a file was made with."""


class BitrateError(CodecError, ValueError):
    """A bitrate, a number of codebooks or a quality that the model does not have."""


class OptionError(CodecError, ValueError):
    """An option that is out of range or unknown: a number of threads, an effort."""


class OutputError(CodecError):
    """An output that would overwrite something, or cannot be written where it was asked for."""


class DataError(CodecError):
    """Audio to learn from or to tokenise that is missing, or storage that does not answer."""


class TrainingError(CodecError):
    """Training that cannot go on: a loss that is not finite, a checkpoint of another model."""


class ArrayError(CodecError, ValueError):
    """An array argument of a wrong shape or dtype, or with values that are not finite."""


class BackendError(CodecError):
    """A backend or device that is unknown, not installed, not available, or lacks an ability."""


class SpecError(CodecError, ValueError):
    """A mel front end with parameters that make no sense, or that is not implemented."""


class StateError(CodecError, ValueError):
    """A stream that has ended, or a saved state that is damaged or of another model."""


class MetricError(CodecError, ValueError):
    """A metric that has no value for this pair: no speech found, not finite, unequal lengths."""


class MissingPackageError(CodecError):
    """A package that an optional part needs is not installed; the message names the extra."""


class PeerError(CodecError):
    """Another codec that is not installed, or that failed on a clip or a setting."""
