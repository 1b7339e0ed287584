"""Say which augmentations apply, to what share of the crops, and how far each goes."""

from __future__ import annotations

import dataclasses
import math

from codec.errors import TrainingError


@dataclasses.dataclass(frozen=True)
class Augmentations:
    """Shares are of the crops, 0 (never) to 1 (all); pairs are the ends of even distributions."""

    gain_db: tuple[float, ...] = (-12.0, 3.0)  # of every crop, less where it would clip
    sign_share: float = 0.5  # turned upside down
    speed_share: float = 0.0
    speed_percent: float = 4.0  # at most, faster or slower
    mix_share: float = 0.0  # another crop added
    mix_db: tuple[float, ...] = (0.0, 15.0)  # how far it lies below
    tilt_share: float = 0.0
    tilt_db: float = 2.0  # per octave, at most, up or down
    room_share: float = 0.0
    room_seconds: tuple[float, ...] = (0.1, 0.5)  # to decay by 60 dB
    room_db: tuple[float, ...] = (-18.0, -3.0)  # energy of the reverberation re the direct sound
    noise_share: float = 0.0
    noise_db: tuple[float, ...] = (10.0, 40.0)  # how far the noise lies below the crop

    def __post_init__(self) -> None:
        for field in dataclasses.fields(Augmentations):  # also of a class with more fields
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                good = len(value) == 2 and -200 <= value[0] <= value[1] <= 200
                good &= field.name != "room_seconds" or (value[0] > 0 and value[1] <= 5)
            elif field.name.endswith("_share"):
                good = 0 <= value <= 1
            else:
                good = 0 <= value <= 20 and math.isfinite(value)
            if not good:
                raise TrainingError(f"{field.name} cannot be {value!r}")

    @property
    def fastest(self) -> float:
        """The greatest speed that is drawn."""
        return 1 + self.speed_percent / 100 if self.speed_share else 1.0
