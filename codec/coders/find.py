"""Finds the coder for a name, for a number in a file, or the best one that a model has data for."""

from __future__ import annotations

import contextlib
from pathlib import Path

from codec.coders.base import CODER_IDS, CODER_NAMES, Coder, RawCoder
from codec.errors import BackendError, FormatError, ModelError, OptionError

PREFERRED = ("fast", "raw")


def load_coder(
    coder: str | int | None,
    codebook_size: int,
    weights: Path | None = None,
    model_id: bytes | None = None,
) -> Coder:
    """Return the coder of that name, or of that number in a file.

    coder: None for the first of `PREFERRED` whose data are available.
    weights: the model's safetensors file, beside which a coder's own data lie; None for a model
        without a file. model_id: of the model; None for that of `weights`.

    Raises OptionError on an unknown name, FormatError on an unknown number, ModelError if the
    coder's data are missing.
    """
    if coder is None:
        for name in PREFERRED:
            with contextlib.suppress(ModelError, BackendError):
                return load_coder(name, codebook_size, weights, model_id)
        coder = RawCoder.coder_id
    if isinstance(coder, str):
        if coder not in CODER_IDS:
            raise OptionError(f"effort is one of {', '.join(CODER_IDS)}, not {coder!r}")
        coder = CODER_IDS[coder]
    if coder == RawCoder.coder_id:
        return RawCoder(codebook_size)
    if coder not in CODER_NAMES:
        raise FormatError(f"coder {coder}, which this codec does not know")
    if weights is None:
        raise ModelError(f"the model has no data for the coder {CODER_NAMES[coder]!r}")
    try:
        from codec.coders import entropy
    except ImportError as error:
        if getattr(error, "name", None) not in (__package__, f"{__package__}._entropy"):
            raise
        raise BackendError("the entropy coders are not installed: they need a C compiler") from None
    return entropy.load(weights, coder, model_id=model_id)
