"""Every dimension of an enhancer, as the metadata of its weights say it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from codec.errors import ModelError


@dataclasses.dataclass(frozen=True)
class EnhancerConfig:
    """Describe a `codec.nn.enhancer.Enhancer`. Raises ModelError on dimensions that do not fit.

    fft, hop: samples of a frame, and from one to the next. bands: in which gains are given. wide:
    bins that get a complex factor. narrow: bins that get shares of a period before and after. The
    rest describes the backbone.
    """

    fft: int = 960
    hop: int = 240
    bands: int = 32
    wide: int = 240
    narrow: int = 160
    dim: int = 256
    hidden: int = 768
    blocks: int = 6
    kernel_size: int = 5
    lookahead: int = 2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = int(name not in ("blocks", "lookahead", "narrow", "wide"))
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ModelError(f"an enhancer's {name} is at least {least}, not {value!r}")
        for name, good in (
            ("hop", self.hop % PERIOD_HOP == 0),
            # With less overlap the squares of Hann windows do not add up to a constant.
            ("fft", self.fft % (2 * self.hop) == 0 and self.fft >= 4 * self.hop),
            ("bands", 2 <= self.bands <= self.bins),
            ("wide", self.wide <= self.bins),
            ("narrow", self.narrow <= self.wide),
            ("lookahead", self.lookahead <= (self.blocks if self.kernel_size > 1 else 0)),
        ):
            if not good:
                raise ModelError(f"an enhancer's {name} cannot be {getattr(self, name)}")

    @property
    def bins(self) -> int:
        """Bins of a spectrum."""
        return self.fft // 2 + 1

    @property
    def features(self) -> int:
        """Values that the network sees of a frame."""
        return self.bins + 6 * self.narrow + 4

    @property
    def factors(self) -> int:
        """Values that it gives for one."""
        return 2 * self.wide + 4 * self.narrow + self.bands

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> EnhancerConfig:
        """Read what `to_json` wrote. Raises ModelError."""
        try:
            fields: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"an enhancer's configuration is damaged: {error}") from None
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or set(fields) != known:
            raise ModelError("an enhancer's configuration has other fields than this version knows")
        return cls(**fields)


PERIOD_HOP = 120  # samples between two periods that csrc/engine/periods.h finds
SAMPLE_RATE = 24_000  # Hz of the audio that it takes
