"""Language models of audio: layouts, vocabularies, the Hugging Face bridge, and a small model.

    lm = codec.lm.load()
    for codes in lm.generate(prompt, codec.lm.Conditions(voice=prompt), frames=250, seed=0):
        ...                                     # uint16 [levels, 1], each frame when it is made

The model needs PyTorch, which is imported when it is first asked for.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from codec.errors import MissingPackageError, ModelError
from codec.model.catalogue import FOLDER
from codec.support.arguments import as_path
from codec.support.packages import needed

if TYPE_CHECKING:
    from codec.lm.model.language_model import Conditions, LanguageModel

__all__ = ["Conditions", "LanguageModel", "load"]

DEFAULT_LM = FOLDER / "lm.safetensors"


def load(weights: str | os.PathLike[str] | None = None, *, device: Any = None) -> LanguageModel:
    """Load the language model that the package ships, or that of a .safetensors file.

    device: as `torch.device` takes it; by default the CPU.
    Raises ModelError if the weights are missing or damaged, BackendError if the device is unknown
    or not available, MissingPackageError without PyTorch.
    """
    model = _module()
    from codec.nn.backend import available_device

    found: LanguageModel = model.LanguageModel.read(
        DEFAULT_LM if weights is None else as_path(weights, "weights", ModelError),
        available_device("cpu" if device is None else device),
    )
    return found


def __getattr__(name: str) -> Any:
    if name in ("Conditions", "LanguageModel"):
        return getattr(_module(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def need_torch() -> AbstractContextManager[None]:
    """Raise MissingPackageError if PyTorch, imported in this block, is not installed."""
    return needed(
        "torch", MissingPackageError("language models need PyTorch: pip install 'codec[torch]'")
    )


def _module() -> Any:
    with need_torch():
        import codec.lm.model.language_model as model
    return model
