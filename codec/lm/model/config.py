"""The shape of a language model of audio, as JSON in its weights file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from codec.errors import ModelError
from codec.model.limits import MAX_CODEBOOK_SIZE, MAX_CODEBOOKS

MAX_SIZE = 1 << 16  # of any other number: more than any model has, and few enough to allocate


@dataclasses.dataclass(frozen=True)
class LmConfig:
    """The dimensions of a model. Raises ModelError where they make no sense.

    codec: the model id, 16 hexadecimal digits, of the codec whose codes it models ("": any).
    levels, codebook_size, frame_rate: of those codes; the model knows the first `levels` only.
    width, layers, heads, hidden: of the transformer over frames. depth_hidden: of the small
        network for each level.
    context: frames that a frame can look back on, itself included.
    voice_frames: the frames of a voice that training shows.
    phones: ids of phones, 0 ("none") included. tags: the words that can be asked for.
    """

    codec: str = ""
    levels: int = 4
    codebook_size: int = 1024
    frame_rate: float = 25.0
    width: int = 256
    layers: int = 5
    heads: int = 4
    hidden: int = 704
    depth_hidden: int = 384
    context: int = 256
    voice_frames: int = 75
    phones: int = 41
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.type == "int"
        }
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZE:
                raise ModelError(f"a language model cannot have {name} = {value!r}")
        if self.levels > MAX_CODEBOOKS or self.codebook_size > MAX_CODEBOOK_SIZE:
            raise ModelError(f"no codec has {self.levels} levels of {self.codebook_size} codes")
        if self.width % self.heads or self.width // self.heads % 2:
            raise ModelError(f"a width of {self.width} does not divide into {self.heads} heads")
        if not isinstance(self.frame_rate, int | float) or not 0 < self.frame_rate < 1e6:
            raise ModelError(f"{self.frame_rate!r} frames a second make no sense")
        words = self.tags
        if not all(isinstance(word, str) and word for word in words) or len({*words}) < len(words):
            raise ModelError("tags are words, each of them once")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LmConfig:
        """Invert `to_json`. Raises ModelError."""
        try:
            fields = json.loads(text)
            return cls(**{**fields, "tags": tuple(fields["tags"])})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ModelError(f"not the configuration of a language model: {error}") from None


# "tiny" is for tests. "small" (12 M parameters) runs in real time on one core.
PRESETS: Mapping[str, dict[str, Any]] = {
    "tiny": {"width": 32, "layers": 2, "heads": 2, "hidden": 64, "depth_hidden": 32, "context": 48},
    "small": {"layers": 8},
    "base": {"width": 448, "layers": 10, "heads": 7, "hidden": 1216, "depth_hidden": 640},
}


def preset(name: str, **changes: Any) -> LmConfig:
    """Return the configuration of that name, changed. Raises ModelError on an unknown name."""
    if name not in PRESETS:
        raise ModelError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    try:
        return LmConfig(**{**PRESETS[name], **changes})
    except TypeError as error:
        raise ModelError(f"not a setting of a language model: {error}") from None
