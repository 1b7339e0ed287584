"""Every error that `codec` raises on purpose, each with a message of one line."""

from __future__ import annotations


class CodecError(Exception):
    """Base of all errors that `codec` raises on purpose; the CLI prints it and exits with 1."""


class AudioError(CodecError, ValueError):
    """Audio that cannot be coded: unreadable, empty, not finite, of a wrong shape or dtype."""


class TokensError(CodecError, ValueError):
    """Token codes that do not fit the model: wrong shape, dtype, or a code out of range."""


class LayoutError(CodecError, ValueError):
    """Codes or ids that do not fit a layout, or a sequence that a vocabulary did not write."""


class FormatError(CodecError, ValueError):
    """A compressed file that is not one, is damaged, or claims the impossible."""


class ModelError(CodecError):
    """Weights that are missing, damaged, or not those a file was made with."""


class BitrateError(CodecError, ValueError):
    """A bitrate or a number of codebooks that the model does not have."""


class OutputError(CodecError):
    """An output that would overwrite something, or cannot be written where it was asked for."""


class DataError(CodecError):
    """Audio to learn from or to tokenise that is not there, or storage that does not answer."""


class TrainingError(CodecError):
    """Training that cannot go on: a loss that is not finite, a checkpoint of another model."""


class ArrayError(CodecError, ValueError):
    """An array argument of a wrong shape or dtype, or with values that are not finite."""


class BackendError(CodecError):
    """An implementation that is unknown, or whose compiler or library is not there."""


class SpecError(CodecError, ValueError):
    """A front end whose numbers make no sense, or that is not implemented."""


class StateError(CodecError, ValueError):
    """A stream that has ended, or a saved state that is damaged or of another model."""


class MetricError(CodecError, ValueError):
    """A measure that has no value for this pair: no speech found, not finite, unequal lengths."""


class MissingPackageError(CodecError):
    """A package that an optional part needs and that is not installed; names the extra."""


class PeerError(CodecError):
    """Another codec that is missing here, or that failed on a clip or a setting."""
