"""The coders of one model's files, each loaded once."""

from __future__ import annotations

from pathlib import Path

from codec.coders.base import Coder
from codec.coders.find import load_coder
from codec.errors import ModelError
from codec.nac.layout import Header


class Coders:
    """The coders whose data lie beside the weights at `weights`. Threads may share it.

    weights: None for a model without data; then only "raw" is available. model_id: of the model
        to code for; None for that of the weights.
    """

    def __init__(self, weights: Path | None, model_id: bytes | None = None) -> None:
        self._weights, self._model_id = weights, model_id
        self._loaded: dict[tuple[str | int | None, int], Coder] = {}

    def named(self, effort: str | int | None, codebook_size: int) -> Coder:
        """Return the coder of a name, or of a number in a file; None for the best choice.

        Raises OptionError, BackendError, FormatError, ModelError as `load_coder`.
        """
        key = (effort, codebook_size)
        if key not in self._loaded:
            # Two threads that come here at once both load it: either copy will do.
            self._loaded[key] = load_coder(effort, codebook_size, self._weights, self._model_id)
        return self._loaded[key]

    def of(self, header: Header) -> Coder:
        """Return the coder of a file with `header`.

        Raises ModelError unless the coder's data are those that the file was coded with.
        """
        coder = self.named(header.coder_id, header.codebook_size)
        if coder.tables_id != header.tables_id:
            raise ModelError(
                f"coded with tables {header.tables_id.hex()}, but here are {coder.tables_id.hex()}"
            )
        return coder
